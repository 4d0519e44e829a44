//! A program that takes webhooks by the specification (Standard Webhooks), Slack's incoming
//! webhooks, and plain pings. It keeps what came and drops repeats by their id, as the
//! specification asks.
//!
//! What a path is decides what it takes: below `/services/` it is one of Slack's, everywhere else a
//! program's, until a test says otherwise. An answer that a test sets comes before everything.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::facts::{self, SLACK, STANDARD_WEBHOOKS};
use crate::faults::{Faults, Refusal};
use crate::house::{House, Violation, no_such_control};
use crate::rates::{Pace, Rates};
use crate::slack::form;
use crate::wire::{Player, Reply, Request, Response};

/// A message that came.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// The path that it was posted to.
    pub path: String,
    /// Its `webhook-id`; empty where there is none.
    pub id: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body, as it came.
    pub raw: String,
    /// Its body.
    pub body: Value,
    /// How often the same id came again.
    pub repeats: u32,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What a path is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// A program's, by the specification; with its secret it verifies.
    Program {
        /// `whsec_` and base64.
        secret: String,
    },
    /// A program's that does not verify.
    #[default]
    Unverified,
    /// One of Slack's incoming webhooks.
    Slack,
    /// One that takes anything.
    Plain,
}

/// An answer that a path gives in place of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Set {
    /// The status.
    pub status: u16,
    /// The `Retry-After`: seconds or a date.
    pub retry_after: Option<String>,
    /// The `Location` of a redirect.
    pub location: Option<String>,
    /// The body.
    pub body: String,
    /// How long it takes, in milliseconds.
    pub delay_ms: u64,
    /// How often; 0 is always.
    pub times: u32,
}

/// The program.
#[derive(Debug, Default)]
pub struct Endpoint {
    house: House,
    received: Vec<Received>,
    doors: BTreeMap<String, Door>,
    /// The answers that are set, by path.
    answers: BTreeMap<String, Set>,
    /// How often each path was asked, whatever it answered.
    asked: BTreeMap<String, u64>,
    /// The pace of each of Slack's webhooks.
    paces: BTreeMap<String, Pace>,
}

impl Endpoint {
    /// Every message, oldest first; repeats are counted, not kept.
    #[must_use]
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// How often a path was asked, whatever it answered.
    #[must_use]
    pub fn asked(&self, path: &str) -> u64 {
        self.asked.get(path).copied().unwrap_or(0)
    }

    /// What a path is.
    pub fn set_door(&mut self, path: &str, door: Door) {
        self.doors.insert(path.to_owned(), door);
    }

    /// What a path answers in place of its own.
    pub fn set_answer(&mut self, path: &str, answer: Set) {
        self.answers.insert(path.to_owned(), answer);
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.house.faults
    }

    /// Puts rates in force or lifts them.
    pub const fn set_rates(&mut self, rates: Rates) {
        self.house.rates = rates;
    }

    /// Everything that broke a rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    fn door(&self, path: &str) -> Door {
        match self.doors.get(path) {
            Some(door) => door.clone(),
            None if path.starts_with("/services/") => Door::Slack,
            None => Door::Unverified,
        }
    }

    fn take(&mut self, request: &Request, now_ms: u64) {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let is_known =
            |known: &&mut Received| !id.is_empty() && known.id == id && known.path == request.path;
        if let Some(known) = self.received.iter_mut().find(is_known) {
            known.repeats += 1;
            return;
        }
        self.received.push(Received {
            path: request.path.clone(),
            id,
            headers: request.headers.clone(),
            raw: String::from_utf8_lossy(&request.body).into_owned(),
            body: request.json(),
            repeats: 0,
            at_ms: now_ms,
        });
    }

    /// The answer that is set for a path, if it is still good.
    fn set_for(&mut self, path: &str) -> Option<Reply> {
        let set = self.answers.get_mut(path)?;
        let mut response = Response::text(set.status, &set.body);
        if let Some(after) = &set.retry_after {
            response = response.with("retry-after", after);
        }
        if let Some(location) = &set.location {
            response = response.with("location", location);
        }
        let reply = Reply { delay_ms: set.delay_ms, ..response.into() };
        match set.times {
            0 => {}
            1 => drop(self.answers.remove(path)),
            _ => set.times -= 1,
        }
        Some(reply)
    }

    /// Takes a message through the door of its path.
    fn enter(&mut self, request: &Request, now_ms: u64) -> Response {
        let wrong = match self.door(&request.path) {
            Door::Plain => None,
            Door::Slack => self.slack(request, now_ms),
            Door::Unverified => standard(request, None, now_ms),
            Door::Program { secret } => standard(request, Some(&secret), now_ms),
        };
        match wrong {
            None => {
                self.take(request, now_ms);
                Response::text(200, "ok")
            }
            Some((why, response)) => {
                self.house.note(request, why);
                response
            }
        }
    }

    /// What Slack's incoming webhook has against a message.
    fn slack(&mut self, request: &Request, now_ms: u64) -> Option<(String, Response)> {
        let refused = |status, word: &str, why: &str| {
            Some((format!("{word}: {why}"), Response::text(status, word)))
        };
        if request.method != "POST" {
            return refused(405, "method_not_allowed", "it is posted to");
        }
        let body = match request.is_of_type("application/json") {
            true => request.json(),
            false => request
                .field("payload")
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
        };
        if !body.is_object() {
            return refused(400, "invalid_payload", "no JSON object");
        }
        if let Err((word, why)) = form::check(&body, &SLACK["webhook"]["known"], false) {
            return refused(400, &word, &why);
        }
        if self.house.is_paced() {
            let rates = &SLACK["rates"];
            let every_ms = 1_000 / facts::number(&rates["post_per_second_and_channel"]).max(1);
            let pace = self.paces.entry(request.path.clone()).or_default();
            if let Err(wait_ms) = pace.take(now_ms, every_ms, facts::number(&rates["burst"])) {
                let seconds = wait_ms.div_ceil(1_000).to_string();
                let response = Response::text(429, "rate_limited").with("retry-after", &seconds);
                return Some((format!("rate_limited: too fast by {wait_ms} ms"), response));
            }
        }
        None
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        let path = body["path"].as_str().unwrap_or_default();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/received") => {
                let shown = json!({ "received": self.received, "asked": self.asked });
                return Response::json(200, &shown).into();
            }
            ("POST", "/_stage/answer") => match serde_json::from_value::<Set>(body.clone()) {
                Ok(set) if set.status == 0 => drop(self.answers.remove(path)),
                Ok(set) => self.set_answer(path, set),
                Err(error) => {
                    return Response::json(400, &json!({ "error": error.to_string() })).into();
                }
            },
            ("POST", "/_stage/door") => match serde_json::from_value(body["door"].clone()) {
                Ok(door) => self.set_door(path, door),
                Err(error) => {
                    return Response::json(400, &json!({ "error": error.to_string() })).into();
                }
            },
            _ => return no_such_control(),
        }
        Response::empty(204).into()
    }
}

/// What a program that follows the specification has against a message.
fn standard(request: &Request, secret: Option<&str>, now_ms: u64) -> Option<(String, Response)> {
    let refused =
        |status, why: String| Some((why.clone(), Response::json(status, &json!({ "error": why }))));
    if request.method != "POST" {
        return refused(405, "a webhook is posted".into());
    }
    for name in facts::words(&STANDARD_WEBHOOKS["headers"]) {
        if request.header(name).is_none_or(str::is_empty) {
            return refused(400, format!("there is no {name}"));
        }
    }
    let header = |name: &str| request.header(name).unwrap_or_default();
    let Ok(sent_s) = header("webhook-timestamp").parse::<u64>() else {
        return refused(400, "the webhook-timestamp is no number".into());
    };
    let tolerance_s = facts::number(&STANDARD_WEBHOOKS["signature"]["tolerance_s"]);
    if sent_s.abs_diff(now_ms / 1_000) > tolerance_s {
        return refused(400, "the webhook-timestamp is too far from now".into());
    }
    if !request.is_of_type("application/json") || request.json().is_null() {
        return refused(400, "the body is no JSON".into());
    }
    let version = STANDARD_WEBHOOKS["signature"]["version"].as_str().unwrap_or_default();
    let of_version =
        |one: &str| one.split_once(',').filter(|(v, _)| *v == version).map(|(_, s)| s.to_owned());
    let signatures: Vec<String> =
        header("webhook-signature").split(' ').filter_map(of_version).collect();
    if signatures.is_empty() {
        return refused(400, format!("the webhook-signature has no {version}"));
    }
    let Some(key) = key_of(secret?) else {
        return refused(500, "the secret is not base64 of 24 to 64 bytes".into());
    };
    let signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
    let is_good = |given: &String| {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key) else { return false };
        let given = STANDARD.decode(given).unwrap_or_default();
        mac.chain_update(&signed).chain_update(&request.body).verify_slice(&given).is_ok()
    };
    if signatures.iter().any(is_good) { None } else { refused(401, "no signature is ours".into()) }
}

/// The key of a secret, as the libraries read it; nothing where it has the wrong length.
#[must_use]
pub fn key_of(secret: &str) -> Option<Vec<u8>> {
    let shape = &STANDARD_WEBHOOKS["secret"];
    let bare = secret.strip_prefix(shape["prefix"].as_str().unwrap_or_default()).unwrap_or(secret);
    let key = STANDARD.decode(bare).ok()?;
    let lengths = facts::count(&shape["least_bytes"])..=facts::count(&shape["most_bytes"]);
    lengths.contains(&key.len()).then_some(key)
}

impl Player for Endpoint {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        if let Some(reply) = self.house.control(request) {
            return reply;
        }
        if request.path.starts_with("/_stage/") {
            return self.control(request);
        }
        self.house.greet(request);
        *self.asked.entry(request.path.clone()).or_default() += 1;
        match self.house.faults.refusal() {
            Some(Refusal::Unavailable) => {
                return Response::json(503, &json!({ "error": "unavailable" })).into();
            }
            Some(Refusal::TooMany) => {
                return Response::text(429, "rate_limited").with("retry-after", "1").into();
            }
            None => {}
        }
        if let Some(reply) = self.set_for(&request.path) {
            return self.house.spoil(reply);
        }
        let response = self.enter(request, now_ms);
        self.house.spoil(response.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
    const NOW_MS: u64 = 1_774_699_200_000;

    fn message(id: &str, sent_s: u64, key: &str) -> Request {
        let (body, mut mac) = (
            "{\"type\":\"x\"}",
            Hmac::<Sha256>::new_from_slice(&key_of(key).expect("a key")).expect("a key"),
        );
        mac.update(format!("{id}.{sent_s}.{body}").as_bytes());
        let signature = format!("v1,AAAA v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let headers = [
            ("user-agent", "AllClear/0.1"),
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", &sent_s.to_string()),
            ("webhook-signature", &signature),
        ];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        Request::new("POST", "/hook", headers, body.as_bytes().to_vec())
    }

    fn program() -> Endpoint {
        let mut program = Endpoint::default();
        program.set_door("/hook", Door::Program { secret: SECRET.into() });
        program
    }

    #[test]
    fn a_signed_message_is_kept_once_however_often_it_comes() {
        let mut program = program();
        for _ in 0..3 {
            assert_eq!(
                program.handle(&message("m1", NOW_MS / 1_000, SECRET), NOW_MS).response.status,
                200
            );
        }
        assert_eq!((program.received().len(), program.received()[0].repeats), (1, 2));
        assert_eq!((program.asked("/hook"), program.violations().len()), (3, 0));
    }

    #[test]
    fn what_the_specification_demands_is_demanded() {
        let other = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4";
        let old = message("m1", NOW_MS / 1_000 - 301, SECRET);
        let forged = message("m1", NOW_MS / 1_000, other);
        let mut bare = message("m1", NOW_MS / 1_000, SECRET);
        bare.headers.retain(|(name, _)| name != "webhook-id");
        for (request, status) in [(old, 400), (forged, 401), (bare, 400)] {
            let mut program = program();
            assert_eq!(program.handle(&request, NOW_MS).response.status, status);
            assert_eq!((program.received().len(), program.violations().len()), (0, 1));
        }
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        assert!(key_of(SECRET).is_some());
        assert!(key_of(SECRET.trim_start_matches("whsec_")).is_some());
        assert!(key_of("whsec_Y2FuYXJ5").is_none());
        assert!(key_of("whsec_not base64").is_none());
    }

    #[test]
    fn an_answer_may_be_set_for_a_path_and_for_a_time() {
        let mut program = program();
        let body = json!({ "path": "/hook", "status": 429, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "times": 1 });
        let set = Request::new("POST", "/_stage/answer", vec![], body.to_string().into_bytes());
        assert_eq!(program.handle(&set, 0).response.status, 204);
        let first = program.handle(&message("m1", NOW_MS / 1_000, SECRET), NOW_MS).response;
        assert_eq!(first.status, 429);
        assert!(
            first.headers.contains(&("retry-after".into(), "Wed, 21 Oct 2026 07:28:00 GMT".into()))
        );
        assert_eq!(
            program.handle(&message("m1", NOW_MS / 1_000, SECRET), NOW_MS).response.status,
            200
        );
        program.set_answer("/hook", Set { status: 410, ..Set::default() });
        for _ in 0..2 {
            assert_eq!(
                program.handle(&message("m2", NOW_MS / 1_000, SECRET), NOW_MS).response.status,
                410
            );
        }
        assert_eq!((program.received().len(), program.asked("/hook")), (1, 4));
    }

    #[test]
    fn slacks_own_webhooks_answer_in_slacks_words() {
        let post = |program: &mut Endpoint, kind: &str, body: &str, now_ms| {
            let headers = vec![
                ("user-agent".into(), "AllClear/0.1".into()),
                ("content-type".into(), kind.to_owned()),
            ];
            let request =
                Request::new("POST", "/services/T0/B0/x", headers, body.as_bytes().to_vec());
            let response = program.handle(&request, now_ms).response;
            (response.status, String::from_utf8(response.body).expect("text"))
        };
        let mut program = Endpoint::default();
        let json = "application/json";
        assert_eq!(post(&mut program, json, "{\"text\":\"a\"}", 0), (200, "ok".into()));
        for (body, word) in [
            ("nonsense", "invalid_payload"),
            ("{}", "no_text"),
            ("{\"text\":\"a\",\"channel\":\"#x\"}", "invalid_arguments"),
            ("{\"text\":\"a\",\"blocks\":[{\"type\":\"banner\"}]}", "invalid_blocks"),
        ] {
            assert_eq!(post(&mut program, json, body, 0), (400, word.into()), "{body}");
        }
        assert_eq!(
            post(
                &mut program,
                "application/x-www-form-urlencoded",
                "payload=%7B%22text%22%3A%22a%22%7D",
                0
            )
            .0,
            200
        );
        let many: Vec<u16> =
            (0..4).map(|_| post(&mut program, json, "{\"text\":\"a\"}", 0).0).collect();
        assert_eq!(many, [200, 200, 429, 429]);
        assert_eq!(post(&mut program, json, "{\"text\":\"a\"}", 1_000).0, 200);
    }
}
