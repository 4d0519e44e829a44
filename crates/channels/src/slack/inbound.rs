//! Presses of buttons: verified on the raw bytes, then read.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::Sha256;

use allclear_domain::IncidentId;

use super::facts::OLDEST_CALLBACK_S;

/// What was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// Acknowledge.
    Acknowledge,
    /// Resolve.
    Resolve,
}

/// A press of a button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pressed {
    /// The Slack user's id.
    pub user: String,
    /// The incident whose button it was.
    pub incident: IncidentId,
    /// Which button.
    pub press: Press,
    /// Where the person can be told something: good for five messages within half an hour.
    pub response_url: Option<String>,
}

/// What Slack tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interaction {
    /// A press of one of our buttons.
    Pressed(Pressed),
    /// Slack asks whether the address is ours: it wants this text back.
    Challenge(String),
    /// Anything else, which is answered and ignored.
    Other,
}

/// Whether a request is Slack's: its signature over version, time and raw body, in constant time, and not old.
#[must_use]
pub fn verify(signing_secret: &str, timestamp: &str, signature: &str, body: &[u8], now_s: i64) -> bool {
    let Ok(sent_s) = timestamp.parse::<i64>() else { return false };
    let Some(given) = signature.strip_prefix("v0=").and_then(unhex) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(signing_secret.as_bytes()) else { return false };
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    now_s.saturating_sub(sent_s).abs() <= OLDEST_CALLBACK_S && mac.verify_slice(&given).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Reads what Slack tells of. Buttons come as a form with a `payload`, a challenge as JSON.
#[must_use]
pub fn parse(body: &[u8]) -> Interaction {
    if let Ok(object) = serde_json::from_slice::<Value>(body) {
        let challenge = object["challenge"].as_str().filter(|_| object["type"] == "url_verification");
        return challenge.map_or(Interaction::Other, |text| Interaction::Challenge(text.to_owned()));
    }
    pressed(body).map_or(Interaction::Other, Interaction::Pressed)
}

fn pressed(body: &[u8]) -> Option<Pressed> {
    let body = std::str::from_utf8(body).ok()?;
    let encoded = body.split('&').find_map(|pair| pair.strip_prefix("payload="))?;
    let json = percent_decode_str(&encoded.replace('+', " ")).decode_utf8().ok()?.into_owned();
    let payload: Value = serde_json::from_str(&json).ok()?;
    if payload.get("type")?.as_str()? != "block_actions" {
        return None;
    }
    let action = payload.get("actions")?.get(0)?;
    let press = match action.get("action_id")?.as_str()? {
        "acknowledge" => Press::Acknowledge,
        "resolve" => Press::Resolve,
        _ => return None,
    };
    let user = payload.get("user")?.get("id")?.as_str()?.to_owned();
    let incident = action.get("value")?.as_str()?.into();
    let response_url = payload.get("response_url").and_then(Value::as_str);
    let response_url = response_url.filter(|url| url.len() <= LONGEST_RESPONSE_URL).map(str::to_owned);
    Some(Pressed { user, incident, press, response_url })
}

/// Slack's are some hundred characters long.
const LONGEST_RESPONSE_URL: usize = 2_000;
