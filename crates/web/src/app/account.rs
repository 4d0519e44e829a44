//! One's own password and sessions.

use allclear_ops::OpsError;
use allclear_ops::session::{self, LONGEST_PASSWORD, NewPassword, SHORTEST_PASSWORD, SignedIn};
use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::entry::{hash_with, is_right};
use super::guard::{Viewer, cookie, failed, session_in};
use super::{Clock, Moment, Shell, open_incidents};
use crate::page::Filled;
use crate::{Web, page};

#[derive(Debug, Template)]
#[template(path = "app/account.html")]
struct Account {
    shell: Shell,
    name: String,
    role: &'static str,
    has_password: bool,
    shortest: usize,
    sessions: Vec<Moment>,
    /// Whether there may be older ones.
    is_cut: bool,
    problem: Option<String>,
    /// Whether a form was carried out just now.
    done: bool,
}

/// What the forms send.
#[derive(Deserialize)]
pub(crate) struct Sent {
    act: String,
    #[serde(default)]
    old: String,
    #[serde(default)]
    new: String,
}

/// `GET /account`
pub(crate) async fn show(State(web): State<Web>, Viewer(who): Viewer, Query(after): Query<After>) -> Response {
    room(&web, &who, None, after.done).await
}

/// What stands in the address.
#[derive(Deserialize)]
pub(crate) struct After {
    /// Whether a form was carried out just now.
    #[serde(default)]
    done: bool,
}

async fn room(web: &Web, who: &SignedIn, problem: Option<String>, done: bool) -> Response {
    let found = async {
        let sessions = session::sessions(&web.store, who).await?;
        let has_password = session::own_password(&web.store, who).await?.is_some();
        Ok::<_, OpsError>((sessions, has_password, open_incidents(web, who).await?))
    };
    let (sessions, has_password, open) = match found.await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let clock = Clock::of(&web.store, who);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let view = Account {
        shell: Shell::new("Your account", "account", who, open),
        name: who.name.clone(),
        role: who.role.word(),
        has_password,
        shortest: SHORTEST_PASSWORD,
        is_cut: sessions.len() >= session::MOST_LISTED,
        sessions: sessions.into_iter().map(|at| clock.moment(at)).collect(),
        problem,
        done,
    };
    page::app(status, &view)
}

/// `POST /account`: a new password, or an end of all other sessions. Either begins one's own session anew.
pub(crate) async fn act(State(web): State<Web>, Viewer(who): Viewer, headers: HeaderMap, Filled(sent): Filled<Sent>) -> Response {
    let password = match sent.act.as_str() {
        "password" => match new_password(&web, &who, &sent).await {
            Ok(new) => Some(new),
            Err(Refusal::Problem(problem)) => return room(&web, &who, Some(problem), false).await,
            Err(Refusal::Failed(error)) => return failed(&error),
        },
        "end" => None,
        _ => return Redirect::to("/account").into_response(),
    };
    let presented = session_in(&headers).unwrap_or_default();
    match session::begin_anew(&web.store, &*web.rng, &who, &presented, password).await {
        Err(OpsError::UnknownKey) => Redirect::to("/sign-in").into_response(),
        Ok(value) => (cookie(&web, &value), Redirect::to("/account?done=true")).into_response(),
        Err(error) => failed(&error),
    }
}

enum Refusal {
    Problem(String),
    Failed(OpsError),
}

/// A new password, if the old one was right.
async fn new_password(web: &Web, who: &SignedIn, sent: &Sent) -> Result<NewPassword, Refusal> {
    let problem = |text: &str| Refusal::Problem(text.to_owned());
    if sent.new.chars().count() < SHORTEST_PASSWORD || sent.new.len() > LONGEST_PASSWORD {
        return Err(Refusal::Problem(format!("A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")));
    }
    let now = web.store.now();
    // Somebody at an unlocked screen guesses no faster than at the sign-in page.
    let counted = format!("account:{}", who.person);
    if web.attempts.too_many(None, &counted, now) {
        return Err(problem("Too many attempts. Wait a quarter of an hour."));
    }
    let known = session::own_password(&web.store, who).await.map_err(Refusal::Failed)?;
    let mut salt = [0; 16];
    web.rng.fill(&mut salt);
    let (old, new) = (sent.old.clone(), sent.new.clone());
    let old_hash = known.map(|known| known.hash);
    let permit = web.hashing.acquire().await;
    // Those who waited with this one may have used the attempts up.
    if web.attempts.too_many(None, &counted, now) {
        return Err(problem("Too many attempts. Wait a quarter of an hour."));
    }
    let compared = old_hash.clone();
    let work = move || {
        let right = compared.is_none_or(|known| old.len() <= LONGEST_PASSWORD && is_right(&known, &old));
        right.then(|| hash_with(&salt, &new))
    };
    let done = web.runtime.unblock(work).await;
    if matches!(done, Ok(None)) {
        web.attempts.failed(None, &counted, now);
    }
    drop(permit);
    match done {
        Ok(Some(Some(new_hash))) => Ok(NewPassword { old_hash, new_hash }),
        Ok(None) => Err(problem("The present password is not right.")),
        Ok(Some(None)) | Err(_) => Err(problem("The password could not be kept. Try again.")),
    }
}
