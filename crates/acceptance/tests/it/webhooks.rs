//! Programs and plain Slack rooms hear of incidents by webhooks.

use std::time::Duration;

use allclear_acceptance::binary::{SLACK_SERVICE, secret, wait};
use allclear_stage::endpoint::Received;
use allclear_stage::live::Switch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

fn received(ground: &Ground, path: &str) -> Vec<Received> {
    ground.world.hook.player().received().iter().filter(|one| one.path.starts_with(path)).cloned().collect()
}

/// Verifies as a receiver does, from the specification.
fn is_signed(message: &Received) -> bool {
    let header = |name: &str| message.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
    let key = STANDARD.decode(secret("HOOK_SECRET").trim_start_matches("whsec_")).expect("a key");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    mac.update(format!("{}.{}.{}", message.id, header("webhook-timestamp"), message.raw).as_bytes());
    let given = STANDARD.decode(header("webhook-signature").trim_start_matches("v1,")).unwrap_or_default();
    mac.verify_slice(&given).is_ok()
}

#[test]
fn a_program_hears_of_every_change_once_each_signed_though_answers_get_lost() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.hook.player().faults().drop_answers = 1;
    ground.world.live.player().turn(Switch::WrongJson);
    let kinds =
        |path: &str| received(&ground, path).iter().map(|one| one.body["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    assert!(wait(PATIENCE, || kinds("/allclear").contains(&"incident.triggered".to_owned())), "{}", log_of(&process));
    ground.say(&["ack", "1"]);
    let first = |ground: &Ground| {
        received(ground, "/allclear").into_iter().filter(|one| one.body["data"]["incident"]["number"] == 1).collect::<Vec<_>>()
    };
    assert!(wait(PATIENCE, || first(&ground).len() == 2), "{:?}", first(&ground));
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || first(&ground).len() == 3), "{:?}", first(&ground));
    let told = first(&ground);
    let states: Vec<&str> = told.iter().filter_map(|one| one.body["type"].as_str()).collect();
    assert_eq!(states, ["incident.triggered", "incident.acknowledged", "incident.resolved"]);
    assert!(told.iter().all(is_signed));
    let about = &told[0].body["data"];
    assert_eq!((about["purpose"].as_str(), about["incident"]["service"].as_str()), (Some("state"), Some("Streams")));

    let slack = received(&ground, SLACK_SERVICE);
    assert!(slack[0].body["text"].as_str().is_some_and(|text| text.contains("Triggered")), "{slack:?}");
    assert!(!slack.iter().any(|one| one.raw.contains("action_id")), "an incoming webhook has no buttons");
    process.terminate().expect("a clean stop");
}
