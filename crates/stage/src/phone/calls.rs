//! Calls: they ring, speak, take keys, and end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::{self, Parameters, Refused};
use super::callback::About;
use super::twiml::{self, Gather, Verb};
use super::{Line, Telephone};
use crate::facts::{self, TWILIO};
use crate::house::{again, not_now};
use crate::wire::{Answer, Callback, Reply, Request, Response};

/// A call.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Twilio's id of it.
    pub sid: String,
    /// From which number.
    pub from: String,
    /// To which number.
    pub to: String,
    /// What it says, first to last; what it answers to a key is added.
    pub says: Vec<String>,
    /// `ringing`, `in-progress`, `completed`, `busy`, `no-answer`, `failed` or `canceled`.
    pub state: String,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// When somebody took it.
    answered_ms: Option<u64>,
    /// When it ended.
    ended_ms: Option<u64>,
    /// How keys are waited for, while they are.
    #[serde(skip)]
    gather: Option<Gather>,
    /// Where its fate is reported.
    #[serde(skip)]
    callback: Option<String>,
    /// What else is reported.
    #[serde(skip)]
    events: Vec<String>,
    /// How many reports there were.
    #[serde(skip)]
    reports: u64,
}

/// What somebody does the next time that their telephone rings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Habit {
    /// After how long, in milliseconds.
    pub after_ms: u64,
    /// The keys that they press; none where they only listen.
    pub digits: String,
    /// Whether they let it ring.
    pub ignore: bool,
    /// Whether they stay on the line afterwards.
    pub stay: bool,
}

/// What Twilio says when it cannot go on.
pub const APPLICATION_ERROR: &str = "We are sorry, an application error has occurred. Goodbye.";

/// How long somebody listens after pressing a key before they hang up.
const LISTENS_MS: u64 = 5_000;

/// Whether a call occupies its telephone.
fn is_live(call: &Call) -> bool {
    ["ringing", "in-progress"].contains(&call.state.as_str())
}

impl Telephone {
    pub(super) fn start_call(
        &mut self,
        request: &Request,
        given: &Parameters,
    ) -> Result<Reply, Refused> {
        let to = self.recipient(given.get("To"), "no_recipient_of_call")?;
        let from = given
            .get("From")
            .ok_or_else(|| Refused::named("no_sender_of_call", "'From' is required."))?;
        if !self.owns(from) {
            return Err(Refused::named(
                "sender_of_call",
                format!("{from} is no number of this account."),
            ));
        }
        let callback = self.callback_address(given.get("StatusCallback"))?;
        let events = events(given)?;
        let Some(document) = given.get("Twiml") else {
            return Err(Refused::named("no_document", "The stage plays calls by 'Twiml' alone."));
        };
        if document.chars().count() > facts::most(&TWILIO, "twiml_characters") {
            return Err(Refused::named("document", "The 'Twiml' is too long."));
        }
        if self.lines.get(&to) == Some(&Line::Forbidden) {
            return Err(Refused::unlucky(
                400,
                21_215,
                "Account not authorized to call this country.",
            ));
        }
        let verbs = twiml::read(document);
        if let Err(why) = &verbs {
            // The call rings all the same.
            self.house.note(request, format!("the Twiml is {why}"));
        }
        let is_engaged = self.calls.iter().any(|call| call.to == to && is_live(call));
        let is_away = self.lines.get(&to) == Some(&Line::Unreachable);
        let rings = !is_engaged && !is_away;
        let call = Call {
            sid: self.next_sid("CA"),
            from: from.to_owned(),
            to,
            says: verbs.as_ref().map_or(vec![APPLICATION_ERROR.to_owned()], |verbs| {
                twiml::said(verbs).into_iter().take(1).collect()
            }),
            state: if rings { "ringing" } else { "busy" }.to_owned(),
            at_ms: self.now_ms,
            answered_ms: None,
            ended_ms: (!rings).then_some(self.now_ms),
            gather: verbs.ok().and_then(gather_of),
            callback,
            events,
            reports: 0,
        };
        let patience_s = given.get("Timeout").and_then(|text| text.parse::<u64>().ok());
        let patience_s = patience_s.unwrap_or_else(|| facts::number(&TWILIO["calls"]["timeout_s"]));
        Ok(self.ring(call, patience_s * 1_000))
    }

    fn ring(&mut self, call: Call, patience_ms: u64) -> Reply {
        let (sid, to, rings) = (call.sid.clone(), call.to.clone(), call.state == "ringing");
        self.calls.push(call);
        let at = self.calls.len() - 1;
        let mut callbacks: Vec<Callback> =
            self.report(at, "initiated", "initiated", 0).into_iter().collect();
        if rings {
            callbacks.extend(self.report(at, "ringing", "ringing", 0));
            callbacks.push(Callback::wake(About::RungOut(sid.clone()).note(), patience_ms));
            if let Some(habit) = self.habits.get(&to) {
                callbacks.push(Callback::wake(About::Habit(sid).note(), habit.after_ms));
            }
        } else {
            callbacks.extend(self.fate(at, 0));
        }
        let mut shown = self.shown(&self.calls[at]);
        shown["status"] = json!("queued");
        Reply { callbacks, ..Response::json(201, &shown).into() }
    }

    /// A call is told to end. One that nobody has picked up stops ringing; what is over cannot be
    /// ended.
    pub(super) fn update_call(&mut self, sid: &str, given: &Parameters) -> Result<Reply, Refused> {
        let at =
            self.calls.iter().position(|call| call.sid == sid).ok_or_else(Refused::not_found)?;
        let state = self.calls[at].state.clone();
        let next = match (given.get("Status"), state.as_str()) {
            (Some("canceled"), "ringing") => "canceled",
            (Some("completed"), "ringing") => "canceled",
            (Some("completed"), "in-progress") => "completed",
            (Some("canceled" | "completed"), _) => {
                let said = format!("Call is {state}. Cannot be changed.");
                return Err(Refused { is_violation: false, ..Refused::named("call_state", said) });
            }
            _ => return Err(Refused::named("unknown_parameter", "The stage only ends calls.")),
        };
        let callbacks = self.end(at, next, 0);
        Ok(Reply { callbacks, ..Response::json(200, &self.shown(&self.calls[at])).into() })
    }

    pub(super) fn fetch_call(&self, sid: &str) -> Result<Reply, Refused> {
        let found =
            self.calls.iter().find(|call| call.sid == sid).ok_or_else(Refused::not_found)?;
        Ok(Response::json(200, &self.shown(found)).into())
    }

    pub(super) fn list_calls(&self, request: &Request) -> Reply {
        let wanted =
            |name: &str, value: &str| request.param(name).is_none_or(|wanted| wanted == value);
        let fits = |call: &&Call| {
            wanted("To", &call.to) && wanted("From", &call.from) && wanted("Status", &call.state)
        };
        let found: Vec<Value> =
            self.calls.iter().rev().filter(fits).map(|call| self.shown(call)).collect();
        Response::json(200, &account::page(request, "calls", &found)).into()
    }

    /// A call ends in a state; what is reported of it.
    fn end(&mut self, at: usize, state: &str, after_ms: u64) -> Vec<Callback> {
        let call = &mut self.calls[at];
        state.clone_into(&mut call.state);
        (call.gather, call.ended_ms) = (None, Some(self.now_ms));
        self.fate(at, after_ms).into_iter().collect()
    }

    /// The callback that tells how a call ended.
    fn fate(&mut self, at: usize, after_ms: u64) -> Option<Callback> {
        let state = self.calls[at].state.clone();
        self.report(at, "completed", &state, after_ms)
    }

    /// A report on a call, where that event is wanted.
    fn report(&mut self, at: usize, event: &str, status: &str, after_ms: u64) -> Option<Callback> {
        let call = self.calls.get_mut(at)?;
        let is_wanted = call.events.iter().any(|wanted| wanted == event);
        let url = call.callback.clone().filter(|_| is_wanted)?;
        call.reports += 1;
        let call = call.clone();
        let value = |name: &str| self.of_call(&call, name, status);
        let parameters = account::form(&TWILIO["receipts"]["call"]["parameters"], value);
        Some(self.callback(&url, &parameters, &About::Receipt, after_ms))
    }

    /// What every callback about a call says.
    fn of_call(&self, call: &Call, name: &str, status: &str) -> Option<String> {
        let spoke_ms =
            call.answered_ms.zip(call.ended_ms).map(|(from, to)| to.saturating_sub(from));
        let spoke_s = spoke_ms.filter(|_| status == "completed").map(|ms| ms.div_ceil(1_000));
        Some(match name {
            "AccountSid" => self.account.clone(),
            "ApiVersion" => "2010-04-01".to_owned(),
            "CallSid" => call.sid.clone(),
            "CallStatus" => status.to_owned(),
            "From" | "Caller" => call.from.clone(),
            "To" | "Called" => call.to.clone(),
            "Direction" => "outbound-api".to_owned(),
            "CallDuration" => spoke_s?.to_string(),
            "Duration" => spoke_s?.div_ceil(60).to_string(),
            "SequenceNumber" => call.reports.saturating_sub(1).to_string(),
            "Timestamp" => account::date(self.now_ms).as_str()?.to_owned(),
            "CallbackSource" => "call-progress-events".to_owned(),
            _ => return None,
        })
    }

    /// As the API shows it.
    fn shown(&self, call: &Call) -> Value {
        let uri = format!("/2010-04-01/Accounts/{}/Calls/{}", self.account, call.sid);
        let spoke =
            call.answered_ms.zip(call.ended_ms).map(|(from, to)| to.saturating_sub(from) / 1_000);
        account::object(&TWILIO["answers"]["call"]["fields"], |field| {
            Some(match field {
                "account_sid" => json!(self.account),
                "api_version" => json!("2010-04-01"),
                "date_created" | "date_updated" => account::date(call.at_ms),
                "direction" => json!("outbound-api"),
                "duration" => json!(spoke?.to_string()),
                "start_time" => account::date(call.answered_ms?),
                "end_time" => account::date(call.ended_ms?),
                "from" | "from_formatted" => json!(call.from),
                "to" | "to_formatted" => json!(call.to),
                "phone_number_sid" => json!(format!("PN{}", "0".repeat(32))),
                "price_unit" => json!("USD"),
                "queue_time" => json!("0"),
                "sid" => json!(call.sid),
                "status" => json!(call.state),
                "subresource_uris" => {
                    json!({ "events": format!("{uri}/Events.json"), "recordings": format!("{uri}/Recordings.json") })
                }
                "uri" => json!(format!("{uri}.json")),
                _ => return None,
            })
        })
    }

    /// Somebody picks up the last call at a number: presses a key, or hangs up without one.
    /// `ignore` lets it ring, `stay` keeps the line.
    pub(super) fn pick_up(&mut self, to: &str, habit: &Habit) -> Reply {
        let is_there = |call: &Call| {
            call.to == to && (call.state == "ringing" || call.gather.is_some() && is_live(call))
        };
        let Some(at) = self.calls.iter().rposition(is_there) else {
            return not_now("no call rings there");
        };
        let callbacks = self.take(at, habit);
        Reply { callbacks, ..Response::empty(202).into() }
    }

    fn take(&mut self, at: usize, habit: &Habit) -> Vec<Callback> {
        if habit.ignore {
            return match self.calls[at].state.as_str() {
                "ringing" => self.end(at, "no-answer", 0),
                _ => self.end(at, "completed", 0),
            };
        }
        let mut callbacks = Vec::new();
        if self.calls[at].answered_ms.is_none() {
            (self.calls[at].answered_ms, self.calls[at].state) =
                (Some(self.now_ms), "in-progress".to_owned());
            callbacks.extend(self.report(at, "answered", "in-progress", 0));
        }
        let pressed = self.press(at, &habit.digits);
        let is_told = pressed.is_some();
        callbacks.splice(0..0, pressed);
        if !habit.stay {
            callbacks.extend(self.end(at, "completed", if is_told { LISTENS_MS } else { 0 }));
        }
        callbacks
    }

    /// Keys are pressed; the callback that tells of them.
    fn press(&self, at: usize, digits: &str) -> Option<Callback> {
        let call = self.calls[at].clone();
        let gather = call.gather.as_ref().filter(|_| !digits.is_empty())?;
        let (before, ended_on) = match digits.find(|key| gather.finish_on.contains(key)) {
            Some(end) => (&digits[..end], &digits[end..=end]),
            None => (digits, ""),
        };
        let most = gather.most_digits.unwrap_or(usize::MAX);
        let told: String = before.chars().take(most).collect();
        let value = |name: &str| match name {
            "Digits" => Some(told.clone()),
            "FinishedOnKey" => Some(ended_on.to_owned()),
            "msg" => Some("Gather End".to_owned()),
            name => self.of_call(&call, name, "in-progress"),
        };
        let parameters = account::form(&TWILIO["inbound"]["key"], value);
        let url = gather.action.as_deref()?;
        let callback = self.callback(url, &parameters, &About::Key(call.sid.clone()), 0);
        // Somebody listens: there is time for one more try.
        let repeats_after_ms = callback.repeats_after_ms.iter().take(1).copied().collect();
        Some(Callback { repeats_after_ms, ..callback })
    }

    /// A key was answered, or not: the call goes on with what the answer says.
    pub(super) fn spoken_back(
        &mut self,
        sid: &str,
        callback: &Callback,
        answer: &Answer,
    ) -> Vec<Callback> {
        let Some(at) = self.calls.iter().position(|call| call.sid == sid) else { return vec![] };
        let line = format!("POST {}", callback.url);
        let verbs = match answer {
            Answer::Due => return vec![],
            Answer::None if !callback.repeats_after_ms.is_empty() => return again(callback),
            Answer::None => {
                self.alert(11_205, &format!("{line}: no answer"));
                None
            }
            Answer::Given { status, .. } if !(200..300).contains(status) => {
                self.alert(11_200, &format!("{line}: {status}"));
                None
            }
            Answer::Given { content_type, body, .. } => self.document(&line, content_type, body),
        };
        let said = verbs.as_deref().map_or_else(|| vec![APPLICATION_ERROR.to_owned()], twiml::said);
        let call = &mut self.calls[at];
        call.says.extend(said.into_iter().take(1));
        call.gather = verbs.and_then(gather_of).filter(|_| is_live(call));
        let goes_on = call.gather.is_some() || !is_live(call);
        if goes_on { vec![] } else { self.end(at, "completed", 0) }
    }

    /// A call that rang long enough ends.
    pub(super) fn ring_out(&mut self, sid: &str) -> Vec<Callback> {
        match self.calls.iter().position(|call| call.sid == sid && call.state == "ringing") {
            Some(at) => self.end(at, "no-answer", 0),
            None => vec![],
        }
    }

    /// Somebody does with a call what they said they would.
    pub(super) fn by_habit(&mut self, sid: &str) -> Vec<Callback> {
        let Some(at) =
            self.calls.iter().position(|call| call.sid == sid && call.state == "ringing")
        else {
            return vec![];
        };
        match self.habits.remove(&self.calls[at].to) {
            Some(habit) => self.take(at, &habit),
            None => vec![],
        }
    }
}

/// How a document waits for keys.
fn gather_of(verbs: Vec<Verb>) -> Option<Gather> {
    verbs.into_iter().find_map(|verb| match verb {
        Verb::Gather(gather) => Some(gather),
        _ => None,
    })
}

/// What is to be reported of a call.
fn events(given: &Parameters) -> Result<Vec<String>, Refused> {
    let known = &TWILIO["calls"];
    let wanted: Vec<String> = given
        .all("StatusCallbackEvent")
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect();
    if let Some(odd) = wanted.iter().find(|event| !facts::has(&known["callback_events"], event)) {
        return Err(Refused::named(
            "unknown_parameter",
            format!("{odd:?} is no StatusCallbackEvent."),
        ));
    }
    let usual = || facts::words(&known["default_events"]).map(str::to_owned).collect();
    Ok(if wanted.is_empty() { usual() } else { wanted })
}
