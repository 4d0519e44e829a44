//! A run as people read it: each step with its request, its response and what each assertion found. Bodies are shown as text
//! and never as what they claim to be.

use std::collections::BTreeMap;

use allclear_domain::apitest::report::{AssertionReport, Exchange, RunReport, StepReport, Teardown, Verdict};

use serde_json::Value;

use super::tree::Node;

/// The longest body that a page shows at first sight; the rest is kept, and `allclear show` tells where.
const LONGEST_SHOWN: usize = 20_000;

/// A run.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) steps: Vec<Step>,
    pub(crate) teardown: Vec<Step>,
    /// The variables at its end, with secrets masked.
    pub(crate) variables: Vec<(String, String)>,
    /// What is to be said of the end, where it is not plain.
    pub(crate) remark: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) passed: bool,
    pub(crate) error: Option<String>,
    pub(crate) assertions: Vec<Assertion>,
    /// What it saved for the steps after it.
    pub(crate) saved: Vec<(String, String)>,
    pub(crate) exchange: Option<Shown>,
}

#[derive(Debug)]
pub(crate) struct Assertion {
    pub(crate) passed: bool,
    pub(crate) sentence: String,
}

#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) line: String,
    pub(crate) answer: String,
    pub(crate) timings: Vec<Timing>,
    pub(crate) total: String,
    pub(crate) request_headers: Vec<(String, String)>,
    pub(crate) request_body: String,
    pub(crate) response_headers: Vec<(String, String)>,
    /// The body, where it is JSON of a size that somebody looks through.
    pub(crate) response_tree: Option<Node>,
    pub(crate) response_body: String,
    pub(crate) cut: bool,
}

/// A part of an exchange's time, as a bar in a picture 600 wide.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) class: &'static str,
    pub(crate) label: String,
    pub(crate) x: i64,
    pub(crate) width: i64,
}

impl Evidence {
    pub(crate) fn of(report: &RunReport) -> Self {
        let remark = match (&report.verdict, &report.teardown) {
            (Verdict::Inconclusive { why }, _) => Some(format!("Inconclusive: {why}")),
            (Verdict::Misconfigured { why }, _) => Some(format!("The test cannot be run as it is written: {why}")),
            (_, Teardown::MayHaveLeaked { why }) => Some(format!("Something may have been left behind: {why}")),
            (_, Teardown::Failed { why }) => Some(format!("Cleaning up failed: {why}")),
            (_, Teardown::NothingToDelete) => Some("Nothing had to be cleaned up.".to_owned()),
            (_, Teardown::None | Teardown::Done) => None,
        };
        Self {
            steps: report.steps.iter().map(Step::of).collect(),
            teardown: report.teardown_steps.iter().map(Step::of).collect(),
            variables: shown(&report.variables),
            remark,
        }
    }
}

impl Step {
    fn of(step: &StepReport) -> Self {
        let assertion = |one: &AssertionReport| Assertion { passed: one.passed, sentence: AssertionReport::sentence(one) };
        Self {
            name: step.name.clone(),
            passed: step.passed,
            error: step.error.clone().filter(|_| step.assertions.iter().all(|one| one.passed)),
            assertions: step.assertions.iter().map(assertion).collect(),
            saved: shown(&step.saved),
            exchange: step.exchange.as_ref().map(Shown::of),
        }
    }
}

impl Shown {
    fn of(exchange: &Exchange) -> Self {
        let cut = |text: &str| text.chars().take(LONGEST_SHOWN).collect::<String>();
        let body = serde_json::from_str::<Value>(&exchange.response_body).ok();
        Self {
            line: format!("{} {}", exchange.method, exchange.url),
            answer: exchange.status.map_or("no answer".to_owned(), |status| format!("{status}, {} bytes", exchange.response_size)),
            timings: timings(exchange),
            total: exchange.status.map_or_else(String::new, |_| format!(", {}", milliseconds(exchange.timings.total_us()))),
            request_headers: exchange.request_headers.clone(),
            request_body: cut(&exchange.request_body),
            response_headers: exchange.response_headers.clone(),
            response_tree: body.as_ref().and_then(Node::of),
            response_body: cut(&body.as_ref().map_or_else(|| exchange.response_body.clone(), pretty)),
            cut: exchange.truncated || exchange.response_body.chars().count() > LONGEST_SHOWN,
        }
    }
}

/// JSON with one value a line.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Variables by name, as many and as much of each as one reads.
fn shown(variables: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    const MOST: usize = 200;
    const LONGEST: usize = 500;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map_or_else(|| value.to_string(), str::to_owned);
    variables.iter().take(MOST).map(|(name, value)| (name.clone(), text(value).chars().take(LONGEST).collect())).collect()
}

fn milliseconds(us: i64) -> String {
    if us < 1_000 { format!("0.{:02} ms", us / 10) } else { format!("{}.{} ms", us / 1_000, us % 1_000 / 100) }
}

fn timings(exchange: &Exchange) -> Vec<Timing> {
    const WIDE: i64 = 600;
    let times = exchange.timings;
    let total = times.total_us().max(1);
    let mut x = 0;
    let parts = [
        ("dns", "resolve", times.dns_us),
        ("connect", "connect", times.connect_us),
        ("tls", "TLS", times.tls_us),
        ("wait", "wait", times.wait_us),
        ("transfer", "receive", times.transfer_us),
    ];
    let mut shown = Vec::with_capacity(parts.len());
    for (class, name, us) in parts.into_iter().filter(|(_, _, us)| *us > 0) {
        let width = (us * WIDE / total).max(1);
        shown.push(Timing { class, label: format!("{name} {}", milliseconds(us)), x, width });
        x += width;
    }
    shown
}
