//! Slack by a bot token: a message per incident in a room, changed as the incident changes, with buttons; what
//! happened stands in its thread. Facts: <https://api.slack.com/methods/chat.postMessage>,
//! <https://api.slack.com/authentication/verifying-requests-from-slack>.

mod inbound;
mod outcome;
mod payload;
#[cfg(test)]
mod tests;
pub(crate) mod webhook;

use allclear_base::Secrets;
use allclear_domain::catalog::SlackAccount;
use allclear_egress::Request;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

pub use inbound::{Press, Pressed, parse, verify};
pub(crate) use outcome::outcome;

use crate::Envelope;

/// The request for a message.
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &SlackAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let token = secrets.resolve(&account.token)?;
    let (method, body) = payload::payload(envelope.message, envelope.address, envelope.root);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(crate::post(format!("{}/{method}", account.api.trim_end_matches('/')), headers, Bytes::from(body.to_string())))
}
