//! A telephone behind Twilio's API: texts arrive, calls ring and speak; a person answers with words
//! and digits.
//!
//! It takes what Twilio takes, in Twilio's order: the path, the account, the rate, the parameters,
//! the numbers. What Twilio does later (a text's turn in the queue, a receipt, a call that rings
//! out) leaves as a callback with its time. It does not fetch documents for calls (`Url`), and
//! plays no media, no recordings and no messaging service's pool of senders.

mod account;
mod callback;
mod calls;
mod segments;
#[cfg(test)]
mod tests;
mod texts;
mod twiml;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::account::Refused;
use self::callback::About;
pub use self::calls::{APPLICATION_ERROR, Call, Habit};
pub use self::texts::Text;
use crate::facts::{self, TWILIO};
use crate::faults::{Faults, Refusal};
use crate::house::{House, Violation, again, no_such_control};
use crate::rates::{Pace, Rates};
use crate::wire::{Answer, Callback, Player, Reply, Request, Response};

/// What kind of line a number is, as far as Twilio is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A telephone that takes everything.
    #[default]
    Mobile,
    /// It takes no texts: 21614.
    Landline,
    /// Its country is not permitted: 21408.
    Forbidden,
    /// Switched off: texts are undelivered with 30003, calls find it busy.
    Unreachable,
    /// Texts are undelivered with this code.
    Undelivered(u32),
    /// Texts fail with this code.
    Failed(u32),
}

/// Something that Twilio's console would show as an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Twilio's code.
    pub code: u64,
    /// What was wrong where.
    pub text: String,
}

/// The telephone and its provider.
#[derive(Debug)]
pub struct Telephone {
    house: House,
    account: String,
    token: String,
    /// The account's numbers; any, where none is named.
    own_numbers: Vec<String>,
    /// Whether addresses on this machine are refused, as the real one refuses them.
    only_public: bool,
    /// Whether signatures are over the port that the scheme implies.
    signs_port: bool,
    /// Where replies go.
    webhook: Option<String>,
    kept: Vec<texts::Kept>,
    texts: Vec<Text>,
    /// Texts that came as answers to replies.
    answers: Vec<Text>,
    /// What Twilio answered by itself.
    own_words: Vec<Text>,
    /// What people texted back.
    replies: Vec<Text>,
    calls: Vec<Call>,
    lines: BTreeMap<String, Line>,
    opted_out: BTreeSet<String>,
    habits: BTreeMap<String, Habit>,
    alerts: Vec<Alert>,
    /// The queue of each sender.
    paces: BTreeMap<String, Pace>,
    requests: Pace,
    made: u64,
    /// When the last request came, in milliseconds since 1970.
    now_ms: u64,
}

impl Telephone {
    /// A telephone on an account.
    #[must_use]
    pub fn new(account: &str, token: &str) -> Self {
        Self {
            house: House::default(),
            account: account.to_owned(),
            token: token.to_owned(),
            own_numbers: vec![],
            only_public: false,
            signs_port: false,
            webhook: None,
            kept: vec![],
            texts: vec![],
            answers: vec![],
            own_words: vec![],
            replies: vec![],
            calls: vec![],
            lines: BTreeMap::new(),
            opted_out: BTreeSet::new(),
            habits: BTreeMap::new(),
            alerts: vec![],
            paces: BTreeMap::new(),
            requests: Pace::default(),
            made: 0,
            now_ms: 0,
        }
    }

    /// Where replies go: the address that is set in Twilio's console for the number.
    pub fn set_webhook(&mut self, url: &str) {
        self.webhook = Some(url.to_owned());
    }

    /// What kind of line a number is.
    pub fn set_line(&mut self, number: &str, line: Line) {
        self.lines.insert(number.to_owned(), line);
    }

    /// The numbers that the account may send from.
    pub fn set_own_numbers(&mut self, numbers: &[&str]) {
        self.own_numbers = numbers.iter().map(|number| (*number).to_owned()).collect();
    }

    /// Whether addresses for callbacks must be ones that the real Twilio could reach.
    pub const fn require_public_addresses(&mut self, only_public: bool) {
        self.only_public = only_public;
    }

    /// Whether signatures are over the port that the scheme implies.
    pub const fn sign_port(&mut self, signs_port: bool) {
        self.signs_port = signs_port;
    }

    /// What somebody does the next time that a number rings.
    pub fn set_habit(&mut self, number: &str, habit: Habit) {
        self.habits.insert(number.to_owned(), habit);
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.house.faults
    }

    /// Puts rates in force or lifts them.
    pub const fn set_rates(&mut self, rates: Rates) {
        self.house.rates = rates;
    }

    /// Everything that broke one of Twilio's rules.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    /// What Twilio's console shows as errors: callbacks that were not answered as it wants.
    #[must_use]
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Every text that arrived, oldest first.
    #[must_use]
    pub fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// What people were answered to their texts.
    #[must_use]
    pub fn answers(&self) -> &[Text] {
        &self.answers
    }

    /// Every call that rang, oldest first.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    fn next_sid(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}{:032x}", self.made)
    }

    fn alert(&mut self, code: u64, text: &str) {
        self.alerts.push(Alert { code, text: text.to_owned() });
    }

    /// What an answer wants done; nothing, and an entry in the console, where Twilio cannot read
    /// it.
    fn document(&mut self, line: &str, content_type: &str, body: &str) -> Option<Vec<twiml::Verb>> {
        let known = &TWILIO["twiml"]["content_types"];
        let of_type =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let read = match facts::has(known, &of_type) {
            true => twiml::read(body),
            false => Err(format!("of the type {content_type:?}")),
        };
        match read {
            Ok(verbs) => Some(verbs),
            Err(why) => {
                self.alert(
                    facts::number(&TWILIO["refusals"]["document"]),
                    &format!("{line}: {why}"),
                );
                self.house.note_of(line, format!("the answer is {why}"));
                None
            }
        }
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/messages") => self.show_messages(request.param("to")),
            ("GET", "/_stage/calls") => Response::json(200, &json!({ "calls": self.calls })).into(),
            ("GET", "/_stage/alerts") => {
                Response::json(200, &json!({ "alerts": self.alerts })).into()
            }
            ("POST", "/_stage/pick_up") => {
                let habit = serde_json::from_value(body.clone()).unwrap_or_default();
                let reply = self.pick_up(&word("to"), &habit);
                self.house.send_out(reply)
            }
            ("POST", "/_stage/reply") => {
                let reply = self.reply(&body);
                self.house.send_out(reply)
            }
            ("POST", _) => self.set(request, &body),
            _ => no_such_control(),
        }
    }

    /// What is set once.
    fn set(&mut self, request: &Request, body: &Value) -> Reply {
        let number = body["number"].as_str().unwrap_or_default();
        let is = |name: &str| body[name].as_bool().unwrap_or(false);
        match request.path.as_str() {
            "/_stage/webhook" => self.webhook = body["url"].as_str().map(str::to_owned),
            "/_stage/reach" => {
                let line = if is("unreachable") { Line::Unreachable } else { Line::Mobile };
                self.set_line(number, line);
            }
            "/_stage/line" => match serde_json::from_value(body["line"].clone()) {
                Ok(line) => self.set_line(number, line),
                Err(error) => {
                    return Response::json(400, &json!({ "error": error.to_string() })).into();
                }
            },
            "/_stage/habit" => match serde_json::from_value(body.clone()) {
                Ok(habit) => self.set_habit(number, habit),
                Err(error) => {
                    return Response::json(400, &json!({ "error": error.to_string() })).into();
                }
            },
            "/_stage/own_numbers" => {
                self.own_numbers = facts::words(&body["numbers"]).map(str::to_owned).collect();
            }
            "/_stage/addresses" => self.only_public = is("public"),
            "/_stage/signing" => self.signs_port = is("port"),
            _ => return no_such_control(),
        }
        Response::empty(204).into()
    }

    fn show_messages(&self, to: Option<&str>) -> Reply {
        let shown = |texts: &[Text]| {
            texts
                .iter()
                .filter(|text| to.is_none_or(|to| text.to == to))
                .cloned()
                .collect::<Vec<_>>()
        };
        let body = json!({
            "texts": shown(&self.texts), "answers": shown(&self.answers), "replies": self.replies,
            "own_words": shown(&self.own_words), "opted_out": self.opted_out,
        });
        Response::json(200, &body).into()
    }

    fn serve(&mut self, request: &Request) -> Result<Reply, Refused> {
        let (asked, given) = self.admit(request)?;
        let sid = asked.named.get(1).map_or("", String::as_str);
        match asked.operation {
            "send_message" => self.send(&given),
            "list_messages" => Ok(self.list_messages(request)),
            "fetch_message" => self.fetch_message(sid),
            "start_call" => self.start_call(request, &given),
            "list_calls" => Ok(self.list_calls(request)),
            "fetch_call" => self.fetch_call(sid),
            "update_call" => self.update_call(sid, &given),
            _ => Err(Refused::not_found()),
        }
    }
}

impl Player for Telephone {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        self.now_ms = self.now_ms.max(now_ms);
        if let Some(reply) = self.house.control(request) {
            return reply;
        }
        if request.path.starts_with("/_stage/") {
            return self.control(request);
        }
        self.house.greet(request);
        match self.house.faults.refusal() {
            Some(Refusal::Unavailable) => {
                return Refused::unlucky(503, 20_503, "Service unavailable").response().into();
            }
            Some(Refusal::TooMany) => return Refused::too_many(1_000).response().into(),
            None => {}
        }
        match self.serve(request) {
            Ok(reply) => self.house.spoil(reply),
            Err(refused) => {
                let reply = self.refuse(request, &refused);
                self.house.spoil(reply)
            }
        }
    }

    fn answered(&mut self, callback: &Callback, answer: &Answer, now_ms: u64) -> Vec<Callback> {
        self.now_ms = self.now_ms.max(now_ms);
        let answer = &self.house.faults.hears(answer);
        let next = match About::of(callback) {
            About::Turn(sid) => {
                self.arrive(&sid);
                vec![]
            }
            About::RungOut(sid) => self.ring_out(&sid),
            About::Habit(sid) => self.by_habit(&sid),
            About::Inbound(sid) => return self.written_back(&sid, callback, answer),
            About::Key(sid) => return self.spoken_back(&sid, callback, answer),
            About::Receipt if *answer == Answer::None => return again(callback),
            About::Receipt => vec![],
        };
        self.house.faults.spoil_callbacks(next)
    }
}
