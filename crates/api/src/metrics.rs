//! `GET /metrics`: what Prometheus collects.

use allclear_base::metrics::{Measured, metrics};
use allclear_domain::catalog::Kind;
use allclear_ops::view;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use crate::App;
use crate::access::{Caller, Problem};

pub(crate) async fn get_metrics(State(app): State<App>, Caller(actor): Caller) -> Result<Response, Problem> {
    let found = view::measure(&app.store, &actor).await?;
    let mut now = Measured::default();
    now.value("outbox_waiting", "Messages that wait to be sent or are being sent", found.waiting);
    now.value("outbox_oldest_due_seconds", "How long the oldest of them has been due; 0 where none is", found.oldest_due_s);
    let open = found.open.into_iter().map(|(status, count)| (status.to_owned(), count));
    now.values("incidents_open", "Incidents that are not resolved, by status", "status", open);
    let catalog = app.store.catalog();
    let count = |kind: Kind| (kind.word().to_owned(), i64::try_from(catalog.of_kind(kind).count()).unwrap_or(i64::MAX));
    now.values("documents", "Documents of the configuration, by kind", "kind", Kind::ALL.map(count));
    now.value("configuration_revision", "Revision of the configuration", catalog.rev());
    now.value("loop_panics", "Panics of loops since the start", i64::try_from(app.health.panics()).unwrap_or(i64::MAX));
    let findings = i64::try_from(app.health.findings().len()).unwrap_or(i64::MAX);
    now.value("audit_findings", "What the auditor found when it looked last; 0 is well", findings);
    now.value("ready", "1 while AllClear calls itself ready", i64::from(app.ready.get() && app.health.is_well()));
    let text = metrics().text(&now);
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
