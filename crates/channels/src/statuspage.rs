//! The real StatusPage shows what our components show, by its manage API.
//! Facts: <https://developer.statuspage.io/#operation/patchPagesPageIdComponentsComponentId>; one request a second per key,
//! and 420 or 429 beyond.

use allclear_base::Secrets;
use allclear_domain::catalog::StatuspageAccount;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use crate::{Envelope, answer};

/// The request that sets a component's status.
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &StatuspageAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let key = secrets.resolve(&account.api_key)?;
    let (component, status) = envelope.message.mirror.as_ref().map_or(("", "operational"), |(id, status)| (id.as_str(), status.word()));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(mut value) = HeaderValue::from_str(&format!("OAuth {}", key.expose())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let url = format!("{}/v1/pages/{}/components/{component}", account.api.trim_end_matches('/'), account.page);
    let body = Bytes::from(json!({ "component": { "status": status } }).to_string());
    Ok(Request { method: Method::PATCH, ..crate::post(url, headers, body) })
}

/// What an answer means.
pub(crate) fn outcome(response: &Response) -> Outcome {
    if let Some(outcome) = answer::of_status(response) {
        return outcome;
    }
    match response.status.as_u16() {
        200..=299 => Outcome::Accepted { provider_id: String::new() },
        420 => Outcome::Retry { why: "answered 420".into(), after: None, may_have_worked: false },
        status => {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            Outcome::Permanent { why: format!("StatusPage answered {status}: {text}") }
        }
    }
}
