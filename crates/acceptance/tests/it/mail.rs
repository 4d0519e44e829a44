//! A page by mail: over STARTTLS and with a password, with a link whose button acts and whose sight does not.

use std::time::Duration;

use allclear_acceptance::binary::{get, request, wait};
use allclear_acceptance::crash::link_in;
use allclear_stage::live::Switch;
use allclear_stage::mailbox::Arrived;

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

fn mails(ground: &Ground) -> Vec<Arrived> {
    ground.world.mail.player().arrived().to_vec()
}

/// The path of the first mail's link.
fn link(ground: &Ground) -> String {
    mails(ground).iter().find_map(|mail| link_in(&mail.text)).expect("a link")
}

fn press(ground: &Ground, path: &str, body: &str) -> u16 {
    press_on(ground, path, body, &format!("http://{}", ground.addr))
}

/// Presses a button of a form that stands on another site.
fn press_on(ground: &Ground, path: &str, body: &str, site: &str) -> u16 {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\norigin: {site}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n",
        ground.addr
    );
    request(ground.addr, &format!("{head}content-length: {}\r\n\r\n{body}", body.len())).expect("an answer").0
}

#[test]
fn a_mail_is_answered_by_the_button_behind_its_link_and_its_thread_hears_the_all_clear() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || !mails(&ground).is_empty()), "{}", log_of(&process));
    let page = mails(&ground)[0].clone();
    assert!(page.encrypted && page.to == "ada@synq.example" && page.from == "allclear@synq.example", "{page:?}");
    assert!(page.subject.starts_with("ALERT [#1] "), "{}", page.subject);
    assert!(page.text.contains("playback_url is empty, expected not empty") && page.html.contains("Acknowledge or resolve"), "{page:?}");

    let path = link(&ground);
    let (status, seen) = get(ground.addr, &path).expect("an answer");
    assert!(status == 200 && seen.contains("AllClear for Ada") && seen.contains(">Acknowledge<"), "{status} {seen}");
    assert!(ground.say(&["incidents"]).contains("triggered"), "looking changes nothing");
    assert_eq!(press_on(&ground, &link(&ground), "act=acknowledge", "https://evil.example"), 403);
    assert_eq!(press(&ground, &path, "act=everything"), 400);
    assert_eq!(press(&ground, &path, "act=acknowledge"), 303);
    assert_eq!(press(&ground, &path, "act=acknowledge"), 303, "a second press is harmless");
    let (_, seen) = get(ground.addr, &path).expect("an answer");
    assert!(seen.contains("You have this") && !seen.contains(">Acknowledge<"), "{seen}");
    assert!(ground.say(&["show", "1"]).contains("acknowledged  [Ada by mail]"), "{}", ground.say(&["show", "1"]));

    ground.world.live.player().turn(Switch::Healthy);
    let cleared = || mails(&ground).into_iter().find(|mail| mail.subject.starts_with("All clear: [#1]"));
    assert!(wait(PATIENCE, || cleared().is_some()), "{}", log_of(&process));
    assert_eq!(cleared().and_then(|mail| mail.in_reply_to), Some(page.id));
    assert!(!cleared().expect("a mail").text.contains("/answer/"), "there is nothing to answer");
    let (_, seen) = get(ground.addr, &path).expect("an answer");
    assert!(seen.contains("All clear") && !seen.contains("<button"), "{seen}");
    process.terminate().expect("a clean stop");
}

#[test]
fn a_link_that_is_cut_off_or_made_up_shows_nothing_and_changes_nothing() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || !mails(&ground).is_empty()), "{}", log_of(&process));
    let path = link(&ground);
    for wrong in [&path[..path.len() - 1], "/answer/x", "/answer/%00", &path.replace("/answer/", "/answer/a")] {
        let (status, seen) = get(ground.addr, wrong).expect("an answer");
        assert!(status == 404 && !seen.contains("Ada"), "{wrong}: {status} {seen}");
        assert_eq!(press(&ground, wrong, "act=resolve"), 404, "{wrong}");
    }
    assert!(ground.say(&["incidents"]).contains("triggered"));
    process.terminate().expect("a clean stop");
}

#[test]
fn the_link_of_a_mail_whose_answer_was_lost_is_good_after_the_mail_went_again() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.mail.player().faults().drop_answers = 1;
    ground.world.live.player().turn(Switch::WrongJson);
    let pages = || mails(&ground).into_iter().filter(|mail| mail.text.contains("/answer/")).collect::<Vec<_>>();
    assert!(wait(PATIENCE, || pages().len() > 1), "{}", log_of(&process));
    assert!(pages()[1].subject.contains("possible repeat"), "{}", pages()[1].subject);
    let (status, seen) = get(ground.addr, &link(&ground)).expect("an answer");
    assert!(status == 200 && seen.contains("AllClear for Ada"), "{status} {seen}");
    process.terminate().expect("a clean stop");
}

#[test]
fn a_mail_server_that_refuses_later_and_loses_answers_gets_no_more_than_it_must() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    ground.world.mail.player().faults().refuse = 1;
    ground.world.mail.player().faults().limit = 1;
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || !mails(&ground).is_empty()), "{}", log_of(&process));
    ground.say(&["ack", "1"]);
    ground.world.mail.player().faults().drop_answers = 1;
    ground.world.live.player().turn(Switch::Healthy);
    let clears = || mails(&ground).iter().filter(|mail| mail.subject.starts_with("All clear")).count();
    assert!(wait(PATIENCE, || clears() > 0), "{}", log_of(&process));
    assert!(wait(PATIENCE, || ground.say(&["show", "1"]).contains("all-clear perhaps sent")), "{}", ground.say(&["show", "1"]));
    process.terminate().expect("a clean stop");
}
