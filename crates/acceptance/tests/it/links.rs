//! The real PagerDuty, StatusPage and Runscope beside AllClear: what changes here shows there, and the other way.

use std::time::Duration;

use allclear_acceptance::binary::{get, request, secret, wait};
use allclear_base::{Clock, SystemClock};
use allclear_stage::live::Switch;
use allclear_stage::pagerduty::{Kept, sign};
use allclear_stage::wire::Request;
use allclear_stage::{Callback, Player};

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

fn there(ground: &Ground) -> Option<(String, Kept)> {
    ground.world.pagerduty.player().incidents().iter().next().map(|(key, kept)| (key.clone(), kept.clone()))
}

fn status_there(ground: &Ground) -> String {
    there(ground).map_or(String::new(), |(_, kept)| kept.status)
}

/// Sends a webhook with a signature; the status.
fn send(ground: &Ground, path: &str, body: &str, signature: &str) -> u16 {
    let head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nx-pagerduty-signature: {signature}\r\n", ground.addr);
    request(ground.addr, &format!("{head}content-length: {}\r\n\r\n{body}", body.len())).expect("an answer").0
}

/// A user of the real PagerDuty does something; what it tells us is returned, not sent.
fn user_does(ground: &Ground, status: &str) -> Callback {
    let body = serde_json::json!({ "status": status, "user": "Ada" }).to_string();
    let now_us = SystemClock::start().now_us();
    let request = Request::new("POST", "/_stage/act", vec![], body.into_bytes());
    let reply = ground.world.pagerduty.player().handle(&request, u64::try_from(now_us / 1_000).expect("a time"));
    reply.callbacks.into_iter().next().expect("a webhook")
}

fn connect(ground: &Ground) -> String {
    let id = ground.channel_id("PagerDuty");
    ground.world.pagerduty.player().set_webhook(&format!("http://{}/hooks/pagerduty/{id}", ground.addr));
    format!("/hooks/pagerduty/{id}")
}

fn signature_of(callback: &Callback) -> String {
    callback.headers.iter().find(|(name, _)| name == "x-pagerduty-signature").map(|(_, value)| value.clone()).expect("a signature")
}

#[test]
fn an_incident_shows_in_the_real_pagerduty_and_what_its_users_do_shows_here_without_an_echo() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let path = connect(&ground);
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || status_there(&ground) == "triggered"), "{}", log_of(&process));
    let (key, kept) = there(&ground).expect("an incident");
    assert!(key.starts_with("test:") && key.ends_with(":production"), "{key}");
    assert_eq!(kept.summary, "Live Streaming API fails in production");

    let taken = user_does(&ground, "acknowledged");
    assert_eq!(send(&ground, &path, &taken.body, &signature_of(&taken)), 202);
    let story = ground.say(&["show", "1"]);
    assert!(story.contains("acknowledged  [Ada in PagerDuty]"), "{story}");

    let ended = user_does(&ground, "resolved");
    ground.world.live.player().turn(Switch::Healthy);
    assert_eq!(send(&ground, &path, &ended.body, &signature_of(&ended)), 202);
    let operational =
        || get(ground.addr, "/status/synq/api/v2/components.json").is_some_and(|(_, body)| !body.contains("\"degraded_performance\""));
    assert!(wait(PATIENCE, operational), "{}{}", ground.say(&["show", "1"]), log_of(&process));
    assert!(ground.say(&["show", "1"]).contains("[Ada in PagerDuty]"));
    assert!(wait(PATIENCE, || ground.world.phone.player().texts().iter().any(|text| text.body.contains("All clear: #1 "))));
    let events = || there(&ground).map_or(vec![], |(_, kept)| kept.events);
    assert!(wait(PATIENCE, || events() == ["trigger", "resolve"]), "an acknowledgement is not sent back, an end is: {:?}", events());
    process.terminate().expect("a clean stop");
}

#[test]
fn what_is_taken_and_ended_here_is_taken_and_ended_there_in_order_though_it_refuses_at_first() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.pagerduty.player().faults().refuse = 2;
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("#1")), "{}", log_of(&process));
    ground.say(&["ack", "1"]);
    assert!(wait(PATIENCE, || status_there(&ground) == "acknowledged"), "{}", log_of(&process));
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || status_there(&ground) == "resolved"), "{}", log_of(&process));
    let events = there(&ground).expect("an incident").1.events;
    assert!(events.starts_with(&["trigger".into(), "acknowledge".into()]) && events.ends_with(&["resolve".into()]), "{events:?}");
    process.terminate().expect("a clean stop");
}

#[test]
fn a_webhook_that_is_forged_changed_or_about_an_earlier_incident_changes_nothing() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let path = connect(&ground);
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || status_there(&ground) == "triggered"), "{}", log_of(&process));
    let ended = user_does(&ground, "resolved");
    let good = signature_of(&ended);
    let changed = ended.body.replace("\"Ada\"", "\"Eve\"");
    for (body, signature) in [(&ended.body, ""), (&ended.body, "v1=00"), (&changed, &good), (&ended.body[..40].to_owned(), &good)] {
        assert_eq!(send(&ground, &path, body, signature), 401, "{signature} {body}");
    }
    assert_eq!(send(&ground, "/hooks/pagerduty/PXXXXXX", &ended.body, &good), 404);
    let mut old: serde_json::Value = serde_json::from_str(&ended.body).expect("JSON");
    old["event"]["occurred_at"] = "2020-01-01T00:00:00Z".into();
    let old = old.to_string();
    let signed = format!("v1={}", sign(secret("PAGERDUTY_WEBHOOK"), &old));
    assert_eq!(send(&ground, &path, &old, &signed), 202, "it is genuine, but of another day");
    assert!(!ground.say(&["incidents"]).contains("All clear"), "{}", ground.say(&["incidents"]));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_webhook_that_comes_again_does_not_silence_what_was_escalated_since() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let path = connect(&ground);
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || status_there(&ground) == "triggered"), "{}", log_of(&process));
    let taken = user_does(&ground, "acknowledged");
    assert_eq!(send(&ground, &path, &taken.body, &signature_of(&taken)), 202);
    assert!(ground.say(&["incidents"]).contains("acknowledged"));
    let escalated = ground.say(&["escalate", "1"]);
    assert!(escalated.contains("triggered"), "{escalated}");
    assert_eq!(send(&ground, &path, &taken.body, &signature_of(&taken)), 202);
    assert!(ground.say(&["incidents"]).contains("triggered"), "{}", ground.say(&["show", "1"]));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_component_shows_on_the_real_statuspage_what_it_shows_here() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.statuspage.player().faults().limit = 1;
    ground.world.live.player().turn(Switch::WrongJson);
    let shows = |status: &str| ground.world.statuspage.player().shows("live1") == Some(status);
    assert!(wait(PATIENCE, || shows("degraded_performance")), "{}", log_of(&process));
    ground.world.statuspage.player().faults().drop_answers = 1;
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || shows("operational")), "{}", log_of(&process));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_result_of_runscope_opens_and_ends_an_incident_where_its_environment_is_switched_on() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let listed = ground.say(&["integrations"]);
    let line = listed.lines().find(|line| line.contains("Runscope")).expect("an integration");
    let key = line.split_whitespace().find(|word| word.len() == 32).expect("a key");
    let result = |environment: &str, result: &str| {
        let body = serde_json::json!({ "test_id": "t1", "test_name": "Stream check", "environment_uuid": environment,
            "environment_name": environment, "result": result, "region": "us1", "variables": {}, "requests": [] });
        ground.post(&format!("/hooks/runscope/{key}"), &body)
    };
    assert_eq!(result("Staging", "fail"), 200);
    assert_eq!(result("Production", "fail"), 200);
    let open = ground.say(&["incidents"]);
    assert!(open.contains("Stream check fails in Production from us1") && !open.contains("Staging"), "{open}");
    assert_eq!(result("Production", "fail"), 200);
    assert_eq!(result("Production", "pass"), 200);
    let all = ground.say(&["incidents", "--all"]);
    assert!(all.contains("#1") && all.contains("resolved") && !all.contains("#2"), "{all}");
    assert_eq!(ground.post(&format!("/hooks/runscope/{}", "0".repeat(32)), &serde_json::json!({})), 400);
    process.terminate().expect("a clean stop");
}
