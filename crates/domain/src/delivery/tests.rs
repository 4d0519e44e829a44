//! Who is told, and what follows from answers.

use super::*;
use proptest::prelude::*;

fn delivery(purpose: Purpose, attempts: u32) -> Delivery {
    Delivery {
        id: "d".into(),
        about: About::Incident("Q1".into()),
        recipient: Recipient::Person { person: "Ada".into() },
        channel: "C".into(),
        address: "+4512345678".into(),
        by: Means::Text,
        purpose,
        why: None,
        position: None,
        thread: None,
        stood: None,
        told: None,
        ends: None,
        news: None,
        words: None,
        due_at: Timestamp(0),
        attempts,
    }
}

fn person(rules: &[(Urgency, &str, &str)]) -> Person {
    let method = |name: &str| ContactMethod { name: name.into(), channel: name.into(), address: name.into(), by: Means::Text, id: None };
    let rule = |(urgency, method, after): &(Urgency, &str, &str)| NotificationRule {
        urgency: *urgency,
        method: (*method).into(),
        after: after.parse().expect("a span"),
        id: None,
    };
    Person {
        time_zone: None,
        job_title: None,
        role: Role::default(),
        name: "Ada".into(),
        email: None,
        contact_methods: vec![method("sms"), method("slack")],
        notification_rules: rules.iter().map(rule).collect(),
        extra: Map::new(),
    }
}

#[test]
fn a_person_is_told_by_the_rules_of_the_urgency() {
    let person = person(&[(Urgency::High, "sms", "0"), (Urgency::High, "slack", "2m"), (Urgency::Low, "slack", "0")]);
    let planned: Vec<_> = plan_pages(&person, Urgency::High, Timestamp(0)).iter().map(|p| (p.method.name.clone(), p.at.0)).collect();
    assert_eq!(planned, [("sms".to_owned(), 0), ("slack".to_owned(), 120_000_000)]);
}

#[test]
fn a_person_without_a_rule_for_the_urgency_is_told_at_once_by_every_method() {
    for person in [person(&[]), person(&[(Urgency::Low, "slack", "0")]), person(&[(Urgency::High, "pager", "0")])] {
        let planned = plan_pages(&person, Urgency::High, Timestamp(7));
        assert_eq!(planned.len(), 2);
        assert!(planned.iter().all(|p| p.at == Timestamp(7)));
    }
}

#[test]
fn an_unknown_outcome_repeats_a_high_page_marked_as_such_and_never_an_all_clear() {
    let unknown = || Outcome::Unknown { why: "time-out".into() };
    let page = settle(&delivery(Purpose::Page, 1), Urgency::High, unknown(), Way::default(), Timestamp(0));
    assert_eq!(page, Settled::Again { at: Timestamp(1_000_000), why: "time-out".into(), possible_repeat: true, costs_a_try: true });
    let low = settle(&delivery(Purpose::Page, 1), Urgency::Low, unknown(), Way::default(), Timestamp(0));
    assert!(matches!(low, Settled::Finished { status: Status::Unknown, .. }));
    let clear = settle(&delivery(Purpose::AllClear, 1), Urgency::High, unknown(), Way::default(), Timestamp(0));
    assert!(matches!(clear, Settled::Finished { status: Status::Unknown, .. }));
}

#[test]
fn after_a_500_that_may_have_worked_the_next_message_says_that_it_may_be_a_repeat() {
    let failed = |may_have_worked| Outcome::Retry { why: "answered 500".into(), after: None, may_have_worked };
    for (worked, has_second, idempotent, repeat) in [
        (true, false, false, true),
        (true, true, false, true),
        (true, false, true, false),
        (false, false, false, false),
        (false, true, false, false),
    ] {
        let way = Way { idempotent, has_second, ..Way::default() };
        let next = settle(&delivery(Purpose::Page, 1), Urgency::High, failed(worked), way, Timestamp(0));
        assert!(matches!(&next, Settled::Again { possible_repeat, .. } if *possible_repeat == repeat), "{next:?}");
    }
}

#[test]
fn what_the_first_channel_refuses_goes_to_the_second_at_once_and_each_is_asked_twice() {
    let refused = || Outcome::Permanent { why: "account suspended".into() };
    let way = Way { has_second: true, ..Way::default() };
    let first = settle(&delivery(Purpose::Page, 1), Urgency::High, refused(), way, Timestamp(7));
    assert!(matches!(first, Settled::Again { at: Timestamp(7), possible_repeat: false, .. }), "{first:?}");
    let second = settle(&delivery(Purpose::Page, 2), Urgency::High, refused(), way, Timestamp(7));
    assert!(matches!(second, Settled::Again { at: Timestamp(2_000_007), .. }), "the second may be the broken one: {second:?}");
    let fourth = settle(&delivery(Purpose::Page, 4), Urgency::High, refused(), way, Timestamp(7));
    assert!(matches!(fourth, Settled::Finished { status: Status::Failed, .. }), "{fourth:?}");
}

#[test]
fn a_call_is_told_to_stop_ringing_at_most_twice_and_that_is_no_message() {
    let outcomes = [
        Outcome::Retry { why: "answered 500".into(), after: None, may_have_worked: true },
        Outcome::Unknown { why: "time-out".into() },
        Outcome::Permanent { why: "it is over".into() },
    ];
    for outcome in outcomes {
        let last = settle(&delivery(Purpose::HangUp, 2), Urgency::High, outcome, Way::default(), Timestamp(0));
        assert!(matches!(last, Settled::Finished { status: Status::Failed, .. }), "{last:?}");
    }
    let done = Outcome::Accepted { provider_id: "CA1".into() };
    let done = settle(&delivery(Purpose::HangUp, 1), Urgency::High, done, Way::default(), Timestamp(0));
    assert!(matches!(done, Settled::Finished { status: Status::Delivered, .. }), "{done:?}");
}

#[test]
fn who_drops_repeats_is_asked_again_as_long_as_who_refuses() {
    let way = Way { idempotent: true, ..Way::default() };
    let lost = || Outcome::Unknown { why: "time-out".into() };
    let fifth = settle(&delivery(Purpose::Mirror, 5), Urgency::Low, lost(), way, Timestamp(0));
    assert!(matches!(fifth, Settled::Again { possible_repeat: false, .. }), "{fifth:?}");
    let last = settle(&delivery(Purpose::Mirror, MOST_ATTEMPTS), Urgency::Low, lost(), way, Timestamp(0));
    assert!(matches!(last, Settled::Finished { status: Status::Parked, .. }), "{last:?}");
}

#[test]
fn a_provider_that_asks_for_a_pause_gets_it() {
    let retry = Outcome::Retry { why: "429".into(), after: Some(Span::from_secs(30)), may_have_worked: false };
    let settled = settle(&delivery(Purpose::Page, 1), Urgency::High, retry, Way { idempotent: true, ..Way::default() }, Timestamp(0));
    assert!(matches!(settled, Settled::Again { at: Timestamp(30_000_000), .. }), "{settled:?}");
}

proptest! {
    #[test]
    fn every_delivery_finishes_within_its_bound(kinds in proptest::collection::vec(0_u8..3, 64), idempotent: bool, has_second: bool) {
        let way = Way { idempotent, has_second, ..Way::default() };
        let mut attempts = 0;
        let mut now = Timestamp(0);
        for kind in kinds {
            attempts += 1;
            let outcome = match kind {
                0 => Outcome::Retry { why: "5xx".into(), after: None, may_have_worked: true },
                1 => Outcome::Permanent { why: "no such number".into() },
                _ => Outcome::Unknown { why: "time-out".into() },
            };
            match settle(&delivery(Purpose::Page, attempts), Urgency::High, outcome, way, now) {
                Settled::Finished { .. } => return Ok(()),
                Settled::Again { at, .. } => {
                    prop_assert!(at > now || (has_second && attempts == 1), "only the other channel is tried at once");
                    now = at;
                }
            }
        }
        prop_assert!(false, "64 attempts and no end");
    }
}

#[test]
fn a_destination_that_must_wait_waits_as_long_as_asked_and_loses_no_try() {
    for attempts in [1, 12, 40] {
        let limited = Outcome::RateLimited { why: "429".into(), after: Some(Span::from_secs(30)) };
        let way = Way { waited: Span::from_mins(5), ..Way::default() };
        let settled = settle(&delivery(Purpose::Page, attempts), Urgency::High, limited, way, Timestamp(0));
        let expected = Settled::Again { at: Timestamp(30_000_000), why: "429".into(), possible_repeat: false, costs_a_try: false };
        assert_eq!(settled, expected);
    }
}

#[test]
fn what_waited_for_a_day_without_a_try_is_parked() {
    let way = Way { waited: Span::from_mins(24 * 60), ..Way::default() };
    for outcome in [Outcome::RateLimited { why: "429".into(), after: None }, Outcome::LocalFault { why: "no file descriptors".into() }] {
        let settled = settle(&delivery(Purpose::Note, 3), Urgency::Low, outcome, way, Timestamp(0));
        assert!(matches!(settled, Settled::Finished { status: Status::Parked, .. }), "{settled:?}");
    }
}

#[test]
fn a_webhook_that_is_not_taken_is_tried_again_over_days_and_not_longer() {
    let way = Way { idempotent: true, over_days: true, ..Way::default() };
    let (mut now, mut pauses) = (Timestamp(0), vec![]);
    for attempts in 1.. {
        let refused = Outcome::Deferred { why: "answered 404".into(), after: None };
        match settle(&delivery(Purpose::State, attempts), Urgency::High, refused, way, now) {
            Settled::Again { at, .. } => {
                pauses.push(at.since(now));
                now = at;
            }
            Settled::Finished { status, .. } => {
                assert_eq!((status, attempts), (Status::Parked, MOST_ATTEMPTS));
                break;
            }
        }
    }
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    let hours = now.since(Timestamp(0)).as_secs() / 3_600;
    assert!((72..=96).contains(&hours), "{hours} hours");
}

#[test]
fn an_endpoint_that_is_gone_is_not_tried_again_and_a_second_channel_is() {
    let gone = || Outcome::Gone { why: "answered 410".into() };
    let alone = Way { over_days: true, ..Way::default() };
    let settled = settle(&delivery(Purpose::State, 1), Urgency::High, gone(), alone, Timestamp(0));
    assert!(matches!(settled, Settled::Finished { status: Status::Failed, .. }), "{settled:?}");
    let with_second = Way { has_second: true, ..alone };
    let settled = settle(&delivery(Purpose::State, 1), Urgency::High, gone(), with_second, Timestamp(9));
    assert!(matches!(settled, Settled::Again { at: Timestamp(9), .. }), "{settled:?}");
}

#[test]
fn an_answer_to_a_button_is_tried_three_times_and_no_receipt_is_awaited() {
    let lost = |_| Outcome::Retry { why: "503".into(), after: None, may_have_worked: true };
    let settled = |attempts, outcome| settle(&delivery(Purpose::Reply, attempts), Urgency::Low, outcome, Way::default(), Timestamp(0));
    assert!(matches!(settled(2, lost(())), Settled::Again { .. }));
    assert!(matches!(settled(3, lost(())), Settled::Finished { status: Status::Failed, .. }));
    let accepted = Outcome::Accepted { provider_id: String::new() };
    assert!(matches!(settled(1, accepted), Settled::Finished { status: Status::Delivered, .. }));
}

#[test]
fn what_costs_no_try_is_slowed_down_by_how_long_it_has_gone_on() {
    let pause = |waited| {
        let way = Way { waited, ..Way::default() };
        let limited = Outcome::RateLimited { why: "429".into(), after: None };
        match settle(&delivery(Purpose::Page, 1), Urgency::High, limited, way, Timestamp(0)) {
            Settled::Again { at, .. } => at.since(Timestamp(0)).as_secs(),
            Settled::Finished { .. } => panic!("it is tried again"),
        }
    };
    assert_eq!([0, 8, 80, 800, 8_000].map(|waited| pause(Span::from_secs(waited))), [1, 1, 10, 100, 300]);
}

#[test]
fn one_pause_on_the_second_day_does_not_end_what_is_tried_over_days_and_neither_does_a_missing_secret() {
    let way = Way { idempotent: true, over_days: true, waited: Span::from_mins(36 * 60), ..Way::default() };
    for outcome in [
        Outcome::RateLimited { why: "429".into(), after: Some(Span::from_mins(120)) },
        Outcome::LocalFault { why: "no file descriptors".into() },
        Outcome::ChannelBroken { why: "the secret W is not set or is empty".into() },
    ] {
        let next = settle(&delivery(Purpose::State, 9), Urgency::High, outcome, way, Timestamp(0));
        assert!(matches!(next, Settled::Again { .. }), "{next:?}");
    }
}
