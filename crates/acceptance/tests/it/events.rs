//! Monitoring tools send events over the Events API: what they are answered, and what follows.

use allclear_api::console;
use allclear_base::OsRng;
use allclear_domain::Timestamp;
use allclear_domain::catalog::Kind;
use allclear_domain::incident::{Incident, ResolveReason, State, Urgency};
use allclear_ops::{Actor, config, event};
use allclear_store::record::{alert, delivery, incident, timer};
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::routes::{Api, api};

const WORLD: &str = r#"
kind: person
name: Ada
contact_methods: [{ name: mobile, channel: Twilio, address: "+4520000001" }]
---
{ kind: channel, name: Twilio, twilio: { account_sid: AC00000000000000000000000000000001, auth_token: "{{secret.T}}", from: "+4570000000" } }
---
{ kind: escalation_policy, name: On call, levels: [{ targets: [Ada] }] }
---
kind: service
name: Streams
escalation_policy: On call
urgency: severity_based
integrations: [Alertmanager, { name: Grafana }]
"#;

struct Tool {
    api: Api,
    key: String,
}

impl Tool {
    async fn new() -> Self {
        let api = api();
        apply(&api, WORLD).await;
        let key = key_of(&api, "Alertmanager").await.expect("a key");
        Self { api, key }
    }

    async fn post(&self, path: &str, body: String) -> (u16, Value) {
        let request = Request::post(path).header("host", "allclear.test").body(Body::from(body)).expect("a request");
        let answer = self.api.router.clone().oneshot(request).await.expect("infallible");
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn send(&self, action: &str, dedup_key: &str, severity: &str) -> (u16, Value) {
        self.send_with(&self.key, action, dedup_key, severity).await
    }

    async fn send_with(&self, key: &str, action: &str, dedup_key: &str, severity: &str) -> (u16, Value) {
        let payload = json!({ "summary": "CPU is high", "source": "host1", "severity": severity, "custom_details": { "load": 7 } });
        let event = json!({ "routing_key": key, "event_action": action, "dedup_key": dedup_key, "payload": payload });
        self.post("/v2/enqueue", event.to_string()).await
    }

    /// All incidents, oldest first.
    async fn incidents(&self) -> Vec<Incident> {
        let mut all = self.api.store.read("look", |tx| incident::list_incidents(tx, None, i64::MAX, 100)).await.expect("read");
        all.reverse();
        all
    }
}

async fn apply(api: &Api, text: &str) {
    let loaded = allclear_config::load_str("world.yaml", text, &|_, _| false);
    assert!(loaded.is_usable(), "{:?}", loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>());
    config::apply(&api.store, &OsRng, &Actor::files(), "world", loaded.into_documents()).await.expect("applied");
}

async fn key_of(api: &Api, name: &str) -> Option<String> {
    let all = event::integrations(&api.store, &Actor::local()).await.expect("a list");
    all.into_iter().find(|one| one.name == name).map(|one| one.key)
}

#[tokio::test]
async fn a_trigger_opens_one_incident_and_pages_and_the_tools_resolve_ends_it() {
    let tool = Tool::new().await;
    let (status, body) = tool.send("trigger", "host1/cpu", "critical").await;
    assert_eq!((status, body), (202, json!({ "status": "success", "message": "Event processed", "dedup_key": "host1/cpu" })));
    tool.send("trigger", "host1/cpu", "critical").await;
    let found = tool.incidents().await;
    let [open] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((open.title.as_str(), open.urgency, open.is_open()), ("CPU is high", Urgency::High, true));
    let id = open.id.clone();
    let pages = tool.api.store.read("look", move |tx| delivery::deliveries_of(tx, &id)).await.expect("read").len();
    let id = open.id.clone();
    let triggers = tool.api.store.read("look", move |tx| alert::alerts_of(tx, &id)).await.expect("read")[0].triggers;
    assert_eq!((pages, triggers), (1, 2), "a repeat counts and pages nobody again");
    tool.send("resolve", "host1/cpu", "critical").await;
    let State::Resolved(ended) = &tool.incidents().await[0].state else { panic!("it is over") };
    assert_eq!(ended.why, ResolveReason::EventResolved);
}

#[tokio::test]
async fn an_integration_takes_so_many_events_a_minute_and_changes_count_as_well() {
    let tool = Tool::new().await;
    apply(&tool.api, &WORLD.replace("[Alertmanager,", "[{ name: Alertmanager, most_per_minute: 3 },")).await;
    let change = json!({ "routing_key": tool.key, "payload": { "summary": "Build 7", "timestamp": "2026-01-05T09:00:00Z" } }).to_string();
    for _ in 0..2 {
        assert_eq!(tool.post("/v2/change/enqueue", change.clone()).await.0, 202);
    }
    assert_eq!(tool.send("trigger", "k", "error").await.0, 202);
    assert_eq!(tool.send("trigger", "k", "error").await.0, 429);
    assert_eq!(tool.post("/v2/change/enqueue", change).await.0, 429);
    let grafana = key_of(&tool.api, "Grafana").await.expect("a key");
    assert_eq!(tool.send_with(&grafana, "trigger", "k", "error").await.0, 202, "the others have bounds of their own");
}

#[tokio::test]
async fn a_trigger_after_the_end_opens_a_new_incident() {
    let tool = Tool::new().await;
    for action in ["trigger", "resolve", "trigger"] {
        tool.send(action, "k", "error").await;
    }
    assert_eq!(tool.incidents().await.iter().map(Incident::is_open).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_trigger_without_a_key_is_given_one_of_its_own() {
    let tool = Tool::new().await;
    let event = json!({ "routing_key": tool.key, "event_action": "trigger",
        "payload": { "summary": "s", "source": "h", "severity": "info" } });
    let first = tool.post("/v2/enqueue", event.to_string()).await.1["dedup_key"].clone();
    let second = tool.post("/v2/enqueue", event.to_string()).await.1["dedup_key"].clone();
    assert!(first.is_string() && first != second, "{first} {second}");
    assert_eq!(tool.incidents().await.len(), 2);
}

#[tokio::test]
async fn an_acknowledgement_takes_the_incident_and_what_is_not_open_is_dropped() {
    let tool = Tool::new().await;
    assert_eq!(tool.send("acknowledge", "k", "error").await.0, 202);
    assert_eq!(tool.send("resolve", "k", "error").await.0, 202);
    assert!(tool.incidents().await.is_empty());
    tool.send("trigger", "k", "error").await;
    tool.send("acknowledge", "k", "error").await;
    tool.send("trigger", "k", "error").await;
    assert_eq!(tool.incidents().await[0].state.word(), "acknowledged", "a repeat does not page again");
}

#[tokio::test]
async fn the_same_key_over_another_integration_is_another_alert() {
    let tool = Tool::new().await;
    let other = key_of(&tool.api, "Grafana").await.expect("a key");
    tool.send("trigger", "k", "error").await;
    tool.send_with(&other, "resolve", "k", "error").await;
    tool.send_with(&other, "trigger", "k", "error").await;
    assert_eq!(tool.incidents().await.iter().filter(|incident| incident.is_open()).count(), 2);
}

#[tokio::test]
async fn a_warning_is_low_where_urgency_follows_severity() {
    let tool = Tool::new().await;
    tool.send("trigger", "k", "warning").await;
    assert_eq!(tool.incidents().await[0].urgency, Urgency::Low);
}

#[tokio::test]
async fn what_only_events_opened_ends_by_itself_after_four_hours() {
    let tool = Tool::new().await;
    tool.send("trigger", "k", "error").await;
    let open = tool.incidents().await.remove(0);
    let subject = format!("incident:{}", open.id);
    let timers = tool.api.store.read("look", move |tx| timer::timers_of(tx, &subject)).await.expect("read");
    let due = timers.into_iter().find(|timer| timer.kind == "auto_resolve").map(|timer| timer.due_at);
    assert_eq!(due, Some(Timestamp(open.opened_at.0 + 4 * 3_600 * 1_000_000)));
}

#[tokio::test]
async fn a_service_at_rest_takes_events_and_does_nothing_with_them() {
    let tool = Tool::new().await;
    tool.send("trigger", "before", "error").await;
    apply(&tool.api, &format!("{WORLD}paused_until: 2999-01-01T00:00:00Z\n")).await;
    assert_eq!(tool.send("trigger", "during", "error").await.0, 202);
    assert_eq!(tool.send("resolve", "before", "error").await.0, 202);
    let found = tool.incidents().await;
    assert!(found.len() == 1 && found[0].is_open(), "{found:?}");
}

#[tokio::test]
async fn a_key_outlives_changes_of_its_service_and_ends_with_its_integration() {
    let tool = Tool::new().await;
    apply(&tool.api, &WORLD.replace("urgency: severity_based", "urgency: low")).await;
    assert_eq!(key_of(&tool.api, "Alertmanager").await, Some(tool.key.clone()));
    apply(&tool.api, &WORLD.replace("[Alertmanager, { name: Grafana }]", "[Grafana]")).await;
    let (status, body) = tool.send("trigger", "k", "error").await;
    let refusal = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"] });
    assert_eq!((status, body), (400, refusal));
    assert!(tool.incidents().await.is_empty());
}

#[tokio::test]
async fn version_1_answers_200_and_its_own_words() {
    let tool = Tool::new().await;
    let path = "/generic/2010-04-15/create_event.json";
    let event = json!({ "service_key": tool.key, "event_type": "trigger", "incident_key": "k", "description": "down", "payload": null });
    let answer = tool.post(path, event.to_string()).await;
    assert_eq!(answer, (200, json!({ "status": "success", "message": "Event processed", "incident_key": "k" })));
    let (status, body) = tool.post(path, json!({ "service_key": tool.key, "event_type": "boom" }).to_string()).await;
    assert_eq!((status, &body["errors"][0]), (400, &json!("event_type is invalid (must be one of: trigger acknowledge resolve)")));
    assert_eq!(tool.incidents().await.len(), 1);
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_the_reason() {
    let tool = Tool::new().await;
    let (status, body) = tool.post("/v2/enqueue", "{".into()).await;
    let expected =
        json!({ "status": "Unrecognized object", "message": "Event object format is unrecognized", "errors": ["JSON parse error"] });
    assert_eq!((status, body), (400, expected));
    assert_eq!(tool.post("/v2/enqueue", " ".repeat(600 * 1024)).await.0, 413);
    assert_eq!(tool.send_with("short", "trigger", "k", "error").await.0, 400);
}

#[tokio::test]
async fn a_change_stands_in_the_timeline_of_the_services_incidents_and_alerts_nobody() {
    let tool = Tool::new().await;
    let change = json!({ "routing_key": tool.key, "payload": { "summary": "Deployed 1.2.3", "source": "ci" } });
    let answer = tool.post("/v2/change/enqueue", change.to_string()).await;
    assert_eq!(answer, (202, json!({ "status": "success", "message": "Change event processed" })));
    assert!(tool.incidents().await.is_empty());
    tool.send("trigger", "k", "error").await;
    let evidence = allclear_store::evidence::Evidence::open(tool.api.folder()).expect("a folder");
    let text = console::show(&tool.api.store, &evidence, &Actor::local(), "1").await.expect("an incident");
    let lines = ["change: Deployed 1.2.3", "opened: CPU is high  [Alertmanager]", "severity: error", "source: host1"];
    for line in lines {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn operators_can_watch_events_messages_and_incidents() {
    let tool = Tool::new().await;
    tool.send("trigger", "k", "error").await;
    let scopes = ["metrics:read".to_owned()];
    let token = allclear_ops::token::create(&tool.api.store, &OsRng, &Actor::local(), "prometheus", &scopes, None).await.expect("a token");
    let request = Request::get("/metrics").header("host", "allclear.test").header("authorization", format!("Bearer {}", token.value));
    let answer = tool.api.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    let text = String::from_utf8_lossy(&body).into_owned();
    for line in [
        "allclear_incidents_open{status=\"triggered\"} 1\n",
        "allclear_outbox_waiting 1\n",
        "allclear_outbox_oldest_due_seconds 0\n",
        "allclear_documents{kind=\"service\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    // Counted for the whole process, in which other tests send events as well.
    assert!(text.contains("allclear_events_total{status=\"202\"}") && text.contains("allclear_commit_seconds_count"), "{text}");
}

#[tokio::test]
async fn a_key_is_shown_only_to_those_who_may_change_the_configuration() {
    let tool = Tool::new().await;
    let reader = Actor::token("t", None, vec![allclear_ops::Permission::ConfigRead]);
    assert!(event::integrations(&tool.api.store, &reader).await.is_err());
    let stored: Vec<String> =
        tool.api.store.catalog().of_kind(Kind::Service).map(|r| r.document.to_json().expect("json").to_string()).collect();
    assert!(!stored.concat().contains(&tool.key), "a key stands in a document");
}
