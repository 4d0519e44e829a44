//! What Slack's answers mean. Slack answers 200 with `ok: false` and a word.

use allclear_domain::Timestamp;
use allclear_domain::delivery::Outcome;
use allclear_egress::Response;
use serde_json::Value;

use super::facts;
use crate::answer;

/// What an answer means. A word that is neither passing nor the channel's lasts and concerns the
/// message: its room, its person or its form.
pub(crate) fn outcome(response: &Response, now: Timestamp) -> Outcome {
    if let Some(outcome) = answer::of_status(response, now) {
        return outcome;
    }
    let status = response.status.as_u16();
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
        return match status {
            // The answer to what was posted to a `response_url` is the word `ok`, or nothing.
            200 if matches!(&*response.body, b"ok" | b"") => Outcome::Accepted { provider_id: String::new() },
            200..=399 => Outcome::Unknown { why: format!("answered {status} with a body that is not JSON") },
            _ => Outcome::Permanent { why: format!("Slack answered {status}") },
        };
    };
    if body.get("ok").and_then(Value::as_bool) == Some(true) {
        let part = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let provider_id = match (part("channel"), part("ts")) {
            ("", _) | (_, "") => String::new(),
            (channel, ts) => format!("{channel}:{ts}"),
        };
        return Outcome::Accepted { provider_id };
    }
    let word = word_of(&body);
    let why = format!("Slack says {word}");
    match word.as_str() {
        word if facts::RATE_LIMITED.contains(&word) => Outcome::RateLimited { why, after: answer::retry_after(response, now) },
        word if facts::PASSING.contains(&word) => Outcome::Retry { why, after: answer::retry_after(response, now), may_have_worked: false },
        word if facts::CHANNEL_BROKEN.contains(&word) => Outcome::ChannelBroken { why },
        _ => Outcome::Permanent { why },
    }
}

/// Whether it may be the form of the message that is refused, so that plain text may pass: the word is
/// neither passing nor the channel's, the room's or the changed message's. What was refused had no effect.
pub(crate) fn is_form_refused(response: &Response) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else { return false };
    let word = word_of(&body);
    let is_one_of =
        |words: &[&str]| words.iter().any(|known| known.strip_suffix('*').map_or(word == **known, |begins| word.starts_with(begins)));
    let about_others = [facts::PASSING, facts::CHANNEL_BROKEN, facts::ROOM_REFUSED, facts::MESSAGE_REFUSED];
    body["ok"] == false && !about_others.into_iter().any(is_one_of)
}

fn word_of(body: &Value) -> String {
    body.get("error").and_then(Value::as_str).unwrap_or("no reason given").chars().take(80).collect()
}
