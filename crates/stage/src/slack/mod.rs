//! A Slack workspace: messages, threads, updates, and buttons that somebody presses.
//!
//! It takes what Slack takes: the method, the token, the arguments, the blocks, the channel, the
//! rate, in this order. Every channel with a `#` exists and the app is in it, every member and
//! conversation is known, until a test says otherwise. It has no events, no views and no files.

mod blocks;
pub(crate) mod form;
mod interact;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::facts::{self, SLACK};
use crate::faults::{Faults, Refusal};
use crate::house::{House, Violation, again, no_such_control};
use crate::rates::{Pace, Rates};
use crate::wire::{Answer, Callback, Player, Reply, Request, Response};

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
    /// The blocks that it had before: a browser that was not reloaded may still show them.
    #[serde(skip)]
    earlier: Vec<Value>,
}

impl Posted {
    fn change(&mut self, body: &Value) {
        let blocks = with_ids(&body["blocks"], &self.ts);
        self.earlier.push(std::mem::replace(&mut self.blocks, blocks));
        self.text = body["text"].as_str().unwrap_or_default().to_owned();
        self.edits += 1;
    }
}

/// A message that one person sees.
#[derive(Debug, Clone, Serialize)]
pub struct Ephemeral {
    /// The channel's id.
    pub channel: String,
    /// Who sees it.
    pub user: String,
    /// The text.
    pub text: String,
    /// The blocks.
    pub blocks: Value,
    /// The thread that it shows in.
    pub thread_ts: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// How a channel is to the app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// The app may write in it.
    #[default]
    Open,
    /// It was archived.
    Archived,
    /// Only few may write in it.
    ReadOnly,
    /// The app was not invited.
    NotInChannel,
    /// There is none of this name.
    NotFound,
    /// A thread may be answered and nothing else.
    LimitedAccess,
    /// The app's messages tab is switched off.
    NoMessagesTab,
}

impl Room {
    const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Archived => Some("is_archived"),
            Self::ReadOnly => Some("restricted_action_read_only_channel"),
            Self::NotInChannel => Some("not_in_channel"),
            Self::NotFound => Some("channel_not_found"),
            Self::LimitedAccess => Some("channel_is_limited_access"),
            Self::NoMessagesTab => Some("messages_tab_disabled"),
        }
    }
}

/// The workspace.
#[derive(Debug)]
pub struct Workspace {
    house: House,
    token: String,
    /// What Slack says of the token though it is the right one.
    token_refusal: Option<String>,
    signing_secret: String,
    webhook: Option<String>,
    /// Where the workspace itself is reached.
    base: String,
    /// Whether the base was given, not learned.
    base_is_given: bool,
    channels: BTreeMap<String, String>,
    /// How channels are, by the name or id that a test used.
    rooms: BTreeMap<String, Room>,
    messages: Vec<Posted>,
    ephemeral: Vec<Ephemeral>,
    response_urls: Vec<interact::ResponseUrl>,
    /// Presses after which the person saw an error.
    failed_presses: Vec<String>,
    /// The pace of each channel's posts.
    posts: BTreeMap<String, Pace>,
    updates: Pace,
    made: u64,
    posted: usize,
}

/// A refusal: Slack's word, why, and whether the sender could know.
struct Refused {
    word: String,
    why: String,
    is_violation: bool,
    /// After how many seconds it may come again.
    retry_after_s: Option<u64>,
}

impl Refused {
    fn wrong(word: &str, why: impl Into<String>) -> Self {
        Self { word: word.to_owned(), why: why.into(), is_violation: true, retry_after_s: None }
    }

    fn unlucky(word: &str) -> Self {
        Self { is_violation: false, ..Self::wrong(word, "") }
    }

    fn response(&self) -> Response {
        let mut body = json!({ "ok": false, "error": self.word });
        if self.is_violation {
            body["response_metadata"] = json!({ "messages": [format!("[ERROR] {}", self.why)] });
        }
        match self.retry_after_s {
            Some(seconds) => {
                let header = SLACK["rates"]["header"].as_str().unwrap_or_default();
                let status = facts::code(&SLACK["rates"]["status"]);
                Response::json(status, &body)
                    .with(&header.to_ascii_lowercase(), &seconds.to_string())
            }
            None => Response::json(200, &body),
        }
    }
}

/// A pace that was not kept.
fn too_fast(what: &str, wait_ms: u64) -> Refused {
    let word = SLACK["rates"]["error"].as_str().unwrap_or_default();
    let retry_after_s = Some(wait_ms.div_ceil(1_000).max(1));
    Refused { retry_after_s, ..Refused::wrong(word, format!("too fast by {wait_ms} ms: {what}")) }
}

impl Workspace {
    /// A workspace whose app has this token and signing secret.
    #[must_use]
    pub fn new(token: &str, signing_secret: &str) -> Self {
        Self {
            house: House::default(),
            token: token.to_owned(),
            token_refusal: None,
            signing_secret: signing_secret.to_owned(),
            webhook: None,
            base: "https://hooks.slack.com".to_owned(),
            base_is_given: false,
            channels: BTreeMap::new(),
            rooms: BTreeMap::new(),
            messages: vec![],
            ephemeral: vec![],
            response_urls: vec![],
            failed_presses: vec![],
            posts: BTreeMap::new(),
            updates: Pace::default(),
            made: 0,
            posted: 0,
        }
    }

    /// Where presses of buttons go: the app's interactivity address.
    pub fn set_webhook(&mut self, url: &str) {
        self.webhook = Some(url.to_owned());
    }

    /// Where the workspace itself is reached: `http://127.0.0.1:8080`. Otherwise it is learned from
    /// the first request.
    pub fn set_base(&mut self, base: &str) {
        (self.base, self.base_is_given) = (base.trim_end_matches('/').to_owned(), true);
    }

    /// How a channel is to the app; `channel` is a name with `#` or an id.
    pub fn set_room(&mut self, channel: &str, room: Room) {
        self.rooms.insert(channel.to_owned(), room);
    }

    /// What Slack says of the app's token, such as `token_revoked`; nothing where it is good.
    pub fn refuse_token(&mut self, word: Option<&str>) {
        self.token_refusal = word.map(str::to_owned);
    }

    /// Somebody deletes a message.
    pub fn delete(&mut self, ts: &str) {
        self.messages.retain(|message| message.ts != ts);
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.house.faults
    }

    /// Puts rates in force or lifts them.
    pub const fn set_rates(&mut self, rates: Rates) {
        self.house.rates = rates;
    }

    /// Everything that broke one of Slack's rules.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    /// Every message, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Posted] {
        &self.messages
    }

    /// Every message that one person saw, oldest first.
    #[must_use]
    pub fn ephemeral(&self) -> &[Ephemeral] {
        &self.ephemeral
    }

    /// Presses after which the person saw an error, and why.
    #[must_use]
    pub fn failed_presses(&self) -> &[String] {
        &self.failed_presses
    }

    fn name_of(&self, channel: &str) -> String {
        let found =
            self.channels.iter().find(|(_, id)| *id == channel).map(|(name, _)| name.as_str());
        match found {
            Some(name) if name.starts_with('#') => name.trim_start_matches('#').to_owned(),
            _ => "directmessage".to_owned(),
        }
    }

    /// The id of the channel that is meant, if the app may write there.
    fn channel(&mut self, given: &str) -> Result<String, Refused> {
        let is_id = facts::matches(&SLACK, "channel", given);
        let known = self.channels.values().any(|id| id == given);
        let named = self.channels.iter().find(|(_, id)| *id == given).map(|(name, _)| name.clone());
        let state = self.rooms.get(given).or_else(|| self.rooms.get(named.as_deref()?));
        if let Some(word) = state.and_then(|room| room.refusal()) {
            return Err(Refused::unlucky(word));
        }
        let is_listed = state.is_some();
        let kind = match given {
            _ if known => return Ok(given.to_owned()),
            _ if is_id && (given.starts_with('D') || is_listed) => return Ok(given.to_owned()),
            _ if facts::matches(&SLACK, "channel_name", given) => 'C',
            // What is sent to a member stands in a conversation of its own.
            _ if facts::matches(&SLACK, "user", given) => 'D',
            _ => {
                let why = format!("{given:?} is no channel that the app knows");
                return Err(Refused::wrong("channel_not_found", why));
            }
        };
        let next = format!("{kind}{:08}", self.channels.len() + 1);
        Ok(self.channels.entry(given.to_owned()).or_insert(next).clone())
    }

    fn post(&mut self, body: &Value, now_ms: u64) -> Result<Response, Refused> {
        let given = required(body, "channel")?;
        let channel = self.channel(&given)?;
        self.pace_posts(&channel, now_ms)?;
        let at = self.keep(body, &channel, now_ms);
        let message = &self.messages[at];
        let shown = self.shown(message);
        Ok(Response::json(
            200,
            &json!({ "ok": true, "channel": channel, "ts": message.ts, "message": shown }),
        ))
    }

    fn pace_posts(&mut self, channel: &str, now_ms: u64) -> Result<(), Refused> {
        if !self.house.is_paced() {
            return Ok(());
        }
        let rates = &SLACK["rates"];
        let every_ms = 1_000 / facts::number(&rates["post_per_second_and_channel"]).max(1);
        let pace = self.posts.entry(channel.to_owned()).or_default();
        let taken = pace.take(now_ms, every_ms, facts::number(&rates["burst"]));
        taken.map_err(|wait_ms| too_fast(&format!("posts to {channel}"), wait_ms))
    }

    /// Keeps a message; where it stands in the list.
    fn keep(&mut self, body: &Value, channel: &str, now_ms: u64) -> usize {
        self.posted += 1;
        let ts = ts_of(now_ms, self.posted as u64);
        let parent = body["thread_ts"].as_str();
        // The answer to a message that was deleted lands in the channel.
        let is_there =
            |ts: &&str| self.messages.iter().any(|m| m.ts == **ts && m.channel == channel);
        let thread_ts = parent.filter(is_there).map(str::to_owned);
        self.messages.push(Posted {
            channel: channel.to_owned(),
            broadcast: thread_ts.is_some() && body["reply_broadcast"].as_bool().unwrap_or(false),
            thread_ts,
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: with_ids(&body["blocks"], &ts),
            ts,
            edits: 0,
            at_ms: now_ms,
            earlier: vec![],
        });
        self.messages.len() - 1
    }

    /// A message as Slack shows it to programs.
    fn shown(&self, message: &Posted) -> Value {
        let mut shown = json!({
            "type": "message", "user": "U0STAGEBOT", "bot_id": "B0STAGE", "app_id": "A0STAGE", "team": "T0STAGE",
            "ts": message.ts, "text": message.text,
        });
        if message.blocks.is_array() {
            shown["blocks"] = message.blocks.clone();
        }
        if let Some(thread_ts) = &message.thread_ts {
            shown["thread_ts"] = json!(thread_ts);
        }
        if message.edits > 0 {
            shown["edited"] = json!({ "user": "B0STAGE", "ts": message.ts });
        }
        shown
    }

    fn update(&mut self, body: &Value, now_ms: u64) -> Result<Response, Refused> {
        let (channel, ts) = (required(body, "channel")?, required(body, "ts")?);
        if !facts::matches(&SLACK, "channel", &channel) {
            let why =
                format!("{channel:?} is no channel's id: a message is changed by its id alone");
            return Err(Refused::wrong("channel_not_found", why));
        }
        let channel = self.channel(&channel)?;
        if self.house.is_paced() {
            let rates = &SLACK["rates"];
            let a_minute = facts::number(&rates["updates_per_minute"]).max(1);
            let taken =
                self.updates.take(now_ms, 60_000 / a_minute, facts::number(&rates["update_burst"]));
            taken.map_err(|wait_ms| too_fast("updates", wait_ms))?;
        }
        let found = self.messages.iter_mut().find(|m| m.channel == channel && m.ts == ts);
        let message = found.ok_or_else(|| Refused::unlucky("message_not_found"))?;
        message.change(body);
        let text = message.text.clone();
        Ok(Response::json(200, &json!({ "ok": true, "channel": channel, "ts": ts, "text": text })))
    }

    fn post_ephemeral(&mut self, body: &Value, now_ms: u64) -> Result<Response, Refused> {
        let (given, user) = (required(body, "channel")?, required(body, "user")?);
        if !facts::matches(&SLACK, "user", &user) {
            return Err(Refused::wrong("user_not_in_channel", format!("{user:?} is no member")));
        }
        let channel = self.channel(&given)?;
        self.pace_posts(&channel, now_ms)?;
        self.posted += 1;
        let ts = ts_of(now_ms, self.posted as u64);
        self.ephemeral.push(Ephemeral {
            channel,
            user,
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: body["blocks"].clone(),
            thread_ts: body["thread_ts"].as_str().map(str::to_owned),
            at_ms: now_ms,
        });
        Ok(Response::json(200, &json!({ "ok": true, "message_ts": ts })))
    }

    /// Whether Slack knows who asks.
    fn know(&self, request: &Request) -> Result<(), Refused> {
        let Some(given) = request.header("authorization") else {
            return Err(Refused::wrong("not_authed", "there is no token"));
        };
        let token = given.strip_prefix("Bearer ").unwrap_or_default();
        let starts = |list: &Value| facts::words(list).any(|start| token.starts_with(start));
        let kinds = &SLACK["tokens"];
        if starts(&kinds["of_another_kind"]) {
            let word = kinds["refusal"].as_str().unwrap_or_default();
            return Err(Refused::wrong(word, "a token of another kind"));
        }
        if token != self.token || !starts(&kinds["good"]) {
            return Err(Refused::wrong("invalid_auth", "the token is not the app's"));
        }
        match &self.token_refusal {
            Some(word) => Err(Refused::unlucky(word)),
            None => Ok(()),
        }
    }

    fn serve(&mut self, request: &Request, now_ms: u64) -> Result<Response, Refused> {
        let facts: &'static Value = &SLACK;
        let asked = facts::asked(facts, None, &request.path)
            .ok_or_else(|| Refused::wrong("unknown_method", "there is no such method"))?;
        self.know(request)?;
        let is_test = asked.operation == "test_token";
        if request.method != asked.facts["method"].as_str().unwrap_or_default() && !is_test {
            return Err(Refused::wrong(
                "unknown_method",
                format!("{} is wrong here", request.method),
            ));
        }
        let body = if is_test { json!({}) } else { read(request)? };
        if !is_test {
            let may_be_empty = false;
            let checked = form::check(&body, &asked.facts["known"], may_be_empty);
            checked.map_err(|(word, why)| Refused::wrong(&word, why))?;
        }
        match asked.operation {
            "post_message" => self.post(&body, now_ms),
            "update_message" => self.update(&body, now_ms),
            "post_ephemeral" => self.post_ephemeral(&body, now_ms),
            _ => Ok(Response::json(
                200,
                &json!({
                    "ok": true, "url": "https://stage.slack.com/", "team": "Stage", "user": "allclear",
                    "team_id": "T0STAGE", "user_id": "U0STAGEBOT", "bot_id": "B0STAGE", "is_enterprise_install": false,
                }),
            )),
        }
    }

    fn control(&mut self, request: &Request, now_ms: u64) -> Reply {
        let body = request.json();
        let word = |name: &str| body[name].as_str().unwrap_or_default();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/messages") => {
                let shown = json!({
                    "messages": self.messages, "channels": self.channels, "ephemeral": self.ephemeral,
                    "failed_presses": self.failed_presses,
                });
                return Response::json(200, &shown).into();
            }
            ("POST", "/_stage/press") => return self.press(&body, now_ms),
            ("POST", "/_stage/send") => return self.send(&body, now_ms),
            ("POST", "/_stage/webhook") => self.webhook = body["url"].as_str().map(str::to_owned),
            ("POST", "/_stage/base") => self.set_base(word("url")),
            ("POST", "/_stage/delete") => self.delete(word("ts")),
            ("POST", "/_stage/token") => self.refuse_token(body["refusal"].as_str()),
            ("POST", "/_stage/room") => match serde_json::from_value(body["room"].clone()) {
                Ok(room) => self.set_room(word("channel"), room),
                Err(error) => {
                    return Response::json(400, &json!({ "error": error.to_string() })).into();
                }
            },
            _ => return no_such_control(),
        }
        Response::empty(204).into()
    }

    /// Learns where it is reached itself.
    fn learn_base(&mut self, request: &Request) {
        if let Some(host) = request.header("host").filter(|_| !self.base_is_given) {
            self.base = format!("http://{host}");
        }
    }
}

/// The arguments of a method.
fn read(request: &Request) -> Result<Value, Refused> {
    if request.header("content-type").is_none() {
        return Err(Refused::wrong("missing_post_type", "there is no Content-Type"));
    }
    if request.is_of_type("application/json") {
        let charset = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if charset.contains("charset=") && !charset.contains("utf-8") {
            return Err(Refused::wrong("invalid_charset", "JSON is sent in UTF-8"));
        }
        let body: Result<Value, _> = serde_json::from_slice(&request.body);
        return body.map_err(|error| Refused::wrong("invalid_json", error.to_string()));
    }
    if !request.is_of_type("application/x-www-form-urlencoded") {
        return Err(Refused::wrong("invalid_post_type", "neither JSON nor a form"));
    }
    let value = |name: &str, text: String| match name {
        "blocks" | "attachments" => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ if ["true", "false"].contains(&text.as_str()) => json!(text == "true"),
        _ => Value::String(text),
    };
    let fields = request.form().into_iter().map(|(name, text)| (name.clone(), value(&name, text)));
    Ok(Value::Object(fields.collect()))
}

/// An argument that a method cannot do without.
fn required(body: &Value, name: &str) -> Result<String, Refused> {
    let given = body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    given.ok_or_else(|| {
        Refused::wrong("invalid_arguments", format!("missing required field: {name}"))
    })
}

/// The id of the n-th message, as of an instant.
fn ts_of(now_ms: u64, n: u64) -> String {
    format!("{:010}.{:06}", now_ms / 1_000, n % 1_000_000)
}

/// Blocks with ids of Slack's own where they have none.
fn with_ids(blocks: &Value, ts: &str) -> Value {
    let mut blocks = blocks.clone();
    for (at, block) in blocks.as_array_mut().into_iter().flatten().enumerate() {
        if block["block_id"].is_null() && block.is_object() {
            let tail: String = ts.chars().filter(char::is_ascii_digit).rev().take(4).collect();
            block["block_id"] = json!(format!("b{at}{tail}"));
        }
    }
    blocks
}

fn hex_hmac(secret: &str, text: &str) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    let signature = mac.chain_update(text).finalize().into_bytes();
    signature.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Player for Workspace {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        if let Some(reply) = self.house.control(request) {
            return reply;
        }
        if request.path.starts_with("/_stage/") {
            return self.control(request, now_ms);
        }
        self.learn_base(request);
        self.house.greet(request);
        match self.house.faults.refusal() {
            Some(Refusal::Unavailable) => {
                return Response::json(
                    503,
                    &json!({ "ok": false, "error": "service_unavailable" }),
                )
                .into();
            }
            Some(Refusal::TooMany) => return too_fast("a fault", 1_000).response().into(),
            None => {}
        }
        if request.path.starts_with("/actions/") {
            let response = self.respond(request, now_ms);
            return self.house.spoil(response.into());
        }
        let response = self.serve(request, now_ms).unwrap_or_else(|refused| {
            if refused.is_violation {
                self.house.note(request, format!("{}: {}", refused.word, refused.why));
            }
            refused.response()
        });
        self.house.spoil(response.into())
    }

    fn answered(&mut self, callback: &Callback, answer: &Answer, _now_ms: u64) -> Vec<Callback> {
        let answer = &self.house.faults.hears(answer);
        if *answer == Answer::None && !callback.repeats_after_ms.is_empty() {
            return again(callback);
        }
        self.hear(callback, answer);
        vec![]
    }
}
