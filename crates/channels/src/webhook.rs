//! A message to a program: JSON by HTTP, signed as Standard Webhooks has it
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>), so that its libraries
//! verify it. The id of a message stays the same over its retries.

use allclear_base::Secrets;
use allclear_domain::catalog::WebhookAccount;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::json;
use sha2::Sha256;

use crate::{Envelope, answer};

/// The request for a message.
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &WebhookAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let (url, secret) = (secrets.resolve(&account.url)?, secrets.resolve(&account.secret)?);
    let body = body(envelope);
    let (id, timestamp) = (envelope.key, (envelope.now.0 / 1_000_000).to_string());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", &timestamp), ("webhook-signature", &sign(secret.expose(), id, &timestamp, &body))]
    {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    Ok(crate::post(url.expose().to_owned(), headers, Bytes::from(body)))
}

/// `v1,` and base64 of HMAC-SHA256 over id, time and body. The key is what follows `whsec_` in base64, or the secret itself.
fn sign(secret: &str, id: &str, timestamp: &str, body: &str) -> String {
    let encoded = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
    let key = encoded.unwrap_or_else(|| secret.as_bytes().to_vec());
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn body(envelope: &Envelope<'_>) -> String {
    let incidents: Vec<_> = envelope
        .message
        .incidents
        .iter()
        .map(|incident| {
            json!({
                "id": incident.incident, "number": incident.number, "title": incident.title, "detail": incident.detail,
                "service": incident.service, "urgency": incident.urgency, "status": incident.status, "remark": incident.remark,
            })
        })
        .collect();
    let kind = envelope.message.incidents.first().map_or("triggered", |incident| &incident.status);
    let data = json!({ "purpose": envelope.message.purpose, "to": envelope.address, "incident": incidents.first() });
    json!({ "type": format!("incident.{kind}"), "timestamp": envelope.now.to_string(), "data": data }).to_string()
}

/// What an answer means: any 2xx is taken; 410 says that the endpoint is gone for good, as other 4xx do.
pub(crate) fn outcome(response: &Response) -> Outcome {
    if let Some(outcome) = answer::of_status(response) {
        return outcome;
    }
    match response.status.as_u16() {
        200..=299 => Outcome::Accepted { provider_id: String::new() },
        408 | 425 => Outcome::Retry { why: format!("answered {}", response.status.as_u16()), after: None, may_have_worked: false },
        status => Outcome::Permanent { why: format!("the endpoint answered {status}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_standard_webhooks_is_signed_as_there() {
        let signature =
            sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
