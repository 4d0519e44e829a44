//! The machine as a table, as properties, and as one told story.

use proptest::prelude::*;

use super::*;
use crate::escalation::Target;

const MINUTE: i64 = 60_000_000;

fn minute(n: i64) -> Timestamp {
    Timestamp(1_700_000_000_000_000 + n * MINUTE)
}

fn context(levels: &[&[&str]]) -> Context {
    let level =
        |people: &&[&str]| Resolved { people: people.iter().map(|p| PersonId::from(*p)).collect(), escalate_after: Span::from_mins(5) };
    Context {
        levels: levels.iter().map(level).collect(),
        acknowledgement_timeout: Some(Span::from_mins(30)),
        auto_resolve: None,
        test_still_fails: true,
    }
}

fn ada() -> Agent {
    Agent::Person { person: "Ada".into(), via: Via::Sms }
}

fn opened(urgency: Urgency, repeat: u32, context: &Context) -> Change {
    let draft = Incident {
        priority: None,
        id: "Q1".into(),
        number: 1,
        service: "P1".into(),
        title: "Live Stream Check fails".into(),
        urgency,
        opened_at: minute(0),
        state: State::Triggered(Paging::Nobody { look_again_at: minute(0) }),
        levels: vec![Level { targets: vec![Target::Person("Ada".into())], escalate_after: Span::from_mins(5) }],
        repeat,
        run: None,
        key: None,
        version: 0,
    };
    open(draft, "status is 503, expected 200".into(), Agent::System, context, minute(0))
}

fn pages(change: &Change) -> Vec<(String, NotifyReason)> {
    let page = |effect: &Effect| match effect {
        Effect::Page { person, why } => Some((person.0.clone(), *why)),
        _ => None,
    };
    change.effects.iter().filter_map(page).collect()
}

#[test]
fn an_incident_is_paged_up_its_levels_repeated_and_then_exhausted() {
    let context = context(&[&["Ada"], &["Ben", "Cleo"]]);
    let first = opened(Urgency::High, 1, &context);
    assert_eq!(pages(&first), [("Ada".into(), NotifyReason::FirstPage)]);
    let mut incident = first.next;
    let mut seen = vec![];
    for (n, (level, pass)) in [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().enumerate() {
        let at = minute(5 * (i64::try_from(n).expect("small") + 1));
        let change = transition(&incident, &Event::EscalationDue { level, pass }, &context, at).expect("a change");
        seen.push(pages(&change));
        incident = change.next;
    }
    assert_eq!(seen[0], [("Ben".into(), NotifyReason::Escalated), ("Cleo".into(), NotifyReason::Escalated)]);
    assert_eq!(seen[1], [("Ada".into(), NotifyReason::Repeated)]);
    assert_eq!(seen[2], [("Ben".into(), NotifyReason::Escalated), ("Cleo".into(), NotifyReason::Escalated)]);
    assert_eq!(seen[3], []);
    assert!(matches!(&incident.state, State::Triggered(Paging::Level(here)) if here.escalates_at.is_none()));
}

#[test]
fn a_provider_that_refuses_everything_does_not_use_up_the_repeats_of_a_policy_at_once() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let incident = opened(Urgency::High, 1, &context).next;
    let second = transition(&incident, &Event::LevelUnreachable { level: 0, pass: 0 }, &context, minute(0)).expect("a change");
    assert_eq!(pages(&second), [("Ben".into(), NotifyReason::LevelBeforeUnreachable)], "another level is asked at once");
    let last = transition(&second.next, &Event::LevelUnreachable { level: 1, pass: 0 }, &context, minute(0)).expect("a change");
    assert_eq!(pages(&last), [], "nobody is asked again at once");
    assert!(last.effects.contains(&Effect::AlarmNobody), "the operators hear of it: {:?}", last.effects);
    let again = transition(&last.next, &Event::EscalationDue { level: 1, pass: 0 }, &context, minute(5)).expect("a change");
    assert_eq!(pages(&again), [("Ada".into(), NotifyReason::Repeated)], "and the policy starts again in its time");
}

#[test]
fn low_urgency_never_escalates() {
    let change = opened(Urgency::Low, 3, &context(&[&["Ada"], &["Ben"]]));
    assert!(!change.effects.iter().any(|e| matches!(e, Effect::SetTimer { timer: Timer::Escalate { .. }, .. })));
}

#[test]
fn a_level_with_nobody_on_call_is_skipped_at_once() {
    let change = opened(Urgency::High, 0, &context(&[&[], &["Ben"]]));
    assert_eq!(pages(&change), [("Ben".into(), NotifyReason::FirstPage)]);
}

#[test]
fn nobody_on_call_alarms_and_looks_again_until_somebody_is() {
    let change = opened(Urgency::High, 0, &context(&[&[]]));
    assert!(change.effects.contains(&Effect::AlarmNobody));
    let again = transition(&change.next, &Event::LookAgain, &context(&[&[]]), minute(1)).expect("a change");
    assert!(!again.effects.contains(&Effect::AlarmNobody), "the alarm stands already");
    assert!(again.effects.iter().any(|e| matches!(e, Effect::SetTimer { timer: Timer::LookAgain, .. })));
    let found = transition(&again.next, &Event::LookAgain, &context(&[&["Ada"]]), minute(2)).expect("a change");
    assert_eq!(pages(&found), [("Ada".into(), NotifyReason::NowOnCall)]);
}

#[test]
fn an_acknowledgement_stops_paging_and_its_timeout_pages_the_same_level_again() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let taken = transition(&incident, &Event::Acknowledge { by: ada() }, &context, minute(1)).expect("a change");
    assert!(taken.effects.contains(&Effect::CancelPages));
    let stale = transition(&taken.next, &Event::EscalationDue { level: 0, pass: 0 }, &context, minute(5));
    assert_eq!(stale, Err(Refused::Stale));
    let back = transition(&taken.next, &Event::AcknowledgementTimedOut, &context, minute(31)).expect("a change");
    assert_eq!(pages(&back), [("Ada".into(), NotifyReason::AcknowledgementTimedOut)]);
}

#[test]
fn an_acknowledgement_that_was_taken_back_elsewhere_pages_the_same_level_again() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let taken = transition(&incident, &Event::Acknowledge { by: ada() }, &context, minute(1)).expect("a change");
    let by = Agent::Linked { channel: "PD".into(), name: "PagerDuty".into() };
    let back = transition(&taken.next, &Event::Unacknowledge { by: by.clone() }, &context, minute(31)).expect("a change");
    assert_eq!(pages(&back), [("Ada".into(), NotifyReason::AcknowledgementTimedOut)]);
    assert_eq!(back.log.first().map(|entry| (&entry.agent, &entry.kind)), Some((&by, &LogKind::Unacknowledged)));
    assert!(back.effects.contains(&Effect::ClearTimer { kind: Timer::AcknowledgementTimeout.kind() }));
}

#[test]
fn a_change_is_named_for_what_changed_and_says_whether_the_status_did() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let open = opened(Urgency::High, 0, &context);
    let named = |change: &Change| (change.news().and_then(IncidentEvent::of), change.changes_status());
    assert_eq!(named(&open), (Some(IncidentEvent::Triggered), true));
    let after = |incident: &Incident, event: Event| transition(incident, &event, &context, minute(1)).expect("a change");
    let triggered = open.next;
    let taken = after(&triggered, Event::Acknowledge { by: ada() }).next;
    let snooze = || by_ada(ByHand::Snooze { until: minute(90) });
    let priority = || by_ada(ByHand::SetPriority { priority: Some(Priority::P1) });
    let quieter = || by_ada(ByHand::SetUrgency { urgency: Urgency::Low });
    let reassign = || by_ada(ByHand::Reassign { people: vec!["Ben".into()] });
    for (incident, event, name, changes_status) in [
        (&triggered, Event::Acknowledge { by: ada() }, IncidentEvent::Acknowledged, true),
        (&triggered, snooze(), IncidentEvent::Snoozed, true),
        (&taken, snooze(), IncidentEvent::Snoozed, false),
        (&triggered, priority(), IncidentEvent::PriorityUpdated, false),
        (&taken, quieter(), IncidentEvent::UrgencyUpdated, false),
        (&triggered, Event::EscalationDue { level: 0, pass: 0 }, IncidentEvent::Escalated, false),
        (&triggered, reassign(), IncidentEvent::Reassigned, false),
        (&taken, reassign(), IncidentEvent::Reassigned, true),
        (&taken, Event::AcknowledgementTimedOut, IncidentEvent::Unacknowledged, true),
        (&taken, Event::Resolve { by: ada(), why: ResolveReason::ByHand }, IncidentEvent::Resolved, true),
    ] {
        assert_eq!(named(&after(incident, event)), (Some(name), changes_status), "{name:?}");
    }
}

#[test]
fn a_second_acknowledgement_by_the_same_person_is_refused_and_by_another_is_added() {
    let context = context(&[&["Ada"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let taken = transition(&incident, &Event::Acknowledge { by: ada() }, &context, minute(1)).expect("a change").next;
    let in_slack = Agent::Person { person: "Ada".into(), via: Via::Slack };
    assert_eq!(transition(&taken, &Event::Acknowledge { by: in_slack }, &context, minute(2)), Err(Refused::AlreadyAcknowledged));
    let ben = Agent::Person { person: "Ben".into(), via: Via::Slack };
    let both = transition(&taken, &Event::Acknowledge { by: ben }, &context, minute(2)).expect("a change").next;
    assert!(matches!(both.state, State::Acknowledged(held) if held.by.len() == 2));
}

#[test]
fn an_incident_whose_test_still_fails_is_never_resolved_by_its_age() {
    let mut context = context(&[&["Ada"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    assert_eq!(transition(&incident, &Event::OpenTooLong, &context, minute(240)), Err(Refused::StillFailing));
    context.test_still_fails = false;
    let change = transition(&incident, &Event::OpenTooLong, &context, minute(240)).expect("a change");
    assert!(!change.next.is_open());
}

#[test]
fn the_transition_table_is_as_documented() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let triggered = opened(Urgency::High, 0, &context).next;
    let step = |incident: &Incident, event: Event| transition(incident, &event, &context, minute(1));
    let acknowledged = step(&triggered, Event::Acknowledge { by: ada() }).expect("a change").next;
    let resolved = step(&triggered, Event::Resolve { by: ada(), why: ResolveReason::ByHand }).expect("a change").next;
    let events = || {
        [
            ("acknowledge", Event::Acknowledge { by: Agent::Token { name: "t".into() } }),
            ("acknowledge again", Event::Acknowledge { by: ada() }),
            ("resolve", Event::Resolve { by: ada(), why: ResolveReason::AlertsCleared }),
            ("escalation due", Event::EscalationDue { level: 0, pass: 0 }),
            ("earlier escalation due", Event::EscalationDue { level: 1, pass: 0 }),
            ("level unreachable", Event::LevelUnreachable { level: 0, pass: 0 }),
            ("look again", Event::LookAgain),
            ("acknowledgement timed out", Event::AcknowledgementTimedOut),
            ("acknowledgement taken back elsewhere", Event::Unacknowledge { by: Agent::System }),
            ("open too long", Event::OpenTooLong),
            ("note", by_ada(ByHand::Note { text: "looking".into() })),
            ("reassign", by_ada(ByHand::Reassign { people: vec!["Ben".into()] })),
            ("escalate", by_ada(ByHand::Escalate { level: None })),
            ("escalate to a level that is not there", by_ada(ByHand::Escalate { level: Some(7) })),
            ("snooze", by_ada(ByHand::Snooze { until: minute(90) })),
            ("set the same urgency", by_ada(ByHand::SetUrgency { urgency: Urgency::High })),
            ("set another urgency", by_ada(ByHand::SetUrgency { urgency: Urgency::Low })),
        ]
    };
    let mut table = String::new();
    for incident in [&triggered, &acknowledged, &resolved] {
        for (name, event) in events() {
            let outcome = step(incident, event).map_or_else(|refused| refused.to_string(), |change| change.next.state.word().to_owned());
            table.push_str(&format!("{} + {name} = {outcome}\n", incident.state.word()));
        }
    }
    assert_eq!(table, include_str!("transitions.txt"));
}

fn by_ada(what: ByHand) -> Event {
    Event::ByHand { by: ada(), what }
}

#[test]
fn a_note_changes_nothing_but_the_timeline_also_once_it_is_over() {
    let context = context(&[&["Ada"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let noted = transition(&incident, &by_ada(ByHand::Note { text: "the disk is full".into() }), &context, minute(1)).expect("a change");
    assert_eq!((noted.next.state, noted.effects.len(), noted.log.len()), (incident.state, 0, 1));
}

#[test]
fn who_it_is_given_to_is_paged_and_the_policy_goes_on_if_they_do_not_answer() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let taken = transition(&incident, &Event::Acknowledge { by: ada() }, &context, minute(1)).expect("a change").next;
    let given = transition(&taken, &by_ada(ByHand::Reassign { people: vec!["Cleo".into()] }), &context, minute(2)).expect("a change");
    assert_eq!(pages(&given), [("Cleo".into(), NotifyReason::Reassigned)]);
    assert!(matches!(&given.next.state, State::Triggered(Paging::Level(here)) if here.escalates_at == Some(minute(7))));
    let on = transition(&given.next, &Event::EscalationDue { level: 0, pass: 0 }, &context, minute(7)).expect("a change");
    assert_eq!(pages(&on), [("Ben".into(), NotifyReason::Escalated)]);
}

#[test]
fn escalating_by_hand_pages_the_next_level_at_once_though_somebody_had_it() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let taken = transition(&incident, &Event::Acknowledge { by: ada() }, &context, minute(1)).expect("a change").next;
    let up = transition(&taken, &by_ada(ByHand::Escalate { level: None }), &context, minute(2)).expect("a change");
    assert_eq!(pages(&up), [("Ben".into(), NotifyReason::EscalatedByHand)]);
    assert_eq!(transition(&up.next, &by_ada(ByHand::Escalate { level: None }), &context, minute(3)), Err(Refused::NobodyThere));
}

#[test]
fn a_snoozed_incident_is_quiet_until_then_and_pages_again() {
    let context = context(&[&["Ada"]]);
    let incident = opened(Urgency::High, 0, &context).next;
    let quiet = transition(&incident, &by_ada(ByHand::Snooze { until: minute(60) }), &context, minute(1)).expect("a change");
    assert!(quiet.effects.contains(&Effect::CancelPages));
    let ben = Agent::Person { person: "Ben".into(), via: Via::Slack };
    let both = transition(&quiet.next, &Event::Acknowledge { by: ben }, &context, minute(2)).expect("a change");
    assert!(both.effects.contains(&Effect::SetTimer { timer: Timer::AcknowledgementTimeout, at: minute(60) }), "not cut to 30 minutes");
    let back = transition(&quiet.next, &Event::AcknowledgementTimedOut, &context, minute(60)).expect("a change");
    assert_eq!(pages(&back), [("Ada".into(), NotifyReason::AcknowledgementTimedOut)]);
}

#[test]
fn what_is_made_louder_is_paged_again_and_escalates_and_what_is_made_quieter_does_not() {
    let context = context(&[&["Ada"], &["Ben"]]);
    let low = opened(Urgency::Low, 0, &context).next;
    let loud = transition(&low, &by_ada(ByHand::SetUrgency { urgency: Urgency::High }), &context, minute(1)).expect("a change");
    assert_eq!(pages(&loud), [("Ada".into(), NotifyReason::Louder)]);
    assert!(loud.effects.contains(&Effect::SetTimer { timer: Timer::Escalate { level: 0, pass: 0 }, at: minute(6) }));
    let quiet = transition(&loud.next, &by_ada(ByHand::SetUrgency { urgency: Urgency::Low }), &context, minute(2)).expect("a change");
    assert!(quiet.effects.contains(&Effect::ClearTimer { kind: "escalate" }) && pages(&quiet).is_empty());
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        prop_oneof![
            Just(ByHand::Note { text: "n".into() }),
            Just(ByHand::Reassign { people: vec!["Cleo".into()] }),
            prop::option::of(0_usize..3).prop_map(|level| ByHand::Escalate { level }),
            (1_i64..200).prop_map(|n| ByHand::Snooze { until: minute(n) }),
            any::<bool>().prop_map(|high| ByHand::SetUrgency { urgency: if high { Urgency::High } else { Urgency::Low } }),
        ]
        .prop_map(by_ada),
        Just(Event::Acknowledge { by: ada() }),
        Just(Event::Acknowledge { by: Agent::Person { person: "Ben".into(), via: Via::Slack } }),
        (0_u8..8).prop_map(|n| if n == 0 { Event::Resolve { by: ada(), why: ResolveReason::ByHand } } else { Event::LookAgain }),
        (0_usize..3, 0_u32..3).prop_map(|(level, pass)| Event::EscalationDue { level, pass }),
        (0_usize..3, 0_u32..3).prop_map(|(level, pass)| Event::LevelUnreachable { level, pass }),
        Just(Event::AcknowledgementTimedOut),
        Just(Event::OpenTooLong),
    ]
}

/// The timers that stand after a change.
fn keep_timers(timers: &mut std::collections::BTreeMap<&'static str, Timestamp>, change: &Change) {
    for effect in &change.effects {
        match effect {
            Effect::SetTimer { timer, at } => {
                timers.insert(timer.kind(), *at);
            }
            Effect::ClearTimer { kind } => {
                timers.remove(kind);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_leaves_an_open_incident_without_a_next_step(
        events in proptest::collection::vec((any_event(), 0_u8..4), 0..30), repeat in 0_u32..3, high in any::<bool>()
    ) {
        let urgency = if high { Urgency::High } else { Urgency::Low };
        let on_call: [&[&[&str]]; 4] = [&[&["Ada"], &["Ben"]], &[&[], &["Ben"]], &[&[], &[]], &[]];
        let first = opened(urgency, repeat, &context(on_call[0]));
        let mut timers = std::collections::BTreeMap::new();
        keep_timers(&mut timers, &first);
        let mut incident = first.next;
        for (n, (event, who)) in events.into_iter().enumerate() {
            let at = minute(i64::try_from(n).expect("small"));
            let Ok(change) = transition(&incident, &event, &context(on_call[usize::from(who)]), at) else { continue };
            keep_timers(&mut timers, &change);
            prop_assert_eq!(change.next.version, incident.version + 1);
            incident = change.next;
            match &incident.state {
                State::Triggered(Paging::Nobody { look_again_at }) => prop_assert_eq!(timers.get("look_again"), Some(look_again_at)),
                State::Triggered(Paging::Level(here)) => match here.escalates_at {
                    Some(due) => prop_assert_eq!(timers.get("escalate"), Some(&due)),
                    None => prop_assert!(!here.assigned.is_empty(), "exhausted or low: somebody has been told"),
                },
                State::Acknowledged(held) => prop_assert_eq!(timers.get("acknowledgement_timeout"), held.times_out_at.as_ref()),
                State::Resolved(_) => prop_assert!(timers.is_empty(), "{:?}", timers),
            }
        }
    }
}
