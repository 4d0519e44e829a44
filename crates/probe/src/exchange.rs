//! One request step: render, send, extract, assert. The evidence is bounded and masked here.

use std::collections::BTreeMap;
use std::str::FromStr;

use allclear_base::Secret;
use allclear_base::secret::mask;
use allclear_domain::apitest::document::{Assertion, Auth, Body, Environment, RequestStep, Save, Source};
use allclear_domain::apitest::path::Path;
use allclear_domain::apitest::report::{AssertionReport, Exchange, StepReport, Timings};
use allclear_domain::apitest::template::{self, TemplateError};
use allclear_egress::{Client, Error, Guard, Request, Response};
use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::variables::Variables;

/// The largest body that a test reads; more fails the step.
const LARGEST_BODY: usize = 10 << 20;

/// The most of a body that is kept as evidence.
const LARGEST_KEPT: usize = 256 << 10;

/// Everything but letters, digits and RFC 3986's unreserved marks.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a step went.
pub(crate) struct Outcome {
    pub(crate) report: StepReport,
    /// The network error that ended it.
    pub(crate) error: Option<Error>,
    /// The variable that was missing.
    pub(crate) undefined: Option<String>,
}

/// What a step is run with.
pub(crate) struct Context<'a> {
    pub(crate) client: &'a Client,
    pub(crate) guard: &'a Guard,
    pub(crate) environment: &'a Environment,
    pub(crate) secrets: &'a [Secret],
    pub(crate) run: &'a str,
}

/// Runs one request step.
pub(crate) async fn run_step(context: &Context<'_>, step: &RequestStep, label: String, variables: &mut Variables) -> Outcome {
    let mut report = StepReport { name: label, passed: false, error: None, exchange: None, assertions: vec![], saved: BTreeMap::new() };
    let mut secrets = context.secrets.to_vec();
    let request = match render(context, step, variables, &mut secrets) {
        Ok(request) => request,
        Err(problem) => {
            let undefined = match &problem {
                Unrenderable::Template(TemplateError::Undefined(name)) => Some(name.clone()),
                Unrenderable::Template(TemplateError::Malformed(_)) | Unrenderable::Invalid(_) => None,
            };
            report.error = Some(mask(&problem.to_string(), &secrets));
            return Outcome { report, error: None, undefined };
        }
    };
    let mut exchange = sent(&request, &secrets);
    let answer = context.client.send(request, context.guard).await;
    match answer {
        Err(error) => {
            report.error = Some(mask(&error.to_string(), &secrets));
            report.exchange = Some(exchange);
            Outcome { report, error: Some(error), undefined: None }
        }
        Ok(response) => {
            received(&mut exchange, &response, &secrets);
            let seen = Seen::new(&response);
            let undefined = examine(step, &seen, variables, &mut report, &secrets);
            report.exchange = Some(exchange);
            Outcome { report, error: None, undefined }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Unrenderable {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("{0}")]
    Invalid(String),
}

fn render(
    context: &Context<'_>,
    step: &RequestStep,
    variables: &mut Variables,
    secrets: &mut Vec<Secret>,
) -> Result<Request, Unrenderable> {
    let wanted = &step.request;
    let method = template::render(&wanted.method, variables)?;
    let method = Method::from_str(&method).map_err(|_| Unrenderable::Invalid(format!("{method:?} is not a method")))?;
    let mut url = template::render(&wanted.url, variables)?.trim().replace(' ', "%20");
    let mut pairs = Vec::new();
    for (name, value) in &wanted.query {
        pairs.push(format!("{}={}", encode(&template::render(name, variables)?), encode(&template::render(value, variables)?)));
    }
    if !pairs.is_empty() {
        let joint = if url.contains('?') { '&' } else { '?' };
        url = format!("{url}{joint}{}", pairs.join("&"));
    }
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("AllClear/", env!("CARGO_PKG_VERSION"))));
    trace(&mut headers, context.run);
    for (name, value) in context.environment.headers.iter().chain(&wanted.headers) {
        put_header(&mut headers, name, &template::render(value, variables)?)?;
    }
    if let Some(auth) = &wanted.auth {
        let value = credentials(auth, variables, secrets)?;
        put_header(&mut headers, AUTHORIZATION.as_str(), &value)?;
    }
    let (body, content_type) = render_body(wanted.body.as_ref(), variables)?;
    if let Some(content_type) = content_type.filter(|_| !headers.contains_key(CONTENT_TYPE)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    Ok(Request {
        method,
        url,
        headers,
        body,
        timeout: wanted.timeout.to_std(),
        largest_body: LARGEST_BODY,
        follow_redirects: wanted.follow_redirects,
    })
}

/// Ties what a server logs to the run: W3C trace context and the run's id.
fn trace(headers: &mut HeaderMap, run: &str) {
    let hex: String = run.chars().filter(char::is_ascii_hexdigit).collect();
    if hex.len() == 32
        && let Ok(parent) = HeaderValue::from_str(&format!("00-{hex}-{}-01", &hex[16..]))
    {
        headers.insert("traceparent", parent);
    }
    if let Ok(run) = HeaderValue::from_str(run) {
        headers.insert("x-allclear-run", run);
    }
}

fn put_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Unrenderable> {
    let bad_name = |_| Unrenderable::Invalid(format!("{name:?} is not a header's name"));
    let header = HeaderName::from_str(name).map_err(bad_name)?;
    let value = HeaderValue::from_str(value)
        .map_err(|_| Unrenderable::Invalid(format!("the value of the header {name} has characters that a header cannot hold")))?;
    headers.insert(header, value);
    Ok(())
}

fn credentials(auth: &Auth, variables: &mut Variables, secrets: &mut Vec<Secret>) -> Result<String, Unrenderable> {
    match auth {
        Auth::Bearer(token) => Ok(format!("Bearer {}", template::render(token, variables)?)),
        Auth::Basic { username, password } => {
            let password = template::render(password, variables)?;
            let pair = format!("{}:{password}", template::render(username, variables)?);
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            // The encoded form would show the password to anyone who decodes it.
            secrets.push(Secret::new(encoded.clone()));
            Ok(format!("Basic {encoded}"))
        }
    }
}

fn render_body(body: Option<&Body>, variables: &mut Variables) -> Result<(Bytes, Option<&'static str>), Unrenderable> {
    Ok(match body {
        None => (Bytes::new(), None),
        Some(Body::Json(value)) => (Bytes::from(template::render_json(value, variables)?.to_string()), Some("application/json")),
        Some(Body::Text(text)) => (Bytes::from(template::render(text, variables)?), Some("text/plain; charset=utf-8")),
        Some(Body::Form(fields)) => {
            let mut pairs = Vec::new();
            for (name, value) in fields {
                pairs.push(format!("{}={}", encode(&template::render(name, variables)?), encode(&template::render(value, variables)?)));
            }
            (Bytes::from(pairs.join("&")), Some("application/x-www-form-urlencoded"))
        }
    })
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn sent(request: &Request, secrets: &[Secret]) -> Exchange {
    let (body, truncated) = kept_text(&request.body, secrets);
    Exchange {
        method: request.method.to_string(),
        url: mask(&request.url, secrets),
        request_headers: kept_headers(&request.headers, secrets),
        request_body: body,
        truncated,
        ..Exchange::default()
    }
}

fn received(exchange: &mut Exchange, response: &Response, secrets: &[Secret]) {
    let (body, truncated) = kept_text(&response.body, secrets);
    let t = response.timings;
    exchange.status = Some(response.status.as_u16());
    exchange.response_headers = kept_headers(&response.headers, secrets);
    exchange.response_body = body;
    exchange.response_size = response.body.len() as u64;
    exchange.truncated |= truncated;
    exchange.timings =
        Timings { dns_us: t.dns_us, connect_us: t.connect_us, tls_us: t.tls_us, wait_us: t.wait_us, transfer_us: t.transfer_us };
    exchange.remote_addr = response.remote.map(|addr| addr.to_string());
}

/// A body as text: cut to its bound, other bytes replaced, secrets masked. The whole is masked before it is cut,
/// so that no half of a secret stays at the edge.
fn kept_text(body: &[u8], secrets: &[Secret]) -> (String, bool) {
    let reach = body.len().min(LARGEST_KEPT + 4 * 1024);
    let mut text = mask(&String::from_utf8_lossy(&body[..reach]), secrets);
    let truncated = body.len() > LARGEST_KEPT;
    if truncated {
        let end = (0..=LARGEST_KEPT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    (text, truncated)
}

fn kept_headers(headers: &HeaderMap, secrets: &[Secret]) -> Vec<(String, String)> {
    let keep = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), mask(&String::from_utf8_lossy(value.as_bytes()), secrets));
    headers.iter().map(keep).collect()
}

/// A response as assertions see it; its JSON is parsed once.
struct Seen<'a> {
    response: &'a Response,
    json: Option<Result<Value, String>>,
}

impl<'a> Seen<'a> {
    fn new(response: &'a Response) -> Self {
        Self { response, json: None }
    }

    fn parse(&mut self) -> &Result<Value, String> {
        let body = &self.response.body;
        self.json.get_or_insert_with(|| serde_json::from_slice(body).map_err(|e| format!("the body is not JSON: {e}")))
    }

    fn value(&mut self, source: Source, property: Option<&str>) -> Result<Option<Value>, String> {
        let response = self.response;
        Ok(match source {
            Source::Status => Some(response.status.as_u16().into()),
            Source::Time => {
                let t = response.timings;
                Some(((t.dns_us + t.connect_us + t.tls_us + t.wait_us + t.transfer_us) / 1_000).into())
            }
            Source::Size => Some(response.body.len().into()),
            Source::Text => Some(String::from_utf8_lossy(&response.body).into_owned().into()),
            Source::Header => header_value(&response.headers, property.unwrap_or("")),
            Source::Json => {
                let path = Path::parse(property.unwrap_or("")).map_err(|e| e.to_string())?;
                path.find(self.parse().as_ref().map_err(Clone::clone)?)
            }
        })
    }
}

/// A header's value; several of one name are joined as RFC 9110 says.
fn header_value(headers: &HeaderMap, name: &str) -> Option<Value> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    (!values.is_empty()).then(|| values.join(", ").into())
}

/// Extraction, then assertions, as Runscope orders them. Returns the name of an undefined variable.
fn examine(step: &RequestStep, seen: &Seen<'_>, variables: &mut Variables, report: &mut StepReport, secrets: &[Secret]) -> Option<String> {
    let mut seen = Seen { response: seen.response, json: None };
    let mut undefined = None;
    for save in &step.save {
        keep(save, &mut seen, variables, report, secrets);
    }
    for assertion in &step.assertions {
        let checked = check(assertion, &mut seen, variables, secrets, &mut undefined);
        report.assertions.push(checked);
    }
    let failed = report.assertions.iter().find(|assertion| !assertion.passed).map(AssertionReport::sentence);
    report.passed = failed.is_none() && report.error.is_none();
    if report.error.is_none() {
        report.error = failed;
    }
    undefined
}

/// A value that is not there is not saved; what uses it will name it.
fn keep(save: &Save, seen: &mut Seen<'_>, variables: &mut Variables, report: &mut StepReport, secrets: &[Secret]) {
    if let Ok(Some(value)) = seen.value(save.source, save.property.as_deref()) {
        report.saved.insert(save.name.clone(), mask_value(&value, secrets));
        variables.set(&save.name, value);
    }
}

fn check(
    assertion: &Assertion,
    seen: &mut Seen<'_>,
    variables: &mut Variables,
    secrets: &[Secret],
    undefined: &mut Option<String>,
) -> AssertionReport {
    let mut report = AssertionReport {
        source: assertion.source,
        property: assertion.property.clone(),
        comparison: assertion.comparison,
        expected: Value::Null,
        actual: None,
        passed: false,
        error: None,
    };
    let target = match template::render_json(&assertion.value.clone().unwrap_or(Value::Null), variables) {
        Ok(target) => target,
        Err(error) => {
            if let TemplateError::Undefined(name) = &error {
                *undefined = Some(name.clone());
            }
            report.error = Some(error.to_string());
            return report;
        }
    };
    match seen.value(assertion.source, assertion.property.as_deref()) {
        Err(problem) => report.error = Some(mask(&problem, secrets)),
        Ok(actual) => {
            report.passed = assertion.comparison.holds(actual.as_ref(), &target);
            report.actual = actual.map(|value| bounded(mask_value(&value, secrets)));
        }
    }
    report.expected = mask_value(&target, secrets);
    report
}

/// An actual value is kept to a length at which people still read it; the body holds the rest.
fn bounded(value: Value) -> Value {
    const LONGEST: usize = 2_000;
    let text = template::text_of(&value);
    if text.len() <= LONGEST { value } else { Value::String(text.chars().take(LONGEST).chain("…".chars()).collect()) }
}

/// A value with every secret in it masked.
pub(crate) fn mask_value(value: &Value, secrets: &[Secret]) -> Value {
    match value {
        Value::String(text) => Value::String(mask(text, secrets)),
        Value::Array(items) => Value::Array(items.iter().map(|item| mask_value(item, secrets)).collect()),
        Value::Object(fields) => fields.iter().map(|(key, field)| (mask(key, secrets), mask_value(field, secrets))).collect(),
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(number) => {
            let text = number.to_string();
            let masked = mask(&text, secrets);
            if masked == text { value.clone() } else { Value::String(masked) }
        }
    }
}
