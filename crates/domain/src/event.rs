//! Events that monitoring tools send, in PagerDuty's forms (Events API v2, v1 and change events): read, judged and
//! turned into what they mean. Refusals carry PagerDuty's own words, because senders' logs are searched for them.
//!
//! Facts: developer.pagerduty.com, "Events API v2", "Events API v1", "Send a change event".

mod runscope;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::incident::Urgency;

pub use runscope::parse_runscope;

/// The largest event, in bytes; `PagerDuty`'s bound.
pub const LARGEST_EVENT: usize = 512 * 1024;

/// Characters of an integration key.
pub const KEY_LENGTH: usize = 32;

const LONGEST_DEDUP_KEY: usize = 255;

/// A longer summary is cut: an alert is not lost for its length.
const LONGEST_SUMMARY: usize = 1_024;

/// How bad its sender says an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing works.
    Critical,
    /// Something does not work.
    Error,
    /// Something may soon not work.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    const ALL: [Self; 4] = [Self::Critical, Self::Error, Self::Warning, Self::Info];

    /// The word for it, as events have it and as stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// The severity with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }
}

/// How a service decides on the urgency of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrgencyRule {
    /// Always low.
    Low,
    /// Always high.
    #[default]
    High,
    /// `critical` and `error` are high, `warning` and `info` low; what names no severity is high.
    SeverityBased,
}

impl UrgencyRule {
    /// The urgency of an incident that something of this severity opens.
    #[must_use]
    pub const fn of(self, severity: Option<Severity>) -> Urgency {
        match (self, severity) {
            (Self::Low, _) | (Self::SeverityBased, Some(Severity::Warning | Severity::Info)) => Urgency::Low,
            (Self::High, _) | (Self::SeverityBased, Some(Severity::Critical | Severity::Error) | None) => Urgency::High,
        }
    }
}

/// What an event wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Something is wrong.
    Trigger(Content),
    /// Somebody works on it.
    Acknowledge,
    /// It is over.
    Resolve,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// What is wrong, in one line of at most 1,024 characters.
    pub summary: String,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Everything else that came with it, as it came.
    pub details: Map<String, Value>,
}

/// An event about an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The integration's key: 32 letters and digits.
    pub routing_key: String,
    /// What tells this alert from others of the integration; nothing where the sender leaves it to us.
    pub dedup_key: Option<String>,
    /// The environment that it concerns, where the sender knows environments.
    pub environment: Option<String>,
    /// What it wants.
    pub action: Action,
}

/// Something that changed in a service, which may explain what happens next. It alerts nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEvent {
    /// The integration's key: 32 letters and digits.
    pub routing_key: String,
    /// What it says.
    pub content: Content,
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is larger than [`LARGEST_EVENT`].
    #[error("the event is larger than {} kB", LARGEST_EVENT / 1024)]
    TooLarge,
    /// It is not JSON, or not an object.
    #[error("JSON parse error")]
    Unreadable,
    /// It lacks something or says something that nobody understands.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// Reads an event of version 2.
///
/// # Errors
/// [`Refused`], with every mistake at once.
pub fn parse_v2(body: &[u8]) -> Result<Event, Refused> {
    const ACTIONS: &str = "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')";
    let mut object = object(body)?;
    let mut errors = Vec::new();
    let routing_key = key_v2(&mut object, &mut errors);
    let action = required(&mut object, "event_action", "event_action", &mut errors);
    let dedup_key = text(&mut object, "dedup_key", "dedup_key", &mut errors);
    if dedup_key.as_ref().is_some_and(|key| key.chars().count() > LONGEST_DEDUP_KEY) {
        errors.push(format!("'dedup_key' is too long (maximum is {LONGEST_DEDUP_KEY} characters)"));
    }
    let action = match action.as_deref() {
        Some("trigger") => content(&mut object, true, &mut errors).map(Action::Trigger),
        Some(word @ ("acknowledge" | "resolve")) => {
            if dedup_key.is_none() {
                errors.push(blank("dedup_key"));
            }
            Some(if word == "resolve" { Action::Resolve } else { Action::Acknowledge })
        }
        Some(_) => {
            errors.push(ACTIONS.to_owned());
            None
        }
        None => None,
    };
    accepted(routing_key.zip(action).map(|(routing_key, action)| Event { routing_key, dedup_key, environment: None, action }), errors)
}

/// Reads an event of version 1. Unknown fields and nulls are ignored: Alertmanager sends some.
///
/// # Errors
/// [`Refused`], with every mistake at once.
pub fn parse_v1(body: &[u8]) -> Result<Event, Refused> {
    let mut object = object(body)?;
    let mut errors = Vec::new();
    let routing_key = text(&mut object, "service_key", "service_key", &mut errors).filter(|key| is_key(key));
    if routing_key.is_none() {
        errors.push(format!("Service key is the wrong length (should be {KEY_LENGTH} characters)"));
    }
    let dedup_key = text(&mut object, "incident_key", "incident_key", &mut errors);
    if dedup_key.as_ref().is_some_and(|key| key.chars().count() > LONGEST_DEDUP_KEY) {
        errors.push(format!("Incident key is too long (maximum is {LONGEST_DEDUP_KEY} characters)"));
    }
    let action = match text(&mut object, "event_type", "event_type", &mut errors).as_deref() {
        Some("trigger") => {
            let summary = text(&mut object, "description", "description", &mut errors);
            if summary.is_none() {
                errors.push("Description can't be blank".to_owned());
            }
            let mut details = pick(&mut object, &["client", "client_url", "contexts"]);
            if let Some(custom) = object.remove("details").filter(|value| !value.is_null()) {
                details.insert("custom_details".into(), custom);
            }
            summary.map(|summary| Action::Trigger(Content { summary: one_line(&summary), severity: None, details }))
        }
        Some(word @ ("acknowledge" | "resolve")) => {
            if dedup_key.is_none() {
                errors.push("Incident key can't be blank".to_owned());
            }
            Some(if word == "resolve" { Action::Resolve } else { Action::Acknowledge })
        }
        _ => {
            errors.push("event_type is invalid (must be one of: trigger acknowledge resolve)".to_owned());
            None
        }
    };
    accepted(routing_key.zip(action).map(|(routing_key, action)| Event { routing_key, dedup_key, environment: None, action }), errors)
}

/// Reads a change event.
///
/// # Errors
/// [`Refused`], with every mistake at once.
pub fn parse_change(body: &[u8]) -> Result<ChangeEvent, Refused> {
    let mut object = object(body)?;
    let mut errors = Vec::new();
    let routing_key = key_v2(&mut object, &mut errors);
    let content = content(&mut object, false, &mut errors);
    accepted(routing_key.zip(content).map(|(routing_key, content)| ChangeEvent { routing_key, content }), errors)
}

/// What was read, if there was no mistake in it.
fn accepted<T>(read: Option<T>, errors: Vec<String>) -> Result<T, Refused> {
    read.filter(|_| errors.is_empty()).ok_or(Refused::Invalid(errors))
}

/// Whether a text has the form of an integration key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    text.len() == KEY_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    if body.len() > LARGEST_EVENT {
        return Err(Refused::TooLarge);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Refused::Unreadable),
    }
}

fn blank(field: &str) -> String {
    format!("'{field}' is missing or blank")
}

/// A text that is neither absent, nor null, nor blank. What is no text at all is a mistake of its own.
fn text(object: &mut Map<String, Value>, name: &str, shown: &str, errors: &mut Vec<String>) -> Option<String> {
    match object.remove(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        Some(Value::String(_) | Value::Null) | None => None,
        Some(_) => {
            errors.push(format!("'{shown}' is invalid (must be a string)"));
            None
        }
    }
}

/// A text that must be there.
fn required(object: &mut Map<String, Value>, name: &str, shown: &str, errors: &mut Vec<String>) -> Option<String> {
    let before = errors.len();
    let found = text(object, name, shown, errors);
    if found.is_none() && errors.len() == before {
        errors.push(blank(shown));
    }
    found
}

fn key_v2(object: &mut Map<String, Value>, errors: &mut Vec<String>) -> Option<String> {
    let key = required(object, "routing_key", "routing_key", errors)?;
    if key.chars().count() != KEY_LENGTH {
        errors.push(format!("Length of 'routing_key' is incorrect (should be {KEY_LENGTH} characters)"));
    }
    if !key.chars().all(|c| c.is_ascii_alphanumeric()) {
        errors.push("'routing_key' cannot contain non-alphanumeric characters.".to_owned());
    }
    Some(key)
}

/// The payload with what stands beside it. An alert needs a source and a severity; a change event does not.
fn content(object: &mut Map<String, Value>, alert: bool, errors: &mut Vec<String>) -> Option<Content> {
    const SEVERITIES: &str = "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')";
    let mut payload = match object.remove("payload") {
        Some(Value::Object(payload)) => payload,
        Some(Value::Null) | None => {
            errors.push(blank("payload"));
            return None;
        }
        Some(_) => {
            errors.push("'payload' is invalid (must be an object)".to_owned());
            return None;
        }
    };
    let summary = required(&mut payload, "summary", "payload.summary", errors);
    let source = if alert { required } else { text }(&mut payload, "source", "payload.source", errors);
    let severity = payload.remove("severity").as_ref().and_then(Value::as_str).and_then(Severity::from_word);
    if alert && severity.is_none() {
        errors.push(SEVERITIES.to_owned());
    }
    let mut details = pick(&mut payload, &["timestamp", "component", "group", "class", "custom_details"]);
    details.extend(source.map(|source| ("source".to_owned(), json!(source))));
    details.extend(pick(object, &["images", "links", "client", "client_url"]));
    Some(Content { summary: one_line(&summary?), severity, details })
}

fn pick(object: &mut Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    names.iter().filter_map(|name| object.remove(*name).filter(|v| !v.is_null()).map(|value| ((*name).to_owned(), value))).collect()
}

/// One line without control characters, cut at the bound.
fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SUMMARY).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789ABCDEF";

    fn refused<T: std::fmt::Debug>(read: Result<T, Refused>) -> Vec<String> {
        match read.expect_err("must be refused") {
            Refused::Invalid(errors) => errors,
            other => vec![other.to_string()],
        }
    }

    fn v2(change: impl FnOnce(&mut Value)) -> Result<Event, Refused> {
        let mut event = json!({ "routing_key": KEY, "event_action": "trigger", "dedup_key": "host1/cpu",
            "payload": { "summary": "CPU is high", "source": "host1", "severity": "critical", "custom_details": { "load": 0.75 } },
            "links": [{ "href": "https://example.com" }], "client": "mon" });
        change(&mut event);
        parse_v2(event.to_string().as_bytes())
    }

    #[test]
    fn a_trigger_of_version_2_is_read_with_everything_that_came_with_it() {
        let event = v2(|_| {}).expect("valid");
        assert_eq!((event.routing_key.as_str(), event.dedup_key.as_deref()), (KEY, Some("host1/cpu")));
        let Action::Trigger(content) = event.action else { panic!("a trigger") };
        assert_eq!((content.summary.as_str(), content.severity), ("CPU is high", Some(Severity::Critical)));
        assert_eq!(content.details.keys().collect::<Vec<_>>(), ["custom_details", "source", "links", "client"]);
    }

    #[test]
    fn every_mistake_in_an_event_of_version_2_has_its_words() {
        let cases: [(&str, Value, &str); 9] = [
            ("/routing_key", json!("short"), "Length of 'routing_key' is incorrect (should be 32 characters)"),
            ("/routing_key", json!("0123456789abcdef0123456789ABCD-_"), "'routing_key' cannot contain non-alphanumeric characters."),
            ("/event_action", json!(""), "'event_action' is missing or blank"),
            (
                "/event_action",
                json!("explode"),
                "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')",
            ),
            ("/dedup_key", json!("x".repeat(256)), "'dedup_key' is too long (maximum is 255 characters)"),
            ("/payload/summary", json!(null), "'payload.summary' is missing or blank"),
            ("/payload/source", json!("  "), "'payload.source' is missing or blank"),
            (
                "/payload/severity",
                json!("Critical"),
                "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')",
            ),
            ("/payload/summary", json!(7), "'payload.summary' is invalid (must be a string)"),
        ];
        for (at, value, words) in cases {
            let errors = refused(v2(|event| *event.pointer_mut(at).expect("a field") = value));
            assert_eq!(errors, [words], "{at}");
        }
    }

    #[test]
    fn an_acknowledgement_needs_a_key_and_no_payload() {
        let event = |action: &str, key: Value| json!({ "routing_key": KEY, "event_action": action, "dedup_key": key }).to_string();
        assert_eq!(parse_v2(event("acknowledge", json!("k")).as_bytes()).expect("valid").action, Action::Acknowledge);
        assert_eq!(refused(parse_v2(event("resolve", json!(null)).as_bytes())), ["'dedup_key' is missing or blank"]);
    }

    #[test]
    fn what_is_no_object_is_unrecognised() {
        for body in ["", "{", "[]", "7", "\u{0}"] {
            assert_eq!(parse_v2(body.as_bytes()), Err(Refused::Unreadable), "{body:?}");
        }
    }

    #[test]
    fn a_long_summary_is_cut_and_its_line_breaks_go() {
        let event = v2(|event| event["payload"]["summary"] = json!(format!("a\nb\u{0}{}", "x".repeat(2_000)))).expect("valid");
        let Action::Trigger(content) = event.action else { panic!("a trigger") };
        assert!(content.summary.starts_with("a b x"));
        assert_eq!(content.summary.chars().count(), LONGEST_SUMMARY);
    }

    #[test]
    fn an_event_of_version_1_is_read_as_alertmanager_sends_it() {
        let body = json!({ "service_key": KEY, "event_type": "trigger", "incident_key": "k", "description": "down",
            "details": { "firing": "1" }, "event_action": "", "payload": null });
        let event = parse_v1(body.to_string().as_bytes()).expect("valid");
        let Action::Trigger(content) = event.action else { panic!("a trigger") };
        assert_eq!((content.summary.as_str(), &content.details["custom_details"]), ("down", &json!({ "firing": "1" })));
    }

    #[test]
    fn every_mistake_in_an_event_of_version_1_has_its_words() {
        let body = json!({ "service_key": "x", "event_type": "boom" }).to_string();
        assert_eq!(
            refused(parse_v1(body.as_bytes())),
            [
                "Service key is the wrong length (should be 32 characters)",
                "event_type is invalid (must be one of: trigger acknowledge resolve)"
            ]
        );
    }

    #[test]
    fn urgency_follows_severity_only_where_the_service_says_so() {
        let rule = UrgencyRule::SeverityBased;
        let of = |severity| rule.of(severity);
        assert_eq!([of(Some(Severity::Critical)), of(Some(Severity::Error)), of(None)], [Urgency::High; 3]);
        assert_eq!([of(Some(Severity::Warning)), of(Some(Severity::Info))], [Urgency::Low; 2]);
        assert_eq!(UrgencyRule::High.of(Some(Severity::Info)), Urgency::High);
    }

    proptest! {
        #[test]
        fn no_body_makes_a_parser_fail_in_any_other_way(body in "\\PC{0,200}|[{}\\[\\]\":,a-z_0-9]{0,200}") {
            let _read = (parse_v2(body.as_bytes()), parse_v1(body.as_bytes()), parse_change(body.as_bytes()));
        }

        #[test]
        fn what_is_accepted_has_a_key_and_a_summary(summary in ".{0,40}", key in "[0-9a-zA-Z]{30,34}", action in "trigger|resolve|x") {
            let body = json!({ "routing_key": key, "event_action": action, "dedup_key": "k",
                "payload": { "summary": summary, "source": "s", "severity": "info" } }).to_string();
            if let Ok(event) = parse_v2(body.as_bytes()) {
                prop_assert!(is_key(&event.routing_key));
                if let Action::Trigger(content) = event.action {
                    prop_assert!(!content.summary.is_empty() && content.summary.chars().all(|c| !c.is_control()));
                }
            }
        }
    }
}
