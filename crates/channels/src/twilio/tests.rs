//! Texts, words and signatures.

use allclear_domain::Timestamp;
use allclear_domain::catalog::Channel;
use allclear_domain::delivery::{Brief, Message, Purpose};
use allclear_domain::incident::Urgency;

use super::*;

fn brief(number: i64) -> Brief {
    Brief {
        incident: "Q1".into(),
        number,
        key: "test:t:production".into(),
        title: "Live Streaming API fails in production".into(),
        detail: "playback_url is empty, expected not empty".into(),
        service: "SYNQ Live Stream Check".into(),
        urgency: Urgency::High,
        status: "triggered".into(),
        remark: "resolved by the test: the tests pass again".into(),
        url: None,
    }
}

#[test]
fn a_page_says_what_is_wrong_and_what_to_press() {
    let text = payload::text(&Message { purpose: Purpose::Page, incidents: vec![brief(7)], mirror: None, more: 0, possible_repeat: false });
    assert_eq!(
        text,
        "ALERT [#7] Live Streaming API fails in production on SYNQ Live Stream Check. playback_url is empty, expected not empty. \
         Reply 4: acknowledge, 6: resolve."
    );
}

#[test]
fn what_a_monitoring_tool_says_is_said_once() {
    let said = Brief { detail: "Disk full".into(), title: "Disk full".into(), ..brief(7) };
    let text = payload::text(&Message { purpose: Purpose::Page, incidents: vec![said], mirror: None, more: 0, possible_repeat: false });
    assert_eq!(text, "ALERT [#7] Disk full on SYNQ Live Stream Check. Reply 4: acknowledge, 6: resolve.");
}

#[test]
fn a_bundle_names_the_count_and_the_first_few() {
    let text = payload::text(&Message {
        purpose: Purpose::Page,
        incidents: (1..=40).map(brief).collect(),
        mirror: None,
        more: 0,
        possible_repeat: true,
    });
    assert!(text.starts_with("(Possible repeat) ALERT 40 incidents: [#1] ") && text.contains("and 37 more."), "{text}");
    assert!(text.chars().count() <= 480);
}

#[test]
fn a_call_that_is_not_needed_any_more_is_cancelled_and_who_picked_up_hears_it_to_its_end() {
    let ours = serde_json::json!({ "account_sid": "AC1", "auth_token": "t", "from": "+4570000000" });
    let account: TwilioAccount = serde_json::from_value(ours.clone()).expect("an account");
    let channel: Channel = serde_json::from_value(serde_json::json!({ "name": "Twilio", "twilio": ours })).expect("a channel");
    let message = Message { purpose: Purpose::HangUp, incidents: vec![brief(7)], mirror: None, more: 0, possible_repeat: false };
    let envelope = Envelope {
        channel_id: &"C1".into(),
        channel: &channel,
        address: "+4520000001",
        by: Means::Call,
        attempt: "a1",
        key: "k1",
        now: Timestamp(0),
        link: None,
        message: &message,
        root: Some("CA1"),
    };
    let request = request(&account, &envelope, &Secrets::default(), "https://allclear.example").expect("a request");
    assert!(request.url.ends_with("/2010-04-01/Accounts/AC1/Calls/CA1.json"), "{}", request.url);
    assert_eq!(&request.body[..], b"Status=canceled");
}

#[test]
fn twilios_own_example_of_a_signature_is_accepted_and_every_change_of_it_refused() {
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    let parameters: Vec<(String, String)> = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .to_vec();
    let signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    assert!(verify("12345", url, &parameters, signature));
    assert!(!verify("12346", url, &parameters, signature));
    assert!(!verify("12345", "https://mycompany.com/", &parameters, signature));
    assert!(!verify("12345", url, &parameters[1..], signature));
    assert!(!verify("12345", url, &parameters, ""));
}

#[test]
fn replies_are_understood_as_people_write_them() {
    for (text, answer) in [
        ("4", Answer::Acknowledge),
        (" ACK ", Answer::Acknowledge),
        ("6", Answer::Resolve),
        ("thanks", Answer::Unclear),
        ("44", Answer::Unclear),
    ] {
        assert_eq!(answer_of(text), answer, "{text}");
    }
}

#[test]
fn a_call_says_what_is_wrong_three_times_and_takes_a_key() {
    let message = Message {
        purpose: Purpose::Page,
        incidents: vec![Brief { service: "A&B \"live\"".into(), ..brief(7) }],
        mirror: None,
        more: 0,
        possible_repeat: true,
    };
    assert_eq!(
        voice::page(&message, "https://x/hooks?a=1&b=2"),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Gather numDigits=\"1\" timeout=\"10\" action=\"https://x/hooks?a=1&amp;b=2\" \
         method=\"POST\"><Say loop=\"3\">This is AllClear. This may be a repeat. Incident 7 on A&amp;B &quot;live&quot;: Live Streaming API fails \
         in production. Press 4 to acknowledge, or 6 to resolve.</Say></Gather><Say>No key was pressed. Goodbye.</Say></Response>"
    );
}

#[test]
fn the_longest_call_fits_into_what_twilio_takes() {
    let longest = Brief { service: "\"".repeat(5_000), title: "\"".repeat(5_000), ..brief(i64::MAX) };
    let action = format!("https://{}/hooks/twilio/PXXXXXX/voice/01900000-0000-7000-8000-000000000000", "x".repeat(250));
    for incidents in [vec![longest.clone()], vec![longest; 50]] {
        let document = voice::page(&Message { purpose: Purpose::Page, incidents, mirror: None, more: 0, possible_repeat: true }, &action);
        assert!(document.chars().count() <= 4_000, "{}", document.chars().count());
    }
}

#[test]
fn a_call_without_a_key_reached_nobody() {
    let status = |s: &str| receipt(&[("CallStatus".to_owned(), s.to_owned())]);
    for lost in ["completed", "busy", "no-answer", "failed", "canceled"] {
        assert!(matches!(status(lost), Some((false, Some(_)))), "{lost}");
    }
    assert_eq!([status("ringing"), status("in-progress")], [None, None]);
}

#[test]
fn receipts_tell_arrival_from_loss() {
    let status = |s: &str| receipt(&[("MessageStatus".to_owned(), s.to_owned())]);
    assert_eq!(status("delivered"), Some((true, None)));
    assert_eq!(status("undelivered"), Some((false, None)));
    assert_eq!(status("sent"), None);
}

proptest::proptest! {
    #[test]
    fn no_made_up_signature_is_taken(signature in "[A-Za-z0-9+/]{0,27}={0,2}", body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
        proptest::prop_assert!(!verify("token", "https://allclear.example/hooks", &form(&body), &signature));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let parameters = form(&body);
        let _receipt = receipt(&parameters);
        let _known = verify("k", "u", &parameters, &String::from_utf8_lossy(&body));
    }
}
