//! Slack's form and words.

use allclear_domain::Timestamp;
use allclear_domain::delivery::{Brief, Message, Outcome, Purpose};
use allclear_domain::delivery::{EventLink, News};
use allclear_domain::incident::IncidentEvent;
use allclear_domain::incident::Urgency;
use serde_json::Value;

use super::*;
use crate::answer::tests::answered as answer;

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
        news: None,
        source: None,
        links: vec![],
        fields: vec![],
    };
    Message { purpose, incidents: vec![brief], mirror: None, words: None, more: 0, possible_repeat: false }
}

fn answered(status: u16, body: &str) -> Outcome {
    outcome(&answer(status, &[("retry-after", "30")], body), Timestamp(0))
}

fn site() -> Site {
    Site::new("http://127.0.0.1:8080", Some("https://allclear.example"))
}

fn payload(message: &Message, address: &str, root: Option<&str>) -> (&'static str, Value) {
    let (operation, body) = payload::payload(message, address, root, &site(), Form::Full);
    (operation.path.trim_start_matches("/api/"), body)
}

#[test]
fn a_new_incident_is_posted_with_its_buttons_and_a_changed_one_is_updated_in_place() {
    let (method, body) = payload(&message(Purpose::State, "triggered"), "#incidents", None);
    assert_eq!(method, "chat.postMessage");
    assert_eq!(body["channel"], "#incidents");
    assert_eq!(body["blocks"][1]["elements"][0]["action_id"], "acknowledge");
    assert_eq!(body["blocks"][1]["elements"][0]["value"], "Q1");
    let (method, body) = payload(&message(Purpose::State, "resolved"), "#incidents", Some("C1:12.5"));
    assert_eq!((method, body["channel"].as_str(), body["ts"].as_str()), ("chat.update", Some("C1"), Some("12.5")));
    assert_eq!(body["blocks"].as_array().map(Vec::len), Some(1), "a resolved incident has no buttons");
}

#[test]
fn titles_cannot_inject_markup() {
    let (_, body) = payload(&message(Purpose::State, "triggered"), "#x", None);
    assert!(!body.to_string().contains("<b>"));
}

#[test]
fn the_all_clear_is_broadcast_from_its_thread() {
    let (method, body) = payload(&message(Purpose::Note, "resolved"), "#x", Some("C1:12.5"));
    assert_eq!((method, body["thread_ts"].as_str(), body["reply_broadcast"].as_bool()), ("chat.postMessage", Some("12.5"), Some(true)));
}

#[test]
fn a_room_that_may_not_be_written_to_is_the_rooms_fault_and_a_token_that_is_revoked_the_channels() {
    let says = |word: &str| answered(200, &format!("{{\"ok\":false,\"error\":\"{word}\"}}"));
    for word in [
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "channel_is_limited_access",
        "messages_tab_disabled",
        "a_word_of_tomorrow",
    ] {
        assert!(matches!(says(word), Outcome::Permanent { .. }), "{word}");
    }
    for word in facts::CHANNEL_BROKEN {
        assert!(matches!(says(word), Outcome::ChannelBroken { .. }), "{word}");
    }
    for word in ["internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"] {
        assert!(matches!(says(word), Outcome::Retry { .. }), "{word}");
    }
    for word in ["ratelimited", "rate_limited"] {
        assert!(matches!(says(word), Outcome::RateLimited { after: Some(_), .. }), "{word}");
    }
}

#[test]
fn answers_mean_what_slack_documents() {
    assert_eq!(answered(200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#), Outcome::Accepted { provider_id: "C1:1.2".into() });
    assert!(matches!(answered(429, ""), Outcome::RateLimited { .. }));
    assert!(matches!(answered(500, "oops"), Outcome::Retry { .. }));
    assert!(matches!(answered(200, "<html>"), Outcome::Unknown { .. }));
    assert_eq!(answered(200, "ok"), Outcome::Accepted { provider_id: String::new() });
    assert!(matches!(answered(404, "used_url"), Outcome::Permanent { .. }));
}

#[test]
fn a_summary_of_signs_that_grow_when_escaped_keeps_within_what_slack_takes() {
    let link = |at: usize| EventLink { href: format!("https://x.example/{at}?a=1&b=<{}>", "y".repeat(400)), text: "<&>".repeat(40) };
    let brief = Brief {
        title: "<".repeat(1_024),
        detail: "&".repeat(5_000),
        service: ">".repeat(300),
        remark: "<&>".repeat(500),
        source: Some("<".repeat(300)),
        links: (0..5).map(link).collect(),
        fields: (0..20).map(|at| (format!("<{at}>"), "&`".repeat(300))).collect(),
        ..message(Purpose::State, "triggered").incidents.remove(0)
    };
    let all = Message { incidents: vec![brief; 12], ..message(Purpose::State, "triggered") };
    for purpose in [Purpose::State, Purpose::Note, Purpose::AllClear, Purpose::Page] {
        let (_, body) = payload(&Message { purpose, ..all.clone() }, "#x", None);
        let blocks = body["blocks"].as_array().cloned().unwrap_or_default();
        assert!(blocks.len() <= facts::MOST_BLOCKS);
        for section in blocks.iter().filter(|block| block["type"] == "section") {
            let length = section["text"]["text"].as_str().expect("a text").chars().count();
            assert!(length <= facts::LONGEST_SECTION, "{length}");
        }
        assert!(body["text"].as_str().expect("a text").len() <= facts::LONGEST_TEXT + 100);
    }
}

#[test]
fn a_refused_form_goes_once_more_as_plain_text() {
    let (_, body) = payload::payload(&message(Purpose::State, "triggered"), "#x", None, &site(), Form::Plainest);
    assert!(body["blocks"].is_null() && body["text"].as_str().is_some_and(|text| text.contains("#7")), "{body}");
    let refused = |word: &str| is_form_refused(&answer(200, &[], &format!("{{\"ok\":false,\"error\":\"{word}\"}}")));
    for word in facts::FORM_REFUSED.iter().copied().chain(["invalid_blocks_format", "invalid_arguments", "a_word_of_tomorrow"]) {
        assert!(refused(word), "{word}");
    }
    for word in ["channel_not_found", "restricted_action_read_only_channel", "ratelimited", "invalid_auth", "message_not_found"] {
        assert!(!refused(word), "{word}");
    }
}

#[test]
fn without_a_public_address_there_is_no_button_that_nobody_could_answer() {
    let nowhere = Site::new("http://127.0.0.1:8080", None);
    let (_, body) = payload::payload(&message(Purpose::State, "triggered"), "#x", None, &nowhere, Form::Full);
    assert!(!body.to_string().contains("button") && !body.to_string().contains("127.0.0.1"), "{body}");
}

#[test]
fn a_line_in_the_thread_is_named_for_what_changed() {
    let mut changed = message(Purpose::Note, "triggered");
    changed.incidents[0].news = Some(News { event: IncidentEvent::PriorityUpdated, words: "the priority is P1 now".into() });
    let (_, body) = payload(&changed, "#x", Some("C1:12.5"));
    assert_eq!(body["text"], "[#7] Live &lt;b&gt; fails: the priority is P1 now (triggered, assigned to Ada)");
    changed.incidents[0].news = Some(News { event: IncidentEvent::Triggered, words: "opened: x".into() });
    let (_, body) = payload(&changed, "#x", Some("C1:12.5"));
    assert_eq!(body["text"], "🔴 Triggered [#7] Live &lt;b&gt; fails (assigned to Ada)");
}

#[test]
fn links_and_details_of_an_event_stand_below_its_title() {
    let mut told = message(Purpose::State, "triggered");
    told.incidents[0].links = vec![EventLink { href: "https://g.example/d?a=1&b=2".into(), text: "Board".into() }];
    told.incidents[0].fields = vec![("region".into(), "eu-west".into())];
    told.incidents[0].source = Some("web-1".into());
    let (_, body) = payload(&told, "#x", None);
    let text = body["blocks"][0]["text"]["text"].as_str().expect("a text");
    for part in [
        "Streams · high urgency · web-1",
        "region: eu-west",
        "<https://allclear.example/incidents/Q1|Open in AllClear>",
        "<https://g.example/d?a=1&amp;b=2|Board>",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
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

fn form_of(json: &str) -> String {
    let encoded: String = json.bytes().map(|b| format!("%{b:02X}")).collect();
    format!("payload={encoded}")
}

#[test]
fn a_press_is_read_from_its_payload() {
    let json = r#"{"type":"block_actions","user":{"id":"U1"},"response_url":"https://hooks.slack.com/actions/T1/1/x",
        "actions":[{"action_id":"acknowledge","value":"Q1"}]}"#;
    let expected = Pressed {
        user: "U1".into(),
        incident: "Q1".into(),
        press: Press::Acknowledge,
        response_url: Some("https://hooks.slack.com/actions/T1/1/x".into()),
    };
    assert_eq!(parse(form_of(json).as_bytes()), Interaction::Pressed(expected));
}

#[test]
fn what_is_no_press_is_answered_and_ignored_and_a_challenge_is_given_back() {
    for other in [
        form_of(r#"{"type":"view_closed"}"#),
        form_of(r#"{"type":"view_submission","user":{"id":"U1"},"view":{}}"#),
        form_of(r#"{"type":"shortcut","callback_id":"x"}"#),
        "ssl_check=1&token=x".to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        assert_eq!(parse(other.as_bytes()), Interaction::Other, "{other}");
    }
    let challenge = br#"{"type":"url_verification","challenge":"3eZbrw1aB"}"#;
    assert_eq!(parse(challenge), Interaction::Challenge("3eZbrw1aB".into()));
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
