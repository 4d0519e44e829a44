//! The real StatusPage shows what our components show, by its manage API.

mod facts;

use allclear_base::Secrets;
use allclear_domain::Timestamp;
use allclear_domain::catalog::StatuspageAccount;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::json;

use crate::{Envelope, answer, missing_secret, sensitive};

/// The request that sets a component's status.
///
/// # Errors
/// The secret that is not set.
pub(crate) fn request(account: &StatuspageAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let key = secrets.resolve(&account.api_key).map_err(|name| missing_secret(&name))?;
    let mirror = envelope.message.mirror.as_ref();
    let (component, status) = mirror.map_or(("", "operational"), |(id, status)| (id.as_str(), status.word()));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, sensitive(&format!("{}{}", facts::AUTHORIZATION, key.expose()))?);
    let operation = facts::UPDATE_COMPONENT;
    let url = operation.url(&account.api, &[("page_id", &account.page), ("component_id", component)]);
    let body = Bytes::from(json!({ "component": { "status": status } }).to_string());
    Ok(Request { method: operation.method, ..crate::post(url, headers, body) })
}

/// What an answer means.
pub(crate) fn outcome(response: &Response, now: Timestamp) -> Outcome {
    if let Some(outcome) = answer::of_status(response, now) {
        return outcome;
    }
    let status = response.status.as_u16();
    let why = || format!("StatusPage answered {status}: {}", answer::excerpt(response));
    match status {
        200..=299 => Outcome::Accepted { provider_id: String::new() },
        facts::RATE_LIMITED => Outcome::RateLimited { why: why(), after: answer::retry_after(response, now) },
        401 | 403 => Outcome::ChannelBroken { why: why() },
        _ => Outcome::Permanent { why: why() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::answered;

    #[test]
    fn a_key_that_is_too_quick_waits_and_a_key_of_another_organisation_is_the_channels_fault() {
        let outcome = |status| outcome(&answered(status, &[], "{\"error\":\"x\"}"), Timestamp(0));
        assert!(matches!(outcome(200), Outcome::Accepted { .. }));
        assert!(matches!(outcome(420), Outcome::RateLimited { .. }));
        assert!(matches!(outcome(429), Outcome::RateLimited { .. }));
        for status in [401, 403] {
            assert!(matches!(outcome(status), Outcome::ChannelBroken { .. }), "{status}");
        }
        for status in [404, 422] {
            assert!(matches!(outcome(status), Outcome::Permanent { .. }), "{status}");
        }
    }
}
