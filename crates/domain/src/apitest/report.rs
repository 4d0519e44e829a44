//! What a run leaves behind: its verdict, each step's evidence, and the state of its clean-up.
//!
//! A failing test is a report, never an error. Secrets are masked before a report is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::Source;
use crate::{LocationName, RunId, TestId, Timestamp};

/// One run of one test in one environment from one location.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run.
    pub run_id: RunId,
    /// The test; empty for a file that was run without a server.
    pub test_id: TestId,
    /// The test's name at the time.
    pub test_name: String,
    /// The environment's name.
    pub environment: String,
    /// Where it ran.
    pub location: LocationName,
    /// The slot that it was for; nothing for a run made by hand.
    pub slot: Option<Timestamp>,
    /// Which try this was: 1, or 2 for the retry.
    pub attempt: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When its last step ended, teardown not included.
    pub finished_at: Timestamp,
    /// What came of it.
    pub verdict: Verdict,
    /// Each step that was tried.
    pub steps: Vec<StepReport>,
    /// Each step of the teardown that was tried.
    pub teardown_steps: Vec<StepReport>,
    /// What came of cleaning up.
    pub teardown: Teardown,
    /// The variables at the end, masked.
    pub variables: BTreeMap<String, Value>,
    /// The configuration's revision that it ran on.
    pub catalog_rev: i64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    /// Every step passed.
    Passed,
    /// A step failed.
    Failed(Failure),
    /// There is positive evidence that the fault is AllClear's; it counts neither way.
    Inconclusive {
        /// The evidence.
        why: String,
    },
    /// The test cannot be run as it is written or allowed; it counts neither way and is nobody's outage.
    Misconfigured {
        /// What to change.
        why: String,
    },
}

impl Verdict {
    /// The word for it: `pass`, `fail`, `inconclusive`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed(_) => "fail",
            Self::Inconclusive { .. } => "inconclusive",
            Self::Misconfigured { .. } => "misconfigured",
        }
    }

    /// Why it did not pass, for people.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Passed => None,
            Self::Failed(failure) => Some(format!("{}: {}", failure.step, failure.message)),
            Self::Inconclusive { why } | Self::Misconfigured { why } => Some(why.clone()),
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The name of the step.
    pub step: String,
    /// What went wrong, with the actual value.
    pub message: String,
}

/// What came of cleaning up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Teardown {
    /// The test has none.
    #[default]
    None,
    /// Every step ran and passed.
    Done,
    /// Its variables were never saved: there was nothing to delete.
    NothingToDelete,
    /// A creating request got no answer, so that something may be left behind.
    MayHaveLeaked {
        /// What is not known.
        why: String,
    },
    /// A step of it failed.
    Failed {
        /// What went wrong.
        why: String,
    },
}

/// One step as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// Why it failed where no assertion did: no connection, an undefined variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exchange, as far as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    /// Each assertion with what it found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionReport>,
    /// What was saved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saved: BTreeMap<String, Value>,
}

/// A request and its response, bounded and masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The address with its query.
    pub url: String,
    /// The request's headers.
    pub request_headers: Vec<(String, String)>,
    /// The request's body as text.
    pub request_body: String,
    /// The response's status; nothing if none came.
    pub status: Option<u16>,
    /// The response's headers.
    pub response_headers: Vec<(String, String)>,
    /// The response's body as text, with other bytes replaced.
    pub response_body: String,
    /// Bytes of the whole decoded body.
    pub response_size: u64,
    /// Whether a body was cut to its bound.
    pub truncated: bool,
    /// Where the time went.
    pub timings: Timings,
    /// The address that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_addr: Option<String>,
}

/// Where an exchange's time went, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Timings {
    /// Resolving the name.
    pub dns_us: i64,
    /// Connecting.
    pub connect_us: i64,
    /// The TLS handshake; 0 without TLS.
    pub tls_us: i64,
    /// From the request's last byte to the response's head.
    pub wait_us: i64,
    /// Reading the body.
    pub transfer_us: i64,
}

impl Timings {
    /// The whole exchange.
    #[must_use]
    pub const fn total_us(&self) -> i64 {
        self.dns_us + self.connect_us + self.tls_us + self.wait_us + self.transfer_us
    }
}

/// An assertion with what it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssertionReport {
    /// What was looked at.
    pub source: Source,
    /// The header's name or the JSON path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// How it was compared.
    pub comparison: super::compare::Comparison,
    /// What was expected, rendered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub expected: Value,
    /// What was found, null included; nothing if it was not there.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
    /// Whether it held.
    pub passed: bool,
    /// Why it could not be compared, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A null that was found is not nothing.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl AssertionReport {
    /// In words: `playback_url is empty, expected not empty`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let unit = match self.source {
            Source::Time => " ms",
            Source::Size => " bytes",
            Source::Status | Source::Header | Source::Text | Source::Json => "",
        };
        let expected = self.comparison.expects(&format!("{}{unit}", shorten(&self.comparison.target(&self.expected))));
        let actual = match (&self.error, &self.actual) {
            (Some(error), _) => format!(": {error}"),
            (None, Some(Value::String(text))) if text.is_empty() => " is empty".to_owned(),
            (None, Some(actual)) => format!(" is {}{unit}", shorten(&actual.to_string())),
            (None, None) => " is not there".to_owned(),
        };
        format!("{}{actual}, expected {expected}", self.subject())
    }

    /// What was looked at, in words.
    fn subject(&self) -> String {
        match (self.source, &self.property) {
            (Source::Status, _) => "status".to_owned(),
            (Source::Header, name) => format!("header {}", name.as_deref().unwrap_or_default()),
            (Source::Time, _) => "response time".to_owned(),
            (Source::Size, _) => "size of the body".to_owned(),
            (Source::Json, Some(path)) => path.clone(),
            (Source::Text, _) | (Source::Json, None) => "body".to_owned(),
        }
    }
}

/// Cuts a value for a sentence: 200 characters say what it is.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compare::Comparison;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_null_that_was_found_is_still_there_when_it_is_read_again() {
        for actual in [None, Some(json!(null)), Some(json!(""))] {
            let comparison = Comparison::NotEmpty;
            let report = AssertionReport {
                source: Source::Json,
                property: None,
                comparison,
                expected: json!(null),
                actual,
                passed: false,
                error: None,
            };
            let text = serde_json::to_string(&report).expect("JSON");
            assert_eq!(serde_json::from_str::<AssertionReport>(&text).ok(), Some(report), "{text}");
        }
    }

    #[test]
    fn an_assertion_says_what_is_and_what_was_expected_as_people_say_it() {
        for (source, property, comparison, expected, actual, sentence) in [
            (
                Source::Json,
                Some("playback_url"),
                Comparison::NotEmpty,
                json!(null),
                Some(json!("")),
                "playback_url is empty, expected not empty",
            ),
            (Source::Json, Some("data[0].id"), Comparison::Equal, json!("s1"), Some(json!("s2")), "data[0].id is \"s2\", expected \"s1\""),
            (Source::Json, Some("id"), Comparison::IsANumber, json!(null), None, "id is not there, expected a number"),
            (Source::Status, None, Comparison::EqualNumber, json!("200"), Some(json!(503)), "status is 503, expected 200"),
            (
                Source::Time,
                None,
                Comparison::IsLessThan,
                json!(500),
                Some(json!(1200)),
                "response time is 1200 ms, expected less than 500 ms",
            ),
            (
                Source::Size,
                None,
                Comparison::IsGreaterThanOrEqual,
                json!(9),
                Some(json!(0)),
                "size of the body is 0 bytes, expected at least 9 bytes",
            ),
            (
                Source::Header,
                Some("ETag"),
                Comparison::NotEqual,
                json!("a"),
                Some(json!("a")),
                "header ETag is \"a\", expected anything but \"a\"",
            ),
            (
                Source::Text,
                None,
                Comparison::Contains,
                json!("ok"),
                Some(json!("no")),
                "body is \"no\", expected something that contains \"ok\"",
            ),
        ] {
            let property = property.map(str::to_owned);
            let report = AssertionReport { source, property, comparison, expected, actual, passed: false, error: None };
            assert_eq!(report.sentence(), sentence);
        }
        let broken = AssertionReport {
            source: Source::Json,
            property: None,
            comparison: Comparison::HasKey,
            expected: json!("id"),
            actual: None,
            passed: false,
            error: Some("no JSON".into()),
        };
        assert_eq!(broken.sentence(), "body: no JSON, expected something with the key \"id\"");
    }
}
