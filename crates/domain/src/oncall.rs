//! Who is on call: a schedule's layer of people taking turns, and overrides above it.
//!
//! Turns are counted in civil time, so that a hand-off at 09:00 stays at 09:00 across a change of the clocks. A
//! hand-off in a gap of the clocks happens at the first instant after it, one in a fold at the first of the two.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{PersonId, Span, Timestamp};

/// An on-call schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The IANA name of the zone that hand-offs are meant in.
    pub time_zone: String,
    /// The people in the order of their turns; at least one.
    pub people: Vec<PersonId>,
    /// The first hand-off, in civil time: `2026-01-05T09:00`.
    pub start: String,
    /// How long a turn is: whole days, or less than a day.
    pub turn: Span,
    /// Exceptions; the last made wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The most turns that are told at once: a turn of a minute over a week.
pub const MOST_TURNS: usize = 10_080;

/// Somebody stands in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// Who.
    pub person: PersonId,
    /// From, in the schedule's civil time.
    pub from: String,
    /// Until, in the schedule's civil time.
    pub to: String,
}

/// A schedule that cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// The zone is not known.
    #[error("the time zone {0:?} is not known; use an IANA name such as Europe/Copenhagen")]
    Zone(String),
    /// A date cannot be read.
    #[error("{0:?} is not a date and time; write 2026-01-05T09:00")]
    Date(String),
    /// A turn of nothing.
    #[error("a turn must be at least one minute")]
    Turn,
    /// Nobody takes turns.
    #[error("a schedule needs at least one person")]
    Nobody,
}

/// The zone by its IANA name, from the data compiled into the program.
///
/// # Errors
/// [`BadSchedule::Zone`] for a name that the data does not know.
pub fn zone(name: &str) -> Result<TimeZone, BadSchedule> {
    TimeZone::get(name).map_err(|_| BadSchedule::Zone(name.to_owned()))
}

/// The same, or UTC for a name that the data does not know.
#[must_use]
pub fn zone_or_utc(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// A civil date and time.
///
/// # Errors
/// [`BadSchedule::Date`] for a text that is none.
pub fn civil(text: &str) -> Result<DateTime, BadSchedule> {
    text.parse().map_err(|_| BadSchedule::Date(text.to_owned()))
}

/// A turn that is on, with its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who is on call.
    pub person: PersonId,
    /// Since when, by the layer or the override.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

impl Schedule {
    /// Who is on call at `at`, or nothing before the first hand-off.
    ///
    /// # Errors
    /// [`BadSchedule`] where the schedule itself cannot be computed.
    pub fn on_call(&self, at: Timestamp) -> Result<Option<Turn>, BadSchedule> {
        let zone = zone(&self.time_zone)?;
        for exception in self.overrides.iter().rev() {
            let (from, to) = (instant(&zone, civil(&exception.from)?), instant(&zone, civil(&exception.to)?));
            if from <= at && at < to {
                return Ok(Some(Turn { person: exception.person.clone(), from, to }));
            }
        }
        self.turn_of_layer(&zone, at)
    }

    /// The turns that touch a span of time, each cut to where somebody else takes over, in order. At most [`MOST_TURNS`].
    ///
    /// # Errors
    /// [`BadSchedule`] where the schedule itself cannot be computed.
    pub fn turns(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Turn>, BadSchedule> {
        let zone = zone(&self.time_zone)?;
        let mut starts = Vec::with_capacity(self.overrides.len() + 1);
        for exception in &self.overrides {
            starts.push(instant(&zone, civil(&exception.from)?));
        }
        // Before the first hand-off nobody has a turn.
        starts.push(instant(&zone, civil(&self.start)?));
        let mut turns: Vec<Turn> = Vec::new();
        let mut at = from;
        while at < to && turns.len() < MOST_TURNS {
            let next_start = starts.iter().filter(|start| **start > at).min().copied().unwrap_or(to);
            let found = self.on_call(at)?;
            let end = found.as_ref().map_or(next_start, |turn| turn.to.min(next_start)).min(to);
            if let Some(turn) = found {
                match turns.last_mut() {
                    Some(last) if last.person == turn.person && last.to == at => last.to = end,
                    _ => turns.push(Turn { person: turn.person, from: at, to: end }),
                }
            }
            at = end;
        }
        Ok(turns)
    }

    /// Who would be on call at `at` if nobody stood in.
    ///
    /// # Errors
    /// [`BadSchedule`] where the schedule itself cannot be computed.
    pub fn person_of_layer(&self, at: Timestamp) -> Result<Option<PersonId>, BadSchedule> {
        Ok(self.turn_of_layer(&zone(&self.time_zone)?, at)?.map(|turn| turn.person))
    }

    fn turn_of_layer(&self, zone: &TimeZone, at: Timestamp) -> Result<Option<Turn>, BadSchedule> {
        if self.people.is_empty() {
            return Err(BadSchedule::Nobody);
        }
        if self.turn < Span::from_mins(1) {
            return Err(BadSchedule::Turn);
        }
        let start = civil(&self.start)?;
        if at < instant(zone, start) {
            return Ok(None);
        }
        let mut n = self.estimate(zone, start, at);
        // The estimate is in civil time; a change of the clocks moves it by one turn at most in either direction.
        while n > 0 && self.hand_off(zone, start, n) > at {
            n -= 1;
        }
        while self.hand_off(zone, start, n + 1) <= at {
            n += 1;
        }
        let count = i64::try_from(self.people.len()).unwrap_or(1);
        let person = usize::try_from(n.rem_euclid(count)).ok().and_then(|i| self.people.get(i)).ok_or(BadSchedule::Nobody)?;
        let (from, to) = (self.hand_off(zone, start, n), self.hand_off(zone, start, n + 1));
        Ok(Some(Turn { person: person.clone(), from, to }))
    }

    fn whole_days(&self) -> Option<i64> {
        const DAY_US: i64 = 86_400_000_000;
        let us = self.turn.as_micros();
        (us % DAY_US == 0).then_some(us / DAY_US)
    }

    fn estimate(&self, zone: &TimeZone, start: DateTime, at: Timestamp) -> i64 {
        let elapsed_us = match self.whole_days() {
            Some(_) => {
                let here = at.to_jiff().to_zoned(zone.clone()).datetime();
                here.duration_since(start).as_micros()
            }
            None => i128::from(at.0 - instant(zone, start).0),
        };
        let n = elapsed_us / i128::from(self.turn.as_micros().max(1));
        i64::try_from(n).unwrap_or(0).max(0)
    }

    /// The n-th hand-off. Turns of whole days step on the wall clock, shorter ones in elapsed time.
    fn hand_off(&self, zone: &TimeZone, start: DateTime, n: i64) -> Timestamp {
        match self.whole_days() {
            Some(days) => {
                let civil = start.checked_add((days.saturating_mul(n)).days()).unwrap_or(DateTime::MAX);
                instant(zone, civil)
            }
            None => instant(zone, start).plus(self.turn.times(n)),
        }
    }
}

/// The instant of a civil time: after a gap, and the first of a fold.
fn instant(zone: &TimeZone, civil: DateTime) -> Timestamp {
    let zoned: Result<Zoned, _> = zone.to_ambiguous_zoned(civil).compatible();
    Timestamp(zoned.map_or(i64::MAX, |z| z.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("an instant").as_microsecond())
    }

    fn schedule(turn: &str) -> Schedule {
        Schedule {
            name: "Streaming".into(),
            description: None,
            time_zone: "Europe/Copenhagen".into(),
            people: vec!["Ada".into(), "Ben".into(), "Cleo".into()],
            start: "2026-03-23T09:00".into(),
            turn: turn.parse().expect("a span"),
            overrides: vec![],
            extra: Map::new(),
        }
    }

    fn who(schedule: &Schedule, text: &str) -> Option<String> {
        schedule.on_call(at(text)).expect("a schedule").map(|turn| turn.person.0)
    }

    #[test]
    fn a_weekly_hand_off_stays_at_nine_across_the_start_of_summer_time_in_copenhagen_2026() {
        let schedule = schedule("1w");
        // The clocks move forward on 29 March 2026; 09:00 is 08:00Z before and 07:00Z after.
        assert_eq!(who(&schedule, "2026-03-23T07:59:59Z"), None);
        assert_eq!(who(&schedule, "2026-03-23T08:00:00Z").as_deref(), Some("Ada"));
        assert_eq!(who(&schedule, "2026-03-30T06:59:59Z").as_deref(), Some("Ada"));
        assert_eq!(who(&schedule, "2026-03-30T07:00:00Z").as_deref(), Some("Ben"));
    }

    #[test]
    fn a_hand_off_in_the_gap_of_29_march_2026_happens_right_after_it() {
        let mut schedule = schedule("1d");
        schedule.start = "2026-03-28T02:30".into();
        assert_eq!(who(&schedule, "2026-03-29T01:29:59Z").as_deref(), Some("Ada"));
        assert_eq!(who(&schedule, "2026-03-29T01:30:00Z").as_deref(), Some("Ben"));
        assert_eq!(who(&schedule, "2026-03-30T00:30:00Z").as_deref(), Some("Cleo"));
    }

    #[test]
    fn a_hand_off_in_the_fold_of_25_october_2026_happens_at_the_first_of_the_two() {
        let mut schedule = schedule("1d");
        schedule.start = "2026-10-24T02:30".into();
        assert_eq!(who(&schedule, "2026-10-25T00:29:59Z").as_deref(), Some("Ada"));
        assert_eq!(who(&schedule, "2026-10-25T00:30:00Z").as_deref(), Some("Ben"));
    }

    #[test]
    fn turns_of_hours_count_elapsed_time() {
        let schedule = schedule("12h");
        assert_eq!(who(&schedule, "2026-03-23T20:00:00Z").as_deref(), Some("Ben"));
        assert_eq!(who(&schedule, "2026-03-24T08:00:00Z").as_deref(), Some("Cleo"));
    }

    #[test]
    fn the_last_override_made_wins() {
        let mut schedule = schedule("1w");
        for person in ["Ben", "Cleo"] {
            schedule.overrides.push(Override { person: person.into(), from: "2026-03-24T00:00".into(), to: "2026-03-25T00:00".into() });
        }
        assert_eq!(who(&schedule, "2026-03-24T12:00:00Z").as_deref(), Some("Cleo"));
        assert_eq!(who(&schedule, "2026-03-24T23:00:00Z").as_deref(), Some("Ada"));
    }

    #[test]
    fn the_turns_of_two_weeks_are_cut_by_an_override_and_touch() {
        let mut schedule = schedule("1w");
        schedule.overrides.push(Override { person: "Ben".into(), from: "2026-04-07T00:00".into(), to: "2026-04-08T00:00".into() });
        let turns = schedule.turns(at("2026-04-06T07:00:00Z"), at("2026-04-20T07:00:00Z")).expect("turns");
        let told: Vec<String> = turns.iter().map(|turn| format!("{} {}..{}", turn.person, turn.from, turn.to)).collect();
        assert_eq!(turns.len(), 4, "{told:?}");
        assert_eq!(turns.iter().map(|turn| turn.person.as_str()).collect::<Vec<_>>(), ["Cleo", "Ben", "Cleo", "Ada"], "{told:?}");
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let mut schedule = schedule("1w");
        schedule.time_zone = "Mars/Olympus".into();
        assert_eq!(schedule.on_call(Timestamp(0)), Err(BadSchedule::Zone("Mars/Olympus".into())));
    }

    proptest! {
        #[test]
        fn after_the_start_exactly_one_person_is_on_call_and_turns_touch(minutes in 0_i64..2_000_000, hours in 1_i64..400) {
            let mut schedule = schedule("1w");
            schedule.turn = Span::from_mins(hours * 60);
            let at = at("2026-03-23T08:00:00Z").plus(Span::from_mins(minutes));
            let turn = schedule.on_call(at).expect("a schedule").expect("somebody");
            prop_assert!(turn.from <= at && at < turn.to);
            let next = schedule.on_call(turn.to).expect("a schedule").expect("somebody");
            prop_assert_eq!(next.from, turn.to);
            prop_assert_ne!(next.person, turn.person);
        }
    }
}
