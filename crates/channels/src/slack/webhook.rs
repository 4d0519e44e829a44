//! Slack by an incoming webhook: one room, text only. Facts: <https://api.slack.com/messaging/webhooks>.

use allclear_base::Secrets;
use allclear_domain::catalog::SlackWebhookAccount;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::payload;
use crate::{Envelope, answer};

/// The request for a message.
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &SlackWebhookAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let url = secrets.resolve(&account.url)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    Ok(crate::post(url.expose().to_owned(), headers, Bytes::from(payload::plain(envelope.message).to_string())))
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
