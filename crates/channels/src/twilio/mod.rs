//! Text messages and phone calls by Twilio. Facts: `facts`;
//! <https://www.twilio.com/docs/usage/security#validating-requests>.

mod facts;
mod inbound;
mod outcome;
mod payload;
mod segments;
#[cfg(test)]
mod tests;
mod voice;

use allclear_base::{Secret, Secrets};
use allclear_domain::catalog::TwilioAccount;
use allclear_domain::delivery::{Means, Purpose};
use allclear_egress::Request;
use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use inbound::{Answer, Inbound, answer_of, form, no_reply_xml, read_text, receipt, reply_xml, verify};
pub(crate) use outcome::{is_form_refused, outcome};
pub use voice::{again, goodbye};

use crate::facts::Operation;
use crate::{Envelope, Form, Site, missing_secret, sensitive};

/// How long a telephone rings: less than most mailboxes take to answer.
const RINGS_S: &str = "25";

/// How long Twilio may keep a text in its queue before it gives up; its own default is hours, and by
/// then somebody else has long been paged.
const VALIDITY_S: &str = "600";

/// The request for a text message, for a call, or for the end of one that rings. Whoever picked up hears
/// the call to its end: `canceled` leaves calls in progress alone
/// (<https://www.twilio.com/docs/voice/api/call-resource>).
///
/// # Errors
/// The secret that is not set.
pub(crate) fn request(
    account: &TwilioAccount,
    envelope: &Envelope<'_>,
    secrets: &Secrets,
    site: &Site,
    form: Form,
) -> Result<Request, String> {
    let token = secrets.resolve(&account.auth_token).map_err(|name| missing_secret(&name))?;
    if envelope.message.purpose == Purpose::HangUp {
        // Without a reference it is refused there, and nobody's telephone rings for it.
        let call = utf8_percent_encode(envelope.root.unwrap_or("nothing"), NON_ALPHANUMERIC).to_string();
        return post(account, &token, &facts::UPDATE_CALL, &call, &[("Status", "canceled".to_owned())]);
    }
    let hook = |kind: &str| {
        let path = format!("hooks/twilio/{}/{kind}/{}", envelope.channel_id, envelope.attempt);
        site.public().map(|public| format!("{public}/{path}"))
    };
    let (operation, mut fields) = match envelope.by {
        Means::Text => {
            let body = payload::text(envelope.message, site);
            (facts::SEND_MESSAGE, vec![("Body", body), ("ValidityPeriod", VALIDITY_S.to_owned())])
        }
        Means::Call => {
            // What is only said to a person needs no key.
            let asks = envelope.message.words.is_none();
            let action = hook("voice").filter(|_| asks && form == Form::Full);
            let document = voice::page(envelope.message, action.as_deref());
            (facts::START_CALL, vec![("Twiml", document), ("Timeout", RINGS_S.to_owned())])
        }
    };
    fields.extend([("To", envelope.address.to_owned()), ("From", account.from.clone())]);
    if let Some(callback) = hook("status").filter(|_| form == Form::Full) {
        fields.push(("StatusCallback", callback));
    }
    post(account, &token, &operation, "", &fields)
}

fn post(account: &TwilioAccount, token: &Secret, operation: &Operation, sid: &str, fields: &[(&str, String)]) -> Result<Request, String> {
    debug_assert!(fields.iter().all(|(name, _)| operation.sends.contains(name)));
    let pair = |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    let body = fields.iter().map(pair).collect::<Vec<_>>().join("&");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let credentials = format!("{}:{}", account.account_sid, token.expose());
    let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
    headers.insert(AUTHORIZATION, sensitive(&format!("Basic {credentials}"))?);
    let url = operation.url(&account.api, &[("AccountSid", &account.account_sid), ("Sid", sid)]);
    Ok(crate::post(url, headers, Bytes::from(body)))
}
