//! The providers' own libraries judge what AllClear accepts and what it sends: Twilio's and Slack's for
//! signatures, Slack's for blocks, Standard Webhooks' for what is signed, a mail server with STARTTLS and
//! AUTH and Python's mail parser for mail.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use allclear_base::{Clock, Secret, Secrets, SystemClock};
use allclear_channels::{Channels, Envelope, Site, slack, twilio};
use allclear_domain::Timestamp;
use allclear_domain::catalog::Channel;
use allclear_domain::delivery::{Brief, EventLink, Means, Message, News, Outcome, Purpose};
use allclear_domain::incident::{IncidentEvent, Urgency};
use allclear_egress::{Client, TcpConnect};
use allclear_stage::endpoint::Endpoint;
use allclear_stage::slack::Workspace;
use allclear_stage::{Player, Stage};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const WEBHOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn python(what: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test command says where it put the libraries")]
    let python =
        std::env::var("ALLCLEAR_TEST_PYTHON").expect("ALLCLEAR_TEST_PYTHON names a Python with the providers' libraries: cargo xtask test");
    let mut command = Command::new(python);
    command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/judges.py"), what]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// What a library says.
fn judge(what: &str, asked: &Value) -> Value {
    let mut child = python(what).spawn().expect("Python runs");
    child.stdin.take().expect("its input").write_all(asked.to_string().as_bytes()).expect("asked");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{what} was refused");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_twilios_own_library_signs_is_accepted() {
    let cases = [
        ("https://allclear.example.com/hooks/twilio/P1/sms", &[("Body", "4"), ("From", "+4520000001"), ("Body2", "é ✓ & = ?")][..]),
        ("https://allclear.example.com:443/hooks/twilio/P1/sms", &[("Body", "4")]),
        ("https://allclear.example.com:8443/hooks/twilio/P1/sms?x=1&y=%20", &[("Body", "4")]),
        ("https://allclear.example.com/hooks/twilio/P1/sms", &[("AddOns", "x"), ("AddOns", "x"), ("AddOns", "y"), ("Body", "")]),
        ("http://allclear.example.com/hooks", &[]),
    ];
    let pairs = |parameters: &[(&str, &str)]| parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let asked: Vec<Value> = cases.iter().map(|(url, parameters)| json!({ "url": url, "parameters": pairs(parameters) })).collect();
    let signatures = judge("twilio", &json!({ "token": "0123456789abcdef0123456789abcdef", "cases": asked }));
    for ((url, parameters), signature) in cases.iter().zip(signatures.as_array().expect("a list")) {
        let signature = signature.as_str().expect("a signature");
        // What we call our own address carries no port that its scheme has anyway.
        let ours = url.replace(":443/", "/");
        let taken = |token: &str, parameters: &[(String, String)]| twilio::verify(token, &ours, parameters, signature);
        assert!(taken("0123456789abcdef0123456789abcdef", &pairs(parameters)), "{url}");
        assert!(!taken("0123456789abcdef0123456789abcdee", &pairs(parameters)), "{url}: another token");
        let changed = [&pairs(parameters)[..], &[("Z".to_owned(), "1".to_owned())]].concat();
        assert!(!taken("0123456789abcdef0123456789abcdef", &changed), "{url}: another form");
    }
}

#[test]
fn what_slacks_own_library_signs_is_accepted() {
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    let bodies = ["payload=%7B%7D", "ssl_check=1&token=x", "{\"type\":\"url_verification\",\"challenge\":\"é\"}", ""];
    let signatures = judge("slack-signatures", &json!({ "secret": secret, "timestamp": "1774699200", "bodies": bodies }));
    for (body, signature) in bodies.iter().zip(signatures.as_array().expect("a list")) {
        let signature = signature.as_str().expect("a signature");
        assert!(slack::verify(secret, "1774699200", signature, body.as_bytes(), 1_774_699_230), "{body}");
        assert!(!slack::verify(secret, "1774699201", signature, body.as_bytes(), 1_774_699_230), "{body}: another time");
    }
}

fn brief(title: &str, at: usize) -> Brief {
    Brief {
        incident: format!("Q0ABCDEFGHIJK{at}").into(),
        number: 7,
        key: "test:t:production".into(),
        title: title.to_owned(),
        detail: "playback_url is empty, expected not empty\r\n.\r\nBcc: eve@example.com".into(),
        service: "Strømme & <Co>".into(),
        urgency: Urgency::High,
        status: "triggered".into(),
        remark: "assigned to Ada".into(),
        news: Some(News { event: IncidentEvent::UrgencyUpdated, words: "the urgency is high now".into() }),
        source: Some("web-1".into()),
        links: vec![EventLink { href: "https://grafana.example/d?a=1&b=2".into(), text: "Board".into() }],
        fields: vec![("region".into(), "eu-west".into())],
    }
}

/// Messages of every purpose, about an ordinary incident and about one whose texts are as bad as they get.
fn messages() -> Vec<Message> {
    let ugly = ["<&>\"'`*_~|\u{1f525}\u{202e}é".repeat(60), "x".repeat(2_000), "<".repeat(1_024)];
    let titles = ["Live Streaming API fails".to_owned()].into_iter().chain(ugly);
    let purposes = [Purpose::Page, Purpose::State, Purpose::Note, Purpose::AllClear];
    let about = |title: String| {
        purposes.map(|purpose| Message {
            purpose,
            incidents: (0..3).map(|at| brief(&title, at)).collect(),
            mirror: None,
            more: 2,
            words: None,
            possible_repeat: true,
        })
    };
    let one = |message: Message| Message { incidents: message.incidents[..1].to_vec(), more: 0, ..message };
    let notice = Message {
        purpose: Purpose::Notice,
        incidents: vec![],
        mirror: None,
        more: 0,
        words: Some("This is a test message to Ada. é".into()),
        possible_repeat: false,
    };
    titles.flat_map(about).flat_map(|message| [message.clone(), one(message)]).chain([notice]).collect()
}

/// Sends every message through a channel, and what came of each.
async fn send(channel: &Value, secrets: &[(&str, &str)], address: &str, root: Option<&str>) -> Vec<Outcome> {
    send_these(&messages(), channel, secrets, address, root).await
}

/// Sends some messages through a channel, and what came of each.
async fn send_these(messages: &[Message], channel: &Value, secrets: &[(&str, &str)], address: &str, root: Option<&str>) -> Vec<Outcome> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock))), Arc::clone(&clock));
    let secrets = Secrets::new(secrets.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))));
    let channels = Channels::new(client, Arc::new(secrets), Site::new("http://127.0.0.1:1", Some("https://allclear.example.com")));
    let channel: Channel = serde_json::from_value(channel.clone()).expect("a channel");
    let mut outcomes = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let now = Timestamp(clock.now_us());
        let envelope = Envelope {
            channel_id: &"PCHAN01".into(),
            channel: &channel,
            address,
            by: Means::Text,
            attempt: &format!("attempt-{at}"),
            key: &format!("key-{at}"),
            now,
            written_at: now,
            link: Some("thelinkscredential"),
            message,
            root,
        };
        outcomes.push(channels.send(&envelope).await);
    }
    outcomes
}

async fn on_stage<P: Player>(player: P) -> (Stage<P>, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let stage = Stage::new(player);
    #[expect(clippy::disallowed_methods, reason = "the stage is the outside world: it has tasks of its own")]
    tokio::spawn(stage.clone().serve(listener));
    (stage, address)
}

fn all_taken(outcomes: &[Outcome]) {
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn standard_webhooks_own_library_verifies_every_message() {
    let (stage, url) = on_stage(Endpoint::default()).await;
    let channel = json!({ "name": "W", "allow": ["127.0.0.1"], "webhook": { "url": format!("{url}/in"), "secret": "{{secret.W}}" } });
    for secret in [WEBHOOK_SECRET, WEBHOOK_SECRET.trim_start_matches("whsec_")] {
        all_taken(&send(&channel, &[("W", secret)], "program", None).await);
    }
    let received = stage.player().received().to_vec();
    let header = |one: &[(String, String)]| one.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<serde_json::Map<_, _>>();
    let sent: Vec<Value> = received.iter().map(|one| json!({ "headers": header(&one.headers), "body": one.raw })).collect();
    assert!(sent.len() >= messages().len());
    let kinds = judge("webhooks", &json!({ "secret": WEBHOOK_SECRET, "messages": sent }));
    let kinds: Vec<&str> = kinds.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(kinds.contains(&"incident.urgency_updated") && kinds.contains(&"notice"), "{kinds:?}");
}

#[tokio::test]
async fn slacks_own_library_takes_every_block() {
    let mut workspace = Workspace::new("xoxb-token", "signing-secret");
    workspace.set_rates(allclear_stage::Rates::Lifted);
    let (stage, url) = on_stage(workspace).await;
    let account = json!({ "token": "{{secret.T}}", "signing_secret": "{{secret.S}}", "api": format!("{url}/api") });
    let channel = json!({ "name": "S", "allow": ["127.0.0.1"], "slack": account });
    let secrets = [("T", "xoxb-token"), ("S", "signing-secret")];
    all_taken(&send(&channel, &secrets, "#incidents", None).await);
    let posted = stage.player().messages().to_vec();
    let with_blocks: Vec<Value> =
        posted.iter().filter(|one| one.blocks.is_array()).map(|one| json!({ "text": one.text, "blocks": one.blocks })).collect();
    assert!(with_blocks.len() >= 16, "{}", with_blocks.len());
    assert_eq!(judge("slack-blocks", &json!({ "messages": with_blocks })), with_blocks.len());
    assert!(stage.player().violations().is_empty(), "{:?}", stage.player().violations());
}

#[tokio::test]
async fn a_real_mail_server_takes_every_mail_over_starttls_and_pythons_parser_reads_it() {
    let mut server = python("mail").spawn().expect("Python runs");
    let mut output = BufReader::new(server.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("where it is");
    let place: Value = serde_json::from_str(&line).expect("JSON");
    let account = |password: &str| {
        json!({ "name": "M", "allow": ["127.0.0.1"], "smtp": {
            "host": "127.0.0.1", "port": place["port"], "tls": "starttls", "from": "AllClear <allclear@example.com>",
            "user": "allclear", "password": password, "authority": place["authority"],
        } })
    };
    let secrets = [("RIGHT", "hunter22"), ("WRONG", "hunter23")];
    let root = Some("<first@example.com>");
    let outcomes = send(&account("{{secret.RIGHT}}"), &secrets, "ada@example.com", root).await;
    all_taken(&outcomes);
    let refused = send_these(&messages()[..1], &account("{{secret.WRONG}}"), &secrets, "ada@example.com", None).await;
    assert!(refused.iter().all(|one| matches!(one, Outcome::ChannelBroken { why } if !why.contains("hunter"))), "{refused:?}");
    drop(server.stdin.take());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("what came");
    assert!(server.wait().expect("it ends").success());
    let mails: Vec<Value> = serde_json::from_str(&rest).expect("JSON");
    assert_eq!(mails.len(), messages().len());
    for mail in &mails {
        assert_eq!((&mail["tls"], &mail["signed_in"], &mail["defects"]), (&json!(true), &json!(true), &json!([])), "{mail:#}");
        assert!(mail["longest_line"].as_u64().is_some_and(|length| length <= 998), "{mail:#}");
        let headers = &mail["headers"];
        assert_eq!(headers["Auto-Submitted"], "auto-generated");
        assert_eq!((&headers["In-Reply-To"], &headers["References"]), (&json!("<first@example.com>"), &json!("<first@example.com>")));
        assert!(headers["Bcc"].is_null(), "a detail wrote a header: {mail:#}");
        let plain = mail["parts"]["text/plain"].as_str().expect("plain text");
        let html = mail["parts"]["text/html"].as_str().expect("HTML");
        let told = if plain.contains("test message") { "test message" } else { "https://allclear.example.com/incidents/Q0ABCDEFGHIJK0" };
        assert!(plain.contains(told) && html.contains(told), "{mail:#}");
        assert!(plain.contains("https://allclear.example.com/answer/thelinkscredential"), "{plain}");
    }
}
