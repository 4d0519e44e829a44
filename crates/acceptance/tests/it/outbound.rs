//! What leaves, on the real binary against a stage that refuses what the real providers refuse.

use std::process::{Command, Stdio};
use std::time::Duration;

use allclear_acceptance::binary::{Process, Start, get, path, request, wait};
use allclear_stage::endpoint::Set;
use allclear_stage::live::Switch;
use allclear_stage::slack::{Posted, Room};
use serde_json::{Value, json};

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

const ADA: &str = "+4520000001";

/// A world in which one test fails and the providers know where AllClear is.
fn broken() -> (Ground, Process) {
    let ground = Ground::with_one_test();
    let process = ground.start();
    ground.world.call_back_to(ground.addr, |name| ground.channel_id(name));
    ground.world.live.player().turn(Switch::WrongJson);
    (ground, process)
}

fn to_ada(ground: &Ground) -> Vec<Posted> {
    let posted = ground.world.slack.player().messages().to_vec();
    posted.into_iter().filter(|message| message.channel.starts_with('D')).collect()
}

fn readyz(ground: &Ground) -> String {
    get(ground.addr, "/readyz").map_or(String::new(), |(_, body)| body)
}

fn is_triggered(ground: &Ground) -> bool {
    ground.say(&["incidents"]).contains("triggered")
}

/// The key of an integration.
fn key(ground: &Ground) -> String {
    let listed = ground.say(&["integrations"]);
    listed.split_whitespace().find(|word| word.len() == 32).expect("a key").to_owned()
}

#[test]
fn a_room_that_may_not_be_written_to_holds_up_no_direct_message() {
    let ground = Ground::with_one_test();
    let process = ground.start();
    ground.world.slack.player().set_room("#incidents", Room::ReadOnly);
    ground.world.live.player().turn(Switch::WrongJson);
    let paged = || to_ada(&ground).iter().any(|message| message.text.contains("#1"));
    assert!(wait(PATIENCE, paged), "{}", log_of(&process));
    // More of it: each incident is refused in the room, once, and the person is told all the same.
    for number in 2..5 {
        ground.say(&["resolve", &(number - 1).to_string()]);
        let told = || to_ada(&ground).iter().any(|message| message.text.contains(&format!("#{number}")));
        assert!(wait(PATIENCE, told), "{}", log_of(&process));
    }
    assert!(!readyz(&ground).contains("keeps failing"), "{}", readyz(&ground));
    let story = ground.say(&["show", "1"]);
    assert!(story.contains("restricted_action_read_only_channel"), "it is said why: {story}");
}

#[test]
fn whoever_presses_a_stale_button_or_is_nobody_here_is_told_where_they_look() {
    let (ground, process) = broken();
    let paged = || to_ada(&ground).iter().any(|message| message.blocks.to_string().contains("acknowledge"));
    assert!(wait(PATIENCE, paged), "{}", log_of(&process));
    let ts = to_ada(&ground)[0].ts.clone();
    let press = |user: &str, action: &str| {
        let body = json!({ "ts": ts, "action": action, "user": user });
        assert_eq!(ground.world.control("$SLACK_API", "/_stage/press", &body), 202);
    };
    let told =
        |user: &str, part: &str| ground.world.slack.player().ephemeral().iter().any(|one| one.user == user && one.text.contains(part));
    press("U0STRANGER", "acknowledge");
    assert!(wait(PATIENCE, || told("U0STRANGER", "not linked to a person")), "{}", log_of(&process));
    assert!(is_triggered(&ground), "and nothing changed");
    press("U0ADA", "acknowledge");
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("acknowledged")), "{}", log_of(&process));
    press("U0ADA", "acknowledge");
    assert!(wait(PATIENCE, || told("U0ADA", "Nothing changed: the incident is already acknowledged by you.")));
    ground.say(&["resolve", "1"]);
    press("U0ADA", "resolve");
    assert!(wait(PATIENCE, || told("U0ADA", "Nothing changed: the incident is already resolved.")), "{}", log_of(&process));
    let broken: Vec<String> = ground.world.violations().into_iter().filter(|one| one.starts_with("Slack")).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn a_webhook_that_answered_404_gets_its_events_in_their_order_once_it_is_back() {
    let ground = Ground::with_one_test();
    let process = ground.start();
    ground.world.hook.player().set_answer("/allclear", Set { status: 404, times: 2, ..Set::default() });
    ground.world.live.player().turn(Switch::WrongJson);
    let kinds = || {
        let received = ground.world.hook.player().received().to_vec();
        let about_first = received.into_iter().filter(|one| one.body["data"]["incident"]["number"] == 1);
        about_first.map(|one| one.body["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert!(wait(PATIENCE, || readyz(&ground).contains("Hook has not taken what it was sent")), "{}", readyz(&ground));
    ground.say(&["ack", "1"]);
    let expected = ["incident.triggered", "incident.acknowledged"];
    assert!(wait(Duration::from_secs(40), || kinds().starts_with(&expected.map(str::to_owned))), "{:?}\n{}", kinds(), log_of(&process));
    assert!(wait(PATIENCE, || !readyz(&ground).contains("Hook")), "{}", readyz(&ground));
}

#[test]
fn an_endpoint_that_answered_410_is_called_no_more_until_a_test_message_is_taken() {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let files = std::fs::read_to_string(&file).expect("the world");
    let with_hook = files.replace(
        "  - { name: mail, channel: Mail, address: ada@synq.example }\n",
        "  - { name: mail, channel: Mail, address: ada@synq.example }\n  - { name: program, channel: Hook, address: ada }\n",
    );
    std::fs::write(&file, with_hook).expect("written");
    let process = ground.start();
    ground.world.hook.player().set_answer("/allclear", Set { status: 410, ..Set::default() });
    ground.world.live.player().turn(Switch::WrongJson);
    let asked = || ground.world.hook.player().asked("/allclear");
    assert!(wait(PATIENCE, || readyz(&ground).contains("the endpoint of Hook said that it is gone")), "{}", log_of(&process));
    let before = asked();
    for number in 1..3 {
        ground.say(&["resolve", &number.to_string()]);
        assert!(
            wait(PATIENCE, || ground.say(&["show", &(number + 1).to_string()]).contains("nothing has been sent to it")),
            "{}",
            log_of(&process)
        );
    }
    assert_eq!(asked(), before, "it is not called again");
    ground.world.hook.player().set_answer("/allclear", Set { status: 204, ..Set::default() });
    let tested = ground.command(&["notify-test", "Ada", "program", "--data", "data"]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
    assert!(wait(PATIENCE, || !readyz(&ground).contains("gone")), "{}", readyz(&ground));
    ground.say(&["resolve", "3"]);
    assert!(wait(PATIENCE, || asked() > before + 1), "and then it is");
}

#[test]
fn a_stop_is_not_answered_and_its_person_is_told_by_another_way() {
    let (ground, process) = broken();
    assert!(wait(PATIENCE, || ground.world.phone.player().texts().iter().any(|text| text.to == ADA)), "{}", log_of(&process));
    let reply = |from: &str, body: &str| {
        assert_eq!(ground.world.control("$PHONE_API", "/_stage/reply", &json!({ "from": from, "body": body })), 202);
    };
    reply(ADA, "Stop");
    let told = || to_ada(&ground).iter().any(|message| message.text.contains("answered STOP"));
    assert!(wait(PATIENCE, told), "{:?}\n{}", to_ada(&ground), log_of(&process));
    assert!(readyz(&ground).contains("+…0001 has taken no texts of Twilio"), "{}", readyz(&ground));
    assert!(is_triggered(&ground), "it answers nothing");
    reply(ADA, "START");
    assert!(wait(PATIENCE, || !readyz(&ground).contains("+…0001")), "{}", readyz(&ground));
    let broken: Vec<String> = ground.world.violations().into_iter().filter(|one| one.contains("21610") || one.contains("opted")).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn a_number_that_is_nobodys_is_never_answered_and_one_that_talks_by_itself_once() {
    let (ground, process) = broken();
    assert!(wait(PATIENCE, || !ground.world.phone.player().texts().is_empty()), "{}", log_of(&process));
    let reply = |from: &str, body: &str| {
        assert_eq!(ground.world.control("$PHONE_API", "/_stage/reply", &json!({ "from": from, "body": body })), 202);
    };
    for word in ["hello", "4", "6", "Reply 4 to take it"] {
        reply("+4599999999", word);
    }
    let (ada, stranger) = (ADA.to_owned(), "+4599999999".to_owned());
    let answers = |to: &String| ground.world.phone.player().answers().iter().filter(|text| text.to == *to).count();
    for _ in 0..4 {
        reply(ADA, "I am driving and will answer later.");
    }
    assert!(wait(PATIENCE, || answers(&ada) == 1), "{}", answers(&ada));
    reply(ADA, "4");
    assert!(wait(PATIENCE, || answers(&ada) == 2), "an answer is answered: {}", log_of(&process));
    assert_eq!(answers(&stranger), 0);
    assert!(ground.say(&["incidents"]).contains("acknowledged"));
}

#[test]
fn links_and_details_of_an_event_are_in_every_message_and_passed_on() {
    let ground = Ground::with_one_test();
    let process = ground.start();
    let event = json!({
        "routing_key": key(&ground), "event_action": "trigger", "dedup_key": "disk",
        "client": "Grafana", "client_url": "https://grafana.example/alert/7",
        "links": [{ "href": "https://runbooks.example/disk", "text": "Runbook" }],
        "payload": { "summary": "Disk full", "source": "web-1", "severity": "critical", "custom_details": { "mount": "/var" } },
    });
    assert_eq!(ground.post("/v2/enqueue", &event), 202);
    let text = || ground.world.phone.player().texts().iter().find(|text| text.to == ADA).map(|text| text.body.clone());
    assert!(wait(PATIENCE, || text().is_some()), "{}", log_of(&process));
    let text = text().expect("a text");
    let page = format!("http://{}/incidents/", ground.addr);
    for part in ["#1 Streams: Disk full.", "On web-1.", "https://grafana.example/alert/7", "Reply 4 to take it", &page] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!(text.matches("Disk full").count(), 1, "{text}");
    let room = || {
        let messages = ground.world.slack.player().messages().to_vec();
        messages.into_iter().find(|one| one.channel.starts_with('C')).map(|one| one.blocks.to_string())
    };
    assert!(wait(PATIENCE, || room().is_some()), "{}", log_of(&process));
    let room = room().expect("a message");
    for part in ["web-1", "mount: /var", "<https://grafana.example/alert/7|Grafana>", "|Runbook>", "|Open in AllClear>"] {
        assert!(room.contains(part), "{part} is missing in {room}");
    }
    let there = || ground.world.pagerduty.player().incidents().values().next().map(|kept| kept.trigger.clone());
    assert!(wait(PATIENCE, || there().is_some()), "{}", log_of(&process));
    let there: Value = there().expect("an event");
    assert_eq!(there["payload"]["source"], "web-1");
    assert_eq!(there["payload"]["custom_details"]["mount"], "/var");
    assert_eq!(there["links"][1]["href"], "https://runbooks.example/disk");
    assert!(there["client_url"].as_str().is_some_and(|url| url.starts_with(&page)), "{there}");
}

#[test]
fn what_changed_gives_webhooks_their_name_and_pagerduty_hears_of_its_status_alone() {
    let ground = Ground::with_one_test();
    let process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || is_triggered(&ground)), "{}", log_of(&process));
    ground.say(&["priority", "1", "P1"]);
    ground.say(&["ack", "1"]);
    ground.say(&["urgency", "1", "low"]);
    ground.say(&["snooze", "1", "1h"]);
    let kinds = || {
        let received = ground.world.hook.player().received().to_vec();
        received
            .iter()
            .filter(|one| one.path == "/allclear")
            .map(|one| one.body["type"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let expected =
        ["incident.triggered", "incident.priority_updated", "incident.acknowledged", "incident.urgency_updated", "incident.snoozed"];
    assert!(wait(PATIENCE, || kinds() == expected), "{:?}\n{}", kinds(), log_of(&process));
    let events = || ground.world.pagerduty.player().incidents().values().next().map_or(vec![], |kept| kept.events.clone());
    assert!(wait(PATIENCE, || events() == ["trigger", "acknowledge"]), "{:?}", events());
    let thread = || {
        let messages = ground.world.slack.player().messages().to_vec();
        messages.into_iter().filter(|one| one.thread_ts.is_some()).map(|one| one.text).collect::<Vec<_>>().join("\n")
    };
    assert!(wait(PATIENCE, || thread().contains("the priority is P1 now") && thread().contains("snoozed until")), "{}", thread());
}

#[test]
fn an_acknowledgement_that_times_out_in_the_real_pagerduty_pages_here_again() {
    let (ground, process) = broken();
    let there = |status: &str| ground.world.pagerduty.player().incidents().values().any(|kept| kept.status == status);
    assert!(wait(PATIENCE, || there("triggered")), "{}", log_of(&process));
    let acts = |body: Value| assert_eq!(ground.world.control("$PAGERDUTY_API", "/_stage/act", &body), 202);
    acts(json!({ "status": "acknowledged", "user": "Grace" }));
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("acknowledged")), "{}", log_of(&process));
    acts(json!({ "kind": "unacknowledged" }));
    let story = || ground.say(&["show", "1"]);
    assert!(wait(PATIENCE, || story().contains("the acknowledgement timed out  [PagerDuty]")), "{}\n{}", story(), log_of(&process));
    assert!(is_triggered(&ground));
}

#[test]
fn without_a_public_address_nothing_asks_for_an_answer() {
    let ground = Ground::with_one_test();
    let log = ground.folder.path().join("alone.log");
    let mut command = Command::new(path().expect("the binary"));
    command.args(["up", "--config", "config", "--data", "data", "--listen", &ground.addr.to_string()]);
    command.current_dir(ground.folder.path()).envs(ground.world.secrets()).stdout(Stdio::null());
    command.stderr(std::fs::File::create(&log).expect("a log"));
    let mut up = command.spawn().expect("it runs");
    assert!(wait(PATIENCE, || get(ground.addr, "/healthz").is_some()));
    ground.world.live.player().turn(Switch::WrongJson);
    let told = || !ground.world.phone.player().texts().is_empty() && !ground.world.phone.player().calls().is_empty();
    let told = wait(PATIENCE, told) && wait(PATIENCE, || !to_ada(&ground).is_empty());
    up.kill().expect("killed");
    up.wait().expect("gone");
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(told, "{log}");
    assert!(log.contains("there is no --public-url"), "{log}");
    for text in ground.world.phone.player().texts() {
        assert!(text.callback.is_none() && !text.body.contains("Reply") && !text.body.contains("http"), "{text:?}");
    }
    for call in ground.world.phone.player().calls() {
        assert!(!call.says.join(" ").contains("Press"), "{call:?}");
    }
    let messages = ground.world.slack.player().messages().to_vec();
    assert!(messages.iter().all(|one| !one.blocks.to_string().contains("button")), "{messages:?}");
}

#[test]
fn a_test_message_is_really_sent_and_what_the_provider_said_is_told() {
    let ground = Ground::with_one_test();
    assert!(ground.say(&["notify-test", "Ada"]).contains("data"), "without a server it says what to do");
    let process = ground.start();
    let tested = ground.command(&["notify-test", "Ada", "--data", "data"]);
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.status.success(), "{said}{}", log_of(&process));
    for line in
        ["Twilio by text message to +…0001 arrived", "Slack by Slack to U0ADA was taken", "Mail by mail to ada@synq.example was taken"]
    {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    let words = "This is a test message to Ada";
    assert!(ground.world.phone.player().texts().iter().any(|text| text.body.contains(words)));
    assert!(to_ada(&ground).iter().any(|message| message.text.contains(words)));

    ground.world.slack.player().refuse_token(Some("token_revoked"));
    let refused = ground.command(&["notify-test", "Ada", "slack", "--data", "data"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && said.contains("failed: Slack says token_revoked"), "{said}");
    assert!(readyz(&ground).contains("Slack has taken no messages since"), "{}", readyz(&ground));
    ground.world.slack.player().refuse_token(None);
    assert!(ground.command(&["notify-test", "Ada", "slack", "--data", "data"]).status.success());
    assert!(!readyz(&ground).contains("Slack has taken no messages"), "{}", readyz(&ground));
    for (words, why) in [(["Ada", "pager"], "there is mobile, slack, mail"), (["Eve", "mobile"], "Eve")] {
        let said = ground.say(&["notify-test", words[0], words[1]]);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_callback_is_not_taken_where_its_key_could_be_guessed() {
    let ground = Ground::with_one_test();
    let (config, data) = (ground.folder.path().join("config"), ground.data());
    let short = |(name, value): (String, String)| {
        let is_it = name == "ALLCLEAR_SECRET_PAGERDUTY_WEBHOOK";
        (name, if is_it { "1234567".to_owned() } else { value })
    };
    let secrets = ground.world.secrets().into_iter().map(short).collect();
    let start = Start { config: &config, data: &data, listen: ground.addr, crash_at: None, database: None, secrets };
    let mut process = Process::spawn(&start).expect("started");
    assert!(process.wait_until_ready(PATIENCE), "{}", log_of(&process));
    let hook = format!("/hooks/pagerduty/{}", ground.channel_id("PagerDuty"));
    let signature = allclear_stage::pagerduty::sign("1234567", "{}");
    let raw = format!(
        "POST {hook} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nx-pagerduty-signature: v1={signature}\r\ncontent-length: 2\r\n\r\n{{}}",
        ground.addr
    );
    let (status, body) = request(ground.addr, &raw).expect("an answer");
    assert_eq!((status, body.contains("fewer than 8 characters")), (503, true), "{body}");
}

#[test]
fn the_whole_loop_breaks_no_rule_of_any_provider() {
    let (ground, process) = broken();
    assert!(wait(PATIENCE, || ground.world.phone.player().calls().iter().any(|call| call.state == "ringing")), "{}", log_of(&process));
    assert_eq!(ground.world.control("$PHONE_API", "/_stage/pick_up", &json!({ "to": "+4520000002", "digits": "4" })), 202);
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("acknowledged")), "{}", log_of(&process));
    ground.world.live.player().turn(Switch::Healthy);
    let over = || ground.world.phone.player().texts().iter().any(|text| text.body.starts_with("All clear: #1"));
    assert!(wait(PATIENCE, over), "{}", log_of(&process));
    let operational = || ground.world.statuspage.player().shows("live1") == Some("operational");
    assert!(wait(PATIENCE, operational), "{}", log_of(&process));
    assert!(ground.world.violations().is_empty(), "{:#?}", ground.world.violations());
}
