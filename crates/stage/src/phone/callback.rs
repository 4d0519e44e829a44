//! How Twilio calls back: signed forms, with its deadline and its repeats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::Telephone;
use super::account::encoded;
use crate::facts::{self, TWILIO};
use crate::wire::Callback;

/// What a callback is about: kept in its note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// What became of a text or a call; its answer says nothing.
    Receipt,
    /// A text that somebody wrote, by its id.
    Inbound(String),
    /// A key in a call, by the call's id.
    Key(String),
    /// A text whose turn in the queue has come.
    Turn(String),
    /// A call that rang long enough.
    RungOut(String),
    /// A call that somebody takes as they said they would.
    Habit(String),
}

impl About {
    pub(super) fn note(&self) -> String {
        match self {
            Self::Receipt => "receipt".to_owned(),
            Self::Inbound(sid) => format!("inbound {sid}"),
            Self::Key(sid) => format!("key {sid}"),
            Self::Turn(sid) => format!("turn {sid}"),
            Self::RungOut(sid) => format!("rung_out {sid}"),
            Self::Habit(sid) => format!("habit {sid}"),
        }
    }

    pub(super) fn of(callback: &Callback) -> Self {
        let (kind, sid) = callback.note.split_once(' ').unwrap_or((&callback.note, ""));
        let sid = sid.to_owned();
        match kind {
            "inbound" => Self::Inbound(sid),
            "key" => Self::Key(sid),
            "turn" => Self::Turn(sid),
            "rung_out" => Self::RungOut(sid),
            "habit" => Self::Habit(sid),
            _ => Self::Receipt,
        }
    }
}

impl Telephone {
    /// A callback with Twilio's signature.
    pub(super) fn callback(
        &self,
        url: &str,
        parameters: &[(String, String)],
        about: &About,
        after_ms: u64,
    ) -> Callback {
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let signature = TWILIO["callbacks"]["signature_header"].as_str().unwrap_or_default();
        let headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("user-agent".to_owned(), "TwilioProxy/1.1".to_owned()),
            ("i-twilio-idempotency-token".to_owned(), token_of(url, &body)),
            (signature.to_ascii_lowercase(), self.sign(url, parameters)),
        ];
        let repeats = &TWILIO["retries"]["after_ms"];
        let repeats = repeats.as_array().into_iter().flatten().map(facts::number).collect();
        Callback {
            url: url.to_owned(),
            headers,
            body,
            note: about.note(),
            after_ms,
            deadline_ms: facts::number(&TWILIO["callbacks"]["deadline_s"]) * 1_000,
            repeats_after_ms: repeats,
        }
    }

    /// The signature over an address and its sorted parameters.
    fn sign(&self, url: &str, parameters: &[(String, String)]) -> String {
        let mut sorted: Vec<_> = parameters.iter().collect();
        sorted.sort();
        let mut text = if self.signs_port { with_port(url) } else { url.to_owned() };
        for (name, value) in sorted {
            text.push_str(name);
            text.push_str(value);
        }
        let key = self.token.as_bytes();
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return String::new() };
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// The same address with the port that its scheme implies.
fn with_port(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) =
        rest.split_once('/').map_or((rest, String::new()), |(h, p)| (h, format!("/{p}")));
    let is_named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if scheme == "https" { 443 } else { 80 };
    if is_named { url.to_owned() } else { format!("{scheme}://{host}:{port}{path}") }
}

/// What stays the same over repeats of one request.
fn token_of(url: &str, body: &str) -> String {
    use sha1::Digest;
    let digest = Sha1::digest(format!("{url} {body}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_may_be_over_the_port_that_the_scheme_implies() {
        assert_eq!(with_port("https://a.example/x?y=1"), "https://a.example:443/x?y=1");
        assert_eq!(with_port("http://a.example"), "http://a.example:80");
        assert_eq!(with_port("http://a.example:8080/x"), "http://a.example:8080/x");
    }

    #[test]
    fn a_signature_is_the_one_of_twilios_own_example() {
        let phone = Telephone::new(&format!("AC{}", "0".repeat(32)), "12345");
        let parameters = [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ];
        let parameters = parameters.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        assert_eq!(phone.sign(url, &parameters), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    }
}
