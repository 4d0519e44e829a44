//! Texts, words and signatures.

use allclear_domain::Timestamp;
use allclear_domain::catalog::Channel;
use allclear_domain::delivery::{Brief, EventLink, Message, Outcome, Purpose, Receipt};
use allclear_domain::incident::Urgency;

use super::*;
use crate::answer::tests::answered;

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
        news: None,
        source: None,
        links: vec![],
        fields: vec![],
    }
}

fn message(purpose: Purpose, incidents: Vec<Brief>) -> Message {
    Message { purpose, incidents, mirror: None, words: None, more: 0, possible_repeat: false }
}

fn site() -> Site {
    Site::new("http://127.0.0.1:8080", Some("https://allclear.example/"))
}

fn page(incidents: Vec<Brief>) -> String {
    payload::text(&message(Purpose::Page, incidents), &site())
}

#[test]
fn a_page_says_what_is_wrong_and_what_to_answer_and_where_to_read_more() {
    assert_eq!(
        page(vec![brief(7)]),
        "#7 SYNQ Live Stream Check: Live Streaming API fails in production. playback_url is empty, expected not empty. \
         Reply 4 to take it, 6 if it is over. https://allclear.example/incidents/Q1"
    );
}

#[test]
fn a_title_of_a_thousand_letters_leaves_room_for_the_instruction_and_keeps_to_three_segments() {
    for letter in ["x", "…", "ё", "😀", "€", "`"] {
        let long = Brief { title: letter.repeat(1_024), detail: letter.repeat(2_000), ..brief(20) };
        let text = page(vec![long]);
        assert!(segments::segments(&text) <= 3, "{} segments: {text}", segments::segments(&text));
        assert!(text.starts_with("#20 SYNQ Live Stream Check: "), "{text}");
        let ends = "Reply 4 to take it, 6 if it is over. https://allclear.example/incidents/Q1";
        assert!(text.ends_with(ends), "{text}");
        assert!(text.encode_utf16().count() > 180, "as much as fits is said: {text}");
    }
}

#[test]
fn without_a_public_address_no_answer_is_asked_for() {
    let nowhere = Site::new("http://127.0.0.1:8080", None);
    let text = payload::text(&message(Purpose::Page, vec![brief(7)]), &nowhere);
    assert!(!text.contains("Reply") && !text.contains("127.0.0.1") && text.ends_with("expected not empty."), "{text}");
    assert!(!voice::page(&message(Purpose::Page, vec![brief(7)]), None).contains("Press 4"));
}

#[test]
fn a_bundle_names_the_count_and_the_first_few() {
    let many = message(Purpose::Page, (1..=40).map(brief).collect());
    let text = payload::text(&Message { possible_repeat: true, ..many }, &site());
    assert!(text.starts_with("(Possible repeat) 40 incidents: #1 SYNQ") && text.contains("and 37 more."), "{text}");
    assert!(text.ends_with("Reply 4 to take them all, 6 if all are over. https://allclear.example/incidents"), "{text}");
    assert!(segments::segments(&text) <= 3, "{text}");
}

#[test]
fn what_a_monitoring_tool_points_to_stands_in_the_text() {
    let link = EventLink { href: "https://grafana.example/d/1".into(), text: "Dashboard".into() };
    let said = Brief { source: Some("web-1".into()), links: vec![link], detail: String::new(), ..brief(7) };
    let text = page(vec![said]);
    assert!(text.contains("On web-1. https://grafana.example/d/1 Reply 4"), "{text}");
}

/// The request for a message to a number.
fn request_for(message: &Message, by: Means, root: Option<&str>, site: &Site, form: Form) -> Request {
    let sid = format!("AC{}", "0".repeat(32));
    let ours = serde_json::json!({ "account_sid": sid, "auth_token": "t", "from": "+4570000000" });
    let account: TwilioAccount = serde_json::from_value(ours.clone()).expect("an account");
    let channel = serde_json::json!({ "name": "Twilio", "twilio": ours });
    let channel: Channel = serde_json::from_value(channel).expect("a channel");
    let envelope = Envelope {
        channel_id: &"C1".into(),
        channel: &channel,
        address: "+4520000001",
        by,
        attempt: "a1",
        key: "k1",
        now: Timestamp(0),
        written_at: Timestamp(0),
        link: None,
        message,
        root,
    };
    request(&account, &envelope, &Secrets::default(), site, form).expect("a request")
}

/// The names of the fields of a request.
fn fields_of(request: &Request) -> Vec<String> {
    form(&request.body).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_text_and_a_call_go_to_the_paths_of_twilios_document_with_fields_that_it_knows() {
    let page = message(Purpose::Page, vec![brief(7)]);
    for (by, operation) in [(Means::Text, facts::SEND_MESSAGE), (Means::Call, facts::START_CALL)] {
        let request = request_for(&page, by, None, &site(), Form::Full);
        let path = operation.path.replace("{AccountSid}", &format!("AC{}", "0".repeat(32)));
        assert_eq!(request.url, format!("https://api.twilio.com{path}"));
        let fields = fields_of(&request);
        assert!(fields.iter().all(|field| operation.sends.contains(&field.as_str())), "{fields:?}");
        assert!(fields.contains(&"StatusCallback".to_owned()), "{fields:?}");
    }
}

#[test]
fn without_a_public_address_or_where_it_is_refused_no_callback_is_asked_for() {
    let page = message(Purpose::Page, vec![brief(7)]);
    let nowhere = Site::new("http://127.0.0.1:8080", None);
    for by in [Means::Text, Means::Call] {
        for request in [request_for(&page, by, None, &nowhere, Form::Full), request_for(&page, by, None, &site(), Form::Plainest)] {
            assert!(!fields_of(&request).contains(&"StatusCallback".to_owned()));
            assert!(!String::from_utf8_lossy(&request.body).contains("hooks"));
        }
    }
}

#[test]
fn a_call_that_is_not_needed_any_more_is_cancelled_and_who_picked_up_hears_it_to_its_end() {
    let hang_up = message(Purpose::HangUp, vec![brief(7)]);
    let request = request_for(&hang_up, Means::Call, Some("CA1"), &site(), Form::Full);
    assert!(request.url.starts_with("https://api.twilio.com/2010-04-01/Accounts/AC"), "{}", request.url);
    assert!(request.url.ends_with("/Calls/CA1.json"), "{}", request.url);
    assert_eq!(&request.body[..], b"Status=canceled");
}

#[test]
fn answers_mean_what_twilio_documents() {
    let outcome = |status, body: &str| outcome(&answered(status, &[], body), Timestamp(0));
    let error = |status, code| outcome(status, &format!("{{\"code\":{code},\"message\":\"no\",\"status\":{status}}}"));
    assert_eq!(outcome(201, r#"{"sid":"SM1","status":"queued"}"#), Outcome::Accepted { provider_id: "SM1".into() });
    let failed = outcome(201, r#"{"sid":"SM1","status":"failed","error_code":30034}"#);
    assert!(matches!(&failed, Outcome::Permanent { why } if why.contains("30034")), "{failed:?}");
    assert_eq!(outcome(200, r#"{"sid":"CA1","status":"canceled"}"#), Outcome::Accepted { provider_id: "CA1".into() });
    for code in [21211, 21408, 21610, 21614, 21617, 20404] {
        assert!(matches!(error(400, code), Outcome::Permanent { .. }), "{code}");
    }
    for (status, code) in [(401, 20003), (403, 20003), (400, 21606)] {
        assert!(matches!(error(status, code), Outcome::ChannelBroken { .. }), "{code}");
    }
    assert!(matches!(error(429, 20429), Outcome::RateLimited { .. }));
    assert!(matches!(outcome(503, ""), Outcome::Retry { .. }));
    assert!(matches!(outcome(201, "{}"), Outcome::Unknown { .. }));
    let refused = answered(400, &[], r#"{"code":21609}"#);
    assert!(is_form_refused(&refused) && !is_form_refused(&answered(400, &[], r#"{"code":21211}"#)));
}

#[test]
fn words_that_twilio_answers_itself_are_no_answers_to_us() {
    let read = |body: &str, kind: &str| read_text(&[("Body".to_owned(), body.to_owned()), ("OptOutType".to_owned(), kind.to_owned())]);
    for word in ["STOP", "stop", " Unsubscribe ", "CANCEL", "end", "quit"] {
        assert_eq!(read(word, ""), Inbound::OptedOut, "{word}");
    }
    assert_eq!(read("hold op", "STOP"), Inbound::OptedOut, "a word of the account's own");
    assert_eq!(read("START", ""), Inbound::OptedIn);
    assert_eq!(read("yes", ""), Inbound::OptedIn);
    assert_eq!(read("help", ""), Inbound::AnsweredByTwilio);
    assert_eq!(read("4", ""), Inbound::Answer(Answer::Acknowledge));
    assert_eq!(read("please stop", ""), Inbound::Answer(Answer::Unclear));
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
    let with_port = url.replace("mycompany.com", "mycompany.com:443");
    assert!(verify("12345", &with_port, &parameters, signature), "signed without its port");
    let twice: Vec<_> = parameters.iter().chain(&parameters[..1]).cloned().collect();
    assert!(verify("12345", url, &twice, signature), "equal pairs count once");
    let other_port = url.replace("mycompany.com", "mycompany.com:8443");
    assert!(!verify("12345", &other_port, &parameters, signature));
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
        ("4.", Answer::Acknowledge),
        ("4!", Answer::Acknowledge),
        ("'4'", Answer::Acknowledge),
        ("４", Answer::Acknowledge),
        ("4\u{200b}", Answer::Acknowledge),
        ("\n> #7 Streams\n6\n-- \nAda", Answer::Resolve),
        ("4 7", Answer::Unclear),
        ("", Answer::Unclear),
        ("thanks", Answer::Unclear),
        ("44", Answer::Unclear),
    ] {
        assert_eq!(answer_of(text), answer, "{text}");
    }
}

#[test]
fn a_call_says_what_is_wrong_three_times_and_takes_a_key() {
    let live = Brief { service: "A&B \"live\"".into(), ..brief(7) };
    let message = Message { possible_repeat: true, ..message(Purpose::Page, vec![live]) };
    assert_eq!(
        voice::page(&message, Some("https://x/hooks?a=1&b=2")),
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
        let document = voice::page(&message(Purpose::Page, incidents), Some(&action));
        assert!(document.chars().count() <= facts::LONGEST_TWIML, "{}", document.chars().count());
    }
}

#[test]
fn a_call_without_a_key_reached_nobody_unless_it_was_only_to_be_heard() {
    let status = |s: &str| receipt(&[("CallStatus".to_owned(), s.to_owned())]);
    for lost in ["busy", "no-answer", "failed", "canceled"] {
        assert!(matches!(status(lost), Some(Receipt::Lost { why: Some(_) })), "{lost}");
    }
    let ended = status("completed").expect("it is final");
    assert!(matches!(ended.arrived(Purpose::Page), (false, Some(_))));
    assert_eq!(ended.arrived(Purpose::Notice), (true, None));
    assert_eq!([status("ringing"), status("in-progress")], [None, None]);
}

#[test]
fn receipts_tell_arrival_from_loss() {
    let status = |s: &str| receipt(&[("MessageStatus".to_owned(), s.to_owned())]);
    assert_eq!(status("delivered"), Some(Receipt::Arrived));
    assert_eq!(status("undelivered"), Some(Receipt::Lost { why: None }));
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
