//! Heartbeats of things outside, in Healthchecks' addresses: `/ping/KEY`, `/ping/KEY/start`, `/fail`, `/log`, `/EXIT-STATUS`.

use allclear_ops::OpsError;
use allclear_ops::heartbeat::{self, Said};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;

use crate::App;

/// `/ping/{key}` by any usual method.
pub(crate) async fn success(State(app): State<App>, Path(key): Path<String>, body: Bytes) -> Response {
    hear(&app, &key, None, &body).await
}

/// `/ping/{key}/{signal}`
pub(crate) async fn signal(State(app): State<App>, Path((key, signal)): Path<(String, String)>, body: Bytes) -> Response {
    hear(&app, &key, Some(&signal), &body).await
}

async fn hear(app: &App, key: &str, signal: Option<&str>, body: &[u8]) -> Response {
    let Some(said) = Said::from_path(signal) else { return (StatusCode::BAD_REQUEST, "invalid url format").into_response() };
    match heartbeat::ping(&app.store, &*app.rng, key, said, body).await {
        Ok(()) => (StatusCode::OK, "OK").into_response(),
        Err(OpsError::UnknownKey) => (StatusCode::NOT_FOUND, "not found").into_response(),
        Err(error) => {
            // It came and was not kept: its absence is held against nobody.
            app.health.was_deaf(app.store.now().0);
            tracing::warn!(%error, "a heartbeat could not be kept");
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], "try again later").into_response()
        }
    }
}
