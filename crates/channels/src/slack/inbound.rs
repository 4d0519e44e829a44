//! Presses of buttons: verified on the raw bytes, then read.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::Sha256;

use allclear_domain::IncidentId;

/// A request older than this may be a replay; Slack's own advice is five minutes.
const OLDEST_S: i64 = 300;

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
    now_s.saturating_sub(sent_s).abs() <= OLDEST_S && mac.verify_slice(&given).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Reads a press; nothing for other interactions, which are answered and ignored.
#[must_use]
pub fn parse(body: &[u8]) -> Option<Pressed> {
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
    Some(Pressed { user, incident: action.get("value")?.as_str()?.into(), press })
}
