//! Twilio's rules, one by one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

mod calls;

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TO: &str = "+4520000001";
const FROM: &str = "+4570000000";
const NOW_MS: u64 = 1_774_699_200_000;

fn phone() -> Telephone {
    let mut phone = Telephone::new(ACCOUNT, "secret");
    phone.set_webhook("http://allclear.example/hooks/sms");
    phone
}

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
    let pair = STANDARD.encode(format!("{ACCOUNT}:secret"));
    let headers = [
        ("user-agent", "AllClear/0.1"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", &format!("Basic {pair}")),
    ];
    let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    let body: Vec<String> =
        fields.iter().map(|(n, v)| format!("{n}={}", account::encoded(v))).collect();
    Request::new(method, target, headers, body.join("&").into_bytes())
}

fn body_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.response.body).unwrap_or_default()
}

fn post(phone: &mut Telephone, what: &str, fields: &[(&str, &str)], now_ms: u64) -> Reply {
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/{what}.json");
    phone.handle(&request("POST", &path, fields), now_ms)
}

fn text(phone: &mut Telephone, body: &str, now_ms: u64) -> Reply {
    let fields = [
        ("To", TO),
        ("From", FROM),
        ("Body", body),
        ("StatusCallback", "http://allclear.example/r"),
    ];
    post(phone, "Messages", &fields, now_ms)
}

fn control(phone: &mut Telephone, path: &str, body: &Value) -> Reply {
    let request = Request::new("POST", path, vec![], body.to_string().into_bytes());
    phone.handle(&request, 0)
}

/// The parameters of a callback.
fn said(callback: &Callback, name: &str) -> String {
    callback.form().into_iter().find(|(n, _)| n == name).map(|(_, value)| value).unwrap_or_default()
}

#[test]
fn a_text_arrives_and_is_answered_with_every_field_that_twilio_has() {
    let mut phone = phone();
    let reply = text(&mut phone, "hello", NOW_MS);
    let shown = body_of(&reply);
    assert_eq!((reply.response.status, shown["status"].as_str()), (201, Some("queued")));
    for field in facts::words(&TWILIO["answers"]["message"]["fields"]) {
        assert!(shown.get(field).is_some(), "{field}");
    }
    assert!(facts::matches(&TWILIO, "message_sid", shown["sid"].as_str().unwrap_or_default()));
    assert_eq!(shown["date_created"], "Sat, 28 Mar 2026 12:00:00 +0000");
    assert_eq!(phone.texts()[0].body, "hello");
    assert_eq!(phone.violations(), []);
}

#[test]
fn a_text_is_reported_queued_then_sent_then_delivered_with_every_parameter() {
    let mut phone = phone();
    let callbacks = text(&mut phone, "hello", NOW_MS).callbacks;
    let states: Vec<String> = callbacks.iter().map(|one| said(one, "MessageStatus")).collect();
    assert_eq!(states, ["queued", "sent", "delivered"]);
    assert!(callbacks.is_sorted_by_key(|one| one.after_ms));
    for name in facts::words(&TWILIO["receipts"]["message"]["parameters"]) {
        assert!(!said(&callbacks[2], name).is_empty(), "{name}");
    }
    assert_eq!(said(&callbacks[2], "ErrorCode"), "");
    assert_eq!(callbacks[0].deadline_ms, 15_000);
}

#[test]
fn what_twilio_refuses_is_refused_with_its_code_and_noted() {
    let long = "a".repeat(1_601);
    let (ok_to, ok_from, ok_body) = (("To", TO), ("From", FROM), ("Body", "x"));
    for (what, fields, code) in [
        ("Messages", vec![ok_from, ok_body], 21_604),
        ("Messages", vec![("To", "20000001"), ok_from, ok_body], 21_211),
        ("Messages", vec![("To", "+0120000001"), ok_from, ok_body], 21_211),
        ("Messages", vec![ok_to, ok_body], 21_603),
        ("Messages", vec![ok_to, ("From", "AllClear"), ok_body], 21_606),
        ("Messages", vec![ok_to, ok_from], 21_602),
        ("Messages", vec![ok_to, ok_from, ("Body", &long)], 21_617),
        ("Messages", vec![ok_to, ok_from, ok_body, ("StatusCallback", "/hooks")], 21_609),
        ("Messages", vec![ok_to, ok_from, ok_body, ("Colour", "red")], 20_001),
        ("Calls", vec![ok_from, ("Twiml", "<Response/>")], 21_201),
        ("Calls", vec![ok_to, ("Twiml", "<Response/>")], 21_213),
        ("Calls", vec![ok_to, ok_from], 21_205),
        (
            "Calls",
            vec![ok_to, ok_from, ("Twiml", "<Response/>"), ("StatusCallbackEvent", "sung")],
            20_001,
        ),
        ("Faxes", vec![ok_to], 20_404),
    ] {
        let mut phone = phone();
        let reply = post(&mut phone, what, &fields, NOW_MS);
        let shown = body_of(&reply);
        assert_eq!(shown["code"], code, "{fields:?}");
        assert_eq!(shown["status"], reply.response.status);
        for field in facts::words(&TWILIO["answers"]["error"]["fields"]) {
            assert!(!shown[field].is_null(), "{field}");
        }
        assert_eq!(phone.violations().len(), 1, "{fields:?}");
        assert!(phone.texts().is_empty() && phone.calls().is_empty());
    }
}

#[test]
fn an_account_that_is_none_another_date_and_a_wrong_token_get_nowhere() {
    let mut phone = phone();
    let fields = [("To", TO), ("From", FROM), ("Body", "x")];
    for (path, status, code) in [
        ("/2010-04-01/Accounts/AC1/Messages.json".to_owned(), 404, 20_404),
        (format!("/2010-04-15/Accounts/{ACCOUNT}/Messages.json"), 404, 20_404),
        (format!("/2010-04-01/Accounts/{ACCOUNT}/Messages"), 404, 20_404),
    ] {
        let reply = phone.handle(&request("POST", &path, &fields), NOW_MS);
        assert_eq!(
            (reply.response.status, body_of(&reply)["code"].as_u64()),
            (status, Some(code)),
            "{path}"
        );
    }
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    let mut strange = request("POST", &path, &fields);
    strange.headers.retain(|(name, _)| name != "authorization");
    let reply = phone.handle(&strange, NOW_MS);
    assert_eq!((reply.response.status, body_of(&reply)["code"].as_u64()), (401, Some(20_003)));
    assert_eq!(phone.violations().len(), 4);
}

#[test]
fn who_does_not_say_who_they_are_is_noted_and_served() {
    let mut phone = phone();
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    let mut nameless = request("POST", &path, &[("To", TO), ("From", FROM), ("Body", "x")]);
    nameless.headers.retain(|(name, _)| name != "user-agent");
    assert_eq!(phone.handle(&nameless, NOW_MS).response.status, 201);
    let shown = phone.handle(&Request::new("GET", "/_stage/violations", vec![], vec![]), 0);
    let listed = body_of(&shown)["violations"].clone();
    assert_eq!(listed[0]["request"], format!("POST {path}"), "{listed}");
}

#[test]
fn a_sender_has_one_text_a_second_and_the_others_wait_in_the_queue() {
    let mut phone = phone();
    text(&mut phone, "first", NOW_MS);
    let second = text(&mut phone, "second", NOW_MS).callbacks;
    assert_eq!(phone.texts().len(), 1);
    let turn = second.iter().find(|one| one.is_wake()).expect("a turn in the queue");
    assert_eq!(turn.after_ms, 1_000);
    let delivered =
        second.iter().find(|one| said(one, "MessageStatus") == "delivered").expect("a receipt");
    assert!(delivered.after_ms > 1_000);
    phone.answered(turn, &Answer::Due, NOW_MS + 1_000);
    assert_eq!((phone.texts().len(), phone.texts()[1].at_ms), (2, NOW_MS + 1_000));
    control(&mut phone, "/_stage/rates", &json!({ "lifted": true }));
    for n in 3..6 {
        text(&mut phone, "more", NOW_MS + 1_001);
        assert_eq!(phone.texts().len(), n);
    }
    assert_eq!(phone.violations(), []);
}

#[test]
fn a_text_that_waits_longer_than_it_is_good_for_fails() {
    let mut phone = phone();
    text(&mut phone, "first", NOW_MS);
    text(&mut phone, "second", NOW_MS);
    let fields = [
        ("To", TO),
        ("From", FROM),
        ("Body", "x"),
        ("ValidityPeriod", "1"),
        ("StatusCallback", "http://a.example/"),
    ];
    let callbacks = post(&mut phone, "Messages", &fields, NOW_MS).callbacks;
    let last = callbacks.last().expect("a receipt");
    assert_eq!(
        (said(last, "MessageStatus"), said(last, "ErrorCode")),
        ("failed".into(), "30001".into())
    );
    assert!(!callbacks.iter().any(Callback::is_wake));
}

#[test]
fn too_many_requests_at_once_are_turned_away() {
    let mut phone = phone();
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
    let statuses: Vec<u16> = (0..102)
        .map(|_| phone.handle(&request("GET", &path, &[]), NOW_MS).response.status)
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 100);
    let last = phone.handle(&request("GET", &path, &[]), NOW_MS);
    assert_eq!((last.response.status, body_of(&last)["code"].as_u64()), (429, Some(20_429)));
    assert_eq!(phone.handle(&request("GET", &path, &[]), NOW_MS + 1_000).response.status, 200);
}

#[test]
fn a_number_may_be_a_landline_abroad_switched_off_or_refused_by_its_carrier() {
    for (line, code) in [(Line::Landline, 21_614), (Line::Forbidden, 21_408)] {
        let mut phone = phone();
        phone.set_line(TO, line);
        let reply = text(&mut phone, "x", NOW_MS);
        assert_eq!((reply.response.status, body_of(&reply)["code"].as_u64()), (400, Some(code)));
        assert_eq!(
            (phone.texts().len(), phone.violations().len()),
            (0, 0),
            "only Twilio could know"
        );
    }
    for (line, status, code) in [
        (json!("unreachable"), "undelivered", "30003"),
        (json!({ "undelivered": 30_005 }), "undelivered", "30005"),
        (json!({ "failed": 30_034 }), "failed", "30034"),
    ] {
        let mut phone = phone();
        assert_eq!(
            control(&mut phone, "/_stage/line", &json!({ "number": TO, "line": line }))
                .response
                .status,
            204
        );
        let last = text(&mut phone, "x", NOW_MS).callbacks.pop().expect("a receipt");
        assert_eq!(
            (said(&last, "MessageStatus"), said(&last, "ErrorCode")),
            (status.into(), code.into())
        );
        assert!(phone.texts().is_empty());
    }
}

#[test]
fn a_201_may_say_already_that_the_text_failed() {
    let mut phone = phone();
    phone.faults().fail_at_once = Some(30_034);
    let reply = text(&mut phone, "x", NOW_MS);
    let shown = body_of(&reply);
    assert_eq!(reply.response.status, 201);
    assert_eq!(
        (shown["status"].as_str(), shown["error_code"].as_u64()),
        (Some("failed"), Some(30_034))
    );
    assert_eq!((phone.texts().len(), said(&reply.callbacks[0], "ErrorCode")), (0, "30034".into()));
}

#[test]
fn receipts_come_twice_in_another_order_or_never() {
    let mut phone = phone();
    phone.faults().reorder = true;
    let turned = text(&mut phone, "x", NOW_MS).callbacks;
    assert_eq!(
        turned.iter().map(|one| said(one, "MessageStatus")).collect::<Vec<_>>(),
        ["delivered", "sent", "queued"]
    );
    *phone.faults() = Faults { duplicate: true, ..Faults::default() };
    assert_eq!(text(&mut phone, "x", NOW_MS + 9_000).callbacks.len(), 6);
    *phone.faults() = Faults { lose_callbacks: 3, ..Faults::default() };
    assert_eq!(text(&mut phone, "x", NOW_MS + 19_000).callbacks, []);
    assert_eq!(phone.texts().len(), 3);
}

#[test]
fn texts_are_listed_by_number_newest_first_in_pages() {
    let mut phone = phone();
    for n in 0..3 {
        text(&mut phone, &n.to_string(), NOW_MS + n * 10_000);
    }
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?To=%2B4520000001&PageSize=2");
    let page = body_of(&phone.handle(&request("GET", &path, &[]), NOW_MS + 60_000));
    let bodies = |page: &Value| {
        page["messages"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|m| m["body"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(bodies(&page), ["2", "1"]);
    assert_eq!(page["messages"][0]["status"], "delivered");
    let next = page["next_page_uri"].as_str().expect("a next page").to_owned();
    let page = body_of(&phone.handle(&request("GET", &next, &[]), NOW_MS + 60_000));
    assert_eq!((bodies(&page), page["next_page_uri"].is_null()), (vec![json!("0")], true));
    for (bound, found) in
        [("DateSent%3E=2026-03-28", 3), ("DateSent%3E=2026-03-29", 0), ("DateSent=2026-03-28", 3)]
    {
        let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?{bound}");
        let page = body_of(&phone.handle(&request("GET", &path, &[]), NOW_MS + 60_000));
        assert_eq!(bodies(&page).len(), found, "{bound}");
    }
    let elsewhere = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?To=%2B4520000009");
    assert_eq!(
        bodies(&body_of(&phone.handle(&request("GET", &elsewhere, &[]), NOW_MS + 61_000))),
        Vec::<Value>::new()
    );
}

fn write(phone: &mut Telephone, words: &str) -> Callback {
    let mut callbacks =
        control(phone, "/_stage/reply", &json!({ "from": TO, "body": words })).callbacks;
    assert_eq!(callbacks.len(), 1);
    callbacks.remove(0)
}

const MESSAGE: &str = "<Response><Message>Acknowledged</Message></Response>";

#[test]
fn a_persons_text_is_told_with_every_parameter_and_answered_by_twiml() {
    let mut phone = phone();
    text(&mut phone, "ALERT", NOW_MS);
    let inbound = write(&mut phone, "4");
    let given: Vec<String> = inbound.form().into_iter().map(|(name, _)| name).collect();
    for name in facts::words(&TWILIO["inbound"]["message"]) {
        assert!(given.iter().any(|given| given == name), "{name}");
    }
    assert_eq!((said(&inbound, "To"), said(&inbound, "Body")), (FROM.into(), "4".into()));
    phone.answered(&inbound, &Answer::given(200, "text/xml", MESSAGE), NOW_MS);
    assert_eq!(
        (phone.answers()[0].body.as_str(), phone.answers()[0].to.as_str()),
        ("Acknowledged", TO)
    );
    let plain = write(&mut phone, "5");
    phone.answered(&plain, &Answer::given(200, "text/plain", "Hi"), NOW_MS);
    assert_eq!(phone.answers()[1].body, "Hi");
    assert_eq!((phone.violations(), phone.alerts()), (&[][..], &[][..]));
}

#[test]
fn a_text_whose_answer_is_lost_comes_again_with_the_same_id_and_not_for_ever() {
    let mut phone = phone();
    let mut sent = write(&mut phone, "4");
    let sid = said(&sent, "MessageSid");
    let mut times = 1;
    while let Some(next) = phone.answered(&sent, &Answer::None, NOW_MS).pop() {
        assert_eq!(
            (said(&next, "MessageSid"), &next.body, &next.headers),
            (sid.clone(), &sent.body, &sent.headers)
        );
        sent = next;
        times += 1;
    }
    assert_eq!((times, phone.alerts()[0].code), (3, 11_205));
}

#[test]
fn an_answer_that_twilio_cannot_read_reaches_nobody() {
    for answer in [
        Answer::given(200, "text/xml", "<Response><Message>a & b</Message></Response>"),
        Answer::given(200, "application/json", "{}"),
        Answer::given(500, "text/xml", MESSAGE),
    ] {
        let mut phone = phone();
        let inbound = write(&mut phone, "4");
        phone.answered(&inbound, &answer, NOW_MS);
        assert_eq!((phone.answers().len(), phone.alerts().len()), (0, 1), "{answer:?}");
    }
}

#[test]
fn who_says_stop_hears_from_twilio_and_from_nobody_else_until_they_say_start() {
    let mut phone = phone();
    let stop = write(&mut phone, " stop ");
    assert_eq!((said(&stop, "OptOutType"), said(&stop, "Body")), ("STOP".into(), " stop ".into()));
    phone.answered(&stop, &Answer::given(200, "text/xml", MESSAGE), NOW_MS);
    assert_eq!(phone.answers().len(), 0, "an answer of ours fails");
    assert!(phone.violations()[0].what.contains("21610"), "{:?}", phone.violations());
    let reply = text(&mut phone, "x", NOW_MS);
    assert_eq!((reply.response.status, body_of(&reply)["code"].as_u64()), (400, Some(21_610)));
    let start = write(&mut phone, "UNSTOP");
    assert_eq!(said(&start, "OptOutType"), "START");
    assert_eq!(text(&mut phone, "x", NOW_MS).response.status, 201);
    let shown = body_of(&phone.handle(&Request::new("GET", "/_stage/messages", vec![], vec![]), 0));
    assert_eq!(shown["own_words"].as_array().map(Vec::len), Some(2));
}

#[test]
fn help_is_answered_by_twilio_and_told() {
    let mut phone = phone();
    assert_eq!(said(&write(&mut phone, "Info"), "OptOutType"), "HELP");
    assert_eq!(said(&write(&mut phone, "info please"), "OptOutType"), "");
}

const MENU: &str = "<Response><Gather action=\"http://allclear.example/key\" numDigits=\"1\">\
                    <Say>Press 4</Say></Gather></Response>";

#[test]
fn addresses_on_this_machine_are_refused_where_that_is_wanted() {
    let mut phone = phone();
    phone.require_public_addresses(true);
    let fields =
        [("To", TO), ("From", FROM), ("Body", "x"), ("StatusCallback", "http://127.0.0.1:9/r")];
    assert_eq!(body_of(&post(&mut phone, "Messages", &fields, NOW_MS))["code"], 21_609);
    assert_eq!(text(&mut phone, "x", NOW_MS).response.status, 201);
}

#[test]
fn faults_answer_as_twilio_does() {
    let mut phone = phone();
    control(&mut phone, "/_stage/faults", &json!({ "refuse": 1, "limit": 1, "drop_answers": 1 }));
    assert_eq!(text(&mut phone, "x", NOW_MS).response.status, 503);
    let limited = text(&mut phone, "x", NOW_MS);
    assert_eq!((limited.response.status, body_of(&limited)["code"].as_u64()), (429, Some(20_429)));
    assert!(limited.response.headers.contains(&("retry-after".into(), "1".into())));
    assert!(text(&mut phone, "x", NOW_MS).dropped && phone.texts().len() == 1);
    assert_eq!(phone.violations(), []);
}
