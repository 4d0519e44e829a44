//! Replies and receipts: verified over the address and every parameter, then read.

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha1::Sha1;

use allclear_domain::delivery::STOPPED_RINGING;

/// What a reply asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 4.
    Acknowledge,
    /// 6.
    Resolve,
    /// Anything else.
    Unclear,
}

/// The parameters of a form, in their order.
#[must_use]
pub fn form(body: &[u8]) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let body = String::from_utf8_lossy(body);
    let pairs = body.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Whether a request is Twilio's: base64 of HMAC-SHA1 over the full address and the parameters in the order of
/// their names, in constant time.
#[must_use]
pub fn verify(auth_token: &str, url: &str, parameters: &[(String, String)], signature: &str) -> bool {
    let Ok(given) = base64::engine::general_purpose::STANDARD.decode(signature) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(auth_token.as_bytes()) else { return false };
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.verify_slice(&given).is_ok()
}

/// What a person meant.
#[must_use]
pub fn answer_of(text: &str) -> Answer {
    let word = text.trim().to_lowercase();
    match word.as_str() {
        "4" | "ack" | "acknowledge" => Answer::Acknowledge,
        "6" | "res" | "resolve" => Answer::Resolve,
        _ => Answer::Unclear,
    }
}

/// What a status callback says: arrived, did not, or nothing final. A call that ended without a key reached nobody: it may
/// have been a mailbox; one with a key is on record as such already.
#[must_use]
pub fn receipt(parameters: &[(String, String)]) -> Option<(bool, Option<String>)> {
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let code = || value("ErrorCode").map(|code| format!("Twilio's code {}", code.chars().take(20).collect::<String>()));
    if let Some(status) = value("CallStatus") {
        return match status {
            "completed" => Some((false, Some("the call ended and no key was pressed".into()))),
            "busy" => Some((false, Some("the line was busy".into()))),
            "no-answer" => Some((false, Some("nobody picked up".into()))),
            "canceled" => Some((false, Some(STOPPED_RINGING.into()))),
            "failed" => Some((false, code().or_else(|| Some("the call could not be made".into())))),
            _ => None,
        };
    }
    match value("MessageStatus")? {
        "delivered" | "read" => Some((true, None)),
        "undelivered" | "failed" => Some((false, code())),
        _ => None,
    }
}

/// An answer by text, as TwiML.
#[must_use]
pub fn reply_xml(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Message>{escaped}</Message></Response>")
}
