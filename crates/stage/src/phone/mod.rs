//! A telephone behind Twilio's API: texts arrive, calls ring and speak; a person answers with digits.

use std::collections::BTreeMap;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use sha1::Sha1;

use crate::faults::Faults;
use crate::wire::{Callback, Player, Reply, Request, Response};

/// The longest document that Twilio takes with a call.
const LONGEST_TWIML: usize = 4_000;

/// What stands between two marks, each time, with XML's escapes undone.
fn between(document: &str, from: &str, to: &str) -> Vec<String> {
    let parts = document.split(from).skip(1).filter_map(|rest| rest.split(to).next());
    parts.map(|part| part.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).collect()
}

/// What a document says, first to last.
fn said(document: &str) -> Vec<String> {
    between(document, "<Say", "</Say>").into_iter().filter_map(|part| part.split_once('>').map(|(_, words)| words.to_owned())).collect()
}

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
    /// `ringing`, `completed`, `busy`, `no-answer` or `canceled`.
    pub state: String,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where a pressed key is reported.
    #[serde(skip)]
    action: Option<String>,
    /// Where its fate is reported.
    #[serde(skip)]
    callback: Option<String>,
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
    /// What people texted back.
    replies: Vec<Text>,
    /// When the last request came, in milliseconds since 1970.
    now_ms: u64,
    calls: Vec<Call>,
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
            replies: vec![],
            now_ms: 0,
            calls: vec![],
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

    /// Every call that rang, oldest first.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
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

    /// Whether a request carries the account's token.
    fn is_ours(&self, request: &Request) -> bool {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", self.account, self.token));
        request.header("authorization") == Some(&format!("Basic {pair}"))
    }

    fn send(&mut self, request: &Request, now_ms: u64) -> Reply {
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

    fn ring(&mut self, request: &Request, now_ms: u64) -> Reply {
        let form = request.form();
        let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap_or_default();
        let (to, document) = (field("To"), field("Twiml"));
        if !to.starts_with('+') {
            return Response::json(400, &json!({ "code": 21211, "message": "Invalid 'To' Phone Number", "status": 400 })).into();
        }
        if document.is_empty() || document.len() > LONGEST_TWIML {
            return Response::json(400, &json!({ "code": 21218, "message": "Invalid 'Twiml'", "status": 400 })).into();
        }
        let sid = format!("CA{:032x}", self.calls.len() + 1);
        let reachable = !self.unreachable.get(&to).copied().unwrap_or(false);
        let call = Call {
            sid: sid.clone(),
            from: field("From"),
            to,
            says: said(&document).into_iter().take(1).collect(),
            state: if reachable { "ringing" } else { "busy" }.to_owned(),
            at_ms: now_ms,
            action: between(&document, "action=\"", "\"").into_iter().next(),
            callback: Some(field("StatusCallback")).filter(|url| !url.is_empty()),
        };
        let callbacks = if reachable { vec![] } else { self.fate(&call).into_iter().collect() };
        self.calls.push(call);
        Reply { callbacks, ..Response::json(201, &json!({ "sid": sid, "status": "queued" })).into() }
    }

    /// A call is told to end. One that nobody has picked up stops ringing; what is over cannot be ended.
    fn end(&mut self, request: &Request, sid: &str) -> Reply {
        let wanted = request.form().into_iter().find(|(name, _)| name == "Status").map(|(_, value)| value).unwrap_or_default();
        let Some(at) = self.calls.iter().position(|call| call.sid == sid) else {
            return Response::json(404, &json!({ "code": 20404, "message": "The requested resource was not found", "status": 404 })).into();
        };
        if !["canceled", "completed"].contains(&wanted.as_str()) || self.calls[at].state != "ringing" {
            return Response::json(400, &json!({ "code": 21220, "message": "Unable to update record", "status": 400 })).into();
        }
        self.calls[at].state = "canceled".to_owned();
        let callbacks = self.fate(&self.calls[at]).into_iter().collect();
        Reply { callbacks, ..Response::json(200, &json!({ "sid": sid, "status": "canceled" })).into() }
    }

    /// The callback that tells how a call ended.
    fn fate(&self, call: &Call) -> Option<Callback> {
        let parameters = [("CallSid", call.sid.clone()), ("CallStatus", call.state.clone()), ("To", call.to.clone())];
        call.callback.as_ref().map(|url| self.callback(url, &parameters, "receipt"))
    }

    /// Somebody picks up the last call that rings at a number: presses a key, or hangs up without one. `ignore` lets it ring.
    fn pick_up(&mut self, body: &Value) -> Reply {
        let (to, digits) = (body["to"].as_str().unwrap_or_default(), body["digits"].as_str().unwrap_or_default());
        let Some(at) = self.calls.iter().rposition(|call| call.to == to && call.state == "ringing") else {
            return Response::json(409, &json!({ "error": "no call rings there" })).into();
        };
        let ignored = body["ignore"].as_bool().unwrap_or(false);
        self.calls[at].state = if ignored { "no-answer" } else { "completed" }.to_owned();
        let call = self.calls[at].clone();
        let pressed = call.action.as_ref().filter(|_| !digits.is_empty() && !ignored).map(|url| {
            let parameters = [("CallSid", call.sid.clone()), ("Digits", digits.to_owned()), ("To", call.to.clone())];
            self.callback(url, &parameters, &call.sid)
        });
        Reply { callbacks: pressed.into_iter().chain(self.fate(&call)).collect(), ..Response::empty(202).into() }
    }

    fn reply(&mut self, body: &Value) -> Reply {
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let Some(url) = self.webhook.clone() else {
            return Response::json(409, &json!({ "error": "no webhook is set" })).into();
        };
        let sent =
            Text { sid: String::new(), from: field("from"), to: String::new(), body: field("body"), at_ms: self.now_ms, callback: None };
        self.replies.push(sent);
        let parameters =
            vec![("From", field("from")), ("Body", field("body")), ("MessageSid", format!("SM{:032x}", 0x0a00_0000 + self.replies.len()))];
        let callback = self.callback(&url, &parameters, &field("from"));
        Reply { callbacks: vec![callback], ..Response::empty(202).into() }
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/messages") => {
                let to = request.param("to");
                let shown = |texts: &[Text]| texts.iter().filter(|t| to.is_none_or(|to| t.to == to)).cloned().collect::<Vec<_>>();
                Response::json(200, &json!({ "texts": shown(&self.texts), "answers": shown(&self.answers), "replies": self.replies }))
                    .into()
            }
            ("GET", "/_stage/calls") => Response::json(200, &json!({ "calls": self.calls })).into(),
            ("POST", "/_stage/pick_up") => self.pick_up(&body),
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
        self.now_ms = now_ms;
        if request.path.starts_with("/_stage/") {
            return self.control(request);
        }
        if let Some(refusal) = self.faults.refusal() {
            return refusal;
        }
        let resource = request.path.strip_prefix(&format!("/2010-04-01/Accounts/{}/", self.account));
        let resource = resource.filter(|_| request.method == "POST").unwrap_or_default();
        let call = resource.strip_prefix("Calls/").and_then(|rest| rest.strip_suffix(".json"));
        if ["Messages.json", "Calls.json"].contains(&resource) || call.is_some() {
            if !self.is_ours(request) {
                return Response::json(401, &json!({ "code": 20003, "message": "Authenticate", "status": 401 })).into();
            }
            let reply = match (resource, call) {
                (_, Some(sid)) => self.end(request, sid),
                ("Calls.json", None) => self.ring(request, now_ms),
                (_, None) => self.send(request, now_ms),
            };
            return self.faults.spoil(reply);
        }
        Response::json(404, &json!({ "code": 20404, "message": "The requested resource was not found", "status": 404 })).into()
    }

    /// A reply's answer is TwiML; its message arrives on the telephone.
    fn answered(&mut self, callback: &Callback, _status: u16, body: &str) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.sid == callback.note) {
            call.says.extend(said(body).into_iter().take(1));
            return;
        }
        let message = body.split("<Message>").nth(1).and_then(|rest| rest.split("</Message>").next());
        if let Some(message) = message.filter(|_| callback.note != "receipt") {
            self.answers.push(Text {
                sid: String::new(),
                from: String::new(),
                to: callback.note.clone(),
                body: message.to_owned(),
                at_ms: self.now_ms,
                callback: None,
            });
        }
    }
}
