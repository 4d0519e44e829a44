//! Every store function does the same on both engines.

use std::collections::BTreeSet;

use allclear_domain::apitest::judge::Standing;
use allclear_domain::apitest::report::Teardown;
use allclear_domain::catalog::{Document, Kind, Location, Resource};
use allclear_domain::delivery::{About, ChannelFinding, Delivery, Means, Purpose, Recipient, Status};
use allclear_domain::event::{Content, Severity};
use allclear_domain::incident::{Agent, Incident, LogDraft, LogKind, Paging, ResolveReason, ResolvedState, State, Urgency};
use allclear_domain::status::published::PublishedPage;
use allclear_domain::status::{Branding, ComponentStatus, Owner};
use allclear_domain::{IncidentId, Span, Timestamp};

use super::{NOON, on_both, wait};
use crate::evidence::{Evidence, Place};
use crate::record::delivery::TryAgain;
use crate::record::standing::Located;
use crate::record::{
    alert, callback, change, channel_finding, component, delivery, heartbeat, incident, integration, page, resource, run, secret, session,
    slot, standing, timer, token, wish,
};
use crate::{Lane, Lock, StoreError, Tx, Write};

fn write() -> Write {
    Write::new("test", Lane::Act)
}

fn an_incident(id: &str, number: i64) -> Incident {
    Incident {
        id: id.into(),
        number,
        service: "P1".into(),
        title: "Live fails\u{0}\u{1F525}".replace('\u{0}', ""),
        urgency: Urgency::High,
        priority: None,
        opened_at: Timestamp(NOON),
        state: State::Triggered(Paging::Nobody { look_again_at: Timestamp(NOON) }),
        levels: vec![],
        repeat: 0,
        run: None,
        key: None,
        version: 0,
    }
}

fn a_delivery(id: &str, incident: &str, purpose: Purpose) -> Delivery {
    Delivery {
        id: id.into(),
        about: About::Incident(incident.into()),
        recipient: Recipient::Person { person: "Ada".into() },
        channel: "C".into(),
        address: "+4520000001".into(),
        by: Means::Text,
        purpose,
        why: None,
        position: Some((0, 0)),
        thread: None,
        stood: None,
        told: None,
        ends: None,
        news: None,
        words: None,
        due_at: Timestamp(NOON),
        attempts: 0,
    }
}

fn again_at(at: Timestamp) -> TryAgain<'static> {
    TryAgain { at, why: "refused", possible_repeat: false, costs_a_try: true, is_overdue_meanwhile: true }
}

fn to_ada() -> delivery::Destination {
    delivery::Destination {
        channel: "C".into(),
        class: "sms".into(),
        address: "+4520000001".into(),
        due_at: Timestamp(NOON),
        next_due_at: None,
    }
}

fn insert_one(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    tx.adopt(Lock::Service("P1".into()));
    tx.adopt(Lock::Incident(id.into()));
    let number = incident::next_numbers(tx, 1)?.remove(0);
    incident::insert_incident(tx, &an_incident(id, number))
}

on_both! {
    fn incidents_that_open_in_one_change_have_numbers_of_their_own(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        let together = |tx: &mut Tx<'_>| {
            tx.adopt(Lock::Service("P1".into()));
            for (id, number) in ["Q2", "Q3", "Q4"].into_iter().zip(incident::next_numbers(tx, 3)?) {
                tx.adopt(Lock::Incident(id.into()));
                incident::insert_incident(tx, &an_incident(id, number))?;
            }
            Ok::<_, StoreError>(())
        };
        wait(db.store.write(write(), together)).expect("kept");
        wait(db.store.write(write(), |tx| insert_one(tx, "Q5"))).expect("kept");
        let found = wait(db.store.read("r", |tx| incident::list_incidents(tx, None, i64::MAX, 10))).expect("read");
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["Q5", "Q4", "Q3", "Q2", "Q1"]);
    }

    fn an_incident_is_kept_and_changed_only_at_its_version(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        assert_eq!(wait(db.store.read("r", |tx| incident::count_incidents(tx, "triggered"))).ok(), Some(1));
        let resolve = |tx: &mut Tx<'_>| {
            tx.lock([Lock::Incident("Q1".into())])?;
            let mut found = incident::load_incident(tx, &"Q1".into())?;
            found.version += 1;
            found.state = State::Resolved(ResolvedState { at: tx.now(), by: Agent::System, why: ResolveReason::ByHand });
            incident::update_incident(tx, &found)?;
            incident::update_incident(tx, &found)
        };
        let twice = wait(db.store.write(write(), resolve));
        assert!(matches!(twice, Err(StoreError::Changed(_))), "{twice:?}");
        let still = wait(db.store.read("r", |tx| incident::load_incident(tx, &"Q1".into()))).expect("there");
        assert!(still.is_open(), "a closure that fails leaves nothing behind");
        let missing = wait(db.store.read("r", |tx| incident::load_incident(tx, &"Q2".into())));
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    }

    fn no_number_is_given_twice_and_lists_are_newest_first(db) {
        for n in 1..=5 {
            let id = format!("Q{n}");
            wait(db.store.write(write(), move |tx| insert_one(tx, &id))).expect("kept");
        }
        let failed = wait(db.store.write(write(), |tx| insert_one(tx, "Q6").and(Err::<(), _>(StoreError::Changed("x")))));
        assert!(failed.is_err());
        wait(db.store.write(write(), |tx| insert_one(tx, "Q6"))).expect("kept");
        let numbers = |before, most| {
            let found = wait(db.store.read("r", move |tx| incident::list_incidents(tx, Some("triggered"), before, most))).expect("a list");
            found.iter().map(|i| i.number).collect::<Vec<_>>()
        };
        // What failed may have left a number out.
        let newest = numbers(i64::MAX, 4);
        assert!(newest == [6, 5, 4, 3] || newest == [7, 5, 4, 3], "{newest:?}");
        assert_eq!(numbers(3, 4), [2, 1]);
    }

    fn a_timeline_keeps_its_order_and_its_words(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        for round in 0..2 {
            let append = move |tx: &mut Tx<'_>| {
                tx.lock([Lock::Incident("Q1".into())])?;
                let draft = |n: i64| LogDraft { at: Timestamp(NOON + n), agent: Agent::Timer, kind: LogKind::Triggered { why: format!("w{n} ' \" \u{1F525}") } };
                let ids = [format!("A{round}"), format!("B{round}")];
                incident::append_log(tx, &"Q1".into(), &ids, &[draft(round * 2), draft(round * 2 + 1)])
            };
            wait(db.store.write(write(), append)).expect("kept");
        }
        let log = wait(db.store.read("r", |tx| incident::log_of(tx, &"Q1".into(), 0, 10))).expect("a log");
        assert_eq!(log.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(log[3].draft.kind, LogKind::Triggered { why: "w3 ' \" \u{1F525}".into() });
        let rest = wait(db.store.read("r", |tx| incident::log_of(tx, &"Q1".into(), 3, 10))).expect("a log");
        assert_eq!(rest.len(), 1);
        let end = wait(db.store.read("r", |tx| incident::end_of_log(tx, &"Q1".into(), 2))).expect("a log");
        assert_eq!(end, log[log.len() - 2..], "the last ones, in their order");
    }

    fn incidents_that_ended_long_ago_go_with_everything_of_theirs_and_no_others(db) {
        let lock = |id: &str| Write::new("test", Lane::Act).lock(Lock::Incident(id.into()));
        for (n, id) in (1_i64..).zip(["Q1", "Q2", "Q3"]) {
            wait(db.store.write(write(), move |tx| insert_one(tx, id))).expect("kept");
            let delivery = Delivery { id: format!("d{n}").into(), ..a_delivery("d", id, Purpose::Page) };
            wait(db.store.write(lock(id), move |tx| delivery::insert_delivery(tx, &delivery, "sms"))).expect("kept");
            if id != "Q2" {
                let state = State::Resolved(ResolvedState { at: Timestamp(NOON + n), by: Agent::System, why: ResolveReason::ByHand });
                let ended = Incident { state, version: 1, ..an_incident(id, n) };
                wait(db.store.write(lock(id), move |tx| incident::update_incident(tx, &ended))).expect("ended");
            }
        }
        let prune = |before: i64| wait(db.store.write(write(), move |tx| incident::prune_incidents(tx, Timestamp(before), 10)));
        assert_eq!(prune(NOON + 1).ok(), Some(0));
        assert_eq!(prune(NOON + 2).ok(), Some(1));
        let there = wait(db.store.read("r", |tx| incident::list_incidents(tx, None, i64::MAX, 10))).expect("a list");
        assert_eq!(there.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["Q3", "Q2"]);
        assert!(wait(db.store.read("r", |tx| delivery::deliveries_of(tx, &"Q1".into()))).expect("a list").is_empty());
        assert_eq!(prune(i64::MAX).ok(), Some(1), "what is open stays");
    }

    fn at_most_one_alert_is_open_per_key(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        let make = |id: &'static str| move |tx: &mut Tx<'_>| {
            tx.lock([Lock::Incident("Q1".into())])?;
            let opened = alert::Alert {
                id: id.into(), incident: "Q1".into(), service: "P1".into(), dedup_key: "k".into(),
                test: Some(("t".into(), "production".into())), why: "w".into(), opened_at: tx.now(), resolved_at: None, triggers: 1,
                first_run: Some("r1".into()), last_run: None, event: None,
            };
            alert::insert_alert(tx, &opened)
        };
        wait(db.store.write(write(), make("a1"))).expect("kept");
        let second = wait(db.store.write(write(), make("a2")));
        assert!(matches!(&second, Err(StoreError::Taken(conflict)) if conflict.table == "alert" && conflict.columns == "dedup_key"), "{second:?}");
        wait(db.store.write(write(), |tx| alert::trigger_again(tx, &"a1".into(), Some(&"r2".into())))).expect("counted");
        let open = wait(db.store.read("r", |tx| alert::open_alert(tx, "k"))).expect("read").expect("open");
        assert_eq!((open.triggers, open.last_run.clone(), open.test.clone()), (2, Some("r2".into()), Some(("t".into(), "production".to_owned()))));
        let ended = |at| wait(db.store.read("r", move |tx| alert::ended_since(tx, "k", Timestamp(at)))).expect("read");
        assert!(!ended(0), "it is open");
        assert_eq!(wait(db.store.write(write(), |tx| alert::resolve_alert(tx, &"a1".into()))).ok(), Some(true));
        assert_eq!(wait(db.store.write(write(), |tx| alert::resolve_alert(tx, &"a1".into()))).ok(), Some(false));
        assert!(ended(0) && !ended(i64::MAX));
        assert_eq!(wait(db.store.read("r", |tx| alert::newest_alert(tx, "k"))).expect("read").map(|alert| alert.id), Some("a1".into()));
        wait(db.store.write(write(), make("a3"))).expect("a resolved one does not count");
        let of_keys = wait(db.store.read("r", |tx| alert::open_alerts(tx, &["k".into(), "other".into()]))).expect("read");
        assert_eq!(of_keys.len(), 1);
        assert_eq!(wait(db.store.read("r", |tx| alert::open_test_alerts(tx, 10))).expect("read").len(), 1);
        assert_eq!(wait(db.store.write(write(), |tx| alert::resolve_alerts_of(tx, &"Q1".into()))).ok(), Some(1));
        assert_eq!(wait(db.store.read("r", |tx| alert::alerts_of(tx, &"Q1".into()))).expect("read").len(), 2);
    }

    fn of_two_alerts_with_a_key_that_one_is_found_that_was_open_at_the_time(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        let open_at = |id: &'static str, at: i64| move |tx: &mut Tx<'_>| {
            tx.lock([Lock::Incident("Q1".into())])?;
            let opened = alert::Alert {
                id: id.into(), incident: "Q1".into(), service: "P1".into(), dedup_key: "k".into(), test: None, why: "w".into(),
                opened_at: Timestamp(NOON + at), resolved_at: None, triggers: 1, first_run: None, last_run: None, event: None,
            };
            alert::insert_alert(tx, &opened)
        };
        wait(db.store.write(write(), open_at("a1", 1_000))).expect("kept");
        db.clock.advance_to(NOON + 2_000);
        assert_eq!(wait(db.store.write(write(), |tx| alert::resolve_alert(tx, &"a1".into()))).ok(), Some(true));
        wait(db.store.write(write(), open_at("a2", 4_000))).expect("kept");
        for (from, to, found) in [
            (0, 999, None), (0, 1_000, Some("a1")), (1_500, 1_600, Some("a1")), (2_000, 3_000, Some("a1")), (2_500, 3_999, None),
            (2_500, 4_000, Some("a2")), (0, 9_000, Some("a2")), (8_000, 9_000, Some("a2")),
        ] {
            let between = move |tx: &mut Tx<'_>| alert::alert_between(tx, "k", Timestamp(NOON + from), Timestamp(NOON + to));
            let alert = wait(db.store.read("r", between)).expect("read").map(|alert| alert.id.0);
            assert_eq!(alert.as_deref(), found, "{from} to {to}");
        }
    }

    fn what_a_monitoring_tool_said_is_kept_with_its_alert(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        let said = alert::Reported {
            integration: "PI".into(), severity: Some(Severity::Warning),
            details: serde_json::json!({ "source": "host\u{0}1", "custom_details": [1, null] }).as_object().cloned().expect("a map"),
        };
        let expected = said.clone();
        wait(db.store.write(write(), move |tx| {
            tx.lock([Lock::Incident("Q1".into())])?;
            let opened = alert::Alert {
                id: "a1".into(), incident: "Q1".into(), service: "P1".into(), dedup_key: "event:PI:k".into(), test: None, why: "w".into(),
                opened_at: tx.now(), resolved_at: None, triggers: 1, first_run: None, last_run: None, event: Some(said.clone()),
            };
            alert::insert_alert(tx, &opened)
        })).expect("kept");
        let found = wait(db.store.read("r", |tx| alert::open_alert(tx, "event:PI:k"))).expect("read").expect("open");
        assert_eq!(found.event, Some(expected));
    }

    fn a_session_lasts_until_it_ends_and_a_link_is_used_up_once(db) {
        let session = session::Session { person: "Ada".into(), expires_at: Timestamp(NOON + 1_000) };
        let (one, two) = (session.clone(), session.clone());
        wait(db.store.write(write(), move |tx| session::insert_session(tx, "a", &one))).expect("kept");
        wait(db.store.write(write(), move |tx| session::insert_session(tx, "b", &two))).expect("kept");
        assert_eq!(wait(db.store.read("r", |tx| session::find_session(tx, "a"))).expect("read"), Some(session));
        wait(db.store.write(write(), |tx| session::remove_session(tx, "a"))).expect("removed");
        assert_eq!(wait(db.store.read("r", |tx| session::find_session(tx, "a"))).expect("read"), None);
        assert_eq!(wait(db.store.write(write(), |tx| session::remove_sessions_of(tx, &"Ada".into()))).ok(), Some(1));
        let link = session::EntryLink { kind: "reset".into(), person: Some("Ada".into()), expires_at: Timestamp(NOON + 1_000) };
        let kept = link.clone();
        wait(db.store.write(write(), move |tx| session::insert_link(tx, "l", &kept))).expect("kept");
        assert_eq!(wait(db.store.read("r", |tx| session::find_link(tx, "l"))).expect("read"), Some(link.clone()));
        assert_eq!(wait(db.store.write(write(), |tx| session::take_link(tx, "l"))).ok(), Some(true));
        assert_eq!(wait(db.store.write(write(), |tx| session::take_link(tx, "l"))).ok(), Some(false));
        wait(db.store.write(write(), move |tx| session::insert_link(tx, "m", &link))).expect("kept");
        db.clock.advance_to(NOON + 2_000);
        assert_eq!(wait(db.store.read("r", |tx| session::find_link(tx, "m"))).expect("read"), None, "it is over");
        assert_eq!(wait(db.store.write(write(), session::prune_sessions)).ok(), Some(1));
        wait(db.store.write(write(), |tx| session::remove_links(tx, "reset"))).expect("removed");
    }

    fn with_a_person_goes_everything_by_which_they_come_in(db) {
        let fill = |tx: &mut Tx<'_>| {
            tx.lock([Lock::Catalog])?;
            for person in ["Ada", "Ben"] {
                session::put_password(tx, &session::Password { person: person.into(), hash: "h".into(), is_owner: true })?;
                let until = Timestamp(NOON + 1_000);
                session::insert_session(tx, person, &session::Session { person: person.into(), expires_at: until })?;
                let link = session::EntryLink { kind: "reset".into(), person: Some(person.into()), expires_at: until };
                session::insert_link(tx, person, &link)?;
            }
            Ok::<_, StoreError>(())
        };
        wait(db.store.write(write(), fill)).expect("kept");
        let unlocked = wait(db.store.write(write(), |tx| session::remove_credentials_of(tx, &"Ada".into())));
        assert!(matches!(unlocked, Err(StoreError::Lock(_))), "{unlocked:?}");
        let remove = |tx: &mut Tx<'_>| session::remove_credentials_of(tx, &"Ada".into());
        wait(db.store.write(write().lock(Lock::Catalog), remove)).expect("removed");
        let left = |tx: &mut Tx<'_>| {
            let mut left = Vec::new();
            for person in ["Ada", "Ben"] {
                let (password, session) = (session::find_password(tx, &person.into())?, session::find_session(tx, person)?);
                left.push((password.is_some(), session.is_some(), session::find_link(tx, person)?.is_some()));
            }
            Ok::<_, StoreError>(left)
        };
        let left = wait(db.store.read("r", left)).expect("read");
        assert_eq!(left, [(false, false, false), (true, true, true)]);
    }

    fn tokens_are_found_by_id_and_by_name_and_good_ones_come_first(db) {
        for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
            let created_at = Timestamp(NOON + i64::try_from(n).expect("small"));
            let name = if id == "c" { "other" } else { "ci" };
            let made = token::Token {
                id: id.into(), name: name.into(), scopes: "s".into(), person: None, created_at, revoked_at: None,
            };
            wait(db.store.write(write(), move |tx| token::insert_token(tx, &made, &made.id))).expect("kept");
        }
        wait(db.store.write(write(), |tx| token::revoke_token(tx, "b"))).expect("revoked");
        let ids = |found: Vec<token::Token>| found.into_iter().map(|one| one.id).collect::<Vec<_>>();
        let called = |key: &'static str, most| ids(wait(db.store.read("r", move |tx| token::tokens_called(tx, key, most))).expect("read"));
        assert_eq!(called("ci", 10), ["a", "b"], "the revoked one comes last, though it is newer");
        assert_eq!((called("ci", 1), called("c", 10), called("x", 10)), (vec!["a".to_owned()], vec!["c".to_owned()], vec![]));
        assert_eq!(ids(wait(db.store.read("r", |tx| token::list_tokens(tx, 2))).expect("read")), ["c", "a"]);
    }

    fn a_password_is_replaced_and_its_owner_stays_the_owner(db) {
        for hash in ["one", "two"] {
            let password = session::Password { person: "Ada".into(), hash: hash.into(), is_owner: hash == "one" };
            let put = move |tx: &mut Tx<'_>| {
                tx.lock([Lock::Catalog])?;
                session::put_password(tx, &password)
            };
            wait(db.store.write(write(), put)).expect("kept");
        }
        let found = wait(db.store.read("r", |tx| session::find_password(tx, &"Ada".into()))).expect("read").expect("there");
        assert_eq!((found.hash.as_str(), found.is_owner), ("two", true));
        assert_eq!(wait(db.store.read("r", session::has_passwords)).ok(), Some(true));
        assert_eq!(wait(db.store.read("r", alert::failing_tests)).ok(), Some(0));
    }

    fn a_heartbeat_counts_its_calls_until_it_is_removed(db) {
        wait(db.store.write(write(), |tx| heartbeat::insert_heartbeat(tx, &"H1".into(), "key-1"))).expect("kept");
        let twice = wait(db.store.write(write(), |tx| heartbeat::insert_heartbeat(tx, &"H2".into(), "key-1")));
        assert!(matches!(twice, Err(StoreError::Taken(_))), "{twice:?}");
        wait(db.store.write(write(), |tx| heartbeat::record_ping(tx, &"H1".into(), "fail"))).expect("counted");
        let found = wait(db.store.read("r", |tx| heartbeat::find_by_key(tx, "key-1"))).expect("read").expect("there");
        assert_eq!((found.pings, found.last_ping.as_deref(), found.last_ping_at.is_some()), (1, Some("fail"), true));
        assert_eq!(wait(db.store.read("r", |tx| heartbeat::find_heartbeat(tx, &"H1".into()))).expect("read"), Some(found));
        assert_eq!(wait(db.store.read("r", |tx| heartbeat::list_heartbeats(tx, "H1", 10))).map(|list| list.len()).ok(), Some(0));
        wait(db.store.write(write(), |tx| heartbeat::remove_heartbeat(tx, &"H1".into()))).expect("removed");
        assert_eq!(wait(db.store.read("r", |tx| heartbeat::list_heartbeats(tx, "", 10))).map(|list| list.len()).ok(), Some(0));
    }

    fn a_sealed_secret_is_kept_as_bytes_and_replaced_by_name(db) {
        for sealed in [[0_u8, 255, 1], [9, 0, 9]] {
            wait(db.store.write(write(), move |tx| secret::put_secret(tx, "KEY", &sealed))).expect("kept");
        }
        let kept = wait(db.store.read("r", |tx| secret::list_secrets(tx, 10))).expect("read");
        assert_eq!(kept.iter().map(|one| (one.name.as_str(), one.sealed.as_slice())).collect::<Vec<_>>(), [("KEY", &[9, 0, 9][..])]);
        assert_eq!(wait(db.store.write(write(), |tx| secret::remove_secret(tx, "KEY"))).ok(), Some(true));
        assert_eq!(wait(db.store.write(write(), |tx| secret::remove_secret(tx, "KEY"))).ok(), Some(false));
    }

    fn the_events_of_an_integration_are_counted_within_a_minute(db) {
        let one = integration::Integration { id: "I1".into(), service: "P1".into(), name: "n".into(), key: "k".into(), created_at: Timestamp(NOON) };
        let insert = move |tx: &mut Tx<'_>| {
            tx.lock([Lock::Catalog])?;
            integration::insert_integration(tx, &one)
        };
        wait(db.store.write(write(), insert)).expect("kept");
        let count = || wait(db.store.write(write(), |tx| integration::count_event(tx, &"I1".into()))).expect("counted");
        assert_eq!([count(), count()], [1, 2]);
        db.clock.advance_to(NOON + 60_000_000);
        assert_eq!(count(), 1);
    }

    fn alerts_pressure_and_public_incidents_are_handed_over(db) {
        for id in ["Q1", "Q2"] {
            wait(db.store.write(write(), move |tx| insert_one(tx, id))).expect("kept");
        }
        let prepare = |tx: &mut Tx<'_>| {
            tx.lock([Lock::Incident("Q1".into()), Lock::Incident("Q2".into())])?;
            tx.lock([Lock::Component("c1".into()), Lock::Component("c2".into())])?;
            component::press(tx, &"c1".into(), &"Q1".into(), &"R1".into(), ComponentStatus::MajorOutage)?;
            component::press(tx, &"c1".into(), &"Q2".into(), &"R1".into(), ComponentStatus::DegradedPerformance)?;
            component::press(tx, &"c2".into(), &"Q1".into(), &"R2".into(), ComponentStatus::PartialOutage)?;
            component::hand_over(tx, &"c1".into(), &"Q1".into(), &"Q2".into())?;
            component::hand_over(tx, &"c2".into(), &"Q1".into(), &"Q2".into())?;
            component::hand_over(tx, &"c2".into(), &"Q1".into(), &"Q2".into())?;
            alert::hand_over(tx, &"Q1".into(), &"Q2".into())
        };
        assert_eq!(wait(db.store.write(write(), prepare)).ok(), Some(0));
        let of = |id: &'static str| wait(db.store.read("r", move |tx| component::pressures(tx, &id.into()))).expect("read");
        assert_eq!(of("c1"), [("Q2".into(), ComponentStatus::MajorOutage)]);
        assert_eq!(of("c2"), [("Q2".into(), ComponentStatus::PartialOutage)]);
    }

    fn an_integration_is_found_by_its_key_until_it_is_removed(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Catalog);
        let make = |id: &str, service: &str, name: &str| integration::Integration {
            id: id.into(), service: service.into(), name: name.into(), key: format!("key of {id}"), created_at: Timestamp(NOON),
        };
        let all = [make("PA", "P1", "Alertmanager"), make("PB", "P1", "Grafana"), make("PC", "P2", "Alertmanager")];
        for one in all.clone() {
            wait(db.store.write(lock(), move |tx| integration::insert_integration(tx, &one))).expect("kept");
        }
        let twice = make("PD", "P1", "Grafana");
        assert!(matches!(wait(db.store.write(lock(), move |tx| integration::insert_integration(tx, &twice))), Err(StoreError::Taken(_))));
        assert!(wait(db.store.write(write(), |tx| integration::remove_integration(tx, &"PA".into()))).is_err(), "without the lock");
        let by_key = |key: &'static str| wait(db.store.read("r", move |tx| integration::find_by_key(tx, key))).expect("read");
        assert_eq!(by_key("key of PB"), Some(all[1].clone()));
        let after = wait(db.store.read("r", |tx| integration::list_integrations(tx, ("P1", "Alertmanager"), 10))).expect("a list");
        assert_eq!(after, all[1..]);
        let remove = |tx: &mut Tx<'_>| {
            integration::remove_integration(tx, &"PB".into())?;
            let rev = resource::next_rev(tx)?;
            resource::change(tx, rev, &[], &[], "test")
        };
        let not_after_all = move |tx: &mut Tx<'_>| remove(tx).and_then(|()| Err::<(), _>(StoreError::Changed("nothing")));
        assert!(wait(db.store.write(lock(), not_after_all)).is_err());
        assert_eq!(by_key("key of PB"), Some(all[1].clone()));
        wait(db.store.write(lock(), remove)).expect("removed");
        assert_eq!(by_key("key of PB"), None);
        assert_eq!(wait(db.store.read("r", |tx| integration::integrations_of(tx, &"P1".into()))).expect("a list"), all[..1]);
    }

    fn change_events_are_read_in_their_order_and_the_old_ones_go(db) {
        for n in 0..5 {
            let content = Content { summary: format!("deploy {n}"), severity: None, details: serde_json::Map::new() };
            let keep = move |tx: &mut Tx<'_>| change::insert_change_event(tx, &format!("c{n}"), &"P1".into(), &"PI".into(), &content);
            wait(db.store.write(write(), keep)).expect("kept");
        }
        let read = || {
            let (from, to) = (Timestamp(0), Timestamp(i64::MAX));
            let found = wait(db.store.read("r", move |tx| change::change_events_of(tx, &"P1".into(), from, to, 3))).expect("a list");
            found.into_iter().map(|event| event.summary).collect::<Vec<_>>()
        };
        assert_eq!(read(), ["deploy 2", "deploy 3", "deploy 4"]);
        let all_but_two = |tx: &mut Tx<'_>| change::prune_change_events(tx, Timestamp(i64::MAX), 3);
        assert_eq!(wait(db.store.write(write(), all_but_two)).ok(), Some(3));
        assert_eq!(read(), ["deploy 3", "deploy 4"]);
    }

    fn only_the_oldest_unfinished_delivery_of_a_lane_can_be_claimed_and_only_its_claimer_can_finish_it(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| {
            delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms")?;
            delivery::insert_delivery(tx, &a_delivery("d2", "Q1", Purpose::AllClear), "sms")
        })).expect("kept");
        let claimable = || wait(db.store.read("r", |tx| delivery::claimable(tx, &to_ada(), 10))).expect("a list");
        let first = claimable();
        assert_eq!(first.iter().map(|d| d.delivery.id.as_str()).collect::<Vec<_>>(), ["d1"]);
        let one = first[0].clone();
        let claim = move |tx: &mut Tx<'_>| {
            let link = delivery::Linked { hash: "h1".into(), person: "Ada".into(), incidents: vec!["Q1".into()] };
            delivery::insert_attempt(tx, "b1", Some(&link)).ok();
            delivery::claim(tx, &one, &"C".into(), "b1", tx.now().plus(Span::from_secs(30)))
        };
        assert_eq!(wait(db.store.write(lock(), claim.clone())).ok(), Some(true));
        assert!(claimable().is_empty(), "the lane is held");
        let one = first[0].clone();
        let again = move |tx: &mut Tx<'_>| delivery::claim(tx, &one, &"C".into(), "b2", tx.now());
        assert_eq!(wait(db.store.write(lock(), again)).ok(), Some(false));
        let finish = |fence| move |tx: &mut Tx<'_>| delivery::finish(tx, &"d1".into(), fence, Status::Accepted, None, Some("SM1"));
        assert_eq!(wait(db.store.write(lock(), finish(0))).ok(), Some(false), "an old fence");
        assert_eq!(wait(db.store.write(lock(), finish(1))).ok(), Some(true));
        assert_eq!(claimable().iter().map(|d| d.delivery.id.as_str()).collect::<Vec<_>>(), ["d2"]);
        let last = wait(db.store.read("r", |tx| delivery::last_bundle_to(tx, &"C".into(), "+4520000001"))).expect("read");
        assert_eq!(last.as_deref(), Some("b1"));
        let carried = |class| wait(db.store.read("r", move |tx| {
            delivery::accepted_between(tx, &"C".into(), class, (Timestamp(0), Timestamp(i64::MAX)), 4)
        })).expect("read");
        assert_eq!((carried("sms"), carried("voice")), (vec![Status::Accepted], vec![]));
        let linked = |hash| wait(db.store.read("r", move |tx| delivery::find_link(tx, hash))).expect("read");
        assert_eq!((linked("h1").map(|link| link.person), linked("h2")), (Some("Ada".into()), None));
        assert_eq!(wait(db.store.write(write(), |tx| delivery::receipt(tx, &"d1".into(), Status::Delivered, None))).ok(), Some(true));
        assert_eq!(wait(db.store.write(write(), |tx| delivery::receipt(tx, &"d1".into(), Status::Delivered, None))).ok(), Some(false));
        assert_eq!(wait(db.store.write(lock(), |tx| delivery::cancel_pending(tx, &"Q1".into(), "all_clear", "w"))).ok(), Some(1));
        let all = wait(db.store.read("r", |tx| delivery::deliveries_of(tx, &"Q1".into()))).expect("read");
        assert_eq!(all.iter().map(|d| d.status).collect::<Vec<_>>(), [Status::Delivered, Status::Cancelled]);
        assert_eq!(all[0].provider_id.as_deref(), Some("SM1"));
        assert_eq!(wait(db.store.read("r", delivery::backlog)).ok(), Some((0, None)));
    }

    fn an_incidents_last_messages_are_listed_and_a_page_is_found_behind_a_thousand_others(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| {
            delivery::insert_delivery(tx, &a_delivery("first", "Q1", Purpose::Page), "voice")?;
            delivery::insert_delivery(tx, &a_delivery("again", "Q1", Purpose::Page), "sms")?;
            (0..1_000).try_for_each(|n| delivery::insert_delivery(tx, &a_delivery(&format!("n{n}"), "Q1", Purpose::Note), "sms"))
        })).expect("kept");
        let ids = |found: Vec<delivery::Stored>| found.into_iter().map(|one| one.delivery.id.0).collect::<Vec<_>>();
        let listed = ids(wait(db.store.read("r", |tx| delivery::deliveries_of(tx, &"Q1".into()))).expect("a list"));
        assert_eq!((listed.len(), listed[0].as_str(), listed[999].as_str()), (1_000, "n0", "n999"));
        assert_eq!(ids(wait(db.store.read("r", |tx| delivery::pages_of(tx, &"Q1".into()))).expect("a list")), ["first", "again"]);
        let seen = || ids(wait(db.store.read("r", |tx| delivery::seen_pages_of(tx, &"Q1".into()))).expect("a list"));
        let clear = a_delivery("clear", "Q1", Purpose::AllClear);
        let was_seen = || wait(db.store.read("r", { let clear = clear.clone(); move |tx| delivery::page_was_seen(tx, &clear) })).expect("read");
        for word in ["pending", "claimed", "accepted", "delivered", "undelivered", "failed", "cancelled", "unknown", "parked"] {
            let status = Status::from_word(word).expect("a status");
            let set = "UPDATE delivery SET status = $1 WHERE purpose = 'page'";
            wait(db.store.write(write(), move |tx| tx.execute(set, &[crate::value::Value::from(word)]))).expect("set");
            let expected: &[&str] = if status.may_have_been_seen() { &["first"] } else { &[] };
            assert_eq!((seen(), was_seen()), (expected.iter().map(|id| (*id).to_owned()).collect(), status.may_have_been_seen()), "{word}");
        }
    }

    fn a_sent_message_is_found_by_its_reference_its_lane_and_its_class(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| {
            delivery::insert_delivery(tx, &a_delivery("text", "Q1", Purpose::Page), "sms")?;
            delivery::insert_delivery(tx, &Delivery { by: Means::Call, ..a_delivery("call", "Q1", Purpose::Page) }, "voice")?;
            delivery::insert_delivery(tx, &a_delivery("over", "Q1", Purpose::AllClear), "sms")
        })).expect("kept");
        for (id, bundle, reference) in [("text", "b1", "SM1"), ("call", "b2", "CA1")] {
            let one = wait(db.store.read("r", move |tx| delivery::find_delivery(tx, &id.into()))).expect("read").expect("kept");
            wait(db.store.write(lock(), move |tx| {
                delivery::claim(tx, &one, &"C".into(), bundle, tx.now())?;
                delivery::finish(tx, &id.into(), 1, Status::Accepted, None, Some(reference))
            })).expect("sent");
        }
        let over = wait(db.store.read("r", |tx| delivery::find_delivery(tx, &"over".into()))).expect("read").expect("kept").delivery;
        let (about, other) = (over.about.clone(), About::Incident("Q2".into()));
        let bundle = |about: About, reference: &'static str| wait(db.store.read("r", move |tx| delivery::bundle_of(tx, &about, reference))).expect("read");
        assert_eq!((bundle(about.clone(), "CA1").as_deref(), bundle(about, "CA2"), bundle(other, "CA1")), (Some("b2"), None, None));
        let first = |carrier: &'static str| {
            let over = over.clone();
            wait(db.store.read("r", move |tx| delivery::first_reference(tx, &over, &carrier.into()))).expect("read")
        };
        assert_eq!((first("C").as_deref(), first("D")), (Some("SM1"), None));
        let ids = |found: Vec<delivery::Stored>| found.into_iter().map(|one| one.delivery.id.0).collect::<Vec<_>>();
        let by = |class: &'static str| ids(wait(db.store.read("r", move |tx| delivery::last_pages_by(tx, &"Q1".into(), class))).expect("read"));
        assert_eq!((by("sms"), by("voice"), by("slack")), (vec!["text".to_owned()], vec!["call".to_owned()], vec![]));
        let calls = |since| ids(wait(db.store.read("r", move |tx| delivery::calls_since(tx, &"Q1".into(), Timestamp(since)))).expect("read"));
        assert_eq!((calls(NOON), calls(i64::MAX)), (vec!["call".to_owned()], vec![]));
    }

    fn what_two_incidents_of_one_moment_say_of_a_component_is_said_one_after_the_other(db) {
        let lock = |id: &str| Write::new("test", Lane::Act).lock(Lock::Incident(id.into()));
        let mirrored = |id: &str, incident: &str| Delivery {
            recipient: Recipient::Mirror { component: "c1".into() }, position: None, ..a_delivery(id, incident, Purpose::Mirror)
        };
        for id in ["Q1", "Q2"] {
            wait(db.store.write(write(), move |tx| insert_one(tx, id))).expect("kept");
        }
        // The first incident has told much already, the second nothing: its number in the order is lower.
        wait(db.store.write(lock("Q1"), move |tx| {
            delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms")?;
            delivery::cancel(tx, &"d1".into(), "w")?;
            delivery::insert_delivery(tx, &mirrored("d2", "Q1"), "sms")
        })).expect("kept");
        let claimable = || wait(db.store.read("r", |tx| delivery::claimable(tx, &to_ada(), 10))).expect("a list");
        let one = claimable().remove(0);
        assert_eq!(one.delivery.id.as_str(), "d2");
        let claim = move |tx: &mut Tx<'_>| delivery::claim(tx, &one, &"C".into(), "b1", tx.now().plus(Span::from_secs(30)));
        assert_eq!(wait(db.store.write(lock("Q1"), claim)).ok(), Some(true));
        wait(db.store.write(lock("Q2"), move |tx| delivery::insert_delivery(tx, &mirrored("d3", "Q2"), "sms"))).expect("kept");
        assert!(claimable().is_empty(), "the first is under way, and could arrive after the second");
        let finish = |tx: &mut Tx<'_>| delivery::finish(tx, &"d2".into(), 1, Status::Accepted, None, None);
        assert_eq!(wait(db.store.write(lock("Q1"), finish)).ok(), Some(true));
        assert_eq!(claimable().iter().map(|d| d.delivery.id.as_str()).collect::<Vec<_>>(), ["d3"]);
    }

    fn a_receipt_that_comes_before_its_attempts_outcome_counts(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms"))).expect("kept");
        let receipt = |status| wait(db.store.write(lock(), move |tx| delivery::receipt(tx, &"d1".into(), status, None)));
        assert_eq!(receipt(Status::Undelivered).ok(), Some(false), "what waits to go again is not lost");
        let stored = wait(db.store.read("r", |tx| delivery::claimable(tx, &to_ada(), 10))).expect("a list").remove(0);
        let claim = move |tx: &mut Tx<'_>| delivery::claim(tx, &stored, &"C".into(), "b1", tx.now().plus(Span::from_secs(30)));
        assert_eq!(wait(db.store.write(lock(), claim)).ok(), Some(true));
        assert_eq!(receipt(Status::Delivered).ok(), Some(true));
        let finish = |tx: &mut Tx<'_>| delivery::finish(tx, &"d1".into(), 1, Status::Unknown, None, None);
        assert_eq!(wait(db.store.write(lock(), finish)).ok(), Some(false), "its answer was lost, and it arrived all the same");
        let found = wait(db.store.read("r", |tx| delivery::find_delivery(tx, &"d1".into()))).expect("read").expect("there");
        assert!(found.status == Status::Delivered && found.finished_at.is_some() && found.lease_until.is_none(), "{found:?}");
    }

    fn a_further_attempt_makes_no_message_that_waits_younger(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms"))).expect("kept");
        let (_, first) = wait(db.store.read("r", delivery::backlog)).expect("read");
        let first = first.expect("one waits");
        for (fence, bundle) in [(1, "b1"), (2, "b2")] {
            let again = wait(db.store.read("r", |tx| delivery::claimable(tx, &to_ada(), 10))).expect("a list").remove(0);
            let claim = move |tx: &mut Tx<'_>| delivery::claim(tx, &again, &"C".into(), bundle, tx.now().plus(Span::from_secs(30)));
            wait(db.store.write(lock(), claim)).expect("claimed");
            let later = first.plus(Span::from_mins(10 * fence));
            let back = wait(db.store.write(lock(), move |tx| delivery::put_back(tx, &"d1".into(), fence, &again_at(later))));
            assert_eq!(back.ok(), Some(true));
            db.clock.advance_to(later.0);
            assert_eq!(wait(db.store.read("r", delivery::backlog)).ok(), Some((1, Some(first))));
        }
    }

    fn a_try_that_costs_nothing_is_not_counted_and_what_is_tried_over_days_is_not_overdue(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms"))).expect("kept");
        let one = wait(db.store.read("r", |tx| delivery::claimable(tx, &to_ada(), 10))).expect("a list").remove(0);
        let claim = move |tx: &mut Tx<'_>| delivery::claim(tx, &one, &"C".into(), "b1", tx.now().plus(Span::from_secs(30)));
        wait(db.store.write(lock(), claim)).expect("claimed");
        let later = Timestamp(NOON).plus(Span::from_mins(10));
        let again = TryAgain { costs_a_try: false, is_overdue_meanwhile: false, ..again_at(later) };
        let back = wait(db.store.write(lock(), move |tx| delivery::put_back(tx, &"d1".into(), 1, &again)));
        assert_eq!(back.ok(), Some(true));
        let found = wait(db.store.read("r", |tx| delivery::find_delivery(tx, &"d1".into()))).expect("read").expect("there");
        assert_eq!((found.delivery.attempts, found.delivery.due_at), (0, later));
        assert_eq!(wait(db.store.read("r", delivery::backlog)).ok(), Some((1, Some(later))));
    }

    fn what_waits_behind_a_webhook_that_is_tried_over_days_is_not_overdue_and_goes_once_it_is_taken(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        for id in ["d1", "d2"] {
            wait(db.store.write(lock(), move |tx| delivery::insert_delivery(tx, &a_delivery(id, "Q1", Purpose::Page), "webhook"))).expect("kept");
        }
        let to = || delivery::Destination { class: "webhook".into(), ..to_ada() };
        let one = wait(db.store.read("r", move |tx| delivery::claimable(tx, &to(), 10))).expect("a list").remove(0);
        let claim = move |tx: &mut Tx<'_>| delivery::claim(tx, &one, &"C".into(), "b1", tx.now().plus(Span::from_secs(30)));
        wait(db.store.write(lock(), claim)).expect("claimed");
        let later = Timestamp(NOON).plus(Span::from_mins(480));
        let again = TryAgain { is_overdue_meanwhile: false, ..again_at(later) };
        wait(db.store.write(lock(), move |tx| delivery::put_back(tx, &"d1".into(), 1, &again))).expect("put back");
        db.clock.advance_to(NOON + 3_600_000_000);
        assert_eq!(wait(db.store.read("r", delivery::backlog)).ok(), Some((2, Some(later))), "the second waits behind the first");
        let hurry = || wait(db.store.write(write(), |tx| delivery::hurry_destination(tx, &"C".into(), "webhook", "+4520000001")));
        assert_eq!((hurry().ok(), hurry().ok()), (Some(1), Some(0)));
        let due = wait(db.store.read("r", |tx| delivery::find_delivery(tx, &"d1".into()))).expect("read").expect("there").delivery.due_at;
        assert_eq!(due, Timestamp(NOON + 3_600_000_000));
    }

    fn what_is_wrong_with_a_channel_stands_until_something_is_taken_there(db) {
        let put = |address: Option<&'static str>, finding| {
            wait(db.store.write(write(), move |tx| channel_finding::put_finding(tx, &"C".into(), address, finding, "why"))).expect("kept");
        };
        let of_channel = || wait(db.store.read("r", |tx| channel_finding::finding_of_channel(tx, &"C".into()))).expect("read");
        assert_eq!(of_channel(), None);
        put(None, ChannelFinding::Refusing);
        db.clock.advance_to(NOON + 5_000_000);
        put(None, ChannelFinding::Refusing);
        assert_eq!(of_channel().map(|found| (found.finding, found.since)), Some((ChannelFinding::Refusing, Timestamp(NOON))));
        put(None, ChannelFinding::Gone);
        put(Some("+4520000001"), ChannelFinding::OptedOut);
        assert_eq!(of_channel().map(|found| (found.finding, found.since > Timestamp(NOON))), Some((ChannelFinding::Gone, true)));
        // A channel that the configuration does not have is not shown.
        assert!(wait(db.store.read("r", |tx| channel_finding::list_findings(tx, 10))).expect("read").is_empty());
        put(None, ChannelFinding::Refusing);
        assert_eq!(of_channel().map(|found| found.finding), Some(ChannelFinding::Gone), "less does not overwrite it");
        let known = || wait(db.store.read("r", |tx| channel_finding::is_known(tx, &"C".into(), "+4520000001"))).expect("read");
        assert!(known());
        let clear = |address| wait(db.store.write(write(), move |tx| channel_finding::clear_finding(tx, &"C".into(), address))).expect("done");
        assert!(clear(None) && of_channel().is_none() && known(), "the channel works, and that number does not");
        assert!(clear(Some("+4520000001")) && !known() && !clear(Some("+4520000001")));
    }

    fn a_callback_that_comes_again_gets_its_first_answer(db) {
        let answer = |key: &'static str| wait(db.store.read("r", move |tx| callback::answer_of(tx, key))).expect("read");
        wait(db.store.write(write(), |tx| callback::first_time(tx, "C1:SM1"))).expect("kept");
        assert_eq!((answer("C1:SM1"), answer("C1:SM2")), (None, None));
        wait(db.store.write(write(), |tx| callback::keep_answer(tx, "C1:SM1", "{}"))).expect("kept");
        assert_eq!(answer("C1:SM1").as_deref(), Some("{}"));
    }

    fn a_callback_is_the_first_once_until_it_is_forgotten(db) {
        let first = |key: &'static str| wait(db.store.write(write(), move |tx| callback::first_time(tx, key))).expect("kept");
        assert!(first("C1:SM1") && first("C2:SM1") && !first("C1:SM1"));
        let forget = |before: i64| wait(db.store.write(write(), move |tx| callback::prune_callbacks(tx, Timestamp(before), 1))).expect("gone");
        assert_eq!((forget(0), forget(i64::MAX), forget(i64::MAX), forget(i64::MAX)), (0, 1, 1, 0));
        assert!(first("C1:SM1"));
    }

    fn a_claim_whose_lease_is_over_is_found_and_put_back(db) {
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms"))).expect("kept");
        let one = wait(db.store.read("r", |tx| delivery::claimable(tx, &to_ada(), 10))).expect("a list").remove(0);
        wait(db.store.write(lock(), move |tx| delivery::claim(tx, &one, &"C".into(), "b1", tx.now().plus(Span::from_secs(30))))).expect("claimed");
        assert!(wait(db.store.read("r", |tx| delivery::expired(tx, 10))).expect("read").is_empty());
        wait(db.store.write(write(), delivery::end_leases)).expect("ended");
        let expired = wait(db.store.read("r", |tx| delivery::expired(tx, 10))).expect("read");
        assert_eq!(expired.len(), 1);
        let back = wait(db.store.write(lock(), |tx| delivery::put_back(tx, &"d1".into(), 1, &TryAgain { possible_repeat: true, ..again_at(tx.now()) })));
        assert_eq!(back.ok(), Some(true));
        let found = wait(db.store.read("r", |tx| delivery::find_delivery(tx, &"d1".into()))).expect("read").expect("there");
        assert!(found.possible_repeat && found.status == Status::Pending && found.delivery.attempts == 1);
        let due_at = found.delivery.due_at;
        let waiting = wait(db.store.read("r", move |tx| delivery::destinations(tx, due_at, &BTreeSet::new()))).expect("read");
        assert_eq!(waiting, [delivery::Destination { due_at, ..to_ada() }]);
        let earlier = due_at.minus(Span::from_secs(1));
        let waiting = wait(db.store.read("r", move |tx| delivery::destinations(tx, earlier, &BTreeSet::new()))).expect("read");
        assert_eq!(waiting, [delivery::Destination { due_at, next_due_at: Some(due_at), ..to_ada() }]);
        assert_eq!(wait(db.store.write(lock(), |tx| delivery::hurry(tx, &"Q1".into(), "person:Ada"))).ok(), Some(0));
        assert_eq!(wait(db.store.read("r", |tx| delivery::deliveries_of_bundle(tx, "b1"))).expect("read").len(), 1);
        wait(db.store.write(write(), |tx| delivery::settle_attempt(tx, "b1", "unknown"))).expect("settled");
        assert_eq!(wait(db.store.write(lock(), |tx| delivery::cancel(tx, &"d1".into(), "w"))).ok(), Some(true));
    }

    fn what_waits_for_carriers_that_are_passed_over_is_not_looked_at(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        for (n, (channel, class)) in [("C", "sms"), ("C", "voice"), ("CH", "sms"), ("D", "sm"), ("D", "sms")].into_iter().enumerate() {
            for address in ["+1", "+2"] {
                let one = Delivery { channel: channel.into(), address: address.into(), ..a_delivery(&format!("{n}{address}"), "Q1", Purpose::Page) };
                wait(db.store.write(write().lock(Lock::Incident("Q1".into())), move |tx| delivery::insert_delivery(tx, &one, class))).expect("kept");
            }
        }
        let left = |passed_over: &[(&str, &str)]| {
            let passed_over: BTreeSet<_> = passed_over.iter().map(|(channel, class)| ((*channel).into(), (*class).to_owned())).collect();
            let found = wait(db.store.read("r", move |tx| delivery::destinations(tx, tx.now(), &passed_over))).expect("read");
            assert!(found.iter().all(|to| found.iter().filter(|other| *other == to).count() == 1), "each once");
            let mut carriers: Vec<_> = found.iter().map(|to| format!("{} {} {}", to.channel, to.class, to.address)).collect();
            carriers.sort();
            carriers
        };
        let of = |carriers: &[&str]| carriers.iter().flat_map(|one| [format!("{one} +1"), format!("{one} +2")]).collect::<Vec<_>>();
        assert_eq!(left(&[]), of(&["C sms", "C voice", "CH sms", "D sm", "D sms"]));
        assert_eq!(left(&[("C", "sms")]), of(&["C voice", "CH sms", "D sm", "D sms"]));
        assert_eq!(left(&[("C", "voice"), ("CH", "sms"), ("D", "sm")]), of(&["C sms", "D sms"]));
        assert_eq!(left(&[("B", "sms"), ("C", "sms"), ("C", "voice"), ("CH", "sms"), ("D", "sm"), ("D", "sms"), ("E", "x")]), of(&[]));
    }

    fn a_timer_is_replaced_by_kind_and_taken_once(db) {
        let set = |due: i64| move |tx: &mut Tx<'_>| {
            timer::set_timer(tx, &timer::Timer { subject: "incident:Q1".into(), kind: "escalate".into(), due_at: Timestamp(due), body: "{}".into() })
        };
        wait(db.store.write(write(), set(NOON + 5))).expect("set");
        wait(db.store.write(write(), set(NOON - 5))).expect("set");
        assert_eq!(wait(db.store.read("r", timer::next_due)).expect("read"), Some(Timestamp(NOON - 5)));
        let due = wait(db.store.read("r", |tx| timer::due_timers(tx, 10))).expect("read");
        assert_eq!(due.len(), 1);
        let take = |timer: timer::Timer| wait(db.store.write(write(), move |tx| timer::take_timer(tx, &timer))).expect("asked");
        assert!(take(due[0].clone()));
        assert!(!take(due[0].clone()));
        wait(db.store.write(write(), set(NOON + 9))).expect("set");
        wait(db.store.write(write(), |tx| timer::clear_timer(tx, "incident:Q1", "escalate"))).expect("cleared");
        assert!(wait(db.store.read("r", |tx| timer::timers_of(tx, "incident:Q1"))).expect("read").is_empty());
    }

    fn what_is_due_later_moves_with_the_clock_and_what_is_due_stays_due(db) {
        let set = |kind: &'static str, due: i64| move |tx: &mut Tx<'_>| {
            timer::set_timer(tx, &timer::Timer { subject: "incident:Q1".into(), kind: kind.into(), due_at: Timestamp(due), body: "{}".into() })
        };
        wait(db.store.write(write(), set("due", NOON - 5))).expect("set");
        wait(db.store.write(write(), set("later", NOON + 5))).expect("set");
        let lock = || Write::new("test", Lane::Act).lock(Lock::Incident("Q1".into()));
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        wait(db.store.write(lock(), |tx| {
            let later = Delivery { due_at: Timestamp(NOON + 7), address: "+4520000002".into(), ..a_delivery("d2", "Q1", Purpose::Page) };
            delivery::insert_delivery(tx, &a_delivery("d1", "Q1", Purpose::Page), "sms")?;
            delivery::insert_delivery(tx, &later, "sms")
        })).expect("kept");
        let hour = Span::from_mins(60);
        let shift = move |tx: &mut Tx<'_>| timer::shift_timers(tx, hour).and(delivery::shift_deliveries(tx, hour));
        wait(db.store.write(write(), shift)).expect("moved");
        let timers = wait(db.store.read("r", |tx| timer::timers_of(tx, "incident:Q1"))).expect("read");
        assert_eq!(timers.iter().map(|t| t.due_at.0 - NOON).collect::<Vec<_>>(), [-5, 3_600_000_005]);
        let due = |id: &'static str| wait(db.store.read("r", move |tx| delivery::find_delivery(tx, &id.into()))).expect("read").expect("there").delivery.due_at.0 - NOON;
        assert_eq!((due("d1"), due("d2")), (0, 3_600_000_007));
    }

    fn the_worst_pressure_can_be_read_back_and_history_is_newest_first(db) {
        let lock = || write().lock(Lock::Component("c1".into()));
        wait(db.store.write(lock(), |tx| {
            component::press(tx, &"c1".into(), &"Q1".into(), &"R".into(), ComponentStatus::DegradedPerformance)?;
            component::press(tx, &"c1".into(), &"Q2".into(), &"R".into(), ComponentStatus::MajorOutage)?;
            component::press(tx, &"c1".into(), &"Q1".into(), &"R".into(), ComponentStatus::PartialOutage)?;
            let state = component::ComponentState { status: ComponentStatus::MajorOutage, owner: Owner::Person, changed_at: tx.now() };
            component::put_component_state(tx, &"c1".into(), state)?;
            for n in 0..3_i64 {
                let change = component::ComponentChange {
                    id: format!("h{n}"), component: "c1".into(), at: Timestamp(NOON + n), before: ComponentStatus::Operational,
                    after: ComponentStatus::MajorOutage, cause: serde_json::json!({ "n": n }),
                };
                component::insert_change(tx, &change)?;
            }
            component::release(tx, &"c1".into(), &"Q1".into())
        })).expect("kept");
        let pressures = wait(db.store.read("r", |tx| component::pressures(tx, &"c1".into()))).expect("read");
        assert_eq!(pressures, [(IncidentId::from("Q2"), ComponentStatus::MajorOutage)]);
        assert_eq!(wait(db.store.read("r", |tx| component::pressed_by(tx, &"Q2".into()))).expect("read").len(), 1);
        let state = wait(db.store.read("r", |tx| component::component_state(tx, &"c1".into()))).expect("read");
        assert_eq!((state.status, state.owner), (ComponentStatus::MajorOutage, Owner::Person));
        let changes = wait(db.store.read("r", |tx| component::changes_of(tx, &"c1".into(), 2))).expect("read");
        assert_eq!(changes.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["h2", "h1"]);
        let unknown = wait(db.store.read("r", |tx| component::component_state(tx, &"c9".into()))).expect("read");
        assert_eq!(unknown, component::ComponentState::default());
    }

    fn all_components_are_read_at_once_with_what_is_open_about_them(db) {
        wait(db.store.write(write(), |tx| insert_one(tx, "Q1"))).expect("kept");
        let lock = write().lock(Lock::Component("c1".into())).lock(Lock::Component("c2".into()));
        let set = component::ComponentState { status: ComponentStatus::MajorOutage, owner: Owner::Person, changed_at: Timestamp(NOON) };
        wait(db.store.write(lock, move |tx| {
            component::press(tx, &"c2".into(), &"Q1".into(), &"R".into(), ComponentStatus::PartialOutage)?;
            component::press(tx, &"c2".into(), &"Qgone".into(), &"R".into(), ComponentStatus::MajorOutage)?;
            component::put_component_state(tx, &"c1".into(), set)
        })).expect("kept");
        let states = wait(db.store.read("r", component::all_states)).expect("read");
        assert_eq!(states.into_iter().collect::<Vec<_>>(), [("c1".into(), set)]);
        let pressures = wait(db.store.read("r", component::all_pressures)).expect("read");
        assert_eq!(pressures.into_iter().collect::<Vec<_>>(), [("c2".into(), (ComponentStatus::MajorOutage, 2))]);
        let named = |most| wait(db.store.read("r", move |tx| component::first_pressing(tx, most))).expect("read");
        assert_eq!(named(8).into_iter().map(|(id, incident)| (id.0, incident.id.0)).collect::<Vec<_>>(), [("c2".to_owned(), "Q1".to_owned())]);
        assert!(named(0).is_empty());
    }

    fn a_page_is_published_with_a_rising_number(db) {
        let published = PublishedPage {
            id: "p1".into(), name: "SYNQ".into(), slug: "synq".into(), host: None, branding: Branding::default(), time_zone: "Etc/UTC".into(), updated_at: Timestamp(NOON),
            components: vec![], incidents: vec![],
        };
        for expected in 1..=3 {
            let one = published.clone();
            let seq = wait(db.store.write(write().lock(Lock::Page("p1".into())), move |tx| page::publish(tx, &one)));
            assert_eq!(seq.ok(), Some(expected));
        }
        assert_eq!(wait(db.store.read("r", page::published_pages)).expect("read"), [(3, published)]);
        wait(db.store.write(write().lock(Lock::Page("p1".into())), |tx| page::unpublish(tx, &"p1".into()))).expect("gone");
        assert!(wait(db.store.read("r", page::published_pages)).expect("read").is_empty());
    }

    fn runs_are_kept_listed_and_pruned_in_small_steps(db) {
        let one = |n: i64| run::Run {
            id: format!("r{n:03}").into(), test: "t".into(), environment: "e".into(), location: "local".into(),
            slot: (n % 2 == 0).then_some(Timestamp(NOON + n)), attempt: 1, started_at: Timestamp(NOON + n), finished_at: Timestamp(NOON + n + 1),
            verdict: "pass".into(), why: None, judged: "counted".into(), teardown: Teardown::Done, catalog_rev: 0, evidence: None,
        };
        let rows: Vec<run::Run> = (0..120).map(one).collect();
        wait(db.store.write(write(), move |tx| run::insert_runs(tx, &rows))).expect("kept");
        let latest = wait(db.store.read("r", |tx| run::latest_runs(tx, &"t".into(), &["e".to_owned()], 2))).expect("read");
        assert_eq!(latest, [one(119), one(118)]);
        let good = wait(db.store.read("r", move |tx| run::good_before(tx, &one(5)))).expect("read");
        assert_eq!(good, None, "nothing was kept of those before");
        let place = Place { day: "2026-05-28".into(), at: 7, len: 9 };
        let named = place.clone();
        wait(db.store.write(write(), move |tx| run::attach_evidence(tx, &"r003".into(), &named))).expect("named");
        let found = wait(db.store.read("r", |tx| run::find_run(tx, &"r003".into()))).expect("read").expect("there");
        let good = wait(db.store.read("r", move |tx| run::good_before(tx, &one(5)))).expect("read");
        assert_eq!(good.as_ref(), Some(&found));
        assert_eq!(found.evidence, Some(place));
        let prune = || wait(db.store.write(write(), |tx| run::prune_runs(tx, Timestamp(NOON + 60), 50))).expect("pruned");
        assert_eq!((prune(), prune(), prune()), (50, 10, 0));
        assert_eq!(wait(db.store.read("r", run::count_runs)).ok(), Some(60));
    }

    fn the_latest_runs_are_those_of_each_environment(db) {
        let one = |id: String, environment: &str, n: i64, verdict: &str| run::Run {
            id: id.into(), test: "t".into(), environment: environment.to_owned(), location: "local".into(), slot: None, attempt: 1,
            started_at: Timestamp(NOON + n), finished_at: Timestamp(NOON + n + 5), verdict: verdict.to_owned(), why: None,
            judged: "counted; nobody is told: it is switched off".to_owned(), teardown: Teardown::Done, catalog_rev: 1, evidence: None,
        };
        let mut rows = Vec::new();
        for (n, environment) in ["a", "b", "c"].into_iter().enumerate() {
            let begun = i64::try_from(n).unwrap_or(0) * 10;
            rows.extend((0..3).map(|m| one(format!("{environment}{m}"), environment, begun + m, if m == 2 { "fail" } else { "pass" })));
        }
        wait(db.store.write(write(), move |tx| run::insert_runs(tx, &rows))).expect("kept");
        let latest = |names: &'static [&'static str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut found: Vec<String> = wait(db.store.read("r", move |tx| run::latest_runs(tx, &"t".into(), &names, 2)))
                .expect("read").into_iter().map(|run| run.id.0).collect();
            found.sort();
            found
        };
        assert_eq!(latest(&["a", "c"]), ["a1", "a2", "c1", "c2"]);
        assert_eq!(latest(&[]), Vec::<String>::new());
        let marks = wait(db.store.read("r", |tx| run::latest_marks(tx, &"t".into(), "b", &"local".into(), 2))).expect("read");
        assert_eq!(marks.iter().map(|(passed, began, _)| (*passed, began.0 - NOON)).collect::<Vec<_>>(), [(false, 12), (true, 11)]);
        assert!(wait(db.store.read("r", |tx| run::latest_marks(tx, &"t".into(), "b", &"far".into(), 2))).expect("read").is_empty());
        let last = wait(db.store.read("r", |tx| run::last_counted(tx, &"t".into(), "b", &"local".into()))).expect("read");
        assert_eq!(last, Some(Timestamp(NOON + 12)), "also one that told nobody counts");
    }

    fn a_wish_for_a_run_waits_until_it_is_taken_and_a_later_one_is_not_taken_with_it(db) {
        let ask = |person: &'static str| wait(db.store.write(write(), move |tx| wish::put_wish(tx, &"t".into(), "e", person))).expect("kept");
        let waiting = || wait(db.store.read("r", |tx| wish::wishes(tx, 10))).expect("read");
        ask("Ada");
        let first = waiting();
        assert_eq!(first.iter().map(|one| one.person.as_str()).collect::<Vec<_>>(), ["Ada"]);
        db.clock.advance_to(NOON + 1);
        ask("Ben");
        let take = |one: wish::RunWish| wait(db.store.write(write(), move |tx| wish::take_wish(tx, &one))).expect("taken");
        take(first[0].clone());
        assert_eq!(waiting().iter().map(|one| one.person.as_str()).collect::<Vec<_>>(), ["Ben"]);
        take(waiting()[0].clone());
        assert!(waiting().is_empty());
    }

    fn standings_tokens_and_slots_are_kept(db) {
        let located = Located { location: "local".into(), standing: Standing { failures: 3, failing: true, ..Standing::default() } };
        let put = located.clone();
        wait(db.store.write(write().lock(Lock::Test("t".into())), move |tx| standing::put_standing(tx, &"t".into(), "e", &put))).expect("kept");
        assert_eq!(wait(db.store.read("r", |tx| standing::standings(tx, &"t".into(), "e"))).expect("read"), [located]);
        assert_eq!(wait(db.store.read("r", |tx| standing::environments_of(tx, &"t".into()))).expect("read"), ["e"]);
        wait(db.store.write(write().lock(Lock::Test("t".into())), |tx| standing::forget_standings(tx, &"t".into(), "e"))).expect("gone");
        assert!(wait(db.store.read("r", |tx| standing::standings(tx, &"t".into(), "e"))).expect("read").is_empty());
        let made = token::Token { id: "k".into(), name: "n".into(), scopes: "a b".into(), person: Some("P".into()), created_at: Timestamp(NOON), revoked_at: None };
        let kept = made.clone();
        wait(db.store.write(write(), move |tx| token::insert_token(tx, &kept, "hash"))).expect("kept");
        assert_eq!(wait(db.store.read("r", |tx| token::find_token(tx, "hash"))).expect("read"), Some(made));
        assert_eq!(wait(db.store.write(write(), |tx| token::revoke_token(tx, "k"))).ok(), Some(true));
        assert_eq!(wait(db.store.read("r", |tx| token::find_token(tx, "hash"))).expect("read"), None);
        assert_eq!(wait(db.store.read("r", |tx| token::list_tokens(tx, 10))).expect("read").len(), 1);
        let mark = |through| slot::Watermark { location: "local".into(), probe: "p".into(), boot: "b".into(), seq: 1, through: Timestamp(through) };
        for through in [NOON, NOON - 10] {
            wait(db.store.write(write(), move |tx| slot::put_watermark(tx, &mark(through)))).expect("kept");
        }
        let found = wait(db.store.write(write(), |tx| slot::watermark(tx, &"local".into(), "p"))).expect("read");
        assert_eq!(found, Some(mark(NOON)), "a watermark never moves back");
        let missed = slot::SlotException {
            test: "t".into(), environment: "e".into(), location: "local".into(), first: Timestamp(NOON), last: Timestamp(NOON), slots: 1, reason: "late".into(),
        };
        for _ in 0..2 {
            let one = missed.clone();
            wait(db.store.write(write(), move |tx| slot::insert_exceptions(tx, std::slice::from_ref(&one)))).expect("kept");
        }
        assert_eq!(wait(db.store.read("r", |tx| slot::exceptions_of(tx, &"t".into(), 10))).expect("read"), [missed]);
        let prune = |before: i64| wait(db.store.write(write(), move |tx| slot::prune_exceptions(tx, Timestamp(before), 10))).expect("pruned");
        assert_eq!((prune(NOON), prune(NOON + 1), prune(NOON + 1)), (0, 1, 0));
    }

    fn public_incidents_follow_an_incident(db) {
        use allclear_domain::status::Indicator;
        use allclear_domain::status::published::{PublishedIncident, Stage};
        let shown = PublishedIncident {
            id: "z1".into(), name: "Elevated errors".into(), stage: Stage::Investigating, impact: Indicator::Minor, created_at: Timestamp(NOON),
            updated_at: Timestamp(NOON), resolved_at: None, components: vec!["c1".into()], updates: vec![],
        };
        let made = page::StatusIncident { page: "p1".into(), follows: Some(("Q1".into(), "R1".into())), owner: Owner::Automation, shown };
        let put = |kept: page::StatusIncident| {
            wait(db.store.write(write().lock(Lock::Page("p1".into())), move |tx| page::put_status_incident(tx, &kept))).expect("kept");
        };
        put(made.clone());
        assert_eq!(wait(db.store.read("r", |tx| page::following(tx, &"Q1".into()))).expect("read"), vec![made.clone()]);
        let latest = |most| {
            let found = wait(db.store.read("r", move |tx| page::latest_on_page(tx, &"p1".into(), most))).expect("read");
            found.into_iter().map(|one| one.shown.id).collect::<Vec<_>>()
        };
        assert_eq!(latest(5), ["z1"]);
        for (n, resolved_at) in [(2, Some(Timestamp(NOON + 9))), (3, None), (4, Some(Timestamp(NOON + 9)))] {
            let shown = PublishedIncident { id: format!("z{n}"), created_at: Timestamp(NOON + n), resolved_at, ..made.shown.clone() };
            put(page::StatusIncident { shown, ..made.clone() });
        }
        assert_eq!(latest(2), ["z4", "z3", "z1"], "an open one is never too old to be shown");
    }

    fn a_changed_configuration_is_seen_within_its_transaction_and_before_the_answer(db) {
        let put = |name: &'static str| move |tx: &mut Tx<'_>| {
            let rev = resource::next_rev(tx)?;
            let one = Resource { id: name.into(), rev, source: Some("files".into()), created_at: tx.now(), document: Document::Location(Location::named(name)) };
            resource::change(tx, rev, &[one], &[], "test")?;
            Ok::<_, StoreError>(tx.catalog().id_of(Kind::Location, name).map(str::to_owned))
        };
        let catalog_write = || write().lock(Lock::Catalog);
        assert_eq!(wait(db.store.write(catalog_write(), put("eu"))).expect("kept").as_deref(), Some("eu"));
        assert_eq!(db.store.catalog().rev(), 1);
        assert!(db.store.catalog().get(Kind::Location, "eu").is_some());
        let failed = wait(db.store.write(catalog_write(), move |tx| put("us")(tx).and(Err::<(), _>(StoreError::Changed("x")))));
        assert!(failed.is_err());
        assert!(db.store.catalog().get(Kind::Location, "us").is_none());
        let remove = |tx: &mut Tx<'_>| {
            let rev = resource::next_rev(tx)?;
            resource::change(tx, rev, &[], &[(Kind::Location, "eu".into())], "test")
        };
        wait(db.store.write(catalog_write(), remove)).expect("gone");
        assert!(db.store.catalog().is_empty());
        assert_eq!(wait(db.store.read("r", |tx| resource::past_id(tx, Kind::Location, "eu"))).expect("read").as_deref(), Some("eu"));
    }

    fn a_decision_without_its_lock_or_out_of_order_is_refused(db) {
        let without = wait(db.store.write(write(), |tx| incident::append_log(tx, &"Q1".into(), &[], &[])));
        assert!(matches!(without, Err(StoreError::Lock(_))), "{without:?}");
        let backwards = wait(db.store.write(write().lock(Lock::Component("c".into())), |tx| tx.lock([Lock::Incident("Q1".into())])));
        assert!(matches!(backwards, Err(StoreError::Lock(_))), "{backwards:?}");
        let forwards = wait(db.store.write(write().lock(Lock::Test("t".into())), |tx| tx.lock([Lock::Incident("Q1".into()), Lock::Page("p".into())])));
        assert!(forwards.is_ok(), "{forwards:?}");
    }

    fn a_savepoint_undoes_only_itself(db) {
        let work = |tx: &mut Tx<'_>| {
            insert_one(tx, "Q1")?;
            let inner: Result<(), StoreError> = tx.savepoint(|tx| insert_one(tx, "Q2").and(Err(StoreError::Changed("x"))));
            assert!(inner.is_err());
            insert_one(tx, "Q3")
        };
        wait(db.store.write(write(), work)).expect("kept");
        let found = wait(db.store.read("r", |tx| incident::list_incidents(tx, None, i64::MAX, 10))).expect("read");
        assert_eq!(found.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["Q3", "Q1"]);
    }

    fn a_panicking_closure_fails_alone(db) {
        let panicked = wait(db.store.write(write(), |tx| -> Result<(), StoreError> {
            insert_one(tx, "Q1")?;
            panic!("on purpose")
        }));
        assert!(matches!(panicked, Err(StoreError::Fault { .. })), "{panicked:?}");
        wait(db.store.write(write(), |tx| insert_one(tx, "Q2"))).expect("the next is fine");
        let found = wait(db.store.read("r", |tx| incident::list_incidents(tx, None, i64::MAX, 10))).expect("read");
        assert_eq!(found.len(), 1);
    }

    fn two_writers_that_want_the_same_aggregates_never_wait_for_each_other(db) {
        for id in ["Q1", "Q2", "Q3", "Q4"] {
            wait(db.store.write(write(), move |tx| insert_one(tx, id))).expect("kept");
        }
        let threads: Vec<_> = (0..8).map(|n| {
            let store = db.store.clone();
            std::thread::spawn(move || {
                for round in 0..25 {
                    let mut order = ["Q1", "Q2", "Q3", "Q4"];
                    order.rotate_left((n + round) % 4);
                    let locks = order.map(|id| Lock::Incident(id.into()));
                    let work = move |tx: &mut Tx<'_>| {
                        for id in order {
                            let mut found = incident::load_incident(tx, &id.into())?;
                            found.version += 1;
                            incident::update_incident(tx, &found)?;
                        }
                        Ok::<_, StoreError>(())
                    };
                    wait(store.write(write().locks(locks), work)).expect("no deadlock, no lost update");
                }
            })
        }).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a writer"));
        let found = wait(db.store.read("r", |tx| incident::load_incident(tx, &"Q1".into()))).expect("read");
        assert_eq!(found.version, 200);
    }

    fn store_time_never_goes_back(db) {
        let early = wait(db.store.write(write(), |tx| insert_one(tx, "Q1").map(|()| tx.now()))).expect("kept");
        assert_eq!(early, Timestamp(NOON));
        db.clock.advance_to(NOON + 1_000);
        let late = wait(db.store.write(write(), |tx| insert_one(tx, "Q2").map(|()| tx.now()))).expect("kept");
        assert!(late > early);
    }

    fn evidence_is_read_back_as_it_was_written(db) {
        let evidence = Evidence::open(db.folder.path()).expect("a folder");
        let report = |n: usize| allclear_domain::apitest::report::RunReport {
            run_id: format!("r{n}").into(), test_id: "t".into(), test_name: "T".into(), environment: "e".into(), location: "local".into(), slot: None,
            attempt: 1, started_at: Timestamp(NOON), finished_at: Timestamp(NOON), verdict: allclear_domain::apitest::report::Verdict::Passed,
            steps: vec![], teardown_steps: vec![], teardown: Teardown::None,
            variables: std::collections::BTreeMap::from([("x".to_owned(), "\u{0}\u{1F525}".repeat(n).into())]), catalog_rev: 0,
        };
        let reports: Vec<_> = (0..3).map(report).collect();
        let appended = evidence.append(&reports.iter().collect::<Vec<_>>(), Timestamp(NOON)).expect("written");
        let (places, synced) = (appended.places.clone(), appended.synced.clone());
        appended.sync();
        synced.wait().expect("on disk");
        let interrupted = evidence.append(&[&reports[0]], Timestamp(NOON)).expect("written").synced.clone();
        assert!(matches!(interrupted.wait(), Err(StoreError::Unavailable(_))), "nobody waits for a sync that never comes");
        for (report, place) in reports.iter().zip(&places) {
            assert_eq!(&evidence.read(place).expect("read"), report);
        }
        assert_eq!(evidence.drop_days_before(Timestamp(NOON + 86_400_000_000)).ok(), Some(1));
        assert!(evidence.read(&places[0]).is_err());
        let escape = Place { day: "../../etc/passwd".into(), at: 0, len: 1 };
        assert!(evidence.read(&escape).is_err());
    }
}
