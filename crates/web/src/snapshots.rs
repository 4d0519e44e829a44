//! What the pages show: every view struct, field by field, in three scenes. A page that says something else than it did is seen
//! here before anybody looks at its HTML.
//!
//! `INSTA_UPDATE=always cargo test -p allclear-web` takes the snapshots anew; the difference is what a reviewer reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::task::Poll;

use allclear_base::clock::VirtualClock;
use allclear_base::runtime::{Health, Task};
use allclear_base::{Runtime, SeededRng, Spawn};
use allclear_domain::apitest::compare::Comparison;
use allclear_domain::apitest::document::{Source, Test};
use allclear_domain::apitest::report::{AssertionReport, Exchange, Failure, RunReport, StepReport, Teardown, Timings, Verdict};
use allclear_domain::catalog::Kind;
use allclear_domain::delivery::Role;
use allclear_domain::incident::ByHand;
use allclear_domain::status::published::MOST_OUTAGES;
use allclear_domain::status::{ComponentStatus, uptime};
use allclear_domain::{ComponentId, IncidentId, RunId, TestId, Timestamp};
use allclear_ops::delivery::{self, Capacity};
use allclear_ops::incident::{self, Act};
use allclear_ops::judge::{self, Batch, Entry, Sampler};
use allclear_ops::public::{self, Hand};
use allclear_ops::session::{self, Claim};
use allclear_ops::{Actor, config, view, wish};
use allclear_store::evidence::Evidence;
use allclear_store::{Backend, Options, Store};
use axum::body::{Body, HttpBody as _};
use futures::executor::block_on;
use http::{Request, Response, StatusCode};
use serde_json::json;
use tower::ServiceExt;

use crate::{Runs, Trial, Web, assets, router, status};

/// 2026-11-25T03:00:00Z.
const NIGHT_US: i64 = 1_795_575_600_000_000;

const MINUTE_US: i64 = 60_000_000;

/// A page's view, as it was handed to its template.
#[derive(Clone)]
pub(crate) struct Shown(String);

impl Shown {
    pub(crate) fn of(view: &impl Debug) -> Self {
        // The addresses of style and script change with every change of theirs.
        let text = format!("{view:#?}\n");
        Self(text.replace(assets::style_path(), "(style)").replace(assets::script_path(), "(script)"))
    }
}

/// What blocks runs at once.
struct AtOnce;

impl Spawn for AtOnce {
    fn spawn(&self, task: Task) {
        block_on(task);
    }
}

/// A test that passed twice and then failed.
struct Recent;

impl Runs for Recent {
    fn try_out(&self, _: Test, _: String) -> Trial {
        Box::pin(std::future::ready(None))
    }

    fn not_passing(&self) -> BTreeSet<TestId> {
        BTreeSet::new()
    }

    fn recent(&self, _: &TestId) -> Vec<(bool, u32, Timestamp)> {
        let at = |minutes: i64| Timestamp(NIGHT_US - minutes * MINUTE_US);
        vec![(true, 80, at(10)), (true, 120, at(5)), (false, 95, at(0))]
    }
}

/// A place where one owner is signed in.
struct Scene {
    store: Store,
    clock: VirtualClock,
    rng: SeededRng,
    evidence: Evidence,
    web: Web,
    cookie: String,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, rng) = (VirtualClock::at(NIGHT_US), SeededRng::new(7));
        let options = Options { backend: Backend::sqlite(folder.path()), clock: Arc::new(clock.clone()), rng: Arc::new(rng.clone()) };
        let store = Store::inline(&options, None).expect("a database");
        let evidence = Evidence::open(folder.path()).expect("a place for evidence");
        let runtime = Runtime { clock: Arc::new(clock.clone()), rng: Arc::new(rng.clone()), spawner: Arc::new(AtOnce) };
        let web = Web::new(store.clone(), evidence.clone(), runtime, Arc::new(Health::default()), Arc::new(Recent), "http://allclear.test");
        Self { store, clock, rng, evidence, web, cookie: String::new(), _folder: folder }
    }

    /// Nothing but the owner.
    fn empty() -> Self {
        Self::new().signed_in()
    }

    /// One test with all that hangs on it; it passed an hour ago.
    fn calm() -> Self {
        Self::calm_in(WORLD)
    }

    /// The same in a world of its own.
    fn calm_in(world: &str) -> Self {
        let scene = Self::new();
        let documents = allclear_config::load_str("world.yaml", world, &|_, _| false).into_documents();
        assert!(!documents.is_empty(), "the world can be read");
        block_on(config::apply(&scene.store, &scene.rng, &Actor::files(), "world", documents)).expect("the world is there");
        scene.judge("good", "https://live.example/a.m3u8");
        scene.clock.advance_to(NIGHT_US + 60 * MINUTE_US);
        scene.signed_in()
    }

    /// The same test has failed four minutes ago.
    fn failing() -> Self {
        Self::failing_in(WORLD)
    }

    /// The same in a world of its own.
    fn failing_in(world: &str) -> Self {
        let scene = Self::calm_in(world);
        scene.judge("bad", "");
        scene.clock.advance_to(NIGHT_US + 64 * MINUTE_US);
        scene
    }

    fn signed_in(mut self) -> Self {
        let link = block_on(session::set_up_link(&self.store, &self.rng)).expect("an answer").expect("a link");
        let claim = Claim { name: "Ada".into(), email: "ada@synq.example".into(), password_hash: "(hash)".into() };
        self.cookie = block_on(session::claim(&self.store, &self.rng, &link, claim)).expect("a session");
        self
    }

    fn test(&self) -> TestId {
        let found = self.store.catalog().id_of(Kind::Test, "default/Live Streaming").map(str::to_owned);
        TestId(found.expect("the test"))
    }

    fn component(&self) -> ComponentId {
        ComponentId(self.store.catalog().id_of(Kind::Component, "Live Stream").expect("the component").to_owned())
    }

    /// Ada, who may do everything.
    fn ada(&self) -> Actor {
        let ada = self.store.catalog().id_of(Kind::Person, "Ada").expect("Ada").into();
        Actor::signed_in(ada, Role::Owner)
    }

    fn incident(&self) -> IncidentId {
        let found = block_on(view::list_incidents(&self.store, &self.ada(), None, i64::MAX, 1));
        found.expect("incidents").first().expect("an incident").id.clone()
    }

    /// Judges a run whose answer carries this playback address; it ends now.
    fn judge(&self, run: &str, playback: &str) {
        self.judge_with(run, playback, |_| ());
    }

    /// The same, once more is put into the report.
    fn judge_with(&self, run: &str, playback: &str, more: impl FnOnce(&mut RunReport)) {
        let at = self.store.now();
        let passed = !playback.is_empty();
        let body = json!({ "id": "s1", "playback_url": playback }).to_string();
        let assertion = AssertionReport {
            source: Source::Json,
            property: Some("playback_url".into()),
            comparison: Comparison::NotEmpty,
            expected: serde_json::Value::Null,
            actual: Some(json!(playback)),
            passed,
            error: None,
        };
        let timings = Timings { dns_us: 900, connect_us: 1_100, tls_us: 4_000, wait_us: 80_000, transfer_us: 700 };
        let exchange = Exchange {
            method: "POST".into(),
            url: "https://api.live.example/streams".into(),
            request_headers: vec![("authorization".into(), "***".into())],
            request_body: r#"{"name":"canary"}"#.into(),
            status: Some(200),
            response_headers: vec![("content-type".into(), "application/json".into())],
            response_size: body.len() as u64,
            response_body: body,
            truncated: false,
            timings,
            remote_addr: Some("192.0.2.7:443".into()),
        };
        let step = StepReport {
            name: "Create a stream".into(),
            passed,
            error: None,
            exchange: Some(exchange),
            assertions: vec![assertion.clone()],
            saved: BTreeMap::from([("id".to_owned(), json!("s1"))]),
        };
        let failure = || Failure { step: "Create a stream".into(), message: assertion.sentence() };
        let mut report = RunReport {
            run_id: RunId::from(run),
            test_id: self.test(),
            test_name: "Live Streaming".into(),
            environment: "production".into(),
            location: "local".into(),
            slot: Some(at),
            attempt: 1,
            started_at: at,
            finished_at: Timestamp(at.0 + 86_700),
            verdict: if passed { Verdict::Passed } else { Verdict::Failed(failure()) },
            steps: vec![step],
            teardown_steps: vec![],
            teardown: Teardown::None,
            variables: BTreeMap::from([("base".to_owned(), json!("https://api.live.example"))]),
            catalog_rev: 1,
        };
        more(&mut report);
        let batch = Batch {
            location: "local".into(),
            probe: run.to_owned(),
            boot: "b".into(),
            seq: 1,
            through: at,
            entries: vec![Entry { report: Arc::new(report), superseded: false }],
            exceptions: vec![],
        };
        let (batch, mut sampler) = (Arc::new(batch), Sampler::default());
        let judged = judge::judge_batch(&self.web.runtime, &self.store, &self.evidence, &mut sampler, &batch);
        assert_eq!(block_on(judged).expect("it is judged").counted, 1);
    }

    fn get(&self, path: &str) -> Response<Body> {
        let request = Request::get(path).header("cookie", format!("allclear={}", self.cookie)).body(Body::empty()).expect("a request");
        block_on(router(self.web.clone()).oneshot(request)).expect("an answer")
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        let response = self.get(path);
        let status = response.status();
        let bytes = block_on(axum::body::to_bytes(response.into_body(), 1 << 20)).expect("a body");
        (status, String::from_utf8(bytes.into()).expect("text"))
    }

    /// What the page at this address shows.
    fn at(&self, path: &str) -> String {
        let response = self.get(path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.extensions().get::<Shown>().expect("a view").0.clone()
    }
}

const WORLD: &str = r##"
kind: test
name: Live Streaming
environments:
  production: { notify: { service: Live Stream Check } }
schedules: [{ every: 5m, environment: production }]
steps:
  - name: Create a stream
    request: "POST https://api.live.example/streams"
    assert: [{ source: json, property: playback_url, comparison: not_empty }]
---
kind: channel
name: Twilio
twilio: { account_sid: ACde300000000000000000000000000000, auth_token: "{{secret.TWILIO_TOKEN}}", from: "+4570000000" }
---
kind: person
name: Ada
email: ada@synq.example
role: owner
contact_methods: [{ name: mobile, channel: Twilio, address: "+4520000001" }]
---
{ kind: person, name: Ben }
---
kind: escalation_policy
name: On call
levels: [{ targets: [Ada], escalate_after: 5m }]
---
kind: service
name: Live Stream Check
escalation_policy: On call
---
{ kind: page, name: SYNQ }
---
kind: component
name: Live Stream
page: SYNQ
---
kind: rule
service: Live Stream Check
component: Live Stream
incident: { name: Live streams cannot be created }
"##;

/// Takes a picture of what a page shows, under the page's name.
macro_rules! shows {
    ($name:literal, $scene:expr, $path:expr) => {
        insta::assert_snapshot!($name, $scene.at($path))
    };
}

#[test]
fn an_empty_server_shows_what_to_do_first() {
    let scene = Scene::empty();
    shows!("empty_overview", scene, "/");
    shows!("empty_incidents", scene, "/incidents");
    shows!("empty_tests", scene, "/tests");
    shows!("empty_pages", scene, "/pages");
}

#[test]
fn a_calm_night_shows_that_all_is_clear() {
    let scene = Scene::calm();
    shows!("calm_overview", scene, "/");
    shows!("calm_incidents", scene, "/incidents");
    shows!("calm_tests", scene, "/tests");
    shows!("calm_test", scene, &format!("/tests/{}", scene.test()));
    shows!("calm_run", scene, "/runs/good");
    shows!("calm_editor", scene, &format!("/tests/{}/edit", scene.test()));
    shows!("calm_account", scene, "/account");
}

#[test]
fn a_failing_test_shows_its_whole_chain() {
    let scene = Scene::failing();
    shows!("failing_overview", scene, "/");
    shows!("failing_incidents", scene, "/incidents");
    shows!("failing_incident", scene, &format!("/incidents/{}", scene.incident()));
    shows!("failing_tests", scene, "/tests");
    shows!("failing_run", scene, "/runs/bad");
    shows!("failing_component", scene, &format!("/components/{}", scene.component()));
}

#[test]
fn an_incident_that_somebody_has_says_who() {
    let scene = Scene::failing();
    block_on(incident::act(&scene.store, &scene.rng, &scene.ada(), &scene.incident(), Act::Acknowledge)).expect("it is taken");
    shows!("taken_incident", scene, &format!("/incidents/{}", scene.incident()));
}

#[test]
fn a_status_page_shows_what_rules_and_people_did() {
    let scene = Scene::failing();
    let page = scene.store.catalog().id_of(Kind::Page, "SYNQ").expect("the page").to_owned();
    shows!("failing_pages", scene, "/pages");
    shows!("failing_page", scene, &format!("/pages/{page}"));
    shows!("new_rule", scene, &format!("/pages/{page}/new-rule"));
    let catalog = scene.store.catalog();
    let rule = catalog.of_kind(Kind::Rule).next().expect("a rule").id.clone();
    shows!("rule", scene, &format!("/rules/{rule}"));
    let hand = Hand::Set(ComponentStatus::PartialOutage);
    block_on(public::set_component(&scene.store, &scene.rng, &scene.ada(), &scene.component(), hand)).expect("it is set");
    shows!("page_with_a_component_set_by_hand", scene, &format!("/pages/{page}"));
    let shown = block_on(view::published_pages(&scene.store)).expect("pages");
    let opened = shown.iter().flat_map(|(_, page)| &page.incidents).next().expect("a public incident").id.clone();
    shows!("failing_public_incident", scene, &format!("/public-incidents/{opened}"));
}

#[test]
fn customers_see_what_fails_in_their_words() {
    let scene = Scene::failing();
    let shown = block_on(view::published_pages(&scene.store)).expect("pages");
    let (_, page) = shown.first().expect("a page");
    insta::assert_snapshot!("public_page", Shown::of(&status::shown(page, scene.store.now())).0);
    insta::assert_snapshot!("public_past", Shown::of(&status::shown_past(page)).0);
}

#[test]
fn whoever_comes_in_sees_what_to_fill_in() {
    let scene = Scene::new();
    let link = block_on(session::set_up_link(&scene.store, &scene.rng)).expect("an answer").expect("a link");
    shows!("enter_as_the_first_owner", scene, &format!("/enter/{link}"));
    let nobody = Scene { cookie: String::new(), ..Scene::empty() };
    shows!("sign_in", nobody, "/sign-in");
}

/// Somebody who is told by mail.
const MAILS: &str = r#"
---
kind: channel
name: Mail
smtp: { host: mail.synq.example, from: "AllClear <allclear@synq.example>" }
---
kind: person
name: Cleo
contact_methods: [{ name: mail, channel: Mail, address: cleo@synq.example }]
"#;

#[test]
fn the_page_behind_a_mails_link_shows_who_has_what_the_mail_is_about() {
    let scene = Scene::failing_in(&format!("{WORLD}{MAILS}"));
    let act = |act| block_on(incident::act(&scene.store, &scene.rng, &scene.ada(), &scene.incident(), act)).expect("it is done");
    let cleo = scene.store.catalog().id_of(Kind::Person, "Cleo").expect("Cleo").into();
    act(Act::ByHand(ByHand::Reassign { people: vec![cleo] }));
    let capacity = Capacity { idle: 9, ..Capacity::default() };
    let sent = block_on(delivery::claim(&scene.store, &scene.rng, capacity)).expect("messages").outgoing;
    let link = sent.into_iter().find_map(|message| message.link).expect("a mail");
    let behind = format!("/answer/{link}");
    shows!("answer_to_what_needs_somebody", scene, &behind);
    act(Act::Acknowledge);
    shows!("answer_to_what_somebody_has", scene, &behind);
    act(Act::Resolve);
    shows!("answer_to_what_is_over", scene, &behind);
}

/// Where the text stands in the world, something else stands.
fn world_with(text: &str, other: &str) -> String {
    assert!(WORLD.contains(text), "{text}");
    WORLD.replace(text, other)
}

const NOTIFY: &str = "notify: { service: Live Stream Check }";

const ON_CALL: &str = "name: On call\nlevels: [{ targets: [Ada], escalate_after: 5m }]";

const TWO_ROTAS: &str = r#"name: On call
levels: [{ targets: [Ada, { schedule: Days }, { schedule: Later }], escalate_after: 5m }]
---
kind: schedule
name: Days
time_zone: Etc/UTC
people: [Ada, Ben]
start: 2026-01-05T09:00
turn: 1d
overrides: [{ person: Ada, from: 2026-11-25T05:00, to: 2026-11-25T06:00 }]
---
{ kind: schedule, name: Later, time_zone: Etc/UTC, people: [Ben], start: 2026-12-01T09:00, turn: 1d }"#;

#[test]
fn a_failure_that_pages_nobody_says_why() {
    for (text, other, why) in [
        (NOTIFY, "notify: { service: Live Stream Check, after_failures: 3 }", "1 of 3 failures in a row that it takes"),
        (NOTIFY, "notify: { service: Live Stream Check, on: false }", "it is switched off for the environment"),
        (NOTIFY, "variables: {}", "the environment names no service"),
        (
            "escalation_policy: On call\n",
            "escalation_policy: On call\npaused_until: 2026-12-24T00:00:00Z\n",
            "the service Live Stream Check is paused",
        ),
        ("name: Live Streaming\n", "name: Live Streaming\nquorum: 2\n", "it fails from 1 of 2 locations that it takes"),
    ] {
        let scene = Scene::failing_in(&world_with(text, other));
        let shown = scene.at("/runs/bad");
        assert!(shown.contains(&format!("judged: \"it counts; nobody is told: {why}")), "{why}: {shown}");
    }
}

#[test]
fn an_incident_says_for_each_level_why_it_paged_whom_or_nobody() {
    let nobody = TWO_ROTAS.replace("[Ada, { schedule: Days }, { schedule: Later }]", "[{ schedule: Later }]");
    let scene = Scene::failing_in(&world_with(ON_CALL, &nobody));
    shows!("incident_that_paged_nobody", scene, &format!("/incidents/{}", scene.incident()));
    let scene = Scene::failing_in(&world_with(ON_CALL, TWO_ROTAS));
    let shown = scene.at(&format!("/incidents/{}", scene.incident()));
    for why in [
        "Ada on level 1, first level of the escalation policy: the policy names them",
        "Ben on level 1, first level of the escalation policy: on call on “Days”",
    ] {
        assert!(shown.contains(why), "{why}: {shown}");
    }
}

#[test]
fn whoever_is_on_call_hands_over_to_whoever_is_next_overrides_included() {
    let scene = Scene::calm_in(&world_with(ON_CALL, TWO_ROTAS));
    shows!("overview_with_rotas", scene, "/");
}

#[test]
fn a_stream_says_what_changed_and_nothing_once_its_session_is_over() {
    let scene = Scene::failing();
    let mut body = scene.get("/live").into_body();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut heard = || std::pin::Pin::new(&mut body).poll_frame(&mut cx);
    let a_second_later = || scene.clock.advance_to(scene.store.now().0 + 1_000_000);
    assert!(heard().is_pending());
    let note = Act::ByHand(ByHand::Note { text: "Looking".into() });
    block_on(incident::act(&scene.store, &scene.rng, &scene.ada(), &scene.incident(), note)).expect("a note");
    a_second_later();
    let Poll::Ready(Some(Ok(frame))) = heard() else { panic!("it hears of the note") };
    assert!(frame.into_data().is_ok_and(|data| data.starts_with(b"event: changed")));
    assert!(heard().is_pending());
    block_on(session::sign_out(&scene.store, &scene.cookie)).expect("signed out");
    a_second_later();
    assert!(matches!(heard(), Poll::Ready(None)), "it ends without a word");
}

#[test]
fn nothing_that_an_api_or_a_provider_says_becomes_markup() {
    let scene = Scene::failing_in(&format!("{WORLD}{MAILS}"));
    for (n, hostile) in
        ["<script>zq</script>", "\"><img src=x onerror=zq>", "'><svg onload=zq>", "</pre></details><b>zq</b>", "&lt;b&gt;<i>zq</i>"]
            .into_iter()
            .enumerate()
    {
        let said = || hostile.to_owned();
        scene.clock.advance_to(scene.store.now().0 + MINUTE_US);
        scene.judge_with(&format!("hostile{n}"), "", |report| {
            report.variables = BTreeMap::from([(said(), json!(hostile))]);
            report.teardown = Teardown::Failed { why: said() };
            report.verdict = Verdict::Failed(Failure { step: said(), message: said() });
            report.teardown_steps = report.steps.clone();
            for step in report.steps.iter_mut().chain(&mut report.teardown_steps) {
                (step.name, step.error) = (said(), Some(said()));
                step.saved = BTreeMap::from([(said(), json!({ hostile: hostile }))]);
                step.assertions[0].property = Some(said());
                let exchange = step.exchange.as_mut().expect("an exchange");
                (exchange.method, exchange.url, exchange.request_body) = (said(), said(), said());
                exchange.request_headers = vec![(said(), said())];
                exchange.response_headers = vec![(said(), said())];
                exchange.response_body = json!({ hostile: [hostile] }).to_string();
            }
        });
        let cleo = scene.store.catalog().id_of(Kind::Person, "Cleo").expect("Cleo").into();
        let to_cleo = Act::ByHand(ByHand::Reassign { people: vec![cleo] });
        block_on(incident::act(&scene.store, &scene.rng, &scene.ada(), &scene.incident(), to_cleo)).expect("it is hers");
        let capacity = Capacity { idle: 9, ..Capacity::default() };
        for sent in block_on(delivery::claim(&scene.store, &scene.rng, capacity)).expect("messages").outgoing {
            let outcome = allclear_domain::delivery::Outcome::Permanent { why: said() };
            block_on(delivery::settle(&scene.store, &scene.rng, &sent, outcome)).expect("settled");
        }
        for path in [format!("/runs/hostile{n}"), format!("/tests/{}", scene.test()), format!("/incidents/{}", scene.incident())] {
            let (status, page) = scene.answer(&path);
            let escaped = page.contains("&#60;") || page.contains("&lt;");
            let is_markup = ["<script>zq", "<img src=x", "<svg onload", "<b>zq", "<i>zq"].iter().any(|tag| page.contains(tag));
            assert!(status == StatusCode::OK && escaped && !is_markup, "{path} with {hostile}: {page}");
        }
    }
}

#[test]
fn what_is_too_much_for_a_list_is_chosen_by_its_name() {
    let people: String = (0..500).map(|n| format!("---\n{{ kind: person, name: Person {n} }}\n")).collect();
    let services = (0..500).map(|n| format!("---\n{{ kind: service, name: Service {n}, escalation_policy: On call }}\n"));
    let scene = Scene::failing_in(&format!("{WORLD}\n{people}{}", services.collect::<String>()));
    let page = scene.store.catalog().id_of(Kind::Page, "SYNQ").expect("the page").to_owned();
    for (path, field, count) in [
        ("/incidents".to_owned(), "service", 501),
        (format!("/incidents/{}", scene.incident()), "person", 502),
        (format!("/pages/{page}/new-rule"), "service", 501),
    ] {
        let (_, shown) = scene.answer(&path);
        let written = format!("<input name=\"{field}\" required");
        assert!(shown.contains(&written) && shown.contains(&format!("one of {count}, by its name")), "{path}: {shown}");
    }
}

#[test]
fn a_component_that_was_out_more_often_than_a_page_tells_was_out_as_long() {
    let scene = Scene::calm();
    let set = |status| block_on(public::set_component(&scene.store, &scene.rng, &scene.ada(), &scene.component(), Hand::Set(status)));
    for _ in 0..300 {
        set(ComponentStatus::MajorOutage).expect("it is set");
        scene.clock.advance_to(scene.store.now().0 + MINUTE_US / 2);
        set(ComponentStatus::Operational).expect("it is set");
        scene.clock.advance_to(scene.store.now().0 + MINUTE_US / 2);
    }
    let shown = block_on(view::published_pages(&scene.store)).expect("pages");
    let outages = &shown.first().and_then(|(_, page)| page.components.first()).expect("a component").outages;
    assert!(outages.len() <= MOST_OUTAGES, "{}", outages.len());
    let days = uptime::days(outages, Timestamp(0), &jiff::tz::TimeZone::UTC, scene.store.now(), 2);
    assert_eq!(days.iter().map(|day| day.major_s).sum::<i64>(), 300 * 30);
}

#[test]
fn a_page_comes_packed_to_those_who_unpack_it() {
    let scene = Scene::calm();
    let asked = |encoding: &str| {
        let request = Request::get("/").header("cookie", format!("allclear={}", scene.cookie)).header("accept-encoding", encoding);
        let response = block_on(router(scene.web.clone()).oneshot(request.body(Body::empty()).expect("a request"))).expect("an answer");
        let packed = response.headers().get("content-encoding").is_some_and(|value| value == "gzip");
        (packed, block_on(axum::body::to_bytes(response.into_body(), 1 << 20)).expect("a body"))
    };
    let ((plain, text), (packed, bytes)) = (asked("br"), asked("gzip, br"));
    assert!(!plain && packed && bytes.len() < text.len() / 2);
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*bytes), &mut unpacked).expect("gzip");
    assert_eq!(unpacked.as_bytes(), &*text);
}

#[test]
fn a_page_asks_the_database_no_more_often_when_its_lists_are_long() {
    let asked = |scene: &Scene, first: &IncidentId| {
        let catalog = scene.store.catalog();
        let page = catalog.id_of(Kind::Page, "SYNQ").expect("the page").to_owned();
        let rule = catalog.of_kind(Kind::Rule).next().expect("a rule").id.clone();
        let shown = block_on(view::published_pages(&scene.store)).expect("pages");
        let public = shown.iter().flat_map(|(_, page)| &page.incidents).next().expect("a public incident").id.clone();
        let of_one = [
            format!("/incidents/{first}"),
            format!("/tests/{}", scene.test()),
            format!("/tests/{}/edit", scene.test()),
            "/runs/bad".to_owned(),
            format!("/pages/{page}"),
            format!("/pages/{page}/new-rule"),
            format!("/rules/{rule}"),
            format!("/public-incidents/{public}"),
            format!("/components/{}", scene.component()),
        ];
        let rooms = ["/", "/incidents", "/tests", "/new-test", "/pages", "/account"].map(str::to_owned);
        let count = |path: String| {
            let before = scene.store.statements();
            scene.at(&path);
            let kind: String = path.split('/').take(2).chain(path.split('/').skip(3)).collect::<Vec<_>>().join("/");
            (kind, scene.store.statements() - before)
        };
        rooms.into_iter().chain(of_one).map(count).collect::<Vec<_>>()
    };
    let small = Scene::failing();
    let few = asked(&small, &small.incident());
    let mut more = WORLD.replace("  production: {", "  first: {}\n  second: {}\n  third: {}\n  production: {");
    for n in 0..30 {
        more.push_str(&format!(
            "---\n{{ kind: person, name: Person {n} }}\n---\n{{ kind: service, name: Service {n}, escalation_policy: On call }}\n---\n\
             {{ kind: component, name: Part {n}, page: SYNQ }}\n---\n{{ kind: page, name: Page {n} }}\n---\n\
             {{ kind: rule, service: Service {n}, component: Part {n} }}\n---\n\
             {{ kind: escalation_policy, name: Policy {n}, levels: [{{ targets: [Ada] }}] }}\n---\n\
             {{ kind: test, name: Test {n}, environments: {{ e: {{}} }}, steps: [{{ request: \"GET https://live.example/\" }}] }}\n"
        ));
    }
    let large = Scene::failing_in(&more);
    let first = large.incident();
    for n in 0..40 {
        large.clock.advance_to(large.store.now().0 + MINUTE_US);
        let wish =
            serde_json::from_value(json!({ "title": format!("Something else {n}"), "service": "Live Stream Check" })).expect("a wish");
        block_on(wish::declare(&large.store, &large.rng, &large.ada(), wish)).expect("an incident");
        large.judge(&format!("again{n}"), "");
        let note = Act::ByHand(ByHand::Note { text: format!("Looking, {n}") });
        block_on(incident::act(&large.store, &large.rng, &large.ada(), &first, note)).expect("a note");
    }
    assert_eq!(few, asked(&large, &first));
}
