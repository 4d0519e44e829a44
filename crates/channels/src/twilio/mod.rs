//! Text messages and phone calls by Twilio. Facts: <https://www.twilio.com/docs/messaging/api/message-resource>,
//! <https://www.twilio.com/docs/usage/security#validating-requests>.

mod inbound;
mod outcome;
mod payload;
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

pub use inbound::{Answer, answer_of, form, receipt, reply_xml, verify};
pub(crate) use outcome::outcome;
pub use voice::{again, goodbye};

use crate::Envelope;

/// How long a telephone rings: less than most mailboxes take to answer.
const RINGS_S: &str = "25";

/// The request for a text message, for a call, or for the end of one that rings. Who picked up hears the call to its end:
/// `canceled` leaves calls in progress alone (<https://www.twilio.com/docs/voice/api/call-resource>).
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &TwilioAccount, envelope: &Envelope<'_>, secrets: &Secrets, public_url: &str) -> Result<Request, String> {
    let token = secrets.resolve(&account.auth_token)?;
    let callback = format!("{public_url}/hooks/twilio/{}/status/{}", envelope.channel_id, envelope.attempt);
    if envelope.message.purpose == Purpose::HangUp {
        // Without a reference it is refused there, and nobody's telephone rings for it.
        let call = utf8_percent_encode(envelope.root.unwrap_or("nothing"), NON_ALPHANUMERIC);
        return Ok(post(account, &token, &format!("Calls/{call}"), &[("Status", "canceled".to_owned())]));
    }
    let (resource, mut fields) = match envelope.by {
        Means::Text => ("Messages", vec![("Body", payload::text(envelope.message))]),
        Means::Call => {
            let action = format!("{public_url}/hooks/twilio/{}/voice/{}", envelope.channel_id, envelope.attempt);
            ("Calls", vec![("Twiml", voice::page(envelope.message, &action)), ("Timeout", RINGS_S.to_owned())])
        }
    };
    fields.extend([("To", envelope.address.to_owned()), ("From", account.from.clone()), ("StatusCallback", callback)]);
    Ok(post(account, &token, resource, &fields))
}

fn post(account: &TwilioAccount, token: &Secret, resource: &str, fields: &[(&str, String)]) -> Request {
    let body =
        fields.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect::<Vec<_>>().join("&");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", account.account_sid, token.expose()));
    if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {pair}")) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    crate::post(
        format!("{}/2010-04-01/Accounts/{}/{resource}.json", account.api.trim_end_matches('/'), account.account_sid),
        headers,
        Bytes::from(body),
    )
}
