//! A second channel takes over when the first fails, and is used before that day.

use std::time::Duration;

use allclear_acceptance::binary::{get, wait};
use allclear_stage::live::Switch;

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

fn texts(ground: &Ground, second: bool, part: &str) -> usize {
    let company = if second { &ground.world.second_phone } else { &ground.world.phone };
    company.player().texts().iter().filter(|text| text.body.contains(part)).count()
}

#[test]
fn a_page_that_the_first_company_refuses_goes_by_the_second_at_once() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.phone.player().faults().refuse = 1_000;
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || texts(&ground, true, "#1 ") > 0), "{}", log_of(&process));
    assert_eq!(texts(&ground, false, "Reply 4"), 0);
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || texts(&ground, true, "All clear: #1 ") > 0), "{}", log_of(&process));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_company_that_works_again_is_found_to_and_used_again() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    // Enough to open its breaker, though a call takes some of them.
    ground.world.phone.player().faults().refuse = 14;
    let told = |number: i32| [false, true].map(|second| texts(&ground, second, &format!("#{number} ")) > 0);
    let warns = || get(ground.addr, "/readyz").is_some_and(|(_, body)| body.contains("the provider of Twilio (sms) keeps failing"));
    let (mut number, mut said) = (0, false);
    while texts(&ground, false, "Reply 4") == 0 && number < 20 {
        said |= warns();
        number += 1;
        let event = serde_json::json!({ "routing_key": key(&ground), "event_action": "trigger", "dedup_key": number.to_string(),
            "payload": { "summary": format!("trouble {number}"), "source": "test", "severity": "error" } });
        assert_eq!(ground.post("/v2/enqueue", &event), 202);
        assert!(wait(PATIENCE, || told(number).contains(&true)), "{}", log_of(&process));
    }
    assert!(said, "it is said while it fails: {}", log_of(&process));
    assert!(wait(PATIENCE, || !warns()), "and no longer: {}", log_of(&process));
    assert!(texts(&ground, false, "Reply 4") > 0, "{number} incidents and the first company was never asked again");
    process.terminate().expect("a clean stop");
}

#[test]
fn every_fourth_incident_is_told_by_the_second_company() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    let mut number = 0;
    let told = |number: i32| [false, true].map(|second| texts(&ground, second, &format!("#{number} ")) > 0);
    while number < 4 {
        number += 1;
        let event = serde_json::json!({ "routing_key": key(&ground), "event_action": "trigger", "dedup_key": number.to_string(),
            "payload": { "summary": format!("trouble {number}"), "source": "test", "severity": "error" } });
        assert_eq!(ground.post("/v2/enqueue", &event), 202);
        assert!(wait(PATIENCE, || told(number).contains(&true)), "{}", log_of(&process));
    }
    let seen: Vec<[bool; 2]> = (1..=4).map(told).collect();
    assert_eq!(seen, [[true, false], [true, false], [true, false], [false, true]]);
    process.terminate().expect("a clean stop");
}

fn key(ground: &Ground) -> String {
    let listed = ground.say(&["integrations"]);
    listed.split_whitespace().find(|word| word.len() == 32).expect("a key").to_owned()
}
