//! What Slack's answers mean. Slack answers 200 with `ok: false` and a word; the words are listed at
//! <https://api.slack.com/methods/chat.postMessage#errors>.

use allclear_domain::delivery::Outcome;
use allclear_egress::Response;
use serde_json::Value;

use crate::answer;

/// Words that no retry changes.
const PERMANENT: &[&str] = &[
    "channel_not_found",
    "not_in_channel",
    "is_archived",
    "msg_too_long",
    "no_text",
    "invalid_blocks",
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "no_permission",
    "missing_scope",
    "restricted_action",
    "user_not_found",
    "cannot_dm_bot",
    "cant_update_message",
    "message_not_found",
    "edit_window_closed",
];

/// What an answer means.
pub(crate) fn outcome(response: &Response) -> Outcome {
    if let Some(outcome) = answer::of_status(response) {
        return outcome;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
        return Outcome::Unknown { why: format!("answered {} with a body that is not JSON", response.status.as_u16()) };
    };
    if body.get("ok").and_then(Value::as_bool) == Some(true) {
        let part = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        return Outcome::Accepted { provider_id: format!("{}:{}", part("channel"), part("ts")) };
    }
    let word: String = body.get("error").and_then(Value::as_str).unwrap_or("no reason given").chars().take(80).collect();
    if PERMANENT.contains(&word.as_str()) {
        Outcome::Permanent { why: format!("Slack says {word}") }
    } else {
        Outcome::Retry { why: format!("Slack says {word}"), after: None, may_have_worked: false }
    }
}
