//! Slack by an incoming webhook: one room, text only. Facts: <https://api.slack.com/messaging/webhooks>.

use allclear_base::Secrets;
use allclear_domain::catalog::SlackWebhookAccount;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

use super::payload;
use crate::{CALL_TIMEOUT, Envelope, LARGEST_ANSWER, answer};

/// The request for a message.
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &SlackWebhookAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let url = secrets.resolve(&account.url)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    Ok(Request {
        method: Method::POST,
        url: url.expose().to_owned(),
        headers,
        body: Bytes::from(payload::plain(envelope.message).to_string()),
        timeout: CALL_TIMEOUT,
        largest_body: LARGEST_ANSWER,
        follow_redirects: false,
    })
}

/// What an answer means: 200 with the word `ok`; refusals come as 4xx with a word.
pub(crate) fn outcome(response: &Response) -> Outcome {
    if let Some(outcome) = answer::of_status(response) {
        return outcome;
    }
    let status = response.status.as_u16();
    if (200..=299).contains(&status) {
        return Outcome::Accepted { provider_id: String::new() };
    }
    let word: String = String::from_utf8_lossy(&response.body).chars().take(60).collect();
    Outcome::Permanent { why: format!("Slack answered {status} {word:?}") }
}
