//! Coming in and going out: the one-time link, signing in, signing out.

use std::sync::LazyLock;

use allclear_domain::PersonId;
use allclear_ops::OpsError;
use allclear_ops::route::Client;
use allclear_ops::session::{self, Claim, Entry, LONGEST_PASSWORD, SHORTEST_PASSWORD};
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::guard::{cookie, failed, session_in};
use crate::Web;
use crate::page::{self, Frame};

const NOT_RIGHT: &str = "The address or the password is not right.";

const TOO_MANY: &str = "Too many attempts from where you are. Wait a quarter of an hour, or ask for a new password.";

/// The longest address that mail knows.
const LONGEST_EMAIL: usize = 320;

#[derive(Debug, Template)]
#[template(path = "app/sign_in.html")]
struct SignIn {
    frame: Frame,
    email: String,
    to: String,
    problem: Option<String>,
}

#[derive(Deserialize, Default)]
pub(crate) struct Wanted {
    #[serde(default)]
    to: String,
}

/// An address of ours; never another site's.
fn own_path(to: &str) -> String {
    let plain = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\') && to.len() <= 500 && !to.chars().any(char::is_control);
    if plain { to.to_owned() } else { "/".to_owned() }
}

pub(crate) async fn sign_in_page(State(_): State<Web>, Query(wanted): Query<Wanted>) -> Response {
    let view = SignIn { frame: Frame::new("Sign in"), email: String::new(), to: own_path(&wanted.to), problem: None };
    page::private(StatusCode::OK, &view)
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    email: String,
    password: String,
    #[serde(default)]
    to: String,
}

/// What is verified where nobody has the address: as much work as for one that somebody has.
static NOBODYS: LazyLock<String> = LazyLock::new(|| hash_with(b"sixteen-bytes-16", "nobody's password").unwrap_or_default());

pub(super) fn hash_with(salt: &[u8], password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(salt).ok()?;
    Some(Argon2::default().hash_password(password.as_bytes(), &salt).ok()?.to_string())
}

pub(super) fn is_right(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|known| Argon2::default().verify_password(password.as_bytes(), &known).is_ok())
}

pub(crate) async fn sign_in(
    State(web): State<Web>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    form: Result<Form<Credentials>, FormRejection>,
) -> Response {
    let Ok(Form(sent)) = form else { return Redirect::to("/sign-in").into_response() };
    let place = client.map(|Extension(Client(place))| place);
    let again = |status: StatusCode, problem: &str| {
        let email = if sent.email.len() > LONGEST_EMAIL { String::new() } else { sent.email.clone() };
        let view = SignIn { frame: Frame::new("Sign in"), email, to: own_path(&sent.to), problem: Some(problem.to_owned()) };
        page::private(status, &view)
    };
    if sent.email.len() > LONGEST_EMAIL {
        return again(StatusCode::UNPROCESSABLE_ENTITY, NOT_RIGHT);
    }
    let now = web.store.now();
    if web.attempts.too_many(place, &sent.email, now) {
        return again(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
    }
    let known = match session::password_of(&web.store, &sent.email).await {
        Ok(known) => known,
        Err(error) => return failed(&error),
    };
    let (hash, password) = (known.as_ref().map_or_else(|| NOBODYS.clone(), |known| known.hash.clone()), sent.password.clone());
    // One at a time: hashing takes memory and time on purpose.
    let permit = web.hashing.acquire().await;
    // Those who waited with this one may have used the attempts up.
    if web.attempts.too_many(place, &sent.email, now) {
        return again(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
    }
    let right = sent.password.len() <= LONGEST_PASSWORD && web.runtime.unblock(move || is_right(&hash, &password)).await.unwrap_or(false);
    if !right {
        web.attempts.failed(place, &sent.email, now);
    }
    drop(permit);
    match known.filter(|_| right) {
        Some(known) => match session::sign_in(&web.store, &*web.rng, known.person, session_in(&headers).as_deref()).await {
            Ok(value) => (cookie(&web, &value), Redirect::to(&own_path(&sent.to))).into_response(),
            Err(error) => failed(&error),
        },
        None => again(StatusCode::UNPROCESSABLE_ENTITY, NOT_RIGHT),
    }
}

pub(crate) async fn sign_out(State(web): State<Web>, headers: HeaderMap) -> Response {
    if let Some(value) = session_in(&headers)
        && let Err(error) = session::sign_out(&web.store, &value).await
    {
        return failed(&error);
    }
    (cookie(&web, ""), Redirect::to("/sign-in")).into_response()
}

#[derive(Debug, Template)]
#[template(path = "app/enter.html")]
struct Enter {
    frame: Frame,
    heading: &'static str,
    /// Whether they say who they are, besides a password.
    is_first: bool,
    name: String,
    email: String,
    shortest: usize,
    problem: Option<String>,
}

impl Enter {
    fn new(entry: Entry, name: String, email: String, problem: Option<String>) -> Self {
        let is_first = entry == Entry::SetUp;
        let heading = if is_first { "Welcome to AllClear" } else { "Choose a new password" };
        Self { frame: Frame::new(heading), heading, is_first, name, email, shortest: SHORTEST_PASSWORD, problem }
    }
}

fn no_such_link() -> Response {
    page::notice(
        StatusCode::NOT_FOUND,
        "This link is no longer good",
        "It works once and for a day. `allclear user reset EMAIL` makes a new one; before anybody can sign in, `up` prints one at its start.",
    )
}

/// `GET /enter/{link}`
pub(crate) async fn enter_page(
    State(web): State<Web>,
    Path(link): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    match session::look_at_link(&web.store, &link).await {
        Ok(Some((Entry::SignIn, Some(person)))) => come_in(&web, &headers, person, &own_path(&wanted.to)).await,
        Ok(Some((entry, _))) => page::private(StatusCode::OK, &Enter::new(entry, String::new(), String::new(), None)),
        Ok(None) => no_such_link(),
        Err(error) => failed(&error),
    }
}

/// Leads somebody whose link signs in to where they want to be, with a session unless they have one.
async fn come_in(web: &Web, headers: &HeaderMap, person: PersonId, to: &str) -> Response {
    let presented = session_in(headers);
    if let Some(value) = &presented
        && let Ok(Some(who)) = session::who(&web.store, value).await
        && who.person == person
    {
        return Redirect::to(to).into_response();
    }
    match session::sign_in(&web.store, &*web.rng, person, presented.as_deref()).await {
        Ok(value) => (cookie(web, &value), Redirect::to(to)).into_response(),
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
pub(crate) struct Entered {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    password: String,
}

/// `POST /enter/{link}`
pub(crate) async fn enter(State(web): State<Web>, Path(link): Path<String>, form: Result<Form<Entered>, FormRejection>) -> Response {
    let entry = match session::look_at_link(&web.store, &link).await {
        Ok(Some((Entry::SignIn, _)) | None) => return no_such_link(),
        Ok(Some((entry, _))) => entry,
        Err(error) => return failed(&error),
    };
    let Ok(Form(sent)) = form else { return Redirect::to(&format!("/enter/{link}")).into_response() };
    let again = |problem: String| {
        let view = Enter::new(entry, sent.name.clone(), sent.email.clone(), Some(problem));
        page::private(StatusCode::UNPROCESSABLE_ENTITY, &view)
    };
    let length = sent.password.chars().count();
    if length < SHORTEST_PASSWORD || sent.password.len() > LONGEST_PASSWORD {
        return again(format!("A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."));
    }
    if entry == Entry::SetUp && !allclear_config::is_mail_address(sent.email.trim()) {
        return again("Give your e-mail address: you sign in with it.".to_owned());
    }
    let mut salt = [0; 16];
    web.rng.fill(&mut salt);
    let password = sent.password.clone();
    let permit = web.hashing.acquire().await;
    let hashed = web.runtime.unblock(move || hash_with(&salt, &password)).await.ok().flatten();
    drop(permit);
    let Some(password_hash) = hashed else { return page::away() };
    let claim = Claim { name: sent.name.clone(), email: sent.email.trim().to_owned(), password_hash };
    match session::claim(&web.store, &*web.rng, &link, claim).await {
        Ok(value) => (cookie(&web, &value), Redirect::to("/")).into_response(),
        Err(OpsError::UnknownKey) => no_such_link(),
        Err(OpsError::Invalid(problem)) => again(problem),
        Err(error) => failed(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_site() {
        for (to, path) in [
            ("/incidents/1", "/incidents/1"),
            ("", "/"),
            ("https://evil.example", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
        ] {
            assert_eq!(own_path(to), path, "{to}");
        }
    }

    #[test]
    fn a_password_is_right_for_its_hash_alone() {
        let hash = hash_with(&[7; 16], "correct horse").expect("a hash");
        assert!(hash.starts_with("$argon2id$"));
        assert!(is_right(&hash, "correct horse"));
        assert!(!is_right(&hash, "wrong horse"));
        assert!(!is_right("", ""));
        assert!(!is_right(&NOBODYS, ""));
    }
}
