//! Slack's form and words.

use allclear_domain::delivery::{Brief, Message, Outcome, Purpose};
use allclear_domain::incident::Urgency;
use allclear_egress::{Response, Timings};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::*;

fn message(purpose: Purpose, status: &str) -> Message {
    let brief = Brief {
        incident: "Q1".into(),
        number: 7,
        key: "test:t:production".into(),
        title: "Live <b> fails".into(),
        detail: "playback_url is empty, expected not empty".into(),
        service: "Streams".into(),
        urgency: Urgency::High,
        status: status.into(),
        remark: "assigned to Ada".into(),
        url: None,
    };
    Message { purpose, incidents: vec![brief], mirror: None, more: 0, possible_repeat: false }
}

fn answered(status: u16, body: &str) -> Outcome {
    outcome(&Response {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
        timings: Timings::default(),
        remote: None,
        url: String::new(),
    })
}

#[test]
fn a_new_incident_is_posted_with_its_buttons_and_a_changed_one_is_updated_in_place() {
    let (method, body) = payload::payload(&message(Purpose::State, "triggered"), "#incidents", None);
    assert_eq!(method, "chat.postMessage");
    assert_eq!(body["channel"], "#incidents");
    assert_eq!(body["blocks"][1]["elements"][0]["action_id"], "acknowledge");
    assert_eq!(body["blocks"][1]["elements"][0]["value"], "Q1");
    let (method, body) = payload::payload(&message(Purpose::State, "resolved"), "#incidents", Some("C1:12.5"));
    assert_eq!((method, body["channel"].as_str(), body["ts"].as_str()), ("chat.update", Some("C1"), Some("12.5")));
    assert_eq!(body["blocks"].as_array().map(Vec::len), Some(1), "a resolved incident has no buttons");
}

#[test]
fn titles_cannot_inject_markup() {
    let (_, body) = payload::payload(&message(Purpose::State, "triggered"), "#x", None);
    assert!(!body.to_string().contains("<b>"));
}

#[test]
fn the_all_clear_is_broadcast_from_its_thread() {
    let (method, body) = payload::payload(&message(Purpose::Note, "resolved"), "#x", Some("C1:12.5"));
    assert_eq!((method, body["thread_ts"].as_str(), body["reply_broadcast"].as_bool()), ("chat.postMessage", Some("12.5"), Some(true)));
}

#[test]
fn answers_mean_what_slack_documents() {
    assert_eq!(answered(200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#), Outcome::Accepted { provider_id: "C1:1.2".into() });
    assert!(matches!(answered(200, r#"{"ok":false,"error":"channel_not_found"}"#), Outcome::Permanent { .. }));
    assert!(matches!(answered(200, r#"{"ok":false,"error":"internal_error"}"#), Outcome::Retry { .. }));
    assert!(matches!(answered(429, ""), Outcome::Retry { .. }));
    assert!(matches!(answered(500, "oops"), Outcome::Retry { .. }));
    assert!(matches!(answered(200, "<html>"), Outcome::Unknown { .. }));
}

/// The example of Slack's own documentation.
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

fn sign(timestamp: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(format!("v0:{timestamp}:").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("v0={hex}")
}

#[test]
fn forged_replayed_and_truncated_presses_are_refused() {
    let body = b"payload=%7B%7D";
    let signature = sign("1000", body);
    assert!(verify(SECRET, "1000", &signature, body, 1_100));
    assert!(!verify(SECRET, "1000", &signature, body, 1_400), "replayed");
    assert!(!verify(SECRET, "1001", &signature, body, 1_100), "another time");
    assert!(!verify(SECRET, "1000", &signature, b"payload=%7B", 1_100), "truncated");
    assert!(!verify("other", "1000", &signature, body, 1_100), "another secret");
    for bad in ["", "v0=", "v0=zz", "v1=00", "v0=é"] {
        assert!(!verify(SECRET, "1000", bad, body, 1_100), "{bad}");
    }
}

#[test]
fn a_press_is_read_from_its_payload() {
    let json = r#"{"type":"block_actions","user":{"id":"U1"},"actions":[{"action_id":"acknowledge","value":"Q1"}]}"#;
    let body: String = json.bytes().map(|b| format!("%{b:02X}")).collect();
    let pressed = parse(format!("payload={body}").as_bytes());
    assert_eq!(pressed, Some(Pressed { user: "U1".into(), incident: "Q1".into(), press: Press::Acknowledge }));
    assert_eq!(parse(b"payload=%7B%22type%22%3A%22view_closed%22%7D"), None);
}

proptest::proptest! {
    #[test]
    fn no_change_of_a_signed_press_is_taken(
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..100),
        at in 0..100_usize,
        flip in 1..=255_u8,
        cut in 1..100_usize,
        later in 1..100_i64,
    ) {
        let signature = sign("1000", &body);
        proptest::prop_assert!(verify(SECRET, "1000", &signature, &body, 1_000));
        let mut changed = body.clone();
        changed[at % body.len()] ^= flip;
        proptest::prop_assert!(!verify(SECRET, "1000", &signature, &changed, 1_000), "forged");
        proptest::prop_assert!(!verify(SECRET, "1000", &signature, &body[..body.len().saturating_sub(cut)], 1_000), "truncated");
        proptest::prop_assert!(!verify(SECRET, &(1_000 + later).to_string(), &signature, &body, 1_000), "another time");
        proptest::prop_assert!(!verify(SECRET, "1000", &sign("1000", &changed), &body, 1_000), "the signature of another");
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _pressed = parse(&body);
        let _known = verify(SECRET, "1000", &String::from_utf8_lossy(&body), &body, 1_000);
    }
}
