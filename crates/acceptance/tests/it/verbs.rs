//! What responders do to an incident, on the command line and in PagerDuty's shapes.

use std::time::Duration;

use allclear_acceptance::binary::{request, wait};
use serde_json::{Value, json};

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

/// A world whose policy waits long enough for a test to look at each step.
fn ground() -> Ground {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    let slow =
        world.replace("escalate_after: 2s", "escalate_after: 10m").replace("acknowledgement_timeout: 3s", "acknowledgement_timeout: 1h");
    std::fs::write(file, slow).expect("written");
    ground
}

fn text_to(ground: &Ground, number: &str, part: &str) -> bool {
    let texts = [ground.world.phone.player().texts(), ground.world.second_phone.player().texts()].concat();
    texts.iter().any(|text| text.to == number && text.body.contains(part))
}

#[test]
fn an_incident_is_declared_noted_given_away_put_off_and_ended_on_the_command_line() {
    let ground = ground();
    let mut process = ground.start();
    let declared =
        ground.say(&["declare", "The encoder is too hot", "--service", "Streams", "--details", "81 degrees", "--urgency", "low"]);
    assert_eq!(declared, "#1 The encoder is too hot is triggered, assigned to Ada.\n");
    assert!(wait(PATIENCE, || text_to(&ground, "+4520000001", "The encoder is too hot")), "{}", log_of(&process));
    assert_eq!(ground.say(&["note", "1", "the fan is dead"]), "#1 The encoder is too hot: noted.\n");
    assert_eq!(ground.say(&["urgency", "1", "high"]), "#1 The encoder is too hot is triggered, assigned to Ada.\n");
    assert_eq!(ground.say(&["reassign", "1", "ben@synq.example"]), "#1 The encoder is too hot is triggered, assigned to Ben.\n");
    assert!(wait(PATIENCE, || text_to(&ground, "+4520000002", "The encoder is too hot")), "{}", log_of(&process));
    assert!(ground.say(&["snooze", "1", "2h"]).starts_with("#1 The encoder is too hot is acknowledged until "));
    assert_eq!(ground.say(&["escalate", "1", "--level", "1"]), "#1 The encoder is too hot is triggered, assigned to Ada.\n");
    assert!(ground.say(&["resolve", "1"]).contains("resolved"));
    let story = ground.say(&["show", "1"]);
    for part in
        ["note: the fan is dead", "the urgency is high now", "given to Ben", "snoozed until", "escalated", "81 degrees", "[command line]"]
    {
        assert!(story.contains(part), "{part:?} is missing in:\n{story}");
    }
    for (words, part) in [
        (&["snooze", "1", "2h"][..], "already resolved"),
        (&["reassign", "1", "Nobody"], "there is no person"),
        (&["note", "1", "  "], "a note needs a text"),
        (&["snooze", "1", "8d"], "7 days"),
        (&["declare", "x", "--service", "Nothing"], "there is no service"),
    ] {
        let said = ground.say(words);
        assert!(said.contains(part), "{words:?} said {said}");
    }
    process.terminate().expect("a clean stop");
}

#[test]
fn no_test_and_no_other_event_ends_what_a_person_declared() {
    let ground = ground();
    let mut process = ground.start();
    ground.say(&["declare", "The encoder is too hot", "--service", "Streams", "--to", "Ben"]);
    let passed = || ground.say(&["show", "Live Stream"]).contains("Operational → Degraded performance");
    assert!(wait(PATIENCE, passed), "a rule ties the service to the component");
    assert!(wait(PATIENCE, || text_to(&ground, "+4520000002", "The encoder is too hot")), "{}", log_of(&process));
    assert!(!text_to(&ground, "+4520000001", "The encoder is too hot"), "it was given to Ben alone");
    assert!(ground.say(&["incidents"]).contains("triggered"));
    ground.say(&["resolve", "1"]);
    assert!(wait(PATIENCE, || ground.say(&["show", "Live Stream"]).contains("): Operational")), "{}", ground.say(&["show", "Live Stream"]));
    process.terminate().expect("a clean stop");
}

pub(super) struct Client<'a> {
    pub(super) ground: &'a Ground,
    pub(super) token: String,
}

impl Client<'_> {
    pub(super) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} /pagerduty{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.ground.addr);
        let who = format!("authorization: Token token={}\r\nfrom: ada@synq.example\r\ncontent-type: application/json\r\n", self.token);
        let (status, text) =
            request(self.ground.addr, &format!("{head}{who}content-length: {}\r\n\r\n{body}", body.len())).expect("an answer");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[test]
fn the_same_in_pagerdutys_shapes_and_with_its_odd_codes() {
    let ground = ground();
    let mut process = ground.start();
    let token = ground.say(&["token", "create", "t", "--scope", "incidents:read", "--scope", "incidents:write"]).trim().to_owned();
    let client = Client { ground: &ground, token };
    let service = service_id(&ground);
    let wish = json!({ "incident": { "type": "incident", "title": "Too hot", "service": { "id": service, "type": "service_reference" },
        "urgency": "high", "incident_key": "heat", "body": { "type": "incident_body", "details": "81 degrees" } } });
    let (status, made) = client.call("POST", "/incidents", &wish);
    assert_eq!((status, made["incident"]["status"].as_str(), made["incident"]["urgency"].as_str()), (201, Some("triggered"), Some("high")));
    assert_eq!(client.call("POST", "/incidents", &wish).0, 400, "its key is open already");
    let id = made["incident"]["id"].as_str().expect("an id");

    let (status, note) = client.call("POST", &format!("/incidents/{id}/notes"), &json!({ "note": { "content": "the fan is dead" } }));
    assert_eq!(
        (status, note["note"]["content"].as_str(), note["note"]["user"]["summary"].as_str()),
        (200, Some("the fan is dead"), Some("Ada"))
    );
    assert_eq!(client.call("GET", &format!("/incidents/{id}/notes"), &Value::Null).1["notes"].as_array().map(Vec::len), Some(1));
    let (status, put_off) = client.call("POST", &format!("/incidents/{id}/snooze"), &json!({ "duration": 3600 }));
    assert_eq!((status, put_off["incident"]["pending_actions"][0]["type"].as_str()), (201, Some("unacknowledge")));
    for duration in [json!(0), json!(604_801), json!("1h")] {
        assert_eq!(client.call("POST", &format!("/incidents/{id}/snooze"), &json!({ "duration": duration })).0, 400, "{duration}");
    }
    let up = json!({ "incident": { "type": "incident_reference", "escalation_level": 2 } });
    let (status, escalated) = client.call("PUT", &format!("/incidents/{id}"), &up);
    assert_eq!((status, escalated["incident"]["assignments"][0]["assignee"]["summary"].as_str()), (200, Some("Ben")));
    let far = json!({ "incident": { "type": "incident_reference", "escalation_level": 9 } });
    assert_eq!(client.call("PUT", &format!("/incidents/{id}"), &far).0, 400);
    let end = json!({ "incidents": [{ "id": id, "type": "incident_reference", "status": "resolved", "resolution": "a new fan" }] });
    let (status, ended) = client.call("PUT", "/incidents", &end);
    assert_eq!((status, ended["incidents"][0]["status"].as_str()), (200, Some("resolved")), "{}", log_of(&process));
    let (_, log) = client.call("GET", &format!("/incidents/{id}/log_entries?limit=100"), &Value::Null);
    let kinds: Vec<&str> = log["log_entries"].as_array().into_iter().flatten().filter_map(|entry| entry["type"].as_str()).collect();
    for kind in ["trigger_log_entry", "annotate_log_entry", "snooze_log_entry", "escalate_log_entry", "resolve_log_entry"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    process.terminate().expect("a clean stop");
}

#[test]
fn a_change_of_incidents_is_made_whole_or_refused_with_its_code_and_its_addresses_lead_somewhere() {
    let ground = ground();
    let file = ground.folder.path().join("config/world.yaml");
    let mut world = std::fs::read_to_string(&file).expect("the world");
    world.push_str("\n---\n{ kind: escalation_policy, name: Ben alone, levels: [{ targets: [Ben] }] }\n---\n{ kind: service, name: Other, escalation_policy: Ben alone }\n");
    std::fs::write(file, world).expect("written");
    let mut process = ground.start();
    let token = ground.say(&["token", "create", "t", "--scope", "incidents:read", "--scope", "incidents:write"]).trim().to_owned();
    let client = Client { ground: &ground, token };
    let declare = |more: &Value| {
        let mut wish = json!({ "incident": { "type": "incident", "title": "Too hot", "service": { "id": service_id(&ground) } } });
        wish["incident"].as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        client.call("POST", "/incidents", &wish)
    };
    let by_policy = json!({ "escalation_policy": { "id": ground.id_of("escalation_policy", "Ben alone") }, "incident_key": "heat" });
    let (status, made) = declare(&by_policy);
    assert_eq!((status, made["incident"]["assignments"][0]["assignee"]["summary"].as_str()), (201, Some("Ben")), "{made}");
    let id = made["incident"]["id"].as_str().expect("an id").to_owned();
    let elsewhere = json!({ "service": { "id": ground.id_of("service", "Other") }, "incident_key": "heat" });
    assert_eq!((declare(&by_policy).0, declare(&elsewhere).0), (400, 201), "a key is of one service");
    let both = json!({ "escalation_policy": by_policy["escalation_policy"], "assignments": [{ "assignee": { "id": ground.id_of("person", "Ada") } }] });
    assert_eq!(declare(&both).0, 400);

    let codes = |(status, body): (u16, Value)| (status, body["error"]["code"].as_u64().unwrap_or(0));
    let put = |change: Value| codes(client.call("PUT", &format!("/incidents/{id}"), &json!({ "incident": change })));
    assert_eq!(codes(declare(&json!({ "assignments": [{ "assignee": { "id": "PNOBODY" } }] }))), (400, 1007));
    assert_eq!(codes(declare(&json!({ "escalation_policy": { "id": "PNOPE" } }))), (400, 1014));
    assert_eq!(put(json!({ "assignments": [{ "assignee": { "id": "PNOBODY" } }] })), (400, 1007));
    assert_eq!(put(json!({ "escalation_level": 9 })), (400, 1006));
    assert_eq!(put(json!({ "status": 7 })), (400, 1003));
    assert_eq!(put(json!({ "escalation_policy": by_policy["escalation_policy"] })), (400, 2001));
    assert_eq!(codes(client.call("POST", &format!("/incidents/{id}/snooze"), &json!({ "duration": 0 }))), (400, 1013));

    let many = |second: &str| {
        let of = |id: &str| json!({ "id": id, "type": "incident_reference", "title": "Hotter", "status": "acknowledged" });
        client.call("PUT", "/incidents", &json!({ "incidents": [of(&id), of(second)] }))
    };
    assert_eq!(many("QNOTHERE").0, 404);
    assert_eq!(put(json!({ "title": "Too hot still", "escalation_level": 9 })), (400, 1006));
    let (_, shown) = client.call("GET", &format!("/incidents/{id}"), &Value::Null);
    assert_eq!(
        (shown["incident"]["status"].as_str(), shown["incident"]["title"].as_str()),
        (Some("triggered"), Some("Too hot")),
        "{shown}"
    );
    let (status, changed) = many("2");
    assert_eq!(
        (status, changed["incidents"][1]["title"].as_str(), changed["incidents"][0]["status"].as_str()),
        (200, Some("Hotter"), Some("acknowledged"))
    );

    let twice = json!({ "incidents": [{ "id": id, "title": "Once" }, { "id": id, "title": "Twice" }] });
    let (status, changed) = client.call("PUT", "/incidents", &twice);
    assert_eq!((status, changed["incidents"][0]["title"].as_str()), (200, Some("Twice")), "{changed}");

    for (list, one) in [("log_entries", "log_entry"), ("alerts", "alert")] {
        let (_, found) = client.call("GET", &format!("/incidents/{id}/{list}"), &Value::Null);
        let entry = &found[list][0];
        let address =
            entry["self"].as_str().and_then(|url| url.split_once("/pagerduty")).map(|(_, path)| path.to_owned()).expect("an address");
        let (status, again) = client.call("GET", &address, &Value::Null);
        assert_eq!((status, &again[one]["id"]), (200, &entry["id"]), "{address}");
    }
    process.terminate().expect("a clean stop");
}

fn service_id(ground: &Ground) -> String {
    let file = rusqlite::Connection::open(ground.data().join("allclear.db")).expect("a database");
    let query = "SELECT id FROM resource WHERE kind = 'service' AND identity = 'Streams'";
    file.query_row(query, [], |row| row.get(0)).expect("a service")
}
