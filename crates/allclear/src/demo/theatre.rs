//! The stage in a browser: the API with its switch, the telephone, Slack and the mailbox, with what AllClear does on one side
//! and what customers see on the other. It presses what people would press.

use std::net::SocketAddr;
use std::sync::Arc;

use allclear_domain::Timestamp;
use allclear_store::Store;
use anyhow::Context;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::World;
use super::inside::{self, Doing, time_of_day};
use super::seen::Eyes;
use crate::server::Server;

/// How long a call rings before its caller gives up.
const RINGS_FOR_MS: i64 = 40_000;

/// Messages of each kind that are shown, newest first.
const MOST_SHOWN: usize = 12;

const SCRIPT: &str = include_str!("../../assets/stage.js");
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = include_str!("../../assets/stage.css");

struct Theatre {
    eyes: Eyes,
    world: World,
    store: Store,
    /// Where AllClear is, and the link that signs in there.
    allclear: SocketAddr,
    enter: String,
}

/// Serves the stage's page on a port of its own; where it is. Its links lead into AllClear by `link`, which signs in.
#[expect(clippy::disallowed_methods, reason = "the stage is the outside world: it has tasks of its own")]
pub(super) async fn open(server: &Server, world: &World, link: &str) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the stage")?;
    let addr = listener.local_addr()?;
    let theatre = Arc::new(Theatre {
        eyes: Eyes::new(server, world),
        world: world.clone(),
        store: server.store.clone(),
        allclear: server.addr,
        enter: format!("http://{}/enter/{link}", server.addr),
    });
    let router = Router::new()
        .route("/", get(page))
        .route("/do/{what}", post(act))
        .route("/put.js", get(|| async { ([("content-type", JAVASCRIPT)], allclear_web::PUT_IN_PLACE) }))
        .route("/stage.js", get(|| async { ([("content-type", JAVASCRIPT)], SCRIPT) }))
        .route("/stage.css", get(|| async { ([("content-type", "text/css; charset=utf-8")], STYLE) }))
        .with_state(theatre);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the stage is closed");
        }
    });
    Ok(addr)
}

#[derive(Template)]
#[template(path = "stage.html")]
struct Page {
    allclear: SocketAddr,
    enter: String,
    switch: String,
    switches: Vec<Position>,
    streams: u64,
    capacity: u64,
    ringing: Option<Ringing>,
    /// What the last call said last, once it was picked up.
    heard: Option<String>,
    /// Whether the last call stopped ringing because it was not needed any more.
    hung_up: bool,
    texts: Vec<Text>,
    slack: Vec<Message>,
    mails: Vec<Mail>,
    doing: Doing,
    /// What customers read above all, and when it last changed.
    phrase: String,
    shown_at: String,
}

impl Page {
    /// The address of one of AllClear's pages, for somebody who may not be signed in yet.
    fn link_to(&self, path: &str) -> String {
        format!("{}?to={path}", self.enter)
    }
}

/// A position of the switch.
struct Position {
    word: &'static str,
    label: &'static str,
    is_on: bool,
}

struct Ringing {
    says: String,
}

struct Text {
    id: String,
    time: String,
    body: String,
    /// Whether Ada wrote it.
    is_own: bool,
}

struct Message {
    /// Its id at Slack.
    ts: String,
    time: String,
    text: String,
    is_reply: bool,
    can_acknowledge: bool,
    can_resolve: bool,
}

struct Mail {
    id: String,
    time: String,
    subject: String,
    text: String,
    link: Option<String>,
}

async fn page(State(theatre): State<Arc<Theatre>>) -> Response {
    match look(&theatre).await.and_then(|page| Ok(page.render()?)) {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("the stage does not answer: {error:#}")).into_response(),
    }
}

/// The newest of a list, each with its place in it.
fn newest(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate().rev().take(MOST_SHOWN)
}

fn text_of(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// When a message came.
fn came_at(message: &Value) -> String {
    time_of_day(Timestamp(message["at_ms"].as_i64().unwrap_or(0) * 1_000))
}

async fn look(theatre: &Theatre) -> anyhow::Result<Page> {
    let (eyes, world) = (&theatre.eyes, &theatre.world);
    let live = eyes.get(world.live, "/_stage/state").await?;
    let phone = eyes.get(world.phone, "/_stage/messages").await?;
    let calls = eyes.get(world.phone, "/_stage/calls").await?;
    let slack = eyes.get(world.slack, "/_stage/messages").await?;
    let mails = eyes.get(world.mailbox, "/_stage/mails").await?;
    let summary = eyes.get(theatre.allclear, "/status/synq/api/v2/summary.json").await?;
    let switch = text_of(&live, "switch");
    let switches =
        [("healthy", "Healthy"), ("out_of_capacity", "Out of capacity"), ("slow", "Slow"), ("wrong_json", "Wrong JSON"), ("down", "Down")];
    let ringing = newest(&calls["calls"]).map(|(_, call)| call).find(|call| call["state"] == "ringing");
    // Nobody's telephone rings for ever.
    let rang_out = ringing.filter(|call| eyes.now_us() / 1_000 - call["at_ms"].as_i64().unwrap_or(0) > RINGS_FOR_MS);
    if rang_out.is_some() {
        eyes.post(world.phone, "/_stage/pick_up", &json!({ "to": NUMBER, "ignore": true })).await?;
    }
    let ringing = ringing.filter(|_| rang_out.is_none()).map(|call| Ringing {
        says: call["says"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
    });
    let last = newest(&calls["calls"]).map(|(_, call)| call).next();
    let ended = |state: &str| last.filter(|call| call["state"] == state);
    let heard = ended("completed").and_then(|call| call["says"].as_array()?.last()?.as_str()).map(str::to_owned);
    let hung_up = ended("canceled").is_some();
    let mut texts: Vec<(u64, Text)> = Vec::new();
    for (field, is_own) in [("texts", false), ("answers", false), ("replies", true)] {
        texts.extend(newest(&phone[field]).map(|(place, text)| {
            (
                text["at_ms"].as_u64().unwrap_or(0),
                Text { id: format!("{field}-{place}"), time: came_at(text), body: text_of(text, "body"), is_own },
            )
        }));
    }
    texts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let has_button = |message: &Value, act: &str| message["blocks"].to_string().contains(&format!("\"action_id\":\"{act}\""));
    let message = |message: &Value| Message {
        ts: text_of(message, "ts"),
        time: came_at(message),
        // As Slack writes three signs.
        text: text_of(message, "text").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
        is_reply: message["thread_ts"].is_string(),
        can_acknowledge: has_button(message, "acknowledge"),
        can_resolve: has_button(message, "resolve"),
    };
    // The newest thread first, and in it what was said, in its order.
    let mut said: Vec<&Value> = newest(&slack["messages"]).map(|(_, message)| message).collect();
    let thread = |message: &Value| message["thread_ts"].as_str().or(message["ts"].as_str()).unwrap_or_default().to_owned();
    said.sort_by_key(|message| (std::cmp::Reverse(thread(message)), text_of(message, "ts")));
    let mail = |(place, mail): (usize, &Value)| {
        let text = text_of(mail, "text");
        let link = text.split_whitespace().find(|word| word.contains("/answer/")).map(str::to_owned);
        Mail { id: format!("mail-{place}"), time: came_at(mail), subject: text_of(mail, "subject"), text, link }
    };
    Ok(Page {
        allclear: theatre.allclear,
        enter: theatre.enter.clone(),
        switches: switches.map(|(word, label)| Position { word, label, is_on: switch == word }).into_iter().collect(),
        switch,
        streams: live["streams"].as_u64().unwrap_or(0),
        capacity: live["capacity"].as_u64().unwrap_or(0),
        ringing,
        heard,
        hung_up,
        texts: texts.into_iter().take(MOST_SHOWN).map(|(_, text)| text).collect(),
        slack: said.into_iter().map(message).collect(),
        mails: newest(&mails["mails"]).map(mail).collect(),
        doing: inside::look(&theatre.store).await?,
        phrase: text_of(&summary["status"], "description"),
        shown_at: text_of(&summary["page"], "updated_at"),
    })
}

#[derive(Deserialize)]
struct Pressed {
    #[serde(default)]
    with: String,
}

/// Ada's number and her name in Slack, as the demo's files have them.
const NUMBER: &str = "+4520000001";
const IN_SLACK: &str = "U0ADA";

async fn act(State(theatre): State<Arc<Theatre>>, Path(what): Path<String>, Form(pressed): Form<Pressed>) -> Response {
    let (eyes, world, with) = (&theatre.eyes, &theatre.world, pressed.with);
    let done = match what.as_str() {
        "switch" => eyes.post(world.live, "/_stage/switch", &json!({ "to": with })).await,
        "text" => eyes.post(world.phone, "/_stage/reply", &json!({ "from": NUMBER, "body": with })).await,
        "pick_up" => eyes.post(world.phone, "/_stage/pick_up", &json!({ "to": NUMBER, "digits": with })).await,
        "slack" => eyes.post(world.slack, "/_stage/press", &json!({ "user": IN_SLACK, "action": with })).await,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    if let Err(error) = done {
        // A call may have ended while somebody reached for it.
        tracing::debug!(%error, "nothing came of it");
    }
    Redirect::to("/").into_response()
}
