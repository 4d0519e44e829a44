//! Slack by an incoming webhook: one room, text only.
//! Facts: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use allclear_base::Secrets;
use allclear_domain::Timestamp;
use allclear_domain::catalog::SlackWebhookAccount;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::payload;
use crate::{Envelope, Form, Site, answer, missing_secret};

/// The request for a message.
///
/// # Errors
/// The secret that is not set.
pub(crate) fn request(
    account: &SlackWebhookAccount,
    envelope: &Envelope<'_>,
    secrets: &Secrets,
    site: &Site,
    form: Form,
) -> Result<Request, String> {
    let url = secrets.resolve(&account.url).map_err(|name| missing_secret(&name))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    let body = payload::without_buttons(envelope.message, site, form);
    Ok(crate::post(url.expose().trim().to_owned(), headers, Bytes::from(body.to_string())))
}

/// What an answer means: 200 with the word `ok`; refusals are a 4xx with a word. The address is the
/// credential, so that what is wrong with it (403, 404, 410) is wrong with the channel.
pub(crate) fn outcome(response: &Response, now: Timestamp) -> Outcome {
    if let Some(outcome) = answer::of_status(response, now) {
        return outcome;
    }
    let status = response.status.as_u16();
    if (200..=299).contains(&status) {
        return Outcome::Accepted { provider_id: String::new() };
    }
    let word: String = String::from_utf8_lossy(&response.body).chars().take(60).collect();
    let why = format!("Slack answered {status} {word:?}");
    match status {
        401 | 403 | 404 | 410 => Outcome::ChannelBroken { why },
        _ => Outcome::Permanent { why },
    }
}

/// Whether the form of the message may be what is refused.
pub(crate) fn is_form_refused(response: &Response) -> bool {
    response.status.as_u16() == 400
}
