//! Calls, as Twilio makes them.

use super::*;

fn call(phone: &mut Telephone, document: &str) -> Reply {
    let fields = [
        ("To", TO),
        ("From", FROM),
        ("Twiml", document),
        ("StatusCallback", "http://allclear.example/s"),
        ("Timeout", "30"),
    ];
    post(phone, "Calls", &fields, NOW_MS)
}

fn pick_up(phone: &mut Telephone, body: Value) -> Vec<Callback> {
    let mut body = body;
    body["to"] = TO.into();
    control(phone, "/_stage/pick_up", &body).callbacks
}

#[test]
fn a_call_rings_speaks_takes_a_key_and_ends() {
    let mut phone = phone();
    let reply = call(&mut phone, MENU);
    let shown = body_of(&reply);
    for field in facts::words(&TWILIO["answers"]["call"]["fields"]) {
        assert!(shown.get(field).is_some(), "{field}");
    }
    assert!(facts::matches(&TWILIO, "call_sid", shown["sid"].as_str().unwrap_or_default()));
    assert_eq!(
        (phone.calls()[0].state.as_str(), phone.calls()[0].says[0].as_str()),
        ("ringing", "Press 4")
    );
    let callbacks = pick_up(&mut phone, json!({ "digits": "42#" }));
    assert_eq!(
        (said(&callbacks[0], "Digits"), said(&callbacks[1], "CallStatus")),
        ("4".into(), "completed".into())
    );
    assert!(callbacks[1].after_ms > callbacks[0].after_ms);
    for name in facts::words(&TWILIO["inbound"]["key"]) {
        assert!(callbacks[0].form().iter().any(|(given, _)| given == name), "{name}");
    }
    for name in facts::words(&TWILIO["receipts"]["call"]["parameters"]) {
        assert!(callbacks[1].form().iter().any(|(given, _)| given == name), "{name}");
    }
    let answer =
        Answer::given(200, "application/xml", "<Response><Say>Acknowledged</Say></Response>");
    phone.answered(&callbacks[0], &answer, NOW_MS);
    assert_eq!(phone.calls()[0].says[1], "Acknowledged");
    assert_eq!(phone.violations(), []);
}

#[test]
fn who_stays_on_the_line_may_press_another_key() {
    let mut phone = phone();
    call(&mut phone, MENU);
    let first = pick_up(&mut phone, json!({ "digits": "9", "stay": true }));
    assert_eq!(first.len(), 1);
    assert_eq!(phone.answered(&first[0], &Answer::given(200, "text/xml", MENU), NOW_MS), []);
    let second = pick_up(&mut phone, json!({ "digits": "4", "stay": true }));
    let ended = phone.answered(
        &second[0],
        &Answer::given(200, "text/xml", "<Response><Say>Bye</Say></Response>"),
        NOW_MS,
    );
    assert_eq!(said(&ended[0], "CallStatus"), "completed");
    assert_eq!(phone.calls()[0].says, ["Press 4", "Press 4", "Bye"]);
}

#[test]
fn an_answer_that_is_late_or_no_twiml_is_an_application_error_and_ends_the_call() {
    let long = format!("<Response><Say>{}</Say></Response>", "a".repeat(4_000));
    for answer in [
        Answer::given(200, "text/xml", "nonsense"),
        Answer::given(200, "text/xml", &long),
        Answer::given(503, "text/xml", MENU),
        Answer::None,
    ] {
        let mut phone = phone();
        call(&mut phone, MENU);
        let pressed = pick_up(&mut phone, json!({ "digits": "4", "stay": true })).remove(0);
        let mut next = phone.answered(&pressed, &answer, NOW_MS);
        if answer == Answer::None {
            assert_eq!(next[0].body, pressed.body, "once more with the same identifiers");
            next = phone.answered(&next[0].clone(), &answer, NOW_MS);
        }
        assert_eq!(said(&next[0], "CallStatus"), "completed", "{answer:?}");
        assert_eq!(phone.calls()[0].says[1], APPLICATION_ERROR);
    }
}

#[test]
fn a_document_that_is_no_twiml_rings_and_says_that_something_is_wrong() {
    let mut phone = phone();
    assert_eq!(call(&mut phone, "<Response><Shout/></Response>").response.status, 201);
    assert_eq!(
        (phone.calls()[0].says[0].as_str(), phone.violations().len()),
        (APPLICATION_ERROR, 1)
    );
    let long = format!("<Response><Say>{}</Say></Response>", "a".repeat(4_000));
    assert_eq!(call(&mut phone, &long).response.status, 400);
}

#[test]
fn a_second_call_to_a_number_that_rings_finds_it_busy() {
    let mut phone = phone();
    call(&mut phone, MENU);
    let second = call(&mut phone, MENU);
    assert_eq!(phone.calls()[1].state, "busy");
    assert_eq!(said(&second.callbacks[0], "CallStatus"), "busy");
}

#[test]
fn a_call_rings_out_after_its_time() {
    let mut phone = phone();
    let wakes = call(&mut phone, MENU).callbacks;
    assert_eq!((wakes.len(), wakes[0].after_ms), (1, 30_000));
    let told = phone.answered(&wakes[0], &Answer::Due, NOW_MS + 30_000);
    assert_eq!(
        (said(&told[0], "CallStatus"), phone.calls()[0].state.as_str()),
        ("no-answer".into(), "no-answer")
    );
    assert_eq!(phone.answered(&wakes[0], &Answer::Due, NOW_MS + 31_000), []);
}

#[test]
fn somebody_may_have_said_what_they_do_when_it_rings() {
    let mut phone = phone();
    control(
        &mut phone,
        "/_stage/habit",
        &json!({ "number": TO, "after_ms": 7_000, "digits": "4" }),
    );
    let wakes = call(&mut phone, MENU).callbacks;
    let habit = wakes.iter().find(|wake| wake.after_ms == 7_000).expect("a habit");
    let pressed = phone.answered(habit, &Answer::Due, NOW_MS + 7_000);
    assert_eq!(said(&pressed[0], "Digits"), "4");
    call(&mut phone, MENU);
    assert_eq!(phone.calls()[1].state, "ringing", "the first one is over");
}

#[test]
fn only_a_call_that_goes_on_can_be_ended() {
    let mut phone = phone();
    let sid = body_of(&call(&mut phone, MENU))["sid"].as_str().expect("a sid").to_owned();
    let end = |phone: &mut Telephone, status: &str| {
        post(phone, &format!("Calls/{sid}"), &[("Status", status)], NOW_MS)
    };
    let ended = end(&mut phone, "canceled");
    assert_eq!(
        (ended.response.status, body_of(&ended)["status"].as_str()),
        (200, Some("canceled"))
    );
    assert_eq!(said(&ended.callbacks[0], "CallStatus"), "canceled");
    let again = end(&mut phone, "completed");
    assert_eq!((again.response.status, body_of(&again)["code"].as_u64()), (400, Some(21_220)));
    assert_eq!(
        post(&mut phone, "Calls/CA9", &[("Status", "canceled")], NOW_MS).response.status,
        404
    );
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Calls.json?Status=canceled");
    let listed = body_of(&phone.handle(&request("GET", &path, &[]), NOW_MS));
    assert_eq!(listed["calls"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_happens_in_a_call_is_told_where_it_is_wanted() {
    let mut phone = phone();
    let events = ["initiated", "ringing", "answered", "completed"]
        .map(|event| ("StatusCallbackEvent", event));
    let mut fields =
        vec![("To", TO), ("From", FROM), ("Twiml", MENU), ("StatusCallback", "http://a.example/s")];
    fields.extend(events);
    let first = post(&mut phone, "Calls", &fields, NOW_MS).callbacks;
    let states: Vec<String> =
        first.iter().filter(|one| !one.is_wake()).map(|one| said(one, "CallStatus")).collect();
    assert_eq!(states, ["initiated", "ringing"]);
    let rest = pick_up(&mut phone, json!({ "digits": "" }));
    let states: Vec<String> = rest.iter().map(|one| said(one, "CallStatus")).collect();
    assert_eq!(states, ["in-progress", "completed"]);
    assert_eq!(said(&rest[1], "SequenceNumber"), "3");
}
