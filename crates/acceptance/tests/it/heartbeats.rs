//! Heartbeats of things outside: what is missed opens an incident, what AllClear could not hear does not.

use std::sync::Arc;

use allclear_base::clock::VirtualClock;
use allclear_base::{Clock, SeededRng};
use allclear_domain::Timestamp;
use allclear_domain::incident::{Incident, ResolveReason, State};
use allclear_ops::heartbeat::{self, Said};
use allclear_ops::{Actor, OpsError, config, timer};
use allclear_store::record::{alert, incident};
use allclear_store::{Backend, Options, Store};

use super::binary::{Ground, PATIENCE, log_of};

/// 2026-03-28T12:00:00Z.
const START_US: i64 = 1_774_699_200_000_000;

const MINUTE_US: i64 = 60_000_000;

const WORLD: &str = "{ kind: person, name: Ada }\n---\n{ kind: escalation_policy, name: On call, levels: [{ targets: [Ada] }] }\n---\n\
    { kind: service, name: Jobs, escalation_policy: On call }\n---\n\
    { kind: heartbeat, name: Backup, service: Jobs, every: 1h, grace: 10m }\n";

struct Server {
    store: Store,
    clock: VirtualClock,
    rng: SeededRng,
    deaf_until: Timestamp,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl Server {
    async fn new() -> Self {
        let (folder, clock, rng) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(START_US), SeededRng::new(1));
        let backend = Backend::sqlite(folder.path());
        let options = Options { backend, clock: Arc::new(clock.clone()), rng: Arc::new(rng.clone()) };
        let store = Store::open(&options).expect("a database");
        let server = Self { store, clock, rng, deaf_until: Timestamp(START_US), _folder: folder };
        server.apply(WORLD).await;
        server
    }

    async fn apply(&self, text: &str) {
        let documents = allclear_config::load_str("world.yaml", text, &|_, _| false).into_documents();
        config::apply(&self.store, &self.rng, &Actor::local(), "world", documents).await.expect("applied");
    }

    async fn key(&self) -> String {
        heartbeat::list(&self.store, &Actor::local()).await.expect("a list")[0].heartbeat.key.clone()
    }

    async fn hear(&self, said: Said) {
        heartbeat::ping(&self.store, &self.rng, &self.key().await, said, b"disk\nfull").await.expect("heard");
    }

    async fn minutes_later(&self, minutes: i64) {
        self.clock.advance_to(self.clock.now_us() + minutes * MINUTE_US);
        while timer::fire_due(&self.store, &self.rng, self.deaf_until).await.expect("fired").count > 0 {}
    }

    async fn incidents(&self) -> Vec<Incident> {
        self.store.read("look", |tx| incident::list_incidents(tx, None, i64::MAX, 10)).await.expect("read")
    }

    async fn open(&self) -> usize {
        self.incidents().await.iter().filter(|one| one.is_open()).count()
    }
}

#[tokio::test]
async fn a_heartbeat_that_stops_opens_an_incident_and_one_that_comes_again_ends_it() {
    let server = Server::new().await;
    server.minutes_later(100).await;
    assert_eq!(server.incidents().await.len(), 0, "nobody waits for one that never came");
    server.hear(Said::Success).await;
    server.minutes_later(69).await;
    assert_eq!(server.open().await, 0);
    server.minutes_later(2).await;
    let incidents = server.incidents().await;
    assert_eq!((incidents.len(), incidents[0].title.as_str()), (1, "Backup: no heartbeat"));
    server.hear(Said::Log).await;
    assert_eq!(server.open().await, 1, "a line in the log is no heartbeat");
    server.hear(Said::Success).await;
    let State::Resolved(ended) = &server.incidents().await[0].state else { panic!("still open") };
    assert_eq!(ended.why, ResolveReason::HeartbeatBack);
}

#[tokio::test]
async fn a_failure_opens_at_once_and_a_start_without_an_end_within_the_grace_time() {
    let server = Server::new().await;
    server.hear(Said::Fail).await;
    assert_eq!((server.open().await, server.incidents().await[0].title.as_str()), (1, "Backup: it failed"));
    let store = &server.store;
    let id = server.incidents().await[0].id.clone();
    let alerts = store.read("alerts", move |tx| alert::alerts_of(tx, &id)).await.expect("alerts");
    assert_eq!(alerts[0].why, "it said that it failed: disk full");
    server.hear(Said::Success).await;
    assert_eq!(server.open().await, 0);
    server.hear(Said::Start).await;
    server.minutes_later(9).await;
    assert_eq!(server.open().await, 0);
    server.minutes_later(2).await;
    assert_eq!(server.open().await, 1, "it began and did not end");
}

#[tokio::test]
async fn what_came_while_allclear_was_down_is_held_against_nobody() {
    let mut server = Server::new().await;
    server.hear(Said::Success).await;
    // Down from the 50th minute to the 75th: the call of the 60th was in vain.
    server.clock.advance_to(server.clock.now_us() + 75 * MINUTE_US);
    server.deaf_until = Timestamp(server.clock.now_us());
    server.minutes_later(0).await;
    assert_eq!(server.open().await, 0, "a false alarm after our own downtime");
    server.minutes_later(69).await;
    assert_eq!(server.open().await, 0);
    server.minutes_later(2).await;
    assert_eq!(server.open().await, 1, "nothing came since AllClear can hear again");
}

#[tokio::test]
async fn what_a_person_resolved_opens_anew_while_the_heartbeat_is_missed() {
    let server = Server::new().await;
    server.hear(Said::Success).await;
    server.minutes_later(71).await;
    let id = server.incidents().await[0].id.clone();
    allclear_ops::incident::act(&server.store, &server.rng, &Actor::local(), &id, allclear_ops::incident::Act::Resolve)
        .await
        .expect("resolved");
    assert_eq!(server.open().await, 0);
    server.minutes_later(61).await;
    assert_eq!(server.incidents().await.len(), 2);
    assert_eq!(server.open().await, 1);
}

#[tokio::test]
async fn one_that_is_removed_or_rests_ends_its_incident_and_its_key() {
    let server = Server::new().await;
    server.hear(Said::Fail).await;
    let key = server.key().await;
    let resting = WORLD.replace("grace: 10m", "grace: 10m, paused_until: \"2026-03-29T12:00:00Z\"");
    server.apply(&resting).await;
    assert_eq!(server.open().await, 0, "it rests");
    server.apply(&WORLD[..WORLD.rfind("---").expect("a document")]).await;
    let gone = heartbeat::ping(&server.store, &server.rng, &key, Said::Success, b"").await;
    assert!(matches!(gone, Err(OpsError::UnknownKey)), "{gone:?}");
    server.minutes_later(10_000).await;
    assert_eq!(server.open().await, 0);
}

#[tokio::test]
async fn in_a_maintenance_window_it_waits_for_the_end() {
    let server = Server::new().await;
    server.hear(Said::Success).await;
    let window =
        "---\n{ kind: maintenance_window, name: W, services: [Jobs], from: \"2026-03-28T12:00:00Z\", until: \"2026-03-28T14:00:00Z\" }\n";
    server.apply(&format!("{WORLD}{window}")).await;
    server.minutes_later(90).await;
    assert_eq!(server.open().await, 0);
    for _ in 0..40 {
        server.minutes_later(1).await;
    }
    assert_eq!(server.open().await, 1, "the window is over and it is still missed");
}

#[test]
fn a_real_heartbeat_is_heard_by_every_usual_method_and_an_unknown_one_is_not() {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/heartbeat.yaml");
    std::fs::write(file, "{ kind: heartbeat, name: Backup, service: Streams, every: 1h }\n").expect("written");
    let mut process = ground.start();
    let said = ground.say(&["heartbeats"]);
    let key = said.split("/ping/").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    assert!(said.contains("Backup on Streams: never called") && key.len() == 36, "{said}");
    let call = |method: &str, path: &str| {
        let raw = format!("{method} /ping/{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", ground.addr);
        allclear_acceptance::binary::request(ground.addr, &raw).map(|(status, _)| status)
    };
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(call(method, &key), Some(200), "{method}");
    }
    assert!(ground.say(&["heartbeats"]).contains("success"), "{}", ground.say(&["heartbeats"]));
    assert_eq!(call("GET", &format!("{key}/7")), Some(200));
    let open = || ground.say(&["incidents"]).contains("Backup: it failed");
    assert!(allclear_acceptance::binary::wait(PATIENCE, open), "{}", log_of(&process));
    assert_eq!(call("GET", &format!("{key}/0")), Some(200));
    assert!(!open());
    assert_eq!(call("GET", &format!("{key}/whatever")), Some(400));
    assert_eq!(call("GET", "00000000-0000-4000-8000-000000000000"), Some(404));
    process.terminate().expect("a clean stop");
}
