//! What a change of the configuration means for what is open, and what a pause means.

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_base::clock::VirtualClock;
use allclear_base::runtime::TokioSpawn;
use allclear_base::{Clock, Runtime, SeededRng};
use allclear_domain::apitest::report::{Failure, RunReport, Teardown, Verdict};
use allclear_domain::catalog::Kind;
use allclear_domain::incident::{Incident, ResolveReason, State};
use allclear_domain::status::published::Stage;
use allclear_domain::{ComponentId, TestId, Timestamp};
use allclear_ops::judge::{Batch, Entry, Sampler, judge_batch};
use allclear_ops::{Actor, config, timer};
use allclear_store::evidence::Evidence;
use allclear_store::record::{component, incident, page, standing};
use allclear_store::{Backend, Options, Store, StoreError, Tx};

/// 2026-03-28T12:00:00Z.
const START_US: i64 = 1_774_699_200_000_000;

const MINUTE_US: i64 = 60_000_000;

const WORLD: &str = r#"
kind: test
name: Live
environments: { production: { notify: Streams } }
schedules: [{ every: 1m, environment: production }]
steps: [{ request: "GET http://live.example/" }]
---
kind: person
name: Ada
---
{ kind: escalation_policy, name: On call, levels: [{ targets: [Ada] }] }
---
kind: service
name: Streams
escalation_policy: On call
---
{ kind: page, name: SYNQ }
---
{ kind: component, name: Live Stream, page: SYNQ }
---
{ kind: settings, operators: Streams }
"#;

const RULE: &str = "---\n{ kind: rule, service: Streams, component: Live Stream, incident: { name: Streams fail } }\n";

struct Server {
    store: Store,
    runtime: Runtime,
    clock: VirtualClock,
    evidence: Evidence,
    sampler: Sampler,
    runs: i64,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl Server {
    async fn with(text: &str) -> Self {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(START_US));
        let rng = Arc::new(SeededRng::new(1));
        let options = Options { backend: Backend::sqlite(folder.path()), clock: Arc::new(clock.clone()), rng: Arc::clone(&rng) as _ };
        let store = Store::open(&options).expect("a database");
        let runtime = Runtime { clock: Arc::new(clock.clone()), rng, spawner: Arc::new(TokioSpawn) };
        let evidence = Evidence::open(folder.path()).expect("a folder");
        let server = Self { store, runtime, clock, evidence, sampler: Sampler::default(), runs: 0, _folder: folder };
        server.apply(text).await;
        server
    }

    async fn apply(&self, text: &str) {
        let loaded = allclear_config::load_str("world.yaml", text, &|_, _| false);
        assert!(loaded.is_usable(), "{:?}", loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>());
        config::apply(&self.store, &*self.runtime.rng, &Actor::files(), "world", loaded.into_documents()).await.expect("applied");
    }

    /// A minute goes by and the test runs.
    async fn run(&mut self, passes: bool) {
        let test = self.test("Live");
        self.run_together(passes, vec![test]).await;
    }

    /// A minute goes by, and the results of these tests come in one batch.
    async fn run_together(&mut self, passes: bool, tests: Vec<TestId>) {
        self.clock.advance_to(self.clock.now_us() + MINUTE_US);
        self.runs += 1;
        let at = Timestamp(self.clock.now_us());
        let report = |(n, test_id): (usize, TestId)| RunReport {
            run_id: format!("run{}-{n}", self.runs).into(),
            test_id,
            test_name: "Live".into(),
            environment: "production".into(),
            location: "local".into(),
            slot: Some(at),
            attempt: 1,
            started_at: at,
            finished_at: at,
            verdict: if passes { Verdict::Passed } else { Verdict::Failed(Failure { step: "s".into(), message: "m".into() }) },
            steps: vec![],
            teardown_steps: vec![],
            teardown: Teardown::None,
            variables: BTreeMap::new(),
            catalog_rev: 1,
        };
        let entry = |report| Entry { report: Arc::new(report), superseded: false };
        let entries = tests.into_iter().enumerate().map(report).map(entry).collect();
        let batch = Batch {
            location: "local".into(),
            probe: "p".into(),
            boot: "b".into(),
            seq: self.runs,
            through: at,
            entries,
            exceptions: vec![],
        };
        judge_batch(&self.runtime, &self.store, &self.evidence, &mut self.sampler, &Arc::new(batch)).await.expect("judged");
    }

    fn id(&self, kind: Kind, name: &str) -> String {
        self.store.catalog().id_of(kind, name).expect("it is there").to_owned()
    }

    fn test(&self, name: &str) -> TestId {
        self.store.catalog().id_of(Kind::Test, &format!("default/{name}")).map(Into::into).expect("the test")
    }

    async fn look<T: Send + 'static>(&self, work: impl Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static) -> T {
        self.store.read("look", work).await.expect("read")
    }

    async fn status(&self) -> &'static str {
        let id: ComponentId = self.store.catalog().id_of(Kind::Component, "Live Stream").map(Into::into).expect("the component");
        self.look(move |tx| Ok(component::component_state(tx, &id)?.status.word())).await
    }

    async fn incidents(&self) -> Vec<Incident> {
        self.look(|tx| incident::list_incidents(tx, None, i64::MAX, 10)).await
    }

    async fn public_stages(&self) -> Vec<Stage> {
        let pages = self.look(page::published_pages).await;
        pages.iter().flat_map(|(_, page)| &page.incidents).map(|shown| shown.stage).collect()
    }

    async fn minutes_later(&self, minutes: i64) {
        self.clock.advance_to(self.clock.now_us() + minutes * MINUTE_US);
        while timer::fire_due(&self.store, &*self.runtime.rng, Timestamp(0)).await.expect("fired").count > 0 {}
    }
}

#[tokio::test]
async fn a_rule_that_goes_releases_its_component_and_ends_its_public_incident() {
    let mut server = Server::with(&format!("{WORLD}{RULE}")).await;
    server.run(false).await;
    assert_eq!((server.status().await, server.public_stages().await), ("degraded_performance", vec![Stage::Investigating]));
    server.apply(WORLD).await;
    assert_eq!((server.status().await, server.public_stages().await), ("operational", vec![Stage::Resolved]));
    assert!(server.incidents().await[0].is_open(), "the engineers' incident goes on");
}

#[tokio::test]
async fn what_is_renamed_stays_what_it_is_and_the_name_it_left_is_free() {
    let mut server = Server::with(&format!("{WORLD}{RULE}")).await;
    server.run(false).await;
    let (test, service) = (server.test("Live"), server.id(Kind::Service, "Streams"));
    let renamed = format!("{WORLD}{RULE}").replace("name: Live\n", "name: Live streams\nrenamed_from: Live\n");
    let renamed = renamed.replace("name: Streams\n", "name: Streaming\nrenamed_from: Streams\n").replace(": Streams", ": Streaming");
    let renamed = renamed.replace("renamed_from: Streaming", "renamed_from: Streams").replace("name: Streaming fail", "name: Streams fail");
    for _ in 0..2 {
        server.apply(&renamed).await;
        assert_eq!((server.test("Live streams"), server.id(Kind::Service, "Streaming")), (test.clone(), service.clone()));
    }
    assert!(server.incidents().await[0].is_open(), "what is open about it goes on");
    assert_eq!(server.status().await, "degraded_performance");
    let with_another =
        format!("{}---\n{{ kind: service, name: Streams, escalation_policy: On call }}\n", renamed.replace("renamed_from: Streams\n", ""));
    server.apply(&with_another).await;
    assert_ne!(server.id(Kind::Service, "Streams"), service, "a new one takes nothing of the old");
    assert_eq!(server.id(Kind::Service, "Streaming"), service);
    server.run_together(true, vec![test]).await;
    assert!(!server.incidents().await[0].is_open());
}

#[tokio::test]
async fn a_rule_that_comes_presses_for_incidents_that_are_open() {
    let mut server = Server::with(WORLD).await;
    server.run(false).await;
    assert_eq!(server.status().await, "operational");
    server.apply(&format!("{WORLD}{RULE}")).await;
    assert_eq!((server.status().await, server.public_stages().await), ("degraded_performance", vec![Stage::Investigating]));
    server.run(true).await;
    assert_eq!((server.status().await, server.public_stages().await), ("operational", vec![Stage::Resolved]));
}

#[tokio::test]
async fn a_rule_that_changes_moves_its_component_at_once_and_its_delay_counts_from_the_opening() {
    let mut server = Server::with(&format!("{WORLD}{RULE}")).await;
    server.run(false).await;
    server.apply(&format!("{WORLD}{}", RULE.replace("incident:", "status: major_outage, incident:"))).await;
    assert_eq!(server.status().await, "major_outage");
    server.minutes_later(2).await;
    server.apply(&format!("{WORLD}{}", RULE.replace("incident:", "delay: 5m, incident:"))).await;
    assert_eq!(server.status().await, "operational");
    server.minutes_later(2).await;
    assert_eq!(server.status().await, "operational");
    server.minutes_later(1).await;
    assert_eq!(server.status().await, "degraded_performance");
}

#[tokio::test]
async fn a_test_that_is_paused_ends_its_incident_and_opens_none_until_the_pause_is_over() {
    let mut server = Server::with(WORLD).await;
    server.run(false).await;
    let until = Timestamp(START_US + 10 * MINUTE_US);
    server.apply(&WORLD.replace("name: Live\n", &format!("name: Live\npaused_until: {until}\n"))).await;
    let ended = server.incidents().await.remove(0);
    assert!(matches!(&ended.state, State::Resolved(end) if end.why == ResolveReason::TestWithdrawn), "{:?}", ended.state);
    server.run(false).await;
    assert_eq!(server.incidents().await.len(), 1, "a run that was under way opens nothing");
    server.minutes_later(10).await;
    server.run(false).await;
    assert_eq!(server.incidents().await.len(), 2);
}

#[tokio::test]
async fn nothing_opens_on_a_paused_service_and_the_next_failing_run_after_the_pause_does() {
    let until = Timestamp(START_US + 10 * MINUTE_US);
    let text = WORLD.replace("escalation_policy: On call", &format!("escalation_policy: On call\npaused_until: {until}"));
    let mut server = Server::with(&text).await;
    server.run(false).await;
    server.run(false).await;
    assert!(server.incidents().await.is_empty());
    server.minutes_later(10).await;
    server.run(false).await;
    assert_eq!(server.incidents().await.len(), 1);
}

#[tokio::test]
async fn how_a_test_stood_is_forgotten_with_it() {
    let mut server = Server::with(WORLD).await;
    server.run(false).await;
    let test = server.test("Live");
    server.apply(&WORLD.split_once("---\n").map_or(String::new(), |(_, rest)| rest.to_owned())).await;
    assert!(server.look(move |tx| standing::standings(tx, &test, "production")).await.is_empty());
    assert!(!server.incidents().await[0].is_open());
}

#[tokio::test]
async fn tests_that_fail_in_one_batch_open_an_incident_each() {
    let more = |name: &str| WORLD.split("---").next().expect("the test").replace("name: Live", &format!("name: {name}"));
    let mut server = Server::with(&format!("{WORLD}---\n{}---\n{}", more("Chat"), more("Search"))).await;
    let tests = ["Live", "Chat", "Search"].map(|name| server.test(name)).to_vec();
    server.run_together(false, tests).await;
    let mut numbers: Vec<i64> = server.incidents().await.iter().map(|one| one.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}
