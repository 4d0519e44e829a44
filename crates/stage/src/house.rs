//! What every player has: its faults, its rates, and the book in which it writes down what broke a
//! rule.

use serde::Serialize;
use serde_json::json;

use crate::faults::Faults;
use crate::rates::Rates;
use crate::wire::{Callback, Reply, Request, Response};

/// Something that a provider does not take, or only by luck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What was wrong.
    pub what: String,
    /// The request that did it: its line.
    pub request: String,
}

/// The most violations that are kept: a loop that breaks a rule must not fill the memory.
const MOST_KEPT: usize = 1_000;

/// How AllClear calls itself.
const USER_AGENT: &str = "AllClear/";

/// What every player has.
#[derive(Debug, Default)]
pub(crate) struct House {
    pub(crate) faults: Faults,
    pub(crate) rates: Rates,
    violations: Vec<Violation>,
}

impl House {
    /// Everything that broke a rule, oldest first.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Writes down that a request broke a rule.
    pub(crate) fn note(&mut self, request: &Request, what: impl Into<String>) {
        self.note_of(&request.line(), what);
    }

    /// The same for what is no request.
    pub(crate) fn note_of(&mut self, request: &str, what: impl Into<String>) {
        if self.violations.len() < MOST_KEPT {
            self.violations.push(Violation { what: what.into(), request: request.to_owned() });
        }
    }

    /// Looks who comes. The real ones serve whoever does not say; it is a breach of their terms all
    /// the same.
    pub(crate) fn greet(&mut self, request: &Request) {
        let agent = request.header("user-agent").unwrap_or_default();
        if !agent.starts_with(USER_AGENT) {
            self.note(request, format!("the User-Agent is {agent:?}, not {USER_AGENT}…"));
        }
    }

    /// The controls that every player has.
    pub(crate) fn control(&mut self, request: &Request) -> Option<Reply> {
        let reply = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/_stage/faults") => self.faults.set(request),
            ("POST", "/_stage/rates") => {
                let lifted = request.json()["lifted"].as_bool().unwrap_or(false);
                self.rates = if lifted { Rates::Lifted } else { Rates::Real };
                Response::json(200, &json!({ "rates": self.rates })).into()
            }
            ("GET", "/_stage/violations") => {
                Response::json(200, &json!({ "violations": self.violations })).into()
            }
            _ => return None,
        };
        Some(reply)
    }

    /// A reply with its faults.
    pub(crate) fn spoil(&mut self, mut reply: Reply) -> Reply {
        reply.callbacks = self.faults.spoil_callbacks(std::mem::take(&mut reply.callbacks));
        self.faults.spoil(reply)
    }

    /// The same for a control's reply, which is no provider's: only its callbacks suffer.
    pub(crate) fn send_out(&mut self, mut reply: Reply) -> Reply {
        reply.callbacks = self.faults.spoil_callbacks(std::mem::take(&mut reply.callbacks));
        reply
    }

    /// Whether rates are in force.
    pub(crate) fn is_paced(&self) -> bool {
        self.rates == Rates::Real
    }
}

/// The answer to a control that a player does not have.
pub(crate) fn no_such_control() -> Reply {
    Response::json(404, &json!({ "error": "no such control" })).into()
}

/// The answer to a control that needs something that is not there.
pub(crate) fn not_now(why: &str) -> Reply {
    Response::json(409, &json!({ "error": why })).into()
}

/// The callback again where nothing answered it, unless it went often enough.
pub(crate) fn again(callback: &Callback) -> Vec<Callback> {
    callback.again().into_iter().collect()
}
