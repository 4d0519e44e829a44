//! Whether the process lives, and whether it should get requests.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use crate::App;

/// The process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// It is up, its loops are well, and its database answers.
pub(crate) async fn readyz(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let database = app.store.read("ready", allclear_store::record::delivery::backlog).await;
    let mut problems = Vec::new();
    if !app.ready.get() {
        problems.push("starting or stopping".to_owned());
    }
    if !app.health.is_well() {
        problems.push(format!("{} panics of loops since the start", app.health.panics()));
    }
    let (waiting, oldest) = match database {
        Ok(backlog) => backlog,
        Err(error) => {
            problems.push(format!("the database does not answer: {error}"));
            (0, None)
        }
    };
    let mut warnings: Vec<String> = app.health.findings().into_iter().map(|finding| format!("the auditor found: {finding}")).collect();
    warnings.extend(app.health.failing().into_iter().map(|channel| format!("the provider of {channel} keeps failing")));
    match allclear_ops::delivery::findings(&app.store).await {
        Ok(findings) => warnings.extend(findings),
        Err(error) => problems.push(format!("the database does not answer: {error}")),
    }
    if app.store.catalog().settings().operators.is_none() {
        warnings.push("nobody is told of AllClear's own trouble: the setting \"operators\" is missing".to_owned());
    }
    let oldest_s = oldest.map(|due| app.store.now().since(due).as_secs());
    let body = json!({
        "ready": problems.is_empty(), "problems": problems, "warnings": warnings,
        "outbox": { "waiting": waiting, "oldest_due_s": oldest_s },
    });
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body))
}
