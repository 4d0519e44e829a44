//! What Twilio's answers mean; the codes are listed at <https://www.twilio.com/docs/api/errors>.

use allclear_domain::Timestamp;
use allclear_domain::delivery::Outcome;
use allclear_egress::Response;
use serde_json::Value;

use super::facts;
use crate::answer;

/// What an answer means: 2xx with a `sid` is accepted, unless it says that the message failed already.
pub(crate) fn outcome(response: &Response, now: Timestamp) -> Outcome {
    if let Some(outcome) = answer::of_status(response, now) {
        return outcome;
    }
    let status = response.status.as_u16();
    let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if (200..=299).contains(&status) {
        let failed = text("status").filter(|word| matches!(*word, "failed" | "undelivered"));
        return match (text("sid"), failed) {
            (Some(_), Some(word)) => {
                let code = body["error_code"].as_i64().map_or(String::new(), |code| format!(" (code {code})"));
                Outcome::Permanent { why: format!("Twilio took it and says {word}{code}") }
            }
            (Some(sid), None) => Outcome::Accepted { provider_id: sid.to_owned() },
            (None, _) => Outcome::Unknown { why: format!("answered {status} without a message id") },
        };
    }
    let code = body.get("code").and_then(Value::as_i64);
    let shown = code.map_or(String::new(), |code| format!(" (code {code})"));
    let said: String = text("message").unwrap_or("no reason given").chars().take(200).collect();
    let why = format!("Twilio answered {status}{shown}: {said}");
    let is_one_of = |codes: &[i64]| code.is_some_and(|code| codes.contains(&code));
    if is_one_of(facts::RATE_LIMITED) {
        return Outcome::RateLimited { why, after: answer::retry_after(response, now) };
    }
    let account = is_one_of(facts::CREDENTIALS_REFUSED) || is_one_of(facts::SENDER_REFUSED);
    if account || matches!(status, 401 | 403) {
        return Outcome::ChannelBroken { why };
    }
    Outcome::Permanent { why }
}

/// Whether it is the address for callbacks that is refused: the message itself may pass without it.
pub(crate) fn is_form_refused(response: &Response) -> bool {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
    body["code"].as_i64().is_some_and(|code| facts::CALLBACK_REFUSED.contains(&code))
}
