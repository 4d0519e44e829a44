//! The page behind a mail's link: what the mail was about, as it is now, and a button. Looking changes nothing, because
//! mail programs open links by themselves; only the button acts.

use allclear_base::crash;
use allclear_domain::delivery::Brief;
use allclear_domain::incident::Via;
use allclear_ops::delivery::{self, Answerable};
use allclear_ops::incident::{self, Act};
use allclear_ops::{Actor, OpsError};
use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use crate::Web;
use crate::page::{self, Frame};

/// The view.
#[derive(Debug, Template)]
#[template(path = "answer.html")]
struct Page {
    frame: Frame,
    /// Whose link it is.
    name: String,
    heading: String,
    incidents: Vec<Row>,
    /// Whether somebody has yet to take it.
    can_acknowledge: bool,
    /// Whether it is open.
    can_resolve: bool,
}

/// One incident.
#[derive(Debug)]
struct Row {
    id: String,
    number: i64,
    title: String,
    service: String,
    status: String,
    urgency: &'static str,
    remark: String,
    detail: String,
}

impl Row {
    fn new(brief: Brief) -> Self {
        let Brief { incident, number, title, service, status, urgency, remark, detail, .. } = brief;
        Self { id: incident.0, number, title, service, status, urgency: urgency.word(), remark, detail }
    }
}

impl Page {
    fn new(found: Answerable) -> Self {
        let has = |statuses: &[&str]| found.incidents.iter().any(|incident| statuses.contains(&incident.status.as_str()));
        let (can_acknowledge, can_resolve) = (has(&["triggered"]), has(&["triggered", "acknowledged"]));
        let heading = match (can_acknowledge, can_resolve) {
            (true, _) => "This needs somebody".to_owned(),
            (false, true) if found.is_theirs => "You have this".to_owned(),
            (false, true) => "Somebody has this".to_owned(),
            (false, false) => "All clear".to_owned(),
        };
        Self {
            frame: Frame::new(heading.clone()),
            name: found.name,
            heading,
            incidents: found.incidents.into_iter().map(Row::new).collect(),
            can_acknowledge,
            can_resolve,
        }
    }
}

pub(crate) async fn show(State(web): State<Web>, Path(link): Path<String>) -> Response {
    match delivery::answerable(&web.store, &link).await {
        Ok(Some(found)) => page::private(StatusCode::OK, &Page::new(found)),
        Ok(None) => unknown(),
        Err(error) => failed(&error),
    }
}

/// What a button sends.
#[derive(serde::Deserialize)]
pub(crate) struct Pressed {
    act: String,
}

pub(crate) async fn act(State(web): State<Web>, Path(link): Path<String>, form: Result<Form<Pressed>, FormRejection>) -> Response {
    let found = match delivery::answerable(&web.store, &link).await {
        Ok(Some(found)) => found,
        Ok(None) => return unknown(),
        Err(error) => return failed(&error),
    };
    let act = match form.as_ref().ok().map(|form| form.act.as_str()) {
        Some("acknowledge") => Act::Acknowledge,
        Some("resolve") => Act::Resolve,
        Some(_) | None => {
            return page::notice(StatusCode::BAD_REQUEST, "Nothing was changed", "Go back and press one of the buttons.");
        }
    };
    let actor = Actor::responder(found.person, Via::Mail);
    let about = found.incidents.into_iter().map(|brief| brief.incident).collect();
    let done = incident::answer(&web.store, &*web.rng, &actor, about, act, None).await;
    crash::point("hook.after_commit");
    match done {
        // The page says how it stands; a press that came twice, or too late, changes nothing and is shown the same.
        Ok(_) => Redirect::to(&format!("/answer/{link}")).into_response(),
        Err(error) => failed(&error),
    }
}

fn unknown() -> Response {
    page::notice(
        StatusCode::NOT_FOUND,
        "This link is not known",
        "It may have been cut off by a mail program, or its incident is no longer kept.",
    )
}

fn failed(error: &OpsError) -> Response {
    tracing::error!(%error, "a mail's link could not be answered");
    page::away()
}
