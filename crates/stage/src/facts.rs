//! What the vendors' documents say, read from our extract of them: `crates/channels/facts`.
//!
//! The players keep no rule of their own where the extract has one. The product may read the same
//! files; it shares no code with the stage, so that both cannot be wrong in the same way.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Twilio.
pub static TWILIO: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../channels/facts/twilio.json")));

/// Slack.
pub static SLACK: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../channels/facts/slack.json")));

/// PagerDuty.
pub static PAGERDUTY: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../channels/facts/pagerduty.json")));

/// StatusPage.
pub static STATUSPAGE: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../channels/facts/statuspage.json")));

/// Receivers of webhooks by the specification.
pub static STANDARD_WEBHOOKS: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../channels/facts/standard-webhooks.json")));

/// Mail servers.
pub static MAIL: LazyLock<Value> =
    LazyLock::new(|| parsed(include_str!("../../channels/facts/mail.json")));

/// The words of a list.
pub fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a list has a word.
#[must_use]
pub fn has(list: &Value, word: &str) -> bool {
    words(list).any(|known| known == word)
}

/// A number; 0 where the extract has none, which the tests of this module rule out.
#[must_use]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// A number as a count of things.
#[must_use]
pub fn count(value: &Value) -> usize {
    usize::try_from(number(value)).unwrap_or(usize::MAX)
}

/// A number as a status or a code.
#[must_use]
pub fn code(value: &Value) -> u16 {
    u16::try_from(number(value)).unwrap_or(0)
}

/// The longest that something may be.
#[must_use]
pub fn most(provider: &Value, what: &str) -> usize {
    count(&provider["lengths"][what]["most"])
}

/// Whether a text has a form that the extract names.
#[must_use]
pub fn matches(provider: &Value, form: &str, text: &str) -> bool {
    let pattern = provider["formats"][form].as_str().unwrap_or("$^");
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

/// An operation that a request asks for, with what its path names.
pub struct Asked<'a> {
    /// The operation's name.
    pub operation: &'a str,
    /// The operation's facts.
    pub facts: &'a Value,
    /// What stands in the path where the extract has `{…}`.
    pub named: Vec<String>,
}

/// The operation of a provider at a path; `method` narrows it down where it is given.
#[must_use]
pub fn asked<'a>(provider: &'a Value, method: Option<&str>, path: &str) -> Option<Asked<'a>> {
    provider["operations"].as_object()?.iter().find_map(|(operation, facts)| {
        let fits = method.is_none_or(|method| facts["method"] == method);
        let named = named(facts["path"].as_str().unwrap_or_default(), path).filter(|_| fits)?;
        Some(Asked { operation, facts, named })
    })
}

/// What a path has in the places of a pattern; nothing where it does not fit.
fn named(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut named = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(named),
            (Some(wanted), Some(given)) => match wanted.split_once('{') {
                None if wanted == given => {}
                None => return None,
                Some((before, rest)) => {
                    let after = rest.split_once('}').map_or("", |(_, after)| after);
                    let inner = given.strip_prefix(before)?.strip_suffix(after)?;
                    named.push(inner.to_owned());
                }
            },
            _ => return None,
        }
    }
}

/// Whether a text is an absolute address of the web.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let uri: Result<hyper::Uri, _> = text.parse();
    uri.is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Whether an address is one that a provider can reach: not this machine's own.
#[must_use]
pub fn is_public(text: &str) -> bool {
    let uri: Result<hyper::Uri, _> = text.parse();
    let host = uri.ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let own =
        bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
    !own && !bare.is_empty() && bare != "localhost" && !bare.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extract_has_what_the_players_read() {
        for (provider, operations) in [(&TWILIO, 7), (&SLACK, 4), (&PAGERDUTY, 1), (&STATUSPAGE, 1)]
        {
            let known = provider["operations"].as_object().expect("operations");
            assert!(known.len() >= operations, "{known:?}");
        }
        for (provider, lengths) in [
            (&TWILIO, &["message_characters", "twiml_characters"][..]),
            (&SLACK, &["section_text", "header_text", "blocks", "button_text", "button_value"]),
            (&SLACK, &["action_id", "block_id", "actions_elements", "url", "text"]),
            (&PAGERDUTY, &["summary", "dedup_key", "event_bytes"]),
            (&MAIL, &["line"]),
        ] {
            for length in lengths {
                assert!(most(provider, length) > 0, "{length}");
            }
        }
        for form in ["account_sid", "message_sid", "call_sid", "address"] {
            assert!(TWILIO["formats"][form].is_string(), "{form}");
        }
        assert!(number(&STANDARD_WEBHOOKS["secret"]["least_bytes"]) > 0);
        assert!(number(&STATUSPAGE["rates"]["requests_per_second_and_key"]) > 0);
    }

    #[test]
    fn a_path_names_what_stands_in_its_places() {
        let path = "/2010-04-01/Accounts/AC1/Calls/CA2.json";
        let asked = asked(&TWILIO, Some("POST"), path).expect("a path of Twilio's");
        assert_eq!(
            (asked.operation, asked.named),
            ("update_call", vec!["AC1".into(), "CA2".into()])
        );
        assert!(
            super::asked(&TWILIO, Some("POST"), "/2010-04-15/Accounts/AC1/Calls.json").is_none()
        );
        assert!(super::asked(&TWILIO, Some("PUT"), path).is_none());
    }

    #[test]
    fn only_absolute_addresses_of_the_web_are_addresses() {
        for good in ["http://allclear.example/x?y=1", "https://[::1]:8080/"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "/hooks",
            "allclear.example/x",
            "ftp://allclear.example",
            "http://a b/",
            "javascript:x",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        for own in
            ["http://127.0.0.1:80/", "http://localhost/", "https://[::1]/", "http://0.0.0.0/"]
        {
            assert!(!is_public(own), "{own}");
        }
        assert!(is_public("https://allclear.example/"));
    }
}
