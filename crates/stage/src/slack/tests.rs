//! Slack's rules, one by one.

use percent_encoding::percent_decode_str;

use super::*;

const NOW_MS: u64 = 1_774_699_200_000;

fn workspace() -> Workspace {
    let mut slack = Workspace::new("xoxb-1", "signing");
    slack.set_webhook("http://allclear.example/hooks/slack");
    slack
}

fn request(path: &str, body: &Value) -> Request {
    let headers = [
        ("user-agent", "AllClear/0.1"),
        ("host", "slack.example"),
        ("content-type", "application/json; charset=utf-8"),
        ("authorization", "Bearer xoxb-1"),
    ];
    let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    Request::new("POST", path, headers, body.to_string().into_bytes())
}

fn call(slack: &mut Workspace, method: &str, body: &Value, now_ms: u64) -> Value {
    let reply = slack.handle(&request(&format!("/api/{method}"), body), now_ms);
    serde_json::from_slice(&reply.response.body).expect("JSON")
}

fn post(slack: &mut Workspace, body: &Value, now_ms: u64) -> Value {
    call(slack, "chat.postMessage", body, now_ms)
}

fn with_button() -> Value {
    let button = json!({ "type": "button", "action_id": "acknowledge", "value": "i1", "style": "primary", "text": { "type": "plain_text", "text": "Acknowledge" } });
    json!({ "channel": "#incidents", "text": "ALERT", "blocks": [{ "type": "actions", "elements": [button] }] })
}

fn control(slack: &mut Workspace, path: &str, body: &Value) -> Reply {
    slack.handle(&Request::new("POST", path, vec![], body.to_string().into_bytes()), NOW_MS)
}

fn payload(callback: &Callback) -> Value {
    let encoded = callback.body.strip_prefix("payload=").expect("a form");
    let decoded = percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&decoded).expect("JSON")
}

#[test]
fn a_message_is_posted_changed_and_answered_in_its_thread() {
    let mut slack = workspace();
    let posted = post(&mut slack, &json!({ "channel": "#incidents", "text": "ALERT" }), NOW_MS);
    let (channel, ts) = (posted["channel"].clone(), posted["ts"].clone());
    assert!(posted["ok"] == true && posted["message"]["text"] == "ALERT", "{posted}");
    assert!(facts::matches(&SLACK, "ts", ts.as_str().unwrap_or_default()));
    let changed = call(
        &mut slack,
        "chat.update",
        &json!({ "channel": channel, "ts": ts, "text": "Over" }),
        NOW_MS,
    );
    assert_eq!((changed["ok"].as_bool(), slack.messages()[0].edits), (Some(true), 1));
    post(&mut slack, &json!({ "channel": channel, "thread_ts": ts, "text": "line" }), NOW_MS);
    assert_eq!(slack.messages()[1].thread_ts.as_deref(), ts.as_str());
    slack.delete(ts.as_str().expect("a ts"));
    post(&mut slack, &json!({ "channel": channel, "thread_ts": ts, "text": "line" }), NOW_MS);
    assert_eq!(slack.messages()[1].thread_ts, None, "the parent is gone: it lands in the channel");
    assert_eq!(slack.violations(), []);
}

#[test]
fn what_slack_refuses_is_refused_in_its_words_and_noted() {
    let long = "a".repeat(40_001);
    for (method, body, word) in [
        ("chat.shout", json!({}), "unknown_method"),
        ("chat.postMessage", json!({ "text": "a" }), "invalid_arguments"),
        ("chat.postMessage", json!({ "channel": "#a" }), "no_text"),
        (
            "chat.postMessage",
            json!({ "channel": "#a", "text": "a", "colour": "red" }),
            "invalid_arguments",
        ),
        ("chat.postMessage", json!({ "channel": "#a", "text": long }), "msg_too_long"),
        (
            "chat.postMessage",
            json!({ "channel": "#a", "text": "a", "blocks": [{ "type": "banner" }] }),
            "invalid_blocks",
        ),
        ("chat.postMessage", json!({ "channel": "@ada", "text": "a" }), "channel_not_found"),
        ("chat.postMessage", json!({ "channel": "incidents", "text": "a" }), "channel_not_found"),
        ("chat.postMessage", json!({ "channel": "C0UNKNOWN", "text": "a" }), "channel_not_found"),
        (
            "chat.postMessage",
            json!({ "channel": "#a", "text": "a", "thread_ts": "1" }),
            "invalid_arguments",
        ),
        ("chat.postMessage", json!("text"), "json_not_object"),
        (
            "chat.update",
            json!({ "channel": "#a", "ts": "1774699200.000001", "text": "a" }),
            "channel_not_found",
        ),
        (
            "chat.postEphemeral",
            json!({ "channel": "#a", "user": "ada", "text": "a" }),
            "user_not_in_channel",
        ),
    ] {
        let mut slack = workspace();
        let refused = call(&mut slack, method, &body, NOW_MS);
        assert_eq!(
            (refused["ok"].as_bool(), refused["error"].as_str()),
            (Some(false), Some(word)),
            "{method} {refused}"
        );
        assert_eq!((slack.violations().len(), slack.messages().len()), (1, 0), "{method} {word}");
    }
}

#[test]
fn a_body_that_is_no_json_and_no_form_is_refused() {
    let mut slack = workspace();
    for (kind, body, word) in [
        ("application/json", "{", "invalid_json"),
        ("application/json; charset=latin1", "{}", "invalid_charset"),
        ("text/plain", "{}", "invalid_post_type"),
    ] {
        let mut odd = request("/api/chat.postMessage", &json!({}));
        odd.headers.retain(|(name, _)| name != "content-type");
        odd.headers.push(("content-type".into(), kind.into()));
        odd.body = body.as_bytes().to_vec();
        let reply = slack.handle(&odd, NOW_MS).response;
        assert!(String::from_utf8_lossy(&reply.body).contains(word), "{word}");
    }
    let mut form = request("/api/chat.postMessage", &json!({}));
    form.headers.retain(|(name, _)| name != "content-type");
    form.headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
    form.body = b"channel=%23a&text=hello&reply_broadcast=true".to_vec();
    slack.handle(&form, NOW_MS);
    assert_eq!(slack.messages()[0].text, "hello");
}

#[test]
fn a_token_may_be_missing_wrong_of_another_kind_or_revoked() {
    let word = |slack: &mut Workspace, token: Option<&str>| {
        let mut asked = request("/api/auth.test", &json!({}));
        asked.headers.retain(|(name, _)| name != "authorization");
        asked
            .headers
            .extend(token.map(|token| ("authorization".into(), format!("Bearer {token}"))));
        let reply = slack.handle(&asked, NOW_MS).response;
        serde_json::from_slice::<Value>(&reply.body).expect("JSON")["error"]
            .as_str()
            .unwrap_or("ok")
            .to_owned()
    };
    let mut slack = workspace();
    assert_eq!(word(&mut slack, Some("xoxb-1")), "ok");
    assert_eq!(word(&mut slack, None), "not_authed");
    assert_eq!(word(&mut slack, Some("xoxb-2")), "invalid_auth");
    assert_eq!(word(&mut slack, Some("xapp-1")), "not_allowed_token_type");
    control(&mut slack, "/_stage/token", &json!({ "refusal": "token_revoked" }));
    assert_eq!(word(&mut slack, Some("xoxb-1")), "token_revoked");
}

#[test]
fn a_channel_may_be_closed_to_the_app() {
    for (room, word) in [
        ("archived", "is_archived"),
        ("read_only", "restricted_action_read_only_channel"),
        ("not_in_channel", "not_in_channel"),
        ("not_found", "channel_not_found"),
    ] {
        let mut slack = workspace();
        post(&mut slack, &json!({ "channel": "#a", "text": "a" }), NOW_MS);
        assert_eq!(
            control(&mut slack, "/_stage/room", &json!({ "channel": "#a", "room": room }))
                .response
                .status,
            204
        );
        for channel in ["#a", "C00000001"] {
            assert_eq!(
                post(&mut slack, &json!({ "channel": channel, "text": "a" }), NOW_MS)["error"],
                word,
                "{channel}"
            );
        }
        assert_eq!(slack.violations(), [], "only Slack could know");
    }
    let mut slack = workspace();
    for channel in ["U0ADA", "D0CONVERSATION", "#open"] {
        assert_eq!(
            post(&mut slack, &json!({ "channel": channel, "text": "a" }), NOW_MS)["ok"],
            true,
            "{channel}"
        );
    }
}

#[test]
fn a_channel_takes_a_burst_and_then_one_post_a_second() {
    let mut slack = workspace();
    let body = json!({ "channel": "#a", "text": "a" });
    let mut at = |ms| {
        let reply = slack.handle(&request("/api/chat.postMessage", &body), NOW_MS + ms).response;
        (
            reply.status,
            reply.headers.iter().any(|(name, value)| name == "retry-after" && value == "1"),
        )
    };
    let first: Vec<(u16, bool)> = (0..5).map(|_| at(0)).collect();
    assert_eq!((first[3], first[4]), ((200, false), (429, true)));
    assert_eq!(at(1_000), (200, false));
    assert_eq!(post(&mut slack, &json!({ "channel": "#b", "text": "a" }), NOW_MS)["ok"], true);
    control(&mut slack, "/_stage/rates", &json!({ "lifted": true }));
    assert!((0..9).all(|_| post(&mut slack, &body, NOW_MS + 1_000)["ok"] == true));
}

#[test]
fn fifty_messages_a_minute_are_changed() {
    let mut slack = workspace();
    let posted = post(&mut slack, &json!({ "channel": "#a", "text": "a" }), NOW_MS);
    let body = json!({ "channel": posted["channel"], "ts": posted["ts"], "text": "b" });
    let mut ok = |ms| call(&mut slack, "chat.update", &body, NOW_MS + ms)["ok"] == true;
    assert_eq!((0..51).filter(|_| ok(0)).count(), 50);
    assert!(ok(1_200));
}

#[test]
fn a_press_is_told_with_every_field_signed_and_to_be_answered_in_three_seconds() {
    let mut slack = workspace();
    post(&mut slack, &with_button(), NOW_MS);
    let press =
        control(&mut slack, "/_stage/press", &json!({ "user": "U0ADA" })).callbacks.remove(0);
    let said = payload(&press);
    for field in facts::words(&SLACK["interactivity"]["fields"]) {
        assert!(said.get(field).is_some(), "{field}");
    }
    let action = &said["actions"][0];
    assert_eq!(
        (action["action_id"].as_str(), action["value"].as_str()),
        (Some("acknowledge"), Some("i1"))
    );
    for field in ["action_ts", "block_id", "type", "text"] {
        assert!(!action[field].is_null(), "{field}");
    }
    assert_eq!(
        (said["user"]["id"].as_str(), said["channel"]["name"].as_str()),
        (Some("U0ADA"), Some("incidents"))
    );
    assert_eq!(said["message"]["ts"], slack.messages()[0].ts.as_str());
    let timestamp = press.header("x-slack-request-timestamp").expect("a timestamp");
    let wanted = hex_hmac("signing", &format!("v0:{timestamp}:{}", press.body));
    assert_eq!(press.header("x-slack-signature"), Some(format!("v0={wanted}").as_str()));
    assert_eq!(press.deadline_ms, 3_000);
}

#[test]
fn an_old_button_may_be_pressed_after_the_message_lost_it() {
    let mut slack = workspace();
    let posted = post(&mut slack, &with_button(), NOW_MS);
    call(
        &mut slack,
        "chat.update",
        &json!({ "channel": posted["channel"], "ts": posted["ts"], "text": "Over", "blocks": [] }),
        NOW_MS,
    );
    assert_eq!(control(&mut slack, "/_stage/press", &json!({})).response.status, 404);
    let stale = control(
        &mut slack,
        "/_stage/press",
        &json!({ "ts": posted["ts"], "action": "Acknowledge" }),
    );
    assert_eq!(payload(&stale.callbacks[0])["actions"][0]["value"], "i1");
}

#[test]
fn the_body_of_an_answer_is_ignored_and_noted() {
    let mut slack = workspace();
    post(&mut slack, &with_button(), NOW_MS);
    let press = control(&mut slack, "/_stage/press", &json!({})).callbacks.remove(0);
    slack.answered(&press, &Answer::given(200, "", ""), NOW_MS);
    assert_eq!((slack.violations().len(), slack.failed_presses().len()), (0, 0));
    slack.answered(&press, &Answer::given(200, "application/json", "{\"text\":\"Done\"}"), NOW_MS);
    assert!(slack.violations()[0].what.contains("ignores"));
    assert_eq!((slack.messages().len(), slack.ephemeral().len()), (1, 0));
    slack.answered(&press, &Answer::None, NOW_MS);
    slack.answered(&press, &Answer::given(500, "", ""), NOW_MS);
    assert_eq!(slack.failed_presses().len(), 2);
}

#[test]
fn what_only_one_person_is_to_see_goes_to_the_address_that_a_press_brings() {
    let mut slack = workspace();
    post(&mut slack, &with_button(), NOW_MS);
    let press =
        control(&mut slack, "/_stage/press", &json!({ "user": "U0ADA" })).callbacks.remove(0);
    let said = payload(&press);
    let address = said["response_url"].as_str().expect("an address");
    let path =
        address.strip_prefix("http://slack.example").expect("the workspace's own").to_owned();
    let status = |slack: &mut Workspace, body: &Value, ms| {
        slack.handle(&request(&path, body), NOW_MS + ms).response.status
    };
    assert_eq!(status(&mut slack, &json!({ "text": "x", "colour": "red" }), 0), 400);
    assert_eq!(status(&mut slack, &json!({ "text": "Only you" }), 0), 200);
    assert_eq!(
        (slack.ephemeral()[0].user.as_str(), slack.ephemeral()[0].text.as_str()),
        ("U0ADA", "Only you")
    );
    assert_eq!(
        status(&mut slack, &json!({ "text": "All", "response_type": "in_channel" }), 0),
        200
    );
    assert_eq!(slack.messages()[1].text, "All");
    assert_eq!(status(&mut slack, &json!({ "text": "Taken", "replace_original": true }), 0), 200);
    assert_eq!(slack.messages()[0].text, "Taken");
    assert_eq!(status(&mut slack, &json!({ "delete_original": true }), 0), 200);
    assert_eq!(slack.messages().len(), 1);
    assert_eq!(status(&mut slack, &json!({ "text": "five" }), 0), 200);
    assert_eq!(status(&mut slack, &json!({ "text": "six" }), 0), 404);
    assert_eq!(
        slack
            .handle(&request("/actions/T0STAGE/9/x", &json!({ "text": "x" })), NOW_MS)
            .response
            .status,
        404
    );
}

#[test]
fn the_address_of_a_press_is_good_for_half_an_hour() {
    let mut slack = workspace();
    slack.set_base("http://127.0.0.1:1/");
    post(&mut slack, &with_button(), NOW_MS);
    let press = control(&mut slack, "/_stage/press", &json!({})).callbacks.remove(0);
    let address = payload(&press)["response_url"].as_str().expect("an address").to_owned();
    let path = address.strip_prefix("http://127.0.0.1:1").expect("the base that was given");
    let late = slack.handle(&request(path, &json!({ "text": "x" })), NOW_MS + 30 * 60_000 + 1);
    assert_eq!(late.response.status, 404);
}

#[test]
fn more_than_presses_comes_to_an_interactivity_address() {
    let mut slack = workspace();
    let send = |slack: &mut Workspace, kind: &str| {
        control(slack, "/_stage/send", &json!({ "kind": kind })).callbacks.remove(0)
    };
    let ssl = send(&mut slack, "ssl_check");
    assert!(ssl.body.starts_with("ssl_check=1"));
    let verification = send(&mut slack, "url_verification");
    assert!(verification.body.contains("\"challenge\""));
    slack.answered(&verification, &Answer::given(200, "text/plain", "no"), NOW_MS);
    assert_eq!(slack.violations().len(), 1);
    assert_eq!(payload(&send(&mut slack, "view_submission"))["type"], "view_submission");
    assert_eq!(
        control(&mut slack, "/_stage/send", &json!({ "kind": "song" })).response.status,
        400
    );
}

#[test]
fn a_message_for_one_person_shows_to_them_alone() {
    let mut slack = workspace();
    let said = call(
        &mut slack,
        "chat.postEphemeral",
        &json!({ "channel": "#a", "user": "U0ADA", "text": "x" }),
        NOW_MS,
    );
    assert_eq!(
        (said["ok"].as_bool(), slack.messages().len(), slack.ephemeral().len()),
        (Some(true), 0, 1)
    );
}
