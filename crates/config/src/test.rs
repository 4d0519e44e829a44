//! Tests in files.

use std::collections::BTreeMap;

use allclear_domain::apitest::compare::{COMPARISONS, Comparison};
use allclear_domain::apitest::document::{
    Assertion, Auth, Body, Environment, LONGEST_PAUSE, LONGEST_RUN, MOST_STEPS, Notify, PauseStep, REQUEST_TIMEOUT, Request, RequestStep,
    SHORTEST_INTERVAL, Save, Schedule, Source, Step, Test,
};
use allclear_domain::apitest::path::Path;
use allclear_domain::apitest::template;
use allclear_domain::{LocationName, Span};

use crate::decode::{self, Fields};
use crate::diagnostic::Sink;
use crate::document::Sites;
use crate::tree::{Node, Value};

pub(crate) fn decode(fields: &Fields<'_>, sites: &mut Sites) -> Option<Test> {
    let sink = fields.sink;
    let name = fields.required("name", decode::name);
    let bucket = fields.or("bucket", decode::name, "default".to_owned());
    let environments = environments(fields, sites);
    let schedules = fields.list("schedules", schedule);
    let steps = fields.list("steps", step);
    let teardown = fields.list("teardown", step);
    let retry = fields.or("retry", decode::boolean, false);
    let quorum = fields.or("quorum", decode::number::<1, 1000>, 1);
    let paused_until = fields.optional("paused_until", decode::instant);
    if let Some(node) = fields.node("steps").filter(|_| steps.len() + teardown.len() > MOST_STEPS) {
        sink.error(node.pos, format!("a test may have at most {MOST_STEPS} steps"), None);
    }
    if fields.node("steps").is_none() {
        fields.required("steps", decode::text);
    }
    check_schedules(fields, &schedules, environments.as_ref());
    Some(Test {
        bucket: bucket?,
        name: name?,
        environments: environments?,
        schedules,
        steps,
        teardown,
        retry: retry?,
        quorum: u32::try_from(quorum?).unwrap_or(1),
        paused_until: paused_until?,
        extra: serde_json::Map::new(),
    })
}

fn environments(fields: &Fields<'_>, sites: &mut Sites) -> Option<BTreeMap<String, Environment>> {
    let Some(node) = fields.node("environments") else {
        return Some(BTreeMap::from([("default".to_owned(), Environment::default())]));
    };
    let Value::Map(pairs) = &node.value else {
        fields.sink.error(node.pos, format!("environments must be a mapping from names, this is {}", node.what()), None);
        return None;
    };
    let mut found = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(environment) = environment(fields.sink, value, sites)
            && found.insert(key.text(), environment).is_some()
        {
            fields.sink.error(key.pos, format!("the environment {:?} is written twice", key.text()), None);
        }
    }
    Some(found)
}

fn environment(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Environment> {
    if node.what() == "nothing" {
        return Some(Environment::default());
    }
    let fields = Fields::of(sink, node, "an environment")?;
    let variables = fields.or("variables", decode::values, BTreeMap::new());
    let headers = fields.or("headers", decode::texts, BTreeMap::new());
    let notify = match fields.node("notify") {
        Some(node) => notify(sink, node, sites).map(Some),
        None => Some(None),
    };
    fields.finish();
    for (header, value) in headers.iter().flatten() {
        check_template(sink, node, &format!("the header {header}"), value);
    }
    Some(Environment { variables: variables?, headers: headers?, notify: notify? })
}

fn notify(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Notify> {
    if matches!(node.value, Value::Scalar { .. }) {
        let service = sites.service(sink, node)?;
        return Some(Notify { service, on: true, after_failures: 1, after_passes: 1 });
    }
    let fields = Fields::of(sink, node, "notify")?;
    let service = match fields.node("service") {
        Some(node) => sites.service(sink, node),
        None => fields.required("service", decode::name).map(Into::into),
    };
    let on = fields.or("on", decode::boolean, true);
    let after_failures = fields.or("after_failures", decode::number::<1, 100>, 1);
    let after_passes = fields.or("after_passes", decode::number::<1, 100>, 1);
    fields.finish();
    Some(Notify {
        service: service?,
        on: on?,
        after_failures: u32::try_from(after_failures?).unwrap_or(1),
        after_passes: u32::try_from(after_passes?).unwrap_or(1),
    })
}

fn schedule(sink: &Sink, node: &Node) -> Option<Schedule> {
    let fields = Fields::of(sink, node, "a schedule")?;
    let every = fields.required("every", interval);
    let environment = fields.or("environment", decode::text, "default".to_owned());
    let mut locations: Vec<LocationName> = fields.list("locations", decode::name).into_iter().map(Into::into).collect();
    if locations.is_empty() {
        locations.push("local".into());
    }
    fields.finish();
    Some(Schedule { every: every?, environment: environment?, locations })
}

fn interval(sink: &Sink, node: &Node) -> Option<Span> {
    let every = decode::span(sink, node)?;
    if every < SHORTEST_INTERVAL {
        sink.error(node.pos, format!("a schedule can be as short as {SHORTEST_INTERVAL}, not shorter"), None);
        return None;
    }
    Some(every)
}

fn check_schedules(fields: &Fields<'_>, schedules: &[Schedule], environments: Option<&BTreeMap<String, Environment>>) {
    let (Some(node), Some(environments)) = (fields.node("schedules"), environments) else { return };
    for schedule in schedules {
        if !environments.contains_key(&schedule.environment) {
            let known: Vec<&str> = environments.keys().map(String::as_str).collect();
            let help = format!("this test has {}", known.join(", "));
            fields.sink.error(node.pos, format!("there is no environment {:?}", schedule.environment), Some(help));
        }
    }
}

pub(crate) fn step(sink: &Sink, node: &Node) -> Option<Step> {
    let fields = Fields::of(sink, node, "a step")?;
    let name = fields.optional("name", decode::name)?;
    if fields.node("pause").is_some() {
        let pause = fields.required("pause", pause)?;
        fields.finish();
        return Some(Step::Pause(PauseStep { name, pause }));
    }
    let request = fields.required("request", request);
    let assertions = fields.list("assert", assertion);
    let save = fields.list("save", save);
    fields.finish();
    Some(Step::Request(Box::new(RequestStep { name, request: request?, assertions, save })))
}

fn pause(sink: &Sink, node: &Node) -> Option<Span> {
    let pause = decode::span(sink, node)?;
    if pause > LONGEST_PAUSE {
        sink.error(node.pos, format!("a pause can be as long as {LONGEST_PAUSE}, not longer"), None);
        return None;
    }
    Some(pause)
}

fn request(sink: &Sink, node: &Node) -> Option<Request> {
    if let Value::Scalar { .. } = &node.value {
        return request_in_short(sink, node);
    }
    let fields = Fields::of(sink, node, "a request")?;
    let method = fields.or("method", decode::name, "GET".to_owned());
    let url = fields.required("url", url);
    let query = fields.or("query", decode::texts, BTreeMap::new());
    let headers = fields.or("headers", decode::texts, BTreeMap::new());
    let body = body(&fields);
    let auth = fields.optional("auth", auth);
    let timeout = fields.or("timeout", timeout, REQUEST_TIMEOUT);
    let follow_redirects = fields.or("follow_redirects", decode::boolean, false);
    fields.finish();
    for (name, value) in query.iter().flatten().chain(headers.iter().flatten()) {
        check_template(sink, node, name, value);
    }
    Some(Request {
        method: method?.to_ascii_uppercase(),
        url: url?,
        query: query?,
        headers: headers?,
        body: body?,
        auth: auth?,
        timeout: timeout?,
        follow_redirects: follow_redirects?,
    })
}

/// `GET https://…` in one line.
fn request_in_short(sink: &Sink, node: &Node) -> Option<Request> {
    let text = decode::text(sink, node)?;
    let (method, url) = text.split_once(' ').unwrap_or(("GET", &text));
    check_template(sink, node, "the address", url);
    Some(Request {
        method: method.to_ascii_uppercase(),
        url: url.trim().to_owned(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: None,
        auth: None,
        timeout: REQUEST_TIMEOUT,
        follow_redirects: false,
    })
}

fn url(sink: &Sink, node: &Node) -> Option<String> {
    let url = decode::text(sink, node)?;
    check_template(sink, node, "the address", &url);
    if url.starts_with("http://") || url.starts_with("https://") || url.starts_with("{{") {
        return Some(url);
    }
    sink.error(node.pos, format!("{url:?} is not an address"), Some("write http://…, https://… or {{base}}/…".into()));
    None
}

fn timeout(sink: &Sink, node: &Node) -> Option<Span> {
    let timeout = decode::span(sink, node)?;
    if timeout == Span::ZERO || timeout > LONGEST_RUN {
        sink.error(node.pos, format!("a time-out must be above 0 and at most {LONGEST_RUN}"), None);
        return None;
    }
    Some(timeout)
}

fn body(fields: &Fields<'_>) -> Option<Option<Body>> {
    let json = fields.node("json");
    let form = fields.node("form");
    let text = fields.node("text");
    let given: Vec<&Node> = [json, form, text].into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        fields.sink.error(second.pos, "a request has one body: json, form or text", None);
        return None;
    }
    if let Some(node) = json {
        check_template(fields.sink, node, "the body", &node.to_json().to_string());
        return Some(Some(Body::Json(node.to_json())));
    }
    if let Some(node) = form {
        return decode::texts(fields.sink, node).map(|form| Some(Body::Form(form)));
    }
    match text {
        Some(node) => decode::text(fields.sink, node).map(|text| Some(Body::Text(text))),
        None => Some(None),
    }
}

fn auth(sink: &Sink, node: &Node) -> Option<Auth> {
    let fields = Fields::of(sink, node, "auth")?;
    let bearer = fields.optional("bearer", decode::text)?;
    let basic = fields.optional("basic", basic)?;
    fields.finish();
    match (bearer, basic) {
        (Some(token), None) => Some(Auth::Bearer(token)),
        (None, Some(basic)) => Some(basic),
        (Some(_), Some(_)) | (None, None) => {
            sink.error(node.pos, "auth needs either \"bearer\" or \"basic\"", None);
            None
        }
    }
}

fn basic(sink: &Sink, node: &Node) -> Option<Auth> {
    let fields = Fields::of(sink, node, "basic")?;
    let username = fields.required("username", decode::text);
    let password = fields.required("password", decode::text);
    fields.finish();
    Some(Auth::Basic { username: username?, password: password? })
}

const SOURCES: &[(&str, Source)] = &[
    ("status", Source::Status),
    ("header", Source::Header),
    ("time", Source::Time),
    ("size", Source::Size),
    ("text", Source::Text),
    ("json", Source::Json),
    ("response_status", Source::Status),
    ("response_headers", Source::Header),
    ("response_header", Source::Header),
    ("response_time", Source::Time),
    ("response_size", Source::Size),
    ("response_text", Source::Text),
    ("response_json", Source::Json),
];

fn source(sink: &Sink, node: &Node) -> Option<Source> {
    decode::word(sink, node, SOURCES)
}

fn comparison(sink: &Sink, node: &Node) -> Option<Comparison> {
    let text = decode::text(sink, node)?;
    // The words of Runscope's results are accepted as well.
    if let Ok(found) = serde_json::from_value(text.into()) {
        return Some(found);
    }
    decode::word(sink, node, COMPARISONS)
}

fn assertion(sink: &Sink, node: &Node) -> Option<Assertion> {
    let fields = Fields::of(sink, node, "an assertion")?;
    let source = fields.required("source", source);
    let property = fields.optional("property", decode::text);
    let comparison = fields.required("comparison", comparison);
    let value = fields.node("value").map(Node::to_json).filter(|value| !value.is_null());
    fields.finish();
    let assertion = Assertion { source: source?, property: property?, comparison: comparison?, value };
    if assertion.comparison.needs_value() && assertion.value.is_none() {
        sink.error(node.pos, format!("{} needs a \"value\"", assertion.comparison.word()), None);
        return None;
    }
    check_property(sink, &fields, assertion.source, assertion.property.as_deref())?;
    Some(assertion)
}

fn save(sink: &Sink, node: &Node) -> Option<Save> {
    let fields = Fields::of(sink, node, "an entry of \"save\"")?;
    let source = fields.required("source", source);
    let property = fields.optional("property", decode::text);
    let name = fields.required("name", decode::name);
    fields.finish();
    let save = Save { source: source?, property: property?, name: name? };
    check_property(sink, &fields, save.source, save.property.as_deref())?;
    Some(save)
}

fn check_property(sink: &Sink, fields: &Fields<'_>, source: Source, property: Option<&str>) -> Option<()> {
    let pos = fields.node("property").or(fields.node("source")).map(|node| node.pos)?;
    match (source, property) {
        (Source::Header, None) => {
            sink.error(pos, "a header needs its name as \"property\"", None);
            None
        }
        (Source::Json, Some(path)) => match Path::parse(path) {
            Ok(_) => Some(()),
            Err(error) => {
                sink.error(pos, error.to_string(), Some("write a.b[0].c, [-1].id or [\"odd key\"]".into()));
                None
            }
        },
        _ => Some(()),
    }
}

fn check_template(sink: &Sink, node: &Node, what: &str, text: &str) {
    if let Err(error) = template::pieces(text) {
        sink.error(node.pos, format!("{what}: {error}"), None);
    }
}
