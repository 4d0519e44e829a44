//! PagerDuty's rules, one by one.

use super::*;

const KEY: &str = "c0a5e1d4b7f84c2e9d3a61f0b8e7c281";
const NOW_MS: u64 = 1_774_699_200_000;

fn service() -> PagerDuty {
    let mut service = PagerDuty::new(KEY, "secret");
    service.set_webhook("http://allclear.example/hooks/pagerduty");
    service
}

fn event(action: &str) -> Value {
    json!({
        "routing_key": KEY, "event_action": action, "dedup_key": "k1",
        "payload": { "summary": "It fails", "severity": "critical", "source": "test" },
    })
}

fn send(service: &mut PagerDuty, event: &Value, now_ms: u64) -> Reply {
    let headers = [("user-agent", "AllClear/0.1"), ("content-type", "application/json")];
    let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    let request = Request::new("POST", "/v2/enqueue", headers, event.to_string().into_bytes());
    service.handle(&request, now_ms)
}

fn act(service: &mut PagerDuty, body: &Value) -> Reply {
    let request = Request::new("POST", "/_stage/act", vec![], body.to_string().into_bytes());
    service.handle(&request, NOW_MS)
}

fn told(callback: &Callback) -> Value {
    serde_json::from_str::<Value>(&callback.body).expect("JSON")["event"].clone()
}

#[test]
fn an_event_opens_takes_and_ends_an_incident() {
    let mut service = service();
    let opened = send(&mut service, &event("trigger"), NOW_MS);
    assert_eq!(opened.response.status, 202);
    let body: Value = serde_json::from_slice(&opened.response.body).expect("JSON");
    assert_eq!(
        (body["status"].as_str(), body["dedup_key"].as_str()),
        (Some("success"), Some("k1"))
    );
    send(&mut service, &event("acknowledge"), NOW_MS);
    assert_eq!(service.incidents()["k1"].status, "acknowledged");
    send(&mut service, &event("resolve"), NOW_MS);
    let again = send(&mut service, &event("trigger"), NOW_MS);
    let kept = &service.incidents()["k1"];
    assert_eq!((kept.status.as_str(), kept.number, kept.events.len()), ("triggered", 2, 4));
    assert_eq!(told(&again.callbacks[0])["event_type"], "incident.triggered");
    assert_eq!(service.violations(), []);
}

#[test]
fn what_is_wrong_with_an_event_is_listed() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut event = event("trigger");
        change(&mut event);
        event
    };
    for (event, why) in [
        (json!([]), "no JSON object"),
        (with(&|e| e["routing_key"] = "short".into()), "Length of 'routing_key'"),
        (with(&|e| e["routing_key"] = "0".repeat(32).into()), "Invalid routing key"),
        (with(&|e| e["event_action"] = "shout".into()), "'event_action' is invalid"),
        (with(&|e| e["dedup_key"] = "k".repeat(256).into()), "longer than 255"),
        (with(&|e| e["colour"] = "red".into()), "'colour' is unknown"),
        (with(&|e| e["payload"]["colour"] = "red".into()), "'payload.colour' is unknown"),
        (with(&|e| e["payload"]["summary"] = " ".into()), "'payload.summary' is missing"),
        (with(&|e| e["payload"]["summary"] = "s".repeat(1_025).into()), "longer than 1024"),
        (with(&|e| e["payload"]["severity"] = "bad".into()), "'payload.severity' is invalid"),
        (with(&|e| e["payload"]["timestamp"] = "today".into()), "no instant"),
        (with(&|e| e["client_url"] = "/incidents/1".into()), "no absolute URL"),
        (with(&|e| e["links"] = json!([{ "text": "x" }])), "'links.href' is missing"),
        (with(&|e| e["links"] = json!([{ "href": "/x" }])), "no absolute URL"),
        (
            with(&|e| e["images"] = json!([{ "src": "http://a.example/x", "size": 1 }])),
            "'images.size' is unknown",
        ),
        (with(&|e| e["payload"] = Value::Null), "'payload' is missing"),
    ] {
        let mut service = service();
        let refused = send(&mut service, &event, NOW_MS).response;
        let body: Value = serde_json::from_slice(&refused.body).expect("JSON");
        assert_eq!(refused.status, 400, "{event}");
        assert!(body["errors"].to_string().contains(why), "{why}: {body}");
        assert_eq!((service.incidents().len(), service.violations().len()), (0, 1));
    }
    let mut nameless = event("resolve");
    nameless["dedup_key"] = Value::Null;
    assert_eq!(send(&mut service(), &nameless, NOW_MS).response.status, 400);
    let huge = with(&|e| e["payload"]["custom_details"] = json!({ "x": "x".repeat(512 << 10) }));
    assert_eq!(send(&mut service(), &huge, NOW_MS).response.status, 413);
}

#[test]
fn a_key_has_so_many_events_a_minute() {
    let mut service = service();
    let statuses: Vec<u16> =
        (0..121).map(|_| send(&mut service, &event("trigger"), NOW_MS).response.status).collect();
    assert_eq!((statuses[119], statuses[120]), (202, 429));
    assert_eq!(send(&mut service, &event("trigger"), NOW_MS + 500).response.status, 202);
    service.set_rates(Rates::Lifted);
    assert_eq!(send(&mut service, &event("trigger"), NOW_MS + 501).response.status, 202);
}

#[test]
fn a_webhook_has_every_field_and_header_and_a_signature_of_each_secret() {
    let mut service = service();
    service.set_secrets(&["old", "new"]);
    let webhook = send(&mut service, &event("trigger"), NOW_MS).callbacks.remove(0);
    let event = told(&webhook);
    for field in facts::words(&PAGERDUTY["webhooks"]["event_fields"]) {
        assert!(event.get(field).is_some(), "{field}");
    }
    for field in facts::words(&PAGERDUTY["webhooks"]["incident_fields"]) {
        assert!(event["data"].get(field).is_some(), "{field}");
    }
    let signatures = webhook.header("x-pagerduty-signature").expect("a signature");
    assert_eq!(
        signatures,
        format!("v1={},v1={}", sign("old", &webhook.body), sign("new", &webhook.body))
    );
    assert!(
        webhook.header("x-webhook-id").is_some()
            && webhook.header("x-webhook-subscription").is_some()
    );
    assert_eq!(webhook.deadline_ms, 5_000);
}

#[test]
fn a_webhook_is_repeated_on_5xx_and_silence_and_dropped_on_another_refusal() {
    let mut service = service();
    let webhook = send(&mut service, &event("trigger"), NOW_MS).callbacks.remove(0);
    for answer in [Answer::None, Answer::given(503, "", ""), Answer::given(429, "", "")] {
        let again = service.answered(&webhook, &answer, NOW_MS).remove(0);
        assert_eq!((&again.body, &again.headers), (&webhook.body, &webhook.headers));
        assert!(again.after_ms >= 10_000);
    }
    assert_eq!(service.answered(&webhook, &Answer::given(404, "", ""), NOW_MS), []);
    assert_eq!(service.answered(&webhook, &Answer::given(202, "", ""), NOW_MS), []);
    let (mut next, mut times) = (webhook, 0);
    while let Some(again) = service.answered(&next, &Answer::None, NOW_MS).pop() {
        (next, times) = (again, times + 1);
    }
    assert_eq!(times, facts::count(&PAGERDUTY["webhooks"]["repeats_at_most"]));
}

#[test]
fn a_subscription_that_drops_everything_is_disabled() {
    let mut service = service();
    let webhook = send(&mut service, &event("trigger"), NOW_MS).callbacks.remove(0);
    for _ in 0..10 {
        service.answered(&webhook, &Answer::given(400, "", ""), NOW_MS);
    }
    assert!(!service.is_enabled());
    assert_eq!(send(&mut service, &event("acknowledge"), NOW_MS).callbacks, []);
    service.set_webhook("http://allclear.example/hooks/pagerduty");
    assert!(service.is_enabled());
}

#[test]
fn people_and_pagerduty_itself_do_what_they_do_there() {
    let mut service = service();
    send(&mut service, &event("trigger"), NOW_MS);
    for (body, kind, status) in [
        (
            json!({ "status": "acknowledged", "user": "Ada" }),
            "incident.acknowledged",
            "acknowledged",
        ),
        (json!({ "kind": "unacknowledged" }), "incident.unacknowledged", "triggered"),
        (
            json!({ "kind": "annotated", "note": "I look", "user": "Ada" }),
            "incident.annotated",
            "triggered",
        ),
        (json!({ "kind": "escalated" }), "incident.escalated", "triggered"),
        (json!({ "status": "resolved", "user": "Ada" }), "incident.resolved", "resolved"),
        (json!({ "kind": "reopened", "user": "Ada" }), "incident.reopened", "triggered"),
    ] {
        let webhook = act(&mut service, &body).callbacks.remove(0);
        assert_eq!(
            (told(&webhook)["event_type"].as_str(), service.incidents()["k1"].status.as_str()),
            (Some(kind), status)
        );
    }
    assert_eq!(act(&mut service, &json!({ "kind": "sung" })).response.status, 400);
    let ping = service
        .handle(&Request::new("POST", "/_stage/ping", vec![], vec![]), NOW_MS)
        .callbacks
        .remove(0);
    assert_eq!(
        (told(&ping)["event_type"].as_str(), told(&ping)["resource_type"].as_str()),
        (Some("pagey.ping"), Some("pagey"))
    );
}
