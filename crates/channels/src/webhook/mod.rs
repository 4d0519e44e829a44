//! A message to a program: JSON by HTTP, signed as Standard Webhooks has it
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>), so that
//! its libraries verify it. The id of a message stays the same over its retries.

mod facts;

use allclear_base::Secrets;
use allclear_domain::Timestamp;
use allclear_domain::catalog::WebhookAccount;
use allclear_domain::delivery::{Brief, Outcome};
use allclear_egress::{Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{Envelope, Site, answer, missing_secret};

/// The request for a message.
///
/// # Errors
/// The secret that is not set, or cannot be used.
pub(crate) fn request(account: &WebhookAccount, envelope: &Envelope<'_>, secrets: &Secrets, site: &Site) -> Result<Request, String> {
    let url = secrets.resolve(&account.url).map_err(|name| missing_secret(&name))?;
    let secret = secrets.resolve(&account.secret).map_err(|name| missing_secret(&name))?;
    let key = signing_key(secret.expose())?;
    let body = body(envelope, site);
    let (id, timestamp) = (envelope.key, (envelope.now.0 / 1_000_000).to_string());
    let signature = sign(&key, id, &timestamp, &body);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in facts::HEADERS.into_iter().zip([id, &timestamp, &signature]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(crate::post(url.expose().trim().to_owned(), headers, Bytes::from(body)))
}

/// The key that a secret stands for: base64 of 24 to 64 bytes, with `whsec_` before it or not. Anything
/// else is refused, because no library of the receiver would come to the same key.
///
/// # Errors
/// What is wrong, without the secret.
pub fn signing_key(secret: &str) -> Result<Vec<u8>, String> {
    const FORM: &str = "whsec_ and base64 (with + / and =) of 24 to 64 random bytes, as `openssl rand -base64 32` makes them";
    let secret = secret.trim();
    let encoded = secret.strip_prefix(facts::SECRET_PREFIX).unwrap_or(secret);
    match STANDARD.decode(encoded) {
        Ok(key) if facts::SECRET_BYTES.contains(&key.len()) => Ok(key),
        Ok(key) => Err(format!("the webhook's secret has {} bytes; it must be {FORM}", key.len())),
        Err(_) => Err(format!("the webhook's secret is not base64; it must be {FORM}")),
    }
}

/// `v1,` and base64 of HMAC-SHA256 over id, time and body.
fn sign(key: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The body: what changed gives the event its name; `status` says how the incident stood then.
fn body(envelope: &Envelope<'_>, site: &Site) -> String {
    let message = envelope.message;
    let incident = message.incidents.first();
    let kind = match (incident, &message.words) {
        (Some(incident), _) => {
            let event = incident.news.as_ref().map_or(incident.status.as_str(), |news| news.event.word());
            format!("incident.{event}")
        }
        (None, Some(_)) => "notice".to_owned(),
        (None, None) => "component".to_owned(),
    };
    let mut data = json!({
        "purpose": message.purpose, "to": envelope.address,
        "incident": incident.map(|incident| incident_object(incident, site)),
    });
    if let Some(news) = incident.and_then(|incident| incident.news.as_ref()) {
        data["change"] = news.words.as_str().into();
    }
    if let Some(words) = &message.words {
        data["text"] = words.as_str().into();
    }
    json!({ "type": kind, "timestamp": envelope.written_at.to_string(), "data": data }).to_string()
}

fn incident_object(incident: &Brief, site: &Site) -> Value {
    let mut object = json!({
        "id": incident.incident, "number": incident.number, "title": incident.title, "detail": incident.detail,
        "service": incident.service, "urgency": incident.urgency, "status": incident.status, "remark": incident.remark,
    });
    if let Some(url) = site.incident(incident.incident.as_str()) {
        object["url"] = url.into();
    }
    if let Some(source) = &incident.source {
        object["source"] = source.as_str().into();
    }
    if !incident.links.is_empty() {
        object["links"] = json!(incident.links);
    }
    if !incident.fields.is_empty() {
        let fields = incident.fields.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        object["details"] = Value::Object(fields.collect());
    }
    object
}

/// What an answer means. Any 2xx is taken; 410 says that the endpoint is gone for good. Everything else,
/// redirects included, is a failure that is tried again over days: endpoints are deployed, moved and
/// mended, and a program that missed an event cannot know it.
pub(crate) fn outcome(response: &Response, now: Timestamp) -> Outcome {
    if let Some(outcome) = answer::of_status(response, now) {
        return outcome;
    }
    let status = response.status.as_u16();
    let why = format!("the endpoint answered {status}");
    match status {
        200..=299 => Outcome::Accepted { provider_id: String::new() },
        facts::GONE => Outcome::Gone { why },
        _ => Outcome::Deferred { why, after: answer::retry_after(response, now) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::answered;

    #[test]
    fn the_example_of_standard_webhooks_is_signed_as_there() {
        let key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_no_library_would_decode_to_the_same_key_is_refused() {
        let bytes = [0xfb_u8; 32];
        let standard = STANDARD.encode(bytes);
        for good in [standard.clone(), format!("whsec_{standard}"), format!(" whsec_{standard}\n")] {
            assert_eq!(signing_key(&good).as_deref(), Ok(&bytes[..]), "{good}");
        }
        let url_safe = base64::engine::general_purpose::URL_SAFE.encode(bytes);
        let short = STANDARD.encode([1_u8; 23]);
        let long = STANDARD.encode([1_u8; 65]);
        for bad in ["", "whsec_", "a plain password", standard.trim_end_matches('='), &url_safe, &short, &long] {
            let why = signing_key(bad).expect_err("it must be refused");
            assert!(why.contains("whsec_") && (bad.len() < 10 || !why.contains(bad)), "{why}");
        }
    }

    #[test]
    fn what_is_not_taken_is_tried_again_and_only_410_is_final() {
        let outcome = |status| outcome(&answered(status, &[], ""), Timestamp(0));
        for status in [301, 302, 400, 401, 403, 404, 405, 408, 409, 413, 421, 425] {
            assert!(matches!(outcome(status), Outcome::Deferred { .. }), "{status}");
        }
        assert!(matches!(outcome(200), Outcome::Accepted { .. }));
        assert!(matches!(outcome(204), Outcome::Accepted { .. }));
        assert!(matches!(outcome(429), Outcome::RateLimited { .. }));
        assert!(matches!(outcome(500), Outcome::Retry { .. }));
        assert!(matches!(outcome(410), Outcome::Gone { .. }));
    }
}
