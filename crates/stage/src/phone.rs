//! A telephone behind Twilio's API: texts arrive, and are answered with the digits that a person presses.

use std::collections::BTreeMap;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use sha1::Sha1;

use crate::faults::Faults;
use crate::wire::{Callback, Player, Reply, Request, Response};

/// A text message.
#[derive(Debug, Clone, Serialize)]
pub struct Text {
    /// Twilio's id of it.
    pub sid: String,
    /// From which number.
    pub from: String,
    /// To which number.
    pub to: String,
    /// What it says.
    pub body: String,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where its fate is reported.
    #[serde(skip)]
    pub callback: Option<String>,
}

/// The telephone and its provider.
#[derive(Debug)]
pub struct Telephone {
    account: String,
    token: String,
    /// Where replies go.
    webhook: Option<String>,
    texts: Vec<Text>,
    /// Texts that came as answers to replies.
    answers: Vec<Text>,
    /// Numbers that cannot be reached.
    unreachable: BTreeMap<String, bool>,
    faults: Faults,
}

impl Telephone {
    /// A telephone on an account.
    #[must_use]
    pub fn new(account: &str, token: &str) -> Self {
        Self {
            account: account.to_owned(),
            token: token.to_owned(),
            webhook: None,
            texts: vec![],
            answers: vec![],
            unreachable: BTreeMap::new(),
            faults: Faults::default(),
        }
    }

    /// Where replies go: the address that is set in Twilio's console for the number.
    pub fn set_webhook(&mut self, url: &str) {
        self.webhook = Some(url.to_owned());
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Every text that arrived, oldest first.
    #[must_use]
    pub fn texts(&self) -> &[Text] {
        &self.texts
    }

    fn sign(&self, url: &str, parameters: &[(&str, String)]) -> String {
        let mut sorted: Vec<_> = parameters.iter().collect();
        sorted.sort();
        let mut text = url.to_owned();
        for (name, value) in sorted {
            text.push_str(name);
            text.push_str(value);
        }
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(self.token.as_bytes()) else { return String::new() };
        mac.update(text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    }

    fn callback(&self, url: &str, parameters: &[(&str, String)], note: &str) -> Callback {
        let body = parameters.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        let headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("x-twilio-signature".to_owned(), self.sign(url, parameters)),
        ];
        Callback { url: url.to_owned(), headers, body: body.collect::<Vec<_>>().join("&"), note: note.to_owned() }
    }

    fn send(&mut self, request: &Request, now_ms: u64) -> Reply {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", self.account, self.token));
        if request.header("authorization") != Some(&format!("Basic {pair}")) {
            return Response::json(401, &json!({ "code": 20003, "message": "Authenticate", "status": 401 })).into();
        }
        let form = request.form();
        let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap_or_default();
        let (to, from, body) = (field("To"), field("From"), field("Body"));
        if !to.starts_with('+') || body.is_empty() {
            return Response::json(400, &json!({ "code": 21211, "message": "Invalid 'To' Phone Number", "status": 400 })).into();
        }
        let sid = format!("SM{:032x}", self.texts.len() + 1);
        let reachable = !self.unreachable.get(&to).copied().unwrap_or(false);
        let status = if reachable { "delivered" } else { "undelivered" };
        let callback = Some(field("StatusCallback")).filter(|url| !url.is_empty());
        let receipts = callback.iter().map(|url| {
            let mut parameters = vec![("MessageSid", sid.clone()), ("MessageStatus", status.to_owned()), ("To", to.clone())];
            if !reachable {
                parameters.push(("ErrorCode", "30003".to_owned()));
            }
            self.callback(url, &parameters, "receipt")
        });
        let callbacks = receipts.collect();
        if reachable {
            self.texts.push(Text { sid: sid.clone(), from, to, body, at_ms: now_ms, callback });
        }
        Reply { callbacks, ..Response::json(201, &json!({ "sid": sid, "status": "queued" })).into() }
    }

    fn reply(&self, body: &Value) -> Reply {
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let Some(url) = &self.webhook else {
            return Response::json(409, &json!({ "error": "no webhook is set" })).into();
        };
        let parameters = vec![("From", field("from")), ("Body", field("body")), ("MessageSid", format!("SM{:032x}", 999))];
        let callback = self.callback(url, &parameters, &field("from"));
        Reply { callbacks: vec![callback], ..Response::empty(202).into() }
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/messages") => {
                let to = request.param("to");
                let shown = |texts: &[Text]| texts.iter().filter(|t| to.is_none_or(|to| t.to == to)).cloned().collect::<Vec<_>>();
                Response::json(200, &json!({ "texts": shown(&self.texts), "answers": shown(&self.answers) })).into()
            }
            ("POST", "/_stage/reply") => self.reply(&body),
            ("POST", "/_stage/webhook") => {
                self.webhook = body["url"].as_str().map(str::to_owned);
                Response::empty(204).into()
            }
            ("POST", "/_stage/reach") => {
                let number = body["number"].as_str().unwrap_or_default().to_owned();
                self.unreachable.insert(number, body["unreachable"].as_bool().unwrap_or(false));
                Response::empty(204).into()
            }
            ("POST", "/_stage/faults") => self.faults.set(request),
            _ => Response::json(404, &json!({ "error": "no such control" })).into(),
        }
    }
}

impl Player for Telephone {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        if request.path.starts_with("/_stage/") {
            return self.control(request);
        }
        if let Some(refusal) = self.faults.refusal() {
            return refusal;
        }
        let expected = format!("/2010-04-15/Accounts/{}/Messages.json", self.account);
        if request.method == "POST" && request.path == expected {
            let reply = self.send(request, now_ms);
            return self.faults.spoil(reply);
        }
        Response::json(404, &json!({ "code": 20404, "message": "The requested resource was not found", "status": 404 })).into()
    }

    /// A reply's answer is TwiML; its message arrives on the telephone.
    fn answered(&mut self, callback: &Callback, _status: u16, body: &str) {
        let message = body.split("<Message>").nth(1).and_then(|rest| rest.split("</Message>").next());
        if let Some(message) = message.filter(|_| callback.note != "receipt") {
            self.answers.push(Text {
                sid: String::new(),
                from: String::new(),
                to: callback.note.clone(),
                body: message.to_owned(),
                at_ms: 0,
                callback: None,
            });
        }
    }
}
