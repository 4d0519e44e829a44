//! PagerDuty's Events API: version 2, version 1 and change events, with its answers and its odd status codes.

use allclear_base::metrics::metrics;
use allclear_domain::event::{self, Refused};
use allclear_ops::{OpsError, event as ops};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::{Value, json};

use crate::App;

/// `POST /v2/enqueue`
pub(crate) async fn v2(State(app): State<App>, body: Bytes) -> Response {
    let event = match event::parse_v2(&body) {
        Ok(event) => event,
        Err(refused) => return invalid(&refused),
    };
    match ops::ingest(&app.store, &*app.rng, event).await {
        Ok(dedup_key) => {
            let body = json!({ "status": "success", "message": "Event processed", "dedup_key": dedup_key });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Err(error) => failed(&error, StatusCode::TOO_MANY_REQUESTS, "Invalid routing key"),
    }
}

/// `POST /v2/change/enqueue`
pub(crate) async fn change(State(app): State<App>, body: Bytes) -> Response {
    let event = match event::parse_change(&body) {
        Ok(event) => event,
        Err(refused) => return invalid(&refused),
    };
    match ops::ingest_change(&app.store, &*app.rng, event).await {
        Ok(()) => (StatusCode::ACCEPTED, Json(json!({ "status": "success", "message": "Change event processed" }))).into_response(),
        Err(error) => failed(&error, StatusCode::TOO_MANY_REQUESTS, "Invalid routing key"),
    }
}

/// `POST /generic/2010-04-15/create_event.json`: 200 where version 2 has 202, and 403 where it has 429.
pub(crate) async fn v1(State(app): State<App>, body: Bytes) -> Response {
    let event = match event::parse_v1(&body) {
        Ok(event) => event,
        Err(refused) => return invalid(&refused),
    };
    match ops::ingest(&app.store, &*app.rng, event).await {
        Ok(dedup_key) => Json(json!({ "status": "success", "message": "Event processed", "incident_key": dedup_key })).into_response(),
        Err(error) => failed(&error, StatusCode::FORBIDDEN, "Service key is invalid"),
    }
}

/// `POST /hooks/runscope/{key}`: a run's result, as Runscope posts it. The key is an integration's.
pub(crate) async fn runscope(State(app): State<App>, Path(key): Path<String>, body: Bytes) -> Response {
    let event = match event::parse_runscope(&key, &body) {
        Ok(event) => event,
        Err(refused) => return invalid(&refused),
    };
    match ops::ingest(&app.store, &*app.rng, event).await {
        Ok(_) => Json(json!({ "status": "success" })).into_response(),
        Err(error) => failed(&error, StatusCode::TOO_MANY_REQUESTS, "Invalid integration key"),
    }
}

/// Counts an answer, whoever gave it.
pub(crate) async fn counted(answer: Response) -> Response {
    metrics().event(answer.status().as_u16());
    answer
}

fn refusal(status: &str, message: &str, errors: &[String]) -> Value {
    json!({ "status": status, "message": message, "errors": errors })
}

fn invalid(refused: &Refused) -> Response {
    let (status, body) = match refused {
        Refused::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, refusal("invalid event", "Event object is invalid", &[refused.to_string()])),
        Refused::Unreadable => {
            (StatusCode::BAD_REQUEST, refusal("Unrecognized object", "Event object format is unrecognized", &[refused.to_string()]))
        }
        Refused::Invalid(errors) => (StatusCode::BAD_REQUEST, refusal("invalid event", "Event object is invalid", errors)),
    };
    (status, Json(body)).into_response()
}

/// Nothing was kept: the sender comes again, unless its key is wrong.
fn failed(error: &OpsError, overload: StatusCode, unknown_key: &str) -> Response {
    if matches!(error, OpsError::UnknownKey) {
        let body = refusal("invalid event", "Event object is invalid", &[unknown_key.to_owned()]);
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    if matches!(error, OpsError::TooMany) {
        let message = "Requests for this service are arriving too quickly.  Please retry later.";
        let body = refusal(
            "throttle exceeded",
            message,
            &["this integration sends more events a minute than it may; nothing of this event was stored".to_owned()],
        );
        return (overload, [(RETRY_AFTER, "30")], Json(body)).into_response();
    }
    let busy = matches!(error, OpsError::Store(error) if error.is_overload());
    if busy {
        let message = "Requests for this service are arriving too quickly.  Please retry later.";
        let body = refusal("throttle exceeded", message, &["too much waits to be stored; nothing of this event was".to_owned()]);
        return (overload, [(RETRY_AFTER, "1")], Json(body)).into_response();
    }
    tracing::error!(%error, "an event could not be kept");
    let body = refusal("error", "The event was not stored. Please retry later.", &[]);
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], Json(body)).into_response()
}
