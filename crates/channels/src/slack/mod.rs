//! Slack by a bot token: a message per incident in a room, changed as the incident changes, with
//! buttons; what happened stands in its thread. What a person must know who pressed a button goes to
//! the `response_url` of that press, because Slack ignores the body of our answer.

mod facts;
mod inbound;
mod outcome;
mod payload;
#[cfg(test)]
mod tests;
pub(crate) mod webhook;

use allclear_base::Secrets;
use allclear_domain::catalog::SlackAccount;
use allclear_domain::delivery::Purpose;
use allclear_egress::Request;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

pub use inbound::{Interaction, Press, Pressed, parse, verify};
pub(crate) use outcome::{is_form_refused, outcome};

use crate::{Envelope, Form, Site, missing_secret, sensitive};

/// The request for a message.
///
/// # Errors
/// The secret that is not set.
pub(crate) fn request(
    account: &SlackAccount,
    envelope: &Envelope<'_>,
    secrets: &Secrets,
    site: &Site,
    form: Form,
) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if envelope.message.purpose == Purpose::Reply {
        // The address is the credential.
        let body = payload::reply(envelope.message).to_string();
        return Ok(crate::post(envelope.address.to_owned(), headers, Bytes::from(body)));
    }
    let token = secrets.resolve(&account.token).map_err(|name| missing_secret(&name))?;
    headers.insert(AUTHORIZATION, sensitive(&format!("Bearer {}", token.expose()))?);
    let (operation, body) = payload::payload(envelope.message, envelope.address, envelope.root, site, form);
    // The setting names the folder of the methods, as Slack's own documentation does.
    let api = account.api.trim_end_matches('/');
    let url = operation.url(api.strip_suffix("/api").unwrap_or(api), &[]);
    Ok(crate::post(url, headers, Bytes::from(body.to_string())))
}
