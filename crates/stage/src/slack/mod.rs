//! A Slack workspace: messages, threads, updates, and buttons that somebody presses.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::faults::Faults;
use crate::wire::{Callback, Player, Reply, Request, Response};

/// A message.
#[derive(Debug, Clone, Serialize)]
pub struct Posted {
    /// The channel's id.
    pub channel: String,
    /// The message's timestamp, which is its id.
    pub ts: String,
    /// The message that it answers.
    pub thread_ts: Option<String>,
    /// Whether an answer shows in the channel as well.
    pub broadcast: bool,
    /// The text.
    pub text: String,
    /// The blocks.
    pub blocks: Value,
    /// How often it was changed.
    pub edits: u32,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The workspace.
#[derive(Debug)]
pub struct Workspace {
    token: String,
    signing_secret: String,
    webhook: Option<String>,
    channels: BTreeMap<String, String>,
    messages: Vec<Posted>,
    faults: Faults,
}

impl Workspace {
    /// A workspace whose app has this token and signing secret.
    #[must_use]
    pub fn new(token: &str, signing_secret: &str) -> Self {
        Self {
            token: token.to_owned(),
            signing_secret: signing_secret.to_owned(),
            webhook: None,
            channels: BTreeMap::new(),
            messages: vec![],
            faults: Faults::default(),
        }
    }

    /// Where presses of buttons go: the app's interactivity address.
    pub fn set_webhook(&mut self, url: &str) {
        self.webhook = Some(url.to_owned());
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Every message, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Posted] {
        &self.messages
    }

    fn channel(&mut self, name: &str) -> String {
        // What is sent to a member stands in a conversation of its own.
        let kind = if name.starts_with('U') { 'D' } else { 'C' };
        let next = format!("{kind}{:08}", self.channels.len() + 1);
        self.channels.entry(name.to_owned()).or_insert(next).clone()
    }

    fn post(&mut self, body: &Value, now_ms: u64) -> Response {
        let Some(name) = body["channel"].as_str().filter(|name| !name.is_empty()) else { return refused("channel_not_found") };
        let known = self.channels.values().any(|id| id == name);
        let channel = if known { name.to_owned() } else { self.channel(name) };
        let ts = format!("{}.{:06}", now_ms / 1_000, self.messages.len() + 1);
        self.messages.push(Posted {
            channel: channel.clone(),
            ts: ts.clone(),
            thread_ts: body["thread_ts"].as_str().map(str::to_owned),
            broadcast: body["reply_broadcast"].as_bool().unwrap_or(false),
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: body["blocks"].clone(),
            edits: 0,
            at_ms: now_ms,
        });
        Response::json(200, &json!({ "ok": true, "channel": channel, "ts": ts }))
    }

    fn update(&mut self, body: &Value) -> Response {
        let (channel, ts) = (body["channel"].as_str().unwrap_or_default(), body["ts"].as_str().unwrap_or_default());
        let Some(message) = self.messages.iter_mut().find(|m| m.channel == channel && m.ts == ts) else {
            return refused("message_not_found");
        };
        message.text = body["text"].as_str().unwrap_or_default().to_owned();
        message.blocks = body["blocks"].clone();
        message.edits += 1;
        Response::json(200, &json!({ "ok": true, "channel": channel, "ts": ts }))
    }

    fn press(&self, body: &Value, now_ms: u64) -> Reply {
        let Some(url) = &self.webhook else {
            return Response::json(409, &json!({ "error": "no webhook is set" })).into();
        };
        let action = body["action"].as_str().unwrap_or("acknowledge");
        let shows = |m: &&Posted| m.blocks.to_string().contains(&format!("\"action_id\":\"{action}\""));
        let Some(message) = self.messages.iter().rev().find(shows) else {
            return Response::json(404, &json!({ "error": "no message has this button" })).into();
        };
        let elements = message.blocks.as_array().into_iter().flatten().filter_map(|block| block["elements"].as_array()).flatten();
        let value = elements.filter(|e| e["action_id"] == action).map(|e| e["value"].clone()).next().unwrap_or_default();
        let payload = json!({
            "type": "block_actions", "user": { "id": body["user"].as_str().unwrap_or("U0NOBODY") },
            "channel": { "id": message.channel }, "message": { "ts": message.ts },
            "actions": [{ "action_id": action, "value": value }],
        });
        let form = format!("payload={}", utf8_percent_encode(&payload.to_string(), NON_ALPHANUMERIC));
        let timestamp = (now_ms / 1_000).to_string();
        let headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("x-slack-request-timestamp".to_owned(), timestamp.clone()),
            ("x-slack-signature".to_owned(), self.sign(&timestamp, &form)),
        ];
        let callback = Callback { url: url.clone(), headers, body: form, note: "press".to_owned() };
        Reply { callbacks: vec![callback], ..Response::empty(202).into() }
    }

    fn sign(&self, timestamp: &str, body: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.signing_secret.as_bytes()) else { return String::new() };
        mac.update(format!("v0:{timestamp}:{body}").as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("v0={hex}")
    }

    fn control(&mut self, request: &Request, now_ms: u64) -> Reply {
        let body = request.json();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/messages") => Response::json(200, &json!({ "messages": self.messages, "channels": self.channels })).into(),
            ("POST", "/_stage/press") => self.press(&body, now_ms),
            ("POST", "/_stage/webhook") => {
                self.webhook = body["url"].as_str().map(str::to_owned);
                Response::empty(204).into()
            }
            ("POST", "/_stage/faults") => self.faults.set(request),
            _ => Response::json(404, &json!({ "error": "no such control" })).into(),
        }
    }
}

fn refused(word: &str) -> Response {
    Response::json(200, &json!({ "ok": false, "error": word }))
}

impl Player for Workspace {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        if request.path.starts_with("/_stage/") {
            return self.control(request, now_ms);
        }
        if let Some(refusal) = self.faults.refusal() {
            return refusal;
        }
        let known = request.header("authorization") == Some(&format!("Bearer {}", self.token));
        let body = request.json();
        let response = match request.path.as_str() {
            _ if !known => refused("invalid_auth"),
            "/api/chat.postMessage" => self.post(&body, now_ms),
            "/api/chat.update" => self.update(&body),
            _ => refused("unknown_method"),
        };
        self.faults.spoil(response.into())
    }
}
