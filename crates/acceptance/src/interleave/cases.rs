//! The use cases that are interleaved, and the state that they meet: an incident whose first page is under way and
//! whose escalation is due, another message that was accepted, a room that was not told yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_base::clock::VirtualClock;
use allclear_base::runtime::Task;
use allclear_base::{Runtime, SeededRng, Spawn};
use allclear_domain::apitest::report::{Failure, RunReport, Teardown, Verdict};
use allclear_domain::catalog::Kind;
use allclear_domain::delivery::{Outcome, Receipt};
use allclear_domain::{IncidentId, TestId, Timestamp};
use allclear_ops::delivery::{self, Capacity, Carrier, Outgoing};
use allclear_ops::incident::{self, Act};
use allclear_ops::judge::{self, Batch, Entry, Sampler};
use allclear_ops::{Actor, OpsError, config, timer};
use allclear_store::evidence::Evidence;
use allclear_store::{Backend, Options, Store};
use anyhow::Context;
use futures::executor::block_on;

/// When the incident opened.
const OPENED_US: i64 = 1_774_699_200_000_000;

/// Now: the first level has had its time.
const NOW_US: i64 = OPENED_US + 300_000_000;

/// Two tests of one service, a rule with a public incident, two people.
const WORLD: &str = include_str!("world.yaml");

/// A use case: a name and what it does.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) run: fn(&Actors) -> Result<String, OpsError>,
}

/// What a use case acts with.
pub(super) struct Actors {
    pub(super) store: Store,
    folder: tempfile::TempDir,
    known: Known,
}

/// What the scene left in memory and in the hands of providers.
#[derive(Clone)]
pub(super) struct Known {
    tests: BTreeMap<&'static str, TestId>,
    incident: IncidentId,
    in_flight: Outgoing,
    accepted: String,
}

impl Actors {
    /// On a database by its address.
    pub(super) fn on(url: &str, known: &Known) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = open(url, folder.path(), NOW_US)?;
        Ok(Self { store, folder, known: known.clone() })
    }
}

fn open(url: &str, folder: &std::path::Path, now_us: i64) -> anyhow::Result<Store> {
    let backend = Backend::Postgres { url: url.to_owned(), folder: folder.to_owned() };
    let options = Options { backend, clock: Arc::new(VirtualClock::at(now_us)), rng: Arc::new(SeededRng::new(1)) };
    Ok(Store::inline(&options, None)?)
}

fn documents(text: &str) -> Vec<allclear_domain::catalog::Document> {
    allclear_config::load_str("world.yaml", text, &|_, _| false).into_documents()
}

/// Sets the scene in an empty database.
pub(super) fn set_scene(url: &str) -> anyhow::Result<Known> {
    let folder = tempfile::tempdir()?;
    let (store, rng) = (open(url, folder.path(), OPENED_US)?, SeededRng::new(1));
    block_on(config::apply(&store, &rng, &Actor::files(), "world", documents(WORLD)))?;
    let catalog = store.catalog();
    let id = |name: &str| TestId(catalog.id_of(Kind::Test, &format!("default/{name}")).unwrap_or_default().to_owned());
    let tests = BTreeMap::from(["Live", "Other"].map(|name| (name, id(name))));
    let actors = Actors { store: store.clone(), folder: tempfile::tempdir()?, known: Known { tests: tests.clone(), ..nothing() } };
    judge_run(&actors, "Live", "scene", 0, false)?;
    let first = block_on(store.read("first", |tx| allclear_store::record::incident::find_incident_by_number(tx, 1)))?;
    let incident = first.context("no incident opened")?.id;
    let mut sent = claim_all(&store, "sms", 100)?;
    let in_flight = sent.pop().context("no page")?;
    let accepted = sent.pop().context("no second page")?;
    let taken = Outcome::Accepted { provider_id: "SM1".into() };
    block_on(delivery::settle(&store, &SeededRng::new(2), &accepted, taken))?;
    Ok(Known { tests, incident, in_flight, accepted: accepted.attempt })
}

fn nothing() -> Known {
    let message = allclear_domain::delivery::Message {
        purpose: allclear_domain::delivery::Purpose::Note,
        incidents: vec![],
        mirror: None,
        more: 0,
        words: None,
        possible_repeat: false,
    };
    let in_flight = Outgoing {
        attempt: String::new(),
        carrier: Carrier { channel: "".into(), class: String::new() },
        address: String::new(),
        by: allclear_domain::delivery::Means::Text,
        recipient: allclear_domain::delivery::Recipient::Person { person: "".into() },
        message,
        root: None,
        written_at: Timestamp(0),
        link: None,
        deliveries: vec![],
        about: vec![],
        withheld: None,
    };
    Known { tests: BTreeMap::new(), incident: "".into(), in_flight, accepted: String::new() }
}

/// Every use case that changes what another may look at.
pub(super) const CASES: &[Case] = &[
    Case { name: "acknowledge", run: |a| act(a, Act::Acknowledge) },
    Case { name: "resolve", run: |a| act(a, Act::Resolve) },
    Case { name: "the test fails again", run: |a| judge_run(a, "Live", "again", 310, false) },
    Case { name: "the test passes", run: |a| judge_run(a, "Live", "pass", 320, true) },
    Case { name: "another test fails", run: |a| judge_run(a, "Other", "other", 330, false) },
    Case { name: "escalate", run: escalate },
    Case { name: "claim for Slack", run: |a| claim_all(&a.store, "slack", 500).map(|sent| format!("{} claimed", sent.len())) },
    Case { name: "the page is accepted", run: |a| settle(a, Outcome::Accepted { provider_id: "SM2".into() }).map(|()| String::new()) },
    Case { name: "the page fails", run: |a| settle(a, Outcome::Permanent { why: "no such number".into() }).map(|()| String::new()) },
    Case {
        name: "the other page is not delivered",
        run: |a| {
            let rng = SeededRng::new(600);
            block_on(delivery::receipt(&a.store, &rng, &a.known.accepted, Receipt::Lost { why: Some("code 30003".into()) }))
                .map(|known| known.to_string())
        },
    },
    Case {
        name: "leases end",
        run: |a| block_on(delivery::settle_orphans(&a.store, &SeededRng::new(700), true)).map(|n| format!("{n} settled")),
    },
    Case { name: "the rule goes", run: |a| apply(a, &without("kind: rule")) },
    Case { name: "the rule changes", run: |a| apply(a, &WORLD.replace("status: degraded_performance", "status: major_outage")) },
    Case { name: "the test goes", run: |a| apply(a, &without("kind: test\nname: Live")) },
    Case {
        name: "the other test is paused",
        run: |a| apply(a, &WORLD.replace("name: Other\n", "name: Other\npaused_until: 2100-01-01T00:00:00Z\n")),
    },
];

/// The world without the document that begins like this.
fn without(start: &str) -> String {
    WORLD.split("---\n").filter(|document| !document.starts_with(start)).collect::<Vec<_>>().join("---\n")
}

fn apply(actors: &Actors, text: &str) -> Result<String, OpsError> {
    let plan = block_on(config::apply(&actors.store, &SeededRng::new(800), &Actor::files(), "world", documents(text)))?;
    Ok(format!("{} steps", plan.steps.len()))
}

fn act(actors: &Actors, what: Act) -> Result<String, OpsError> {
    block_on(incident::act(&actors.store, &SeededRng::new(900), &Actor::local(), &actors.known.incident, what))
        .map(|i| i.state.word().to_owned())
}

fn settle(actors: &Actors, outcome: Outcome) -> Result<(), OpsError> {
    block_on(delivery::settle(&actors.store, &SeededRng::new(1_000), &actors.known.in_flight, outcome))
}

/// As the loop does: again until nothing is due.
fn escalate(actors: &Actors) -> Result<String, OpsError> {
    const MOST: usize = 20;
    let (rng, mut fired) = (SeededRng::new(1_100), 0);
    for _ in 0..MOST {
        match block_on(timer::fire_due(&actors.store, &rng, allclear_domain::Timestamp(0)))?.count {
            0 => break,
            n => fired += n,
        }
    }
    // How often a timer was looked at is no part of the outcome.
    Ok((fired > 0).to_string().replace("true", "").replace("false", ""))
}

/// As the loop does: again until nothing is claimed. The attempts' ids follow from how many there were.
fn claim_all(store: &Store, class: &'static str, seed: u64) -> Result<Vec<Outgoing>, OpsError> {
    let mut sent = Vec::new();
    let mut empty = 0;
    while empty < 2 {
        let rng = SeededRng::new(seed + sent.len() as u64);
        let claimed = block_on(delivery::claim(store, &rng, capacity_of(store, class)))?.outgoing;
        empty = if claimed.is_empty() { empty + 1 } else { 0 };
        sent.extend(claimed);
    }
    Ok(sent)
}

/// One slot for what carries this class, none for anything else.
fn capacity_of(store: &Store, class: &str) -> Capacity {
    let catalog = store.catalog();
    let carriers = catalog.of_kind(Kind::Channel).map(|resource| Carrier { channel: resource.id.as_str().into(), class: class.to_owned() });
    Capacity { slots: carriers.map(|carrier| (carrier, 1)).collect(), ..Capacity::default() }
}

/// Judging starts no task; what blocks runs at once.
struct AtOnce;

impl Spawn for AtOnce {
    fn spawn(&self, task: Task) {
        block_on(task);
    }
}

/// A run of a test that was `after_s` seconds after the incident opened.
fn judge_run(actors: &Actors, test: &str, run: &str, after_s: i64, passed: bool) -> Result<String, OpsError> {
    let at = Timestamp(OPENED_US + after_s * 1_000_000);
    let test_id = actors.known.tests[test].clone();
    let failure = Failure { step: "Create".into(), message: "playback_url is empty, expected not empty".into() };
    let report = RunReport {
        run_id: run.into(),
        test_id,
        test_name: test.to_owned(),
        environment: "production".into(),
        location: "local".into(),
        slot: Some(at),
        attempt: 1,
        started_at: at,
        finished_at: at,
        verdict: if passed { Verdict::Passed } else { Verdict::Failed(failure) },
        steps: vec![],
        teardown_steps: vec![],
        teardown: Teardown::None,
        variables: BTreeMap::new(),
        catalog_rev: 1,
    };
    let batch = Batch {
        location: "local".into(),
        probe: run.to_owned(),
        boot: "b".into(),
        seq: 1,
        through: at,
        entries: vec![Entry { report: Arc::new(report), superseded: false }],
        exceptions: vec![],
    };
    let evidence = Evidence::open(actors.folder.path())?;
    let rng = Arc::new(SeededRng::new(1_200 + run.len() as u64));
    let runtime = Runtime { clock: Arc::new(VirtualClock::at(NOW_US)), rng, spawner: Arc::new(AtOnce) };
    let judged = block_on(judge::judge_batch(&runtime, &actors.store, &evidence, &mut Sampler::default(), &Arc::new(batch)))?;
    Ok(format!("{judged:?}"))
}
