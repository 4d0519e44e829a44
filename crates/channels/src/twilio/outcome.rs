//! What Twilio's answers mean; the codes are listed at <https://www.twilio.com/docs/api/errors>.

use allclear_domain::delivery::Outcome;
use allclear_egress::Response;
use serde_json::Value;

use crate::answer;

/// What an answer means: 201 with a `sid` is accepted; a 4xx with a code will not change by itself.
pub(crate) fn outcome(response: &Response) -> Outcome {
    if let Some(outcome) = answer::of_status(response) {
        return outcome;
    }
    let status = response.status.as_u16();
    let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
    match (status, body.get("sid").and_then(Value::as_str)) {
        (200 | 201, Some(sid)) => Outcome::Accepted { provider_id: sid.to_owned() },
        (200..=299, None) => Outcome::Unknown { why: format!("answered {status} without a message id") },
        _ => {
            let code = body.get("code").and_then(Value::as_i64).map_or(String::new(), |code| format!(" (code {code})"));
            let text: String = body.get("message").and_then(Value::as_str).unwrap_or("no reason given").chars().take(200).collect();
            Outcome::Permanent { why: format!("Twilio answered {status}{code}: {text}") }
        }
    }
}
