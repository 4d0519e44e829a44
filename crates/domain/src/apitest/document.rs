//! A test as it is written: environments, schedules, steps, assertions, teardown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::compare::Comparison;
use crate::{LocationName, ServiceId, Span, Timestamp};

/// A multi-step API test. Identity is bucket and name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The bucket that groups it; `default` unless said otherwise.
    pub bucket: String,
    /// Its name, unique within the bucket.
    pub name: String,
    /// Environments by name; each is a set of variables and headers with its own alerting.
    pub environments: BTreeMap<String, Environment>,
    /// When and where it runs by itself.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    /// What it does, in order; the first failing step ends it.
    pub steps: Vec<Step>,
    /// What cleans up after it; runs always, each step even where another failed.
    #[serde(default)]
    pub teardown: Vec<Step>,
    /// Whether a failed scheduled run is run again once, at once; only the second verdict counts.
    #[serde(default)]
    pub retry: bool,
    /// How many locations must fail for the test to fail.
    #[serde(default = "one")]
    pub quorum: u32,
    /// Until when it does not run; nothing for a test that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

const fn one() -> u32 {
    1
}

impl Test {
    /// Whether it rests at `at`: it runs at none of its slots and concerns nobody.
    #[must_use]
    pub fn is_paused(&self, at: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| at < until)
    }
}

/// The most steps a test may have, teardown included: enough for any real check, a bound on one run's memory.
pub const MOST_STEPS: usize = 200;

/// The shortest interval of a schedule; below it a run could not end before the next.
pub const SHORTEST_INTERVAL: Span = Span::from_secs(1);

/// How long a whole run may take.
pub const LONGEST_RUN: Span = Span::from_mins(10);

/// How long one request may take where the step does not say.
pub const REQUEST_TIMEOUT: Span = Span::from_secs(30);

/// One environment of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Environment {
    /// Initial variables; they keep their JSON type.
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
    /// Headers added to every request; a step's own header of the same name wins.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whom a failure concerns. Nobody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

/// Whom a failing test concerns, and from how many failures on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    /// The service whose incident opens.
    pub service: ServiceId,
    /// The switch per environment: off, the test only reports.
    #[serde(default = "yes")]
    pub on: bool,
    /// Consecutive failures in a location until it counts as failing.
    #[serde(default = "one")]
    pub after_failures: u32,
    /// Consecutive passes in a location until it counts as passing again.
    #[serde(default = "one")]
    pub after_passes: u32,
}

const fn yes() -> bool {
    true
}

/// When and where a test runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The interval.
    pub every: Span,
    /// The environment's name.
    pub environment: String,
    /// The locations; one run each.
    pub locations: Vec<LocationName>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// An HTTP request with assertions.
    Request(Box<RequestStep>),
    /// A wait.
    Pause(PauseStep),
}

impl Step {
    /// The name shown for it: its own, or what it does.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Request(step) => step.name.clone().unwrap_or_else(|| format!("{} {}", step.request.method, step.request.url)),
            Self::Pause(step) => step.name.clone().unwrap_or_else(|| format!("Pause {}", step.pause)),
        }
    }
}

/// A wait between requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PauseStep {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long to wait: at most 3 minutes, as in Runscope.
    pub pause: Span,
}

/// The longest pause; Runscope's bound.
pub const LONGEST_PAUSE: Span = Span::from_secs(180);

/// A request, what must hold of its response, and what is kept of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestStep {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The request.
    pub request: Request,
    /// What must hold; without any, any complete response passes.
    #[serde(default, rename = "assert", skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// What later steps can use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub save: Vec<Save>,
}

/// An HTTP request. Every text may contain `{{variables}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The method, upper case.
    pub method: String,
    /// The address, `http` or `https`.
    pub url: String,
    /// Query parameters, encoded and added to the address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Headers of this request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body; none by default.
    #[serde(flatten)]
    pub body: Option<Body>,
    /// Credentials; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// How long the whole exchange may take.
    #[serde(default = "request_timeout")]
    pub timeout: Span,
    /// Whether 3xx answers are followed.
    #[serde(default)]
    pub follow_redirects: bool,
}

const fn request_timeout() -> Span {
    REQUEST_TIMEOUT
}

/// A request's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A JSON document; a string that is exactly `{{x}}` becomes that variable with its type.
    #[serde(rename = "json")]
    Json(Value),
    /// An HTML form, percent-encoded.
    #[serde(rename = "form")]
    Form(BTreeMap<String, String>),
    /// Text as it stands.
    #[serde(rename = "text")]
    Text(String),
}

/// Credentials of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// RFC 7617.
    Basic {
        /// The user's name.
        username: String,
        /// The password; a `{{secret.NAME}}`.
        password: String,
    },
    /// RFC 6750; the token, a `{{secret.NAME}}`.
    Bearer(String),
}

/// What of a response is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The status code.
    #[serde(alias = "response_status", alias = "status_code")]
    Status,
    /// A header's value; the property names it, in any case.
    #[serde(alias = "response_headers", alias = "response_header", alias = "headers")]
    Header,
    /// Milliseconds from the first byte sent to the last received.
    #[serde(alias = "response_time", alias = "response_time_ms")]
    Time,
    /// Bytes of the decoded body.
    #[serde(alias = "response_size", alias = "response_size_bytes")]
    Size,
    /// The body as text.
    #[serde(alias = "response_text")]
    Text,
    /// A value of the JSON body; the property is its path, the whole body when absent.
    #[serde(alias = "response_json")]
    Json,
}

impl Source {
    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Time => "time",
            Self::Size => "size",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Something that must hold of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assertion {
    /// What is looked at.
    pub source: Source,
    /// The header's name or the JSON path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what; may contain `{{variables}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// Something of a response that later steps can use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Save {
    /// What is looked at.
    pub source: Source,
    /// The header's name or the JSON path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// The variable's name.
    pub name: String,
}
