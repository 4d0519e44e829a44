//! The configuration in PagerDuty's REST shapes: what a client makes, reads, changes and removes.

use serde_json::{Value, json};

use super::binary::Ground;
use super::verbs::Client;

fn client(ground: &Ground) -> Client<'_> {
    let scopes = ["incidents:read", "incidents:write", "config:read", "config:write"].map(|scope| ["--scope", scope]).concat();
    let token = ground.say(&[&["token", "create", "t"], &scopes[..]].concat()).trim().to_owned();
    Client { ground, token }
}

fn id_of(made: &Value, kind: &str) -> String {
    made[kind]["id"].as_str().unwrap_or_else(|| panic!("no id in {made}")).to_owned()
}

#[test]
fn a_team_sets_everything_up_over_the_api_and_an_event_reaches_whom_it_made() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    let (status, user) =
        client.call("POST", "/users", &json!({ "user": { "type": "user", "name": "Dora", "email": "dora@synq.example" } }));
    assert_eq!((status, user["user"]["contact_methods"][0]["type"].as_str()), (201, Some("email_contact_method_reference")), "{user}");
    let user = id_of(&user, "user");
    let sms =
        json!({ "contact_method": { "type": "sms_contact_method", "label": "Mobile", "country_code": 45, "address": "20 00 00 09" } });
    let (status, method) = client.call("POST", &format!("/users/{user}/contact_methods"), &sms);
    let method_body = &method["contact_method"];
    assert_eq!(
        (status, method_body["address"].as_str(), method_body["country_code"].as_u64()),
        (201, Some("20000009"), Some(45)),
        "{method}"
    );
    let (status, twice) = client.call("POST", &format!("/users/{user}/contact_methods"), &sms);
    assert_eq!((status, twice["error"]["errors"][0].as_str()), (400, Some("User Contact method must be unique")));
    let method = id_of(&method, "contact_method");
    let rule = json!({ "notification_rule": { "type": "assignment_notification_rule", "start_delay_in_minutes": 0, "urgency": "high",
        "contact_method": { "id": method, "type": "sms_contact_method_reference" } } });
    let (status, made) = client.call("POST", &format!("/users/{user}/notification_rules"), &rule);
    assert_eq!((status, made["notification_rule"]["contact_method"]["id"].as_str()), (201, Some(method.as_str())), "{made}");
    assert_eq!(client.call("POST", &format!("/users/{user}/notification_rules"), &rule).0, 400, "the same rule twice");
    let (methods, rules) = (format!("/users/{user}/contact_methods"), format!("/users/{user}/notification_rules"));
    let rule_id = id_of(&made, "notification_rule");
    let moved =
        json!({ "contact_method": { "type": "sms_contact_method", "label": "Other mobile", "country_code": 45, "address": "20000010" } });
    let (status, now) = client.call("PUT", &format!("{methods}/{method}"), &moved);
    assert_eq!((status, id_of(&now, "contact_method")), (200, method.clone()), "an id is given once, whatever changes: {now}");
    let (status, again) = client.call("POST", &methods, &sms);
    assert_eq!(status, 201, "{again}");
    let again = id_of(&again, "contact_method");
    assert_ne!(again, method, "and to nothing else");
    let later = json!({ "notification_rule": { "start_delay_in_minutes": 5, "contact_method": { "id": method } } });
    let (status, now) = client.call("PUT", &format!("{rules}/{rule_id}"), &later);
    assert_eq!((status, id_of(&now, "notification_rule")), (200, rule_id.clone()), "{now}");
    assert_eq!(client.call("PUT", &format!("{rules}/{rule_id}"), &rule).0, 200);
    assert_eq!(client.call("DELETE", &format!("{methods}/{again}"), &json!(null)).0, 204);
    let back = json!({ "contact_method": { "type": "sms_contact_method", "label": "Mobile", "country_code": 45, "address": "20000009" } });
    assert_eq!(client.call("PUT", &format!("{methods}/{method}"), &back).0, 200);

    let layer = json!({ "name": "L", "start": "2026-01-05T09:00:00+01:00", "rotation_virtual_start": "2026-01-05T09:00:00+01:00",
        "rotation_turn_length_seconds": 604_800, "users": [{ "user": { "id": user, "type": "user_reference" } }] });
    let schedule =
        json!({ "schedule": { "type": "schedule", "name": "Weekly", "time_zone": "Europe/Copenhagen", "schedule_layers": [layer] } });
    let (status, schedule) = client.call("POST", "/schedules", &schedule);
    assert_eq!(
        (status, schedule["schedule"]["schedule_layers"][0]["start"].as_str()),
        (201, Some("2026-01-05T09:00:00+01:00")),
        "{schedule}"
    );
    let schedule = id_of(&schedule, "schedule");
    let policy = json!({ "escalation_policy": { "type": "escalation_policy", "name": "By API", "num_loops": 2, "escalation_rules": [
        { "escalation_delay_in_minutes": 5, "targets": [{ "id": schedule, "type": "schedule_reference" }] }] } });
    let (status, policy) = client.call("POST", "/escalation_policies", &policy);
    assert_eq!((status, policy["escalation_policy"]["num_loops"].as_u64()), (201, Some(2)), "{policy}");
    let policy = id_of(&policy, "escalation_policy");
    let service = json!({ "service": { "type": "service", "name": "By API", "escalation_policy": { "id": policy, "type": "escalation_policy_reference" } } });
    let (status, service) = client.call("POST", "/services", &service);
    assert_eq!(
        (status, service["service"]["acknowledgement_timeout"].as_u64(), service["service"]["status"].as_str()),
        (201, Some(1_800), Some("active"))
    );
    let service = id_of(&service, "service");
    let wish = json!({ "integration": { "type": "events_api_v2_inbound_integration", "name": "Tool" } });
    let (status, integration) = client.call("POST", &format!("/services/{service}/integrations"), &wish);
    let key = integration["integration"]["integration_key"].as_str().expect("a key").to_owned();
    assert_eq!((status, key.len()), (201, 32));
    let (_, other) = client.call("POST", &format!("/services/{service}/integrations"), &json!({ "integration": { "name": "Other" } }));
    assert_eq!(other["integration"]["name"].as_str(), Some("Other"), "{other}");
    let address = format!("/services/{service}/integrations/{}", integration["integration"]["id"].as_str().expect("an id"));
    let name = |name: &str| json!({ "integration": { "name": name } });
    assert_eq!(client.call("PUT", &address, &name("Other")).0, 400, "another has this name");
    let (status, renamed) = client.call("PUT", &address, &name("Watcher"));
    let renamed = &renamed["integration"];
    let (found, wanted) = ((renamed["name"].as_str(), renamed["integration_key"].as_str()), (Some("Watcher"), Some(key.as_str())));
    assert_eq!((status, found), (200, wanted), "a new name, and the key that the tool has");

    let (_, oncalls) = client.call("GET", &format!("/oncalls?escalation_policy_ids%5B%5D={policy}"), &Value::Null);
    assert_eq!(oncalls["oncalls"][0]["user"]["summary"].as_str(), Some("Dora"), "{oncalls}");
    let event = json!({ "routing_key": key, "event_action": "trigger", "dedup_key": "disk", "payload": { "summary": "Disk full", "source": "db1", "severity": "critical" } });
    assert_eq!(ground.post("/v2/enqueue", &event), 202);
    let text = || ground.world.phone.player().texts().iter().any(|text| text.to == "+4520000009" && text.body.contains("Disk full"));
    assert!(allclear_acceptance::binary::wait(super::binary::PATIENCE, text), "{}", super::binary::log_of(&process));
    let (_, found) = client.call("GET", &format!("/incidents?service_ids%5B%5D={service}&incident_key=disk"), &Value::Null);
    let incident = &found["incidents"][0];
    assert_eq!((incident["title"].as_str(), incident["incident_key"].as_str()), (Some("Disk full"), Some("disk")), "{found}");
    let (_, shown) = client.call("GET", &format!("/services/{service}"), &Value::Null);
    assert_eq!(shown["service"]["status"].as_str(), Some("critical"), "{shown}");
    let (_, alerts) = client.call("GET", &format!("/incidents/{}/alerts", incident["id"].as_str().expect("an id")), &Value::Null);
    assert_eq!((alerts["alerts"][0]["alert_key"].as_str(), alerts["alerts"][0]["severity"].as_str()), (Some("disk"), Some("critical")));

    let (status, refused) = client.call("DELETE", &format!("/schedules/{schedule}"), &Value::Null);
    assert_eq!(
        (status, refused["error"]["errors"][0].as_str()),
        (400, Some("Schedule can't be deleted if it's being used by escalation policies"))
    );
    for path in [
        format!("/services/{service}"),
        format!("/escalation_policies/{policy}"),
        format!("/schedules/{schedule}"),
        format!("/users/{user}"),
    ] {
        assert_eq!(client.call("DELETE", &path, &Value::Null).0, 204, "{path}");
        assert_eq!(client.call("GET", &path, &Value::Null).0, 404, "{path}");
    }
    assert_eq!(ground.post("/v2/enqueue", &event), 400, "its key went with the service");
    process.terminate().expect("a clean stop");
}

#[test]
fn what_files_own_can_be_read_and_is_changed_in_the_files_alone() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    let (_, found) = client.call("GET", "/services?name=Streams", &Value::Null);
    let id = found["services"][0]["id"].as_str().expect("the service").to_owned();
    let (status, refused) = client.call("PUT", &format!("/services/{id}"), &json!({ "service": { "name": "Mine" } }));
    assert_eq!(status, 400);
    assert!(refused["error"]["errors"][0].as_str().is_some_and(|why| why.contains("owned by the files \"config\"")), "{refused}");
    assert_eq!(client.call("DELETE", &format!("/services/{id}"), &Value::Null).0, 400);
    process.terminate().expect("a clean stop");
}

#[test]
fn an_override_takes_a_turn_over_and_is_cut_or_taken_back() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    let (_, users) = client.call("GET", "/users?query=ada", &Value::Null);
    let ada = users["users"][0]["id"].as_str().expect("Ada").to_owned();
    let (_, users) = client.call("GET", "/users?query=ben", &Value::Null);
    let ben = users["users"][0]["id"].as_str().expect("Ben").to_owned();
    let layer = json!({ "rotation_virtual_start": "2026-01-05T09:00:00Z", "rotation_turn_length_seconds": 604_800, "users": [{ "user": { "id": ada } }] });
    let wish = json!({ "schedule": { "name": "Alone", "time_zone": "Etc/UTC", "schedule_layers": [layer] } });
    let schedule = id_of(&client.call("POST", "/schedules", &wish).1, "schedule");
    let day = |n: u8| format!("2046-03-{n:02}T00:00:00Z");
    let overrides = json!({ "overrides": [
        { "start": day(2), "end": day(3), "user": { "id": ben, "type": "user_reference" } },
        { "start": day(3), "end": day(2), "user": { "id": ben, "type": "user_reference" } }] });
    let (status, made) = client.call("POST", &format!("/schedules/{schedule}/overrides"), &overrides);
    assert_eq!((status, made[0]["status"].as_u64(), made[1]["status"].as_u64()), (201, Some(201), Some(400)), "{made}");
    assert_eq!(made[1]["errors"][0].as_str(), Some("Override must end after its start"));
    let path = format!("/schedules/{schedule}?since={}&until={}", day(1), day(4));
    let (_, shown) = client.call("GET", &path, &Value::Null);
    let entries = shown["schedule"]["final_schedule"]["rendered_schedule_entries"].as_array().expect("entries").clone();
    let who: Vec<_> = entries.iter().filter_map(|entry| entry["user"]["summary"].as_str()).collect();
    assert_eq!(who, ["Ada", "Ben", "Ada"], "{shown}");
    assert_eq!(shown["schedule"]["final_schedule"]["rendered_coverage_percentage"].as_f64(), Some(100.0));
    let which = made[0]["override"]["id"].as_str().expect("an id");
    assert_eq!(client.call("DELETE", &format!("/schedules/{schedule}/overrides/{which}"), &Value::Null).0, 204);
    let path = format!("/schedules/{schedule}/overrides?since={}&until={}", day(1), day(4));
    let (status, left) = client.call("GET", &path, &Value::Null);
    assert_eq!((status, left["overrides"].as_array().map(Vec::len)), (201, Some(0)));
    process.terminate().expect("a clean stop");
}

#[test]
fn what_a_schedule_or_a_policy_cannot_do_is_refused_and_nobody_is_on_call_by_mistake() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    let ada = ground.id_of("person", "Ada");
    let refused = |more: Value, part: &str| {
        let mut layer = json!({ "rotation_virtual_start": "2026-01-05T09:00:00Z", "rotation_turn_length_seconds": 604_800, "users": [{ "user": { "id": ada } }] });
        layer.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let wish = json!({ "schedule": { "name": "Alone", "time_zone": "Etc/UTC", "schedule_layers": [layer] } });
        let (status, answer) = client.call("POST", "/schedules", &wish);
        assert!(status == 400 && answer.to_string().contains(part), "{status} {answer}");
    };
    refused(json!({ "end": "2046-01-05T09:00:00Z" }), "a layer that ends later is not built");
    refused(json!({ "start": "2046-01-05T09:00:00Z" }), "a layer that starts later than its rotation is not built");
    refused(json!({ "restrictions": [{ "type": "daily_restriction" }] }), "restrictions of a layer are not built");
    for strategy in [json!("round_robin"), json!({ "type": "round_robin" })] {
        let rule = json!({ "escalation_delay_in_minutes": 5, "targets": [{ "id": ada, "type": "user_reference" }], "escalation_rule_assignment_strategy": strategy });
        let (status, answer) =
            client.call("POST", "/escalation_policies", &json!({ "escalation_policy": { "name": "In turn", "escalation_rules": [rule] } }));
        assert!(status == 400 && answer.to_string().contains("round_robin is not built"), "{status} {answer}");
    }
    assert_eq!(client.call("GET", "/abilities/urgencies", &Value::Null).0, 204);
    assert_eq!(client.call("GET", "/abilities/teams", &Value::Null).0, 402);
    process.terminate().expect("a clean stop");
}

#[test]
fn in_a_maintenance_window_nothing_opens_and_after_it_the_next_trigger_does() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    let (_, found) = client.call("GET", "/services?name=Streams", &Value::Null);
    let service = found["services"][0]["id"].as_str().expect("the service").to_owned();
    let wish = json!({ "maintenance_window": { "type": "maintenance_window", "description": "Upgrade", "start_time": "2026-01-01T00:00:00Z",
        "end_time": "2046-01-01T00:00:00Z", "services": [{ "id": service, "type": "service_reference" }] } });
    let (status, window) = client.call("POST", "/maintenance_windows", &wish);
    assert_eq!(status, 201, "{window}");
    let again = id_of(&client.call("POST", "/maintenance_windows", &wish).1, "maintenance_window");
    let window = id_of(&window, "maintenance_window");
    assert_eq!(client.call("GET", &format!("/services/{service}"), &Value::Null).1["service"]["status"].as_str(), Some("maintenance"));
    let said = ground.say(&["declare", "Down", "--service", "Streams"]);
    assert!(said.contains("rests"), "{said}");
    for id in [&again, &window] {
        assert_eq!(client.call("DELETE", &format!("/maintenance_windows/{id}"), &Value::Null).0, 204, "it ends now");
    }
    assert_eq!(client.call("DELETE", &format!("/maintenance_windows/{window}"), &Value::Null).0, 405, "it is over");
    let (_, past) = client.call("GET", "/maintenance_windows?filter=past", &Value::Null);
    assert_eq!(past["maintenance_windows"].as_array().map(Vec::len), Some(2), "{past}");
    assert!(ground.say(&["declare", "Down", "--service", "Streams"]).contains("is triggered"));
    process.terminate().expect("a clean stop");
}

#[test]
fn what_cannot_be_done_is_refused_with_a_sentence_that_says_so() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    for (path, body, part) in [
        ("/services", json!({ "service": { "name": "x" } }), "Escalation policy cannot be empty"),
        ("/services", json!({ "service": { "name": "x", "escalation_policy": { "id": "PNOPE00" } } }), "there is no escalation_policy"),
        ("/services", json!({}), "service is missing"),
        (
            "/escalation_policies",
            json!({ "escalation_policy": { "name": "x", "escalation_rules": [] } }),
            "Escalation rules cannot be empty",
        ),
        (
            "/escalation_policies",
            json!({ "escalation_policy": { "name": "On call", "escalation_rules": [{ "escalation_delay_in_minutes": 0 }] } }),
            "from 1 to",
        ),
        ("/schedules", json!({ "schedule": { "name": "x" } }), "Time zone cannot be empty."),
        ("/schedules", json!({ "schedule": { "name": "x", "time_zone": "Mars/Olympus" } }), "not known"),
        ("/schedules", json!({ "schedule": { "name": "x", "time_zone": "Etc/UTC", "schedule_layers": [{}, {}] } }), "several layers"),
        ("/users", json!({ "user": { "name": "x", "email": "nobody" } }), "Email is invalid"),
        ("/users", json!({ "user": { "name": "x", "email": "ADA@synq.example" } }), "Email has already been taken"),
        ("/users", json!({ "user": { "name": "Ada", "email": "other@synq.example" } }), "Name has already been taken"),
        (
            "/maintenance_windows",
            json!({ "maintenance_window": { "start_time": "2046-01-02", "end_time": "2046-01-01", "services": [] } }),
            "End time must be after start time",
        ),
    ] {
        let (status, answer) = client.call("POST", path, &body);
        assert!((400..500).contains(&status) && answer.to_string().contains(part), "POST {path} {body}: {status} {answer}");
    }
    assert_eq!(client.call("GET", "/schedules?since=never", &Value::Null).0, 400);
    assert_eq!(client.call("GET", "/oncalls?since=2026-01-01&until=2027-01-01", &Value::Null).0, 400, "more than 90 days");
    assert_eq!(client.call("GET", "/priorities", &Value::Null).1["priorities"].as_array().map(Vec::len), Some(5));
    process.terminate().expect("a clean stop");
}

#[test]
fn incidents_are_merged_given_a_priority_and_taken_at_once_by_whoever_opens_them() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let client = client(&ground);
    let (_, found) = client.call("GET", "/services?name=Streams", &Value::Null);
    let service = found["services"][0]["id"].as_str().expect("the service").to_owned();
    let ada = client.call("GET", "/users?query=ada", &Value::Null).1["users"][0]["id"].as_str().expect("Ada").to_owned();
    let open = |title: &str, people: &[&String]| {
        let people: Vec<Value> = people.iter().map(|id| json!({ "assignee": { "id": id, "type": "user_reference" } })).collect();
        let wish = json!({ "incident": { "type": "incident", "title": title, "service": { "id": service, "type": "service_reference" }, "assignments": people } });
        client.call("POST", "/incidents", &wish).1["incident"].clone()
    };
    let first = open("First", &[&ada]);
    assert_eq!(
        (first["status"].as_str(), first["acknowledgements"][0]["acknowledger"]["summary"].as_str()),
        (Some("acknowledged"), Some("Ada")),
        "{first}"
    );
    let second = open("Second", &[]);
    assert_eq!(second["status"].as_str(), Some("triggered"));
    let (first, second) = (first["id"].as_str().expect("an id"), second["id"].as_str().expect("an id"));
    let (status, merged) = client.call(
        "PUT",
        &format!("/incidents/{first}/merge"),
        &json!({ "source_incidents": [{ "id": second, "type": "incident_reference" }] }),
    );
    assert_eq!((status, merged["incident"]["type"].as_str()), (200, Some("incident_reference")), "{merged}");
    let (_, source) = client.call("GET", &format!("/incidents/{second}"), &Value::Null);
    let source = &source["incident"];
    assert_eq!(
        (source["status"].as_str(), source["resolve_reason"]["incident"]["id"].as_str()),
        (Some("resolved"), Some(first)),
        "{source}"
    );
    assert_eq!(client.call("GET", &format!("/incidents/{first}/alerts"), &Value::Null).1["alerts"].as_array().map(Vec::len), Some(2));
    let (status, refused) = client.call("PUT", &format!("/incidents/{first}/merge"), &json!({ "source_incidents": [{ "id": second }] }));
    assert_eq!((status, refused["error"]["code"].as_u64()), (400, Some(1019)), "{refused}");
    assert!(ground.say(&["show", "Live Stream"]).contains("Degraded performance"), "what was merged still stands");
    let change = json!({ "incident": { "type": "incident_reference", "priority": { "id": "P1" }, "title": "Both" } });
    let (_, changed) = client.call("PUT", &format!("/incidents/{first}"), &change);
    assert_eq!(
        (changed["incident"]["priority"]["name"].as_str(), changed["incident"]["title"].as_str()),
        (Some("P1"), Some("Both")),
        "{changed}"
    );
    assert!(ground.say(&["priority", "1", "none"]).contains("#1 Both"));
    assert!(ground.say(&["resolve", "1"]).contains("resolved"));
    let operational = || ground.say(&["show", "Live Stream"]).contains("): Operational");
    assert!(allclear_acceptance::binary::wait(super::binary::PATIENCE, operational), "{}", ground.say(&["show", "Live Stream"]));
    let story = ground.say(&["show", "1"]);
    for part in ["took in #2", "the priority is P1 now", "it has no priority any more"] {
        assert!(story.contains(part), "{part:?} is missing in:\n{story}");
    }
    process.terminate().expect("a clean stop");
}
