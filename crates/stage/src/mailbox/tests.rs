//! What the mail server takes, what it puts off, and what it writes down.

use serde_json::Value;

use super::*;

const GOOD: &str = "From: allclear@a.example\r\nTo: ada@b.example\r\nSubject: ALERT\r\n\
                    Date: Sat, 28 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\
                    Auto-Submitted: auto-generated\r\n\r\nIt fails.\r\n";

fn mailbox() -> Mailbox {
    Mailbox::new("allclear", "secret")
}

fn signed_in() -> Session {
    Session { signed_in: true, secure: true, ..Session::default() }
}

/// What the server says to a line.
fn said(session: &mut Session, mailbox: &mut Mailbox, line: &str) -> &'static str {
    match session.hear(mailbox, line) {
        Heard::Say(words) => words,
        Heard::Data => "354",
        Heard::Offers | Heard::StartTls | Heard::Bye => "",
    }
}

/// What the server says to a recipient.
fn recipient(mailbox: &mut Mailbox, to: &str) -> &'static str {
    let mut session = signed_in();
    said(&mut session, mailbox, "MAIL FROM:<allclear@a.example>");
    said(&mut session, mailbox, &format!("RCPT TO:<{to}>"))
}

fn take(mailbox: &mut Mailbox, raw: &str) -> bool {
    let session = Session { to: vec!["ada@b.example".into()], ..signed_in() };
    mailbox.take(&session, raw.as_bytes(), 0)
}

#[test]
fn a_mail_in_form_arrives_with_its_headers() {
    let mut mailbox = mailbox();
    assert!(take(&mut mailbox, GOOD));
    let arrived = &mailbox.arrived()[0];
    assert_eq!((arrived.subject.as_str(), arrived.text.trim()), ("ALERT", "It fails."));
    let automatic = arrived.headers.iter().find(|(name, _)| name == "Auto-Submitted");
    assert_eq!(automatic.map(|(_, value)| value.as_str()), Some("auto-generated"));
    assert_eq!(mailbox.violations(), []);
}

#[test]
fn a_line_of_998_characters_is_taken_and_one_of_999_is_not() {
    for (length, is_taken) in [(998, true), (999, false)] {
        let mut mailbox = mailbox();
        let raw = format!("{GOOD}{}\r\n", "a".repeat(length));
        assert_eq!(take(&mut mailbox, &raw), is_taken, "{length}");
        assert_eq!(mailbox.violations().is_empty(), is_taken, "{:?}", mailbox.violations());
        assert_eq!(mailbox.arrived().len(), usize::from(is_taken));
    }
}

#[test]
fn what_a_careful_server_holds_against_a_mail_is_written_down() {
    for (raw, why) in [
        (GOOD.replace("Auto-Submitted: auto-generated\r\n", ""), "Auto-Submitted"),
        (GOOD.replace("auto-generated", "no"), "Auto-Submitted"),
        (GOOD.replace("Date:", "X-Date:"), "there is no Date"),
        (GOOD.replace("Message-ID:", "X-ID:"), "there is no Message-ID"),
        (GOOD.replace("fails.\r\n", "fails.\n"), "CR LF"),
    ] {
        let mut mailbox = mailbox();
        assert!(take(&mut mailbox, &raw), "{why}");
        assert!(mailbox.violations()[0].what.contains(why), "{why}: {:?}", mailbox.violations());
        assert_eq!(mailbox.violations()[0].request, "mail to ada@b.example");
    }
}

#[test]
fn a_first_contact_is_put_off_where_the_server_greylists() {
    let mut mailbox = mailbox();
    mailbox.faults().greylist = true;
    assert!(recipient(&mut mailbox, "ada@b.example").starts_with("451"));
    assert!(recipient(&mut mailbox, "ada@b.example").starts_with("250"));
    assert!(recipient(&mut mailbox, "ben@b.example").starts_with("451"));
}

#[test]
fn an_address_may_be_refused_for_good_or_for_now() {
    let mut mailbox = mailbox();
    for code in [550_u16, 554, 552, 452, 451] {
        let body = json!({ "address": "ada@b.example", "code": code }).to_string();
        mailbox.handle(&Request::new("POST", "/_stage/address", vec![], body.into_bytes()), 0);
        assert!(recipient(&mut mailbox, "ada@b.example").starts_with(&code.to_string()));
    }
    mailbox.answer("ada@b.example", None);
    assert!(recipient(&mut mailbox, "ada@b.example").starts_with("250"));
    mailbox.forget("ada@b.example");
    assert!(recipient(&mut mailbox, "ada@b.example").starts_with("550"));
}

#[test]
fn nothing_is_sent_to_nobody_or_by_nobody() {
    let (mut mailbox, mut session) = (mailbox(), Session::default());
    assert!(said(&mut session, &mut mailbox, "MAIL FROM:<a@a.example>").starts_with("530"));
    let mut session = signed_in();
    assert!(said(&mut session, &mut mailbox, "RCPT TO:<b@b.example>").starts_with("503"));
    assert!(said(&mut session, &mut mailbox, "DATA").starts_with("503"));
}

#[test]
fn violations_are_read_over_http() {
    let mut mailbox = mailbox();
    take(&mut mailbox, &GOOD.replace("auto-generated", "no"));
    let reply = mailbox.handle(&Request::new("GET", "/_stage/violations", vec![], vec![]), 0);
    let body: Value = serde_json::from_slice(&reply.response.body).expect("JSON");
    assert_eq!(body["violations"].as_array().map(Vec::len), Some(1));
}
