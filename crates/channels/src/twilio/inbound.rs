//! Replies and receipts: verified over the address and every parameter, then read.

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha1::Sha1;
use sha2::Sha256;

use allclear_domain::delivery::{Receipt, STOPPED_RINGING};

use super::facts;
use crate::text::xml;

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

/// Whether a request is Twilio's: base64 of HMAC-SHA1 over the full address and the parameters in the
/// order of their names, in constant time. Twilio signs some addresses with the port of their scheme and
/// some without, and of equal pairs only one counts; its own libraries try both, too.
#[must_use]
pub fn verify(auth_token: &str, url: &str, parameters: &[(String, String)], signature: &str) -> bool {
    let Ok(given) = base64::engine::general_purpose::STANDARD.decode(signature) else { return false };
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    sorted.dedup();
    let signs = |url: &str| {
        let mut text = url.to_owned();
        for (name, value) in &sorted {
            text.push_str(name);
            text.push_str(value);
        }
        match given.len() {
            // Newer accounts may sign with SHA-256.
            32 => {
                Hmac::<Sha256>::new_from_slice(auth_token.as_bytes()).is_ok_and(|mac| mac.chain_update(text).verify_slice(&given).is_ok())
            }
            _ => Hmac::<Sha1>::new_from_slice(auth_token.as_bytes()).is_ok_and(|mac| mac.chain_update(text).verify_slice(&given).is_ok()),
        }
    };
    signs(url) | with_other_port(url).is_some_and(|url| signs(&url))
}

/// The same address with the port of its scheme, or without it where it stands there.
fn with_other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host_ends = authority.rfind(']').map_or(0, |at| at + 1);
    let changed = match authority.get(host_ends..)?.rsplit_once(':') {
        Some((_, given)) if given == port => authority.strip_suffix(&format!(":{port}"))?.to_owned(),
        Some(_) => return None,
        None => format!("{authority}:{port}"),
    };
    Some(format!("{scheme}://{changed}{path}"))
}

/// What a person meant, by the first line that is neither empty nor quoted: signs, spaces and the width
/// of digits do not matter.
#[must_use]
pub fn answer_of(text: &str) -> Answer {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('>')).unwrap_or_default();
    let narrow = |c: char| match c {
        '４' => '4',
        '６' => '6',
        c => c,
    };
    let word: String = line.chars().map(narrow).filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect();
    match word.trim().to_lowercase().as_str() {
        "4" | "ack" | "acknowledge" => Answer::Acknowledge,
        "6" | "res" | "resolve" => Answer::Resolve,
        _ => Answer::Unclear,
    }
}

/// A text that somebody sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    /// An answer to a message.
    Answer(Answer),
    /// The number takes no messages any more: Twilio has answered that itself.
    OptedOut,
    /// The number takes messages again: Twilio has answered that itself.
    OptedIn,
    /// A word that Twilio answers itself and that changes nothing.
    AnsweredByTwilio,
}

/// What a text is: one of the words that Twilio answers itself, which it names in `OptOutType`, or an
/// answer to us.
#[must_use]
pub fn read_text(parameters: &[(String, String)]) -> Inbound {
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
    let word = value("Body").trim().to_uppercase();
    let is_one_of = |kind: &str, words: &[&str]| value("OptOutType") == kind || words.contains(&word.as_str());
    if is_one_of("STOP", facts::STOP_WORDS) {
        Inbound::OptedOut
    } else if is_one_of("START", facts::START_WORDS) {
        Inbound::OptedIn
    } else if is_one_of("HELP", facts::HELP_WORDS) {
        Inbound::AnsweredByTwilio
    } else {
        Inbound::Answer(answer_of(value("Body")))
    }
}

/// What a status callback says: arrived, did not, or nothing final. A call with a key is on record by
/// that key already.
#[must_use]
pub fn receipt(parameters: &[(String, String)]) -> Option<Receipt> {
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let code = || value("ErrorCode").map(|code| format!("Twilio's code {}", code.chars().take(20).collect::<String>()));
    let lost = |why: &str| Some(Receipt::Lost { why: Some(why.to_owned()) });
    if let Some(status) = value("CallStatus") {
        return match status {
            "completed" => Some(Receipt::EndedWithoutKey),
            "busy" => lost("the line was busy"),
            "no-answer" => lost("nobody picked up"),
            "canceled" => lost(STOPPED_RINGING),
            "failed" => Some(Receipt::Lost { why: code().or_else(|| Some("the call could not be made".into())) }),
            _ => None,
        };
    }
    match value("MessageStatus")? {
        "delivered" | "read" => Some(Receipt::Arrived),
        "undelivered" | "failed" => Some(Receipt::Lost { why: code() }),
        _ => None,
    }
}

/// An answer by text, as TwiML.
#[must_use]
pub fn reply_xml(text: &str) -> String {
    format!("{HEAD}<Response><Message>{}</Message></Response>", xml(text))
}

/// No answer, as TwiML.
#[must_use]
pub fn no_reply_xml() -> String {
    format!("{HEAD}<Response/>")
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
