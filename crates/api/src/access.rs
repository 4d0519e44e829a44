//! Who calls, and whether they may.

use allclear_domain::incident::Via;
use allclear_ops::{Actor, OpsError, Permission, token};
use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::request::Parts;
use serde_json::json;

use crate::App;

/// An authenticated caller whom the route's guard let through.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A handler on a route that names no permission has no caller.
        parts.extensions.get::<Self>().cloned().ok_or_else(unknown)
    }
}

/// What stands before a route: who calls, and whether they have `needed`. It answers before a byte of the body is read.
pub(crate) async fn guard(State((app, needed)): State<(App, Permission)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match caller(&parts, &app, needed).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn caller(parts: &Parts, app: &App, needed: Permission) -> Result<Caller, Problem> {
    let actor = if app.local { Actor::local() } else { by_token(parts, app).await? };
    actor.require(needed)?;
    let Some(email) = parts.headers.get("from").and_then(|value| value.to_str().ok()) else { return Ok(Caller(actor)) };
    match token::person_with_email(&app.store.catalog(), email) {
        Some(person) => Ok(Caller(actor.on_behalf_of(person, Via::Api))),
        None => Err(Problem::new(StatusCode::BAD_REQUEST, 1008, "Requester User Not Found")),
    }
}

fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, 2006, "Authentication failed")
}

/// PagerDuty's `Token token=…` and the usual `Bearer …`.
async fn by_token(parts: &Parts, app: &App) -> Result<Actor, Problem> {
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = header.strip_prefix("Token token=").or_else(|| header.strip_prefix("Bearer ")).map(|v| v.trim().trim_matches('"'));
    let value = value.filter(|v| !v.is_empty() && v.len() <= 200).ok_or_else(unknown)?;
    token::authenticate(&app.store, value).await.map_err(Problem::from)?.ok_or_else(unknown)
}

/// An error in PagerDuty's form.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: u32,
    message: String,
    errors: Vec<String>,
    retry_after_s: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: u32, message: &str) -> Self {
        Self { status, code, message: message.to_owned(), errors: vec![], retry_after_s: None }
    }

    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.errors.push(why.into());
        self
    }
}

impl From<OpsError> for Problem {
    fn from(error: OpsError) -> Self {
        match error {
            OpsError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, 2010, "Access Denied").because(error.to_string()),
            OpsError::UnknownKey => unknown(),
            OpsError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, 2100, "Not Found").because(error.to_string()),
            OpsError::Refused(refused) => {
                use allclear_domain::incident::Refused;
                let (code, message) = match refused {
                    Refused::AlreadyResolved => (1001, "Incident Already Resolved"),
                    Refused::AlreadyMerged => (1019, "Incident Already Merged"),
                    Refused::AlreadyAcknowledged => (1002, "Incident Already Acknowledged"),
                    Refused::NobodyThere => (1006, "Cannot Escalate"),
                    Refused::Stale | Refused::StillFailing | Refused::SameUrgency => (2015, "Invalid operation"),
                };
                Self::new(StatusCode::BAD_REQUEST, code, message).because(refused.to_string())
            }
            OpsError::TooMany => {
                let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, 2020, "Rate Limit Exceeded");
                problem.retry_after_s = Some(60);
                problem
            }
            OpsError::WouldRemove(_) => Self::new(StatusCode::CONFLICT, 2015, "Invalid operation").because(error.to_string()),
            OpsError::Invalid(why) => Self::new(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided").because(why),
            OpsError::Store(error) if error.is_transient() => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, 2016, "Operation took too long").because("try again later");
                problem.retry_after_s = Some(1);
                problem
            }
            OpsError::Store(error) => {
                tracing::error!(error = error.chain(), "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, 2000, "Internal Server Error")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut error = json!({ "message": self.message, "code": self.code });
        if !self.errors.is_empty() {
            error["errors"] = self.errors.into();
        }
        let mut response = (self.status, Json(json!({ "error": error }))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
