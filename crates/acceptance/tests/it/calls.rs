//! A telephone rings, speaks and takes a key.

use std::time::Duration;

use allclear_acceptance::binary::wait;
use allclear_stage::live::Switch;
use allclear_stage::phone::Call;
use allclear_stage::wire::Request;
use allclear_stage::{Callback, Player};

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

const ADA: &str = "+4520000001";
pub(super) const BEN: &str = "+4520000002";

pub(super) fn calls(ground: &Ground) -> Vec<Call> {
    ground.world.phone.player().calls().iter().filter(|call| call.to == BEN).cloned().collect()
}

/// Does something with the telephone; what it would call back is returned, not sent.
pub(super) fn phone(ground: &Ground, path: &str, body: &serde_json::Value) -> Vec<Callback> {
    let request = Request::new("POST", path, vec![], body.to_string().into_bytes());
    ground.world.phone.player().handle(&request, 0).callbacks
}

/// Sends a callback; the status and the document that answers.
pub(super) fn send(ground: &Ground, callback: &Callback, signature: Option<&str>) -> (u16, String) {
    let path = callback.url.split_once("//").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let header = |(name, value): &(String, String)| {
        let value = signature.filter(|_| name == "x-twilio-signature").unwrap_or(value);
        format!("{name}: {value}\r\n")
    };
    let headers: String = callback.headers.iter().map(header).collect();
    let (addr, body) = (ground.addr, &callback.body);
    let raw =
        format!("POST /{path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    allclear_acceptance::binary::request(addr, &raw).expect("an answer")
}

#[test]
fn a_text_that_comes_again_ends_nothing_that_opened_since() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.call_back_to(ground.addr, |name| ground.channel_id(name));
    ground.world.live.player().turn(Switch::WrongJson);
    let told_of = |number: &str| ground.world.phone.player().texts().iter().any(|text| text.to == ADA && text.body.contains(number));
    assert!(wait(PATIENCE, || told_of("#1 ")), "{}", log_of(&process));
    let six = phone(&ground, "/_stage/reply", &serde_json::json!({ "from": ADA, "body": "6" }));
    assert!(send(&ground, &six[0], None).1.contains("Resolved #1."));
    assert!(wait(PATIENCE, || told_of("#2 ")), "it still fails: {}", log_of(&process));
    let (status, document) = send(&ground, &six[0], None);
    assert!(status == 200 && document.contains("Resolved #1."), "it is answered as it was first: {status} {document}");
    assert!(ground.say(&["show", "2"]).contains("triggered"), "{}", ground.say(&["show", "2"]));
    let next = phone(&ground, "/_stage/reply", &serde_json::json!({ "from": ADA, "body": "6" }));
    assert!(send(&ground, &next[0], None).1.contains("Resolved #2."), "another text is another answer");
    process.terminate().expect("a clean stop");
}

#[test]
fn a_call_is_answered_by_key_and_the_all_clear_does_not_ring() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || !calls(&ground).is_empty()), "{}", log_of(&process));
    let spoken = calls(&ground)[0].says[0].clone();
    assert!(spoken.contains("Live Streaming API fails in production") && spoken.contains("Press 4 to acknowledge"), "{spoken}");

    let wrong_key = phone(&ground, "/_stage/pick_up", &serde_json::json!({ "to": BEN, "digits": "9" }));
    let (status, document) = send(&ground, &wrong_key[0], None);
    assert!(status == 200 && document.contains("That key does nothing"), "{status} {document}");
    assert!(document.contains(wrong_key[0].url.as_str()), "the next key is told to the same address: {document}");
    assert!(ground.say(&["incidents"]).contains("triggered"));

    assert!(wait(PATIENCE, || calls(&ground).iter().any(|call| call.state == "ringing")), "{}", log_of(&process));
    let four = phone(&ground, "/_stage/pick_up", &serde_json::json!({ "to": BEN, "digits": "4" }));
    assert_eq!(send(&ground, &four[0], Some("AAAA")).0, 403, "a forged key");
    let (_, document) = send(&ground, &four[0], None);
    assert!(document.contains("Acknowledged incident 1."), "{document}");
    // The key may come twice, and the call's end after it.
    let (_, again) = send(&ground, &four[0], None);
    assert_eq!(again, document, "it is answered as it was first");
    assert_eq!(send(&ground, &four[1], None).0, 204);
    let story = ground.say(&["show", "1"]);
    assert!(story.contains("acknowledged  [Ben by telephone]"), "{story}");

    let rang = calls(&ground).len();
    ground.world.live.player().turn(Switch::Healthy);
    let cleared = || ground.world.phone.player().texts().iter().any(|text| text.to == BEN && text.body.contains("All clear"));
    assert!(wait(PATIENCE, cleared), "{}", log_of(&process));
    assert_eq!(calls(&ground).len(), rang, "good news wakes nobody");
    process.terminate().expect("a clean stop");
}

#[test]
fn a_call_stops_ringing_when_somebody_takes_the_incident_by_other_means() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.call_back_to(ground.addr, |name| ground.channel_id(name));
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || calls(&ground).iter().any(|call| call.state == "ringing")), "{}", log_of(&process));
    let four = phone(&ground, "/_stage/reply", &serde_json::json!({ "from": ADA, "body": "4" }));
    assert!(send(&ground, &four[0], None).1.contains("Acknowledged #1."));
    assert!(wait(PATIENCE, || calls(&ground)[0].state == "canceled"), "{:?} {}", calls(&ground), log_of(&process));
    let told = || ground.say(&["show", "1"]).contains("it was not needed any more and stopped ringing");
    assert!(wait(PATIENCE, told), "{}", ground.say(&["show", "1"]));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_call_that_nobody_picks_up_is_on_record_as_not_having_reached_anybody() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || !calls(&ground).is_empty()), "{}", log_of(&process));
    let told = |words: &str| {
        let callbacks = phone(&ground, "/_stage/pick_up", &serde_json::json!({ "to": BEN, "ignore": words == "nobody picked up" }));
        callbacks.iter().for_each(|callback| assert_eq!(send(&ground, callback, None).0, 204));
        wait(PATIENCE, || ground.say(&["show", "1"]).contains(words))
    };
    assert!(told("nobody picked up"), "{}", ground.say(&["show", "1"]));
    assert!(wait(PATIENCE, || calls(&ground).iter().any(|call| call.state == "ringing")), "{}", log_of(&process));
    assert!(told("the call ended and no key was pressed"), "a mailbox is no answer: {}", ground.say(&["show", "1"]));
    process.terminate().expect("a clean stop");
}
