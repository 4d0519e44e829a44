//! Uptime, as StatusPage counts it: a major outage counts whole, a partial one three tenths, everything else not at all. Days
//! are those of the page's zone; a day of a change of the clocks has 23 or 25 hours.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::ComponentStatus;
use crate::Timestamp;

/// How many days a page shows; StatusPage's 90.
pub const DAYS: usize = 90;

/// A time in which a component was out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// How badly: partial or major.
    pub status: ComponentStatus,
    /// Since when.
    pub from: Timestamp,
    /// Until when; nothing while it lasts.
    pub until: Option<Timestamp>,
}

/// A day of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Which, as `2026-11-26`.
    pub date: String,
    /// Whether the component was there on that day.
    pub is_known: bool,
    /// Seconds of a partial outage.
    pub partial_s: i64,
    /// Seconds of a major outage.
    pub major_s: i64,
}

impl Day {
    /// Seconds of outage, each by its weight.
    #[must_use]
    pub const fn weighted_s(&self) -> i64 {
        self.major_s + self.partial_s * 3 / 10
    }
}

/// The outages that changes of a component's status tell of, oldest first: each change is its instant with the status before
/// and after; `status` is how it stands now. Only partial and major outages are told. What was before the first change is
/// concluded from it; not so where there were `more` changes before it: nothing is known of that time.
#[must_use]
pub fn outages(changes: &[(Timestamp, ComponentStatus, ComponentStatus)], status: ComponentStatus, more: bool) -> Vec<Outage> {
    let counts = |status: ComponentStatus| matches!(status, ComponentStatus::PartialOutage | ComponentStatus::MajorOutage);
    let mut found: Vec<Outage> = Vec::new();
    if changes.is_empty() && counts(status) {
        found.push(Outage { status, from: Timestamp(0), until: None });
    }
    for (n, (at, before, after)) in changes.iter().enumerate() {
        match found.last_mut().filter(|last| last.until.is_none()) {
            Some(last) => last.until = Some(*at),
            None if n == 0 && !more && counts(*before) => found.push(Outage { status: *before, from: Timestamp(0), until: Some(*at) }),
            None => {}
        }
        if counts(*after) {
            found.push(Outage { status: *after, from: *at, until: None });
        }
    }
    found
}

/// The same outages in fewer, where there are more than `most`: those of a day become one of each status that is as long as they
/// were together. Neither [`days`] nor [`uptime`] tell the difference, but for what was before `since`.
#[must_use]
pub fn condensed(outages: Vec<Outage>, since: Timestamp, zone: &TimeZone, most: usize) -> Vec<Outage> {
    if outages.len() <= most {
        return outages;
    }
    let mut found: Vec<Outage> = Vec::new();
    let (over, lasting): (Vec<Outage>, Vec<Outage>) = outages.into_iter().partition(|outage| outage.until.is_some());
    // The last of each status, with the end of its day.
    let mut last: [Option<(usize, Timestamp)>; 2] = [None, None];
    for Outage { status, from, until } in over {
        let Some(until) = until else { continue };
        let mut from = from.max(since);
        let of_status = &mut last[usize::from(status == ComponentStatus::MajorOutage)];
        while from < until {
            let same_day = of_status.filter(|(_, day_ends)| from < *day_ends);
            let day_ends = same_day.map_or_else(|| end_of_day(from, zone), |(_, day_ends)| day_ends);
            let lasts = until.min(day_ends).since(from);
            match same_day.and_then(|(n, _)| found.get_mut(n)) {
                Some(one) => one.until = one.until.map(|ends| ends.plus(lasts)),
                None => {
                    *of_status = Some((found.len(), day_ends));
                    found.push(Outage { status, from, until: Some(from.plus(lasts)) });
                }
            }
            from = until.min(day_ends);
        }
    }
    found.extend(lasting);
    found
}

fn end_of_day(at: Timestamp, zone: &TimeZone) -> Timestamp {
    let date = at.to_jiff().to_zoned(zone.clone()).date();
    start_of(date.tomorrow().unwrap_or(date), zone).max(Timestamp(at.0 + 1))
}

/// The last `count` days up to today, oldest first.
#[must_use]
pub fn days(outages: &[Outage], since: Timestamp, zone: &TimeZone, now: Timestamp, count: usize) -> Vec<Day> {
    let today = now.to_jiff().to_zoned(zone.clone()).date();
    let day = |back: usize| {
        let date = today.saturating_sub(i64::try_from(back).unwrap_or(0).days());
        let (begins, ends) = (start_of(date, zone), start_of(date.tomorrow().unwrap_or(date), zone));
        let seconds = |status: ComponentStatus| {
            let of_day = outages.iter().filter(|outage| outage.status == status).map(|outage| {
                let (from, until) = (outage.from.max(begins), outage.until.unwrap_or(now).min(ends));
                // One that begins just now has begun.
                let lasts = outage.until.is_none() && from <= now && now < ends;
                until.since(from).as_micros().max(i64::from(lasts))
            });
            // The shortest outage is one.
            let us: i64 = of_day.sum();
            if us > 0 { (us / 1_000_000).max(1) } else { 0 }
        };
        Day {
            date: date.to_string(),
            is_known: ends > since,
            partial_s: seconds(ComponentStatus::PartialOutage),
            major_s: seconds(ComponentStatus::MajorOutage),
        }
    };
    (0..count).rev().map(day).collect()
}

fn start_of(date: Date, zone: &TimeZone) -> Timestamp {
    Timestamp(date.to_zoned(zone.clone()).map_or(i64::MAX, |start| start.timestamp().as_microsecond()))
}

/// The share of the time since the first of these days, or since the component was made, in which it was up: hundredths of a
/// percent, cut, not rounded. Nothing for a component that was not there.
#[must_use]
pub fn uptime(outages: &[Outage], since: Timestamp, zone: &TimeZone, now: Timestamp, count: usize) -> Option<i64> {
    const WHOLE: i64 = 10_000;
    let today = now.to_jiff().to_zoned(zone.clone()).date();
    let first = today.saturating_sub(i64::try_from(count.saturating_sub(1)).unwrap_or(0).days());
    let from = start_of(first, zone).max(since);
    let span_us = i128::from(now.0) - i128::from(from.0);
    if span_us <= 0 {
        return None;
    }
    let down = |outage: &Outage| {
        let us = i128::from(outage.until.unwrap_or(now).min(now).since(outage.from.max(from)).as_micros());
        if outage.status == ComponentStatus::MajorOutage { us * 10 } else { us * 3 }
    };
    let down_us: i128 = outages.iter().map(down).sum();
    let up = (span_us * 10 - down_us).max(0) * i128::from(WHOLE) / (span_us * 10);
    i64::try_from(up).ok()
}

/// The colour of a day, from green over yellow and orange to red at an hour of outage, as StatusPage's bars have it.
#[must_use]
pub fn colour(weighted_s: i64) -> (u8, u8, u8) {
    const STOPS: [(i64, (u8, u8, u8)); 4] = [(0, (137, 199, 53)), (1_200, (241, 196, 15)), (2_000, (230, 126, 34)), (3_600, (231, 76, 60))];
    const GREEN: (u8, u8, u8) = (47, 204, 102);
    if weighted_s <= 0 {
        return GREEN;
    }
    let upper = STOPS.iter().position(|(at, _)| *at >= weighted_s).unwrap_or(STOPS.len() - 1);
    let ((from_s, from), (to_s, to)) = (STOPS[upper.saturating_sub(1)], STOPS[upper]);
    let part = (weighted_s.min(to_s) - from_s).max(0);
    let mix = |from: u8, to: u8| {
        let mixed = i64::from(from) + (i64::from(to) - i64::from(from)) * part / (to_s - from_s).max(1);
        u8::try_from(mixed).unwrap_or(to)
    };
    (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;
    use ComponentStatus as S;
    use proptest::prelude::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn zone() -> TimeZone {
        TimeZone::get("Europe/Copenhagen").expect("a zone")
    }

    #[test]
    fn an_outage_that_begins_just_now_is_one_already_and_grows_while_it_lasts() {
        let begun = at("2026-05-03T12:00:00Z");
        let lasts = [Outage { status: ComponentStatus::MajorOutage, from: begun, until: None }];
        let today = |now: Timestamp| days(&lasts, Timestamp(0), &TimeZone::UTC, now, 2).pop().expect("a day").major_s;
        assert_eq!((today(begun), today(begun.plus(Span::from_secs(90)))), (1, 90));
        let yesterday = days(&lasts, Timestamp(0), &TimeZone::UTC, begun, 2).remove(0);
        assert_eq!(yesterday.major_s, 0);
    }

    #[test]
    fn changes_become_outages_and_what_began_before_them_is_not_lost() {
        let changes = [
            (at("2026-03-28T10:00:00Z"), S::PartialOutage, S::MajorOutage),
            (at("2026-03-28T11:00:00Z"), S::MajorOutage, S::DegradedPerformance),
            (at("2026-03-28T12:00:00Z"), S::DegradedPerformance, S::Operational),
            (at("2026-03-28T13:00:00Z"), S::Operational, S::PartialOutage),
        ];
        let found = outages(&changes, S::PartialOutage, false);
        let told: Vec<_> = found.iter().map(|outage| (outage.status, outage.until.is_some())).collect();
        assert_eq!(told, [(S::PartialOutage, true), (S::MajorOutage, true), (S::PartialOutage, false)]);
    }

    #[test]
    fn nothing_is_concluded_from_a_history_that_is_cut() {
        let ends = [(at("2026-03-28T10:00:00Z"), S::MajorOutage, S::Operational)];
        assert_eq!(outages(&ends, S::Operational, true), []);
        let begins = [(at("2026-03-28T10:00:00Z"), S::Operational, S::MajorOutage)];
        assert_eq!(outages(&begins, S::MajorOutage, true).len(), 1);
    }

    #[test]
    fn what_has_been_out_since_before_its_history_is_out() {
        let out = outages(&[], S::MajorOutage, false);
        assert_eq!(uptime(&out, Timestamp(0), &zone(), at("2026-03-30T12:00:00Z"), DAYS), Some(0));
    }

    #[test]
    fn an_outage_over_midnight_in_copenhagen_is_split_between_the_days() {
        // 29 March 2026 has 23 hours there; midnight is 23:00Z before and 22:00Z after.
        let outage = Outage { status: S::MajorOutage, from: at("2026-03-28T22:30:00Z"), until: Some(at("2026-03-29T22:10:00Z")) };
        let days = days(&[outage], Timestamp(0), &zone(), at("2026-03-30T12:00:00Z"), 3);
        assert_eq!(days.iter().map(|day| day.date.as_str()).collect::<Vec<_>>(), ["2026-03-28", "2026-03-29", "2026-03-30"]);
        assert_eq!(days.iter().map(|day| day.major_s).collect::<Vec<_>>(), [1_800, 23 * 3_600, 600]);
    }

    #[test]
    fn days_before_the_component_was_made_are_not_known() {
        let days = days(&[], at("2026-03-29T12:00:00Z"), &zone(), at("2026-03-30T12:00:00Z"), 3);
        assert_eq!(days.iter().map(|day| day.is_known).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn the_percentage_weighs_partial_outages_and_is_cut_not_rounded() {
        let now = at("2026-03-30T12:00:00Z");
        let out = |status, hours: i64| vec![Outage { status, from: Timestamp(now.0 - hours * HOUR_US), until: None }];
        let since = Timestamp(now.0 - 1_000 * HOUR_US);
        assert_eq!(uptime(&[], since, &zone(), now, DAYS), Some(10_000));
        assert_eq!(uptime(&out(S::MajorOutage, 1), since, &zone(), now, DAYS), Some(9_990));
        assert_eq!(uptime(&out(S::PartialOutage, 1), since, &zone(), now, DAYS), Some(9_997));
        let a_minute = [Outage { status: S::MajorOutage, from: Timestamp(now.0 - 60_000_000), until: None }];
        assert_eq!(uptime(&a_minute, since, &zone(), now, DAYS), Some(9_999), "99.998 % is not shown as 100");
        assert_eq!(uptime(&[], now, &zone(), now, DAYS), None);
    }

    #[test]
    fn a_day_turns_from_green_to_red() {
        assert_eq!(colour(0), (47, 204, 102));
        assert_eq!(colour(1_200), (241, 196, 15));
        assert_eq!(colour(2_000), (230, 126, 34));
        assert_eq!(colour(3_600), (231, 76, 60));
        assert_eq!(colour(90_000), (231, 76, 60));
    }

    proptest! {
        #[test]
        fn no_day_is_out_for_longer_than_it_lasts_and_no_percentage_leaves_its_bounds(
            spans in prop::collection::vec((0_i64..3_000, 1_i64..600, any::<bool>()), 0..12),
        ) {
            let now = at("2026-03-30T12:00:00Z");
            let mut from = now.0 - 120 * 24 * HOUR_US;
            let mut found = Vec::new();
            for (gap, minutes, major) in spans {
                let begins = from + gap * 60_000_000;
                from = begins + minutes * 60_000_000;
                let status = if major { S::MajorOutage } else { S::PartialOutage };
                found.push(Outage { status, from: Timestamp(begins), until: (from < now.0).then_some(Timestamp(from)) });
            }
            for day in days(&found, Timestamp(0), &zone(), now, DAYS) {
                prop_assert!(day.major_s + day.partial_s <= 25 * 3_600, "{day:?}");
            }
            let share = uptime(&found, Timestamp(0), &zone(), now, DAYS).expect("a share");
            prop_assert!((0..=10_000).contains(&share));
        }

        #[test]
        fn condensed_outages_make_the_same_days_and_the_same_uptime_of_every_width(
            spans in prop::collection::vec((0_i64..2_000, 1_i64..900, any::<bool>()), 0..60), made_days_ago in 0_i64..130,
        ) {
            let now = at("2026-03-30T12:00:00Z");
            let mut from = now.0 - 120 * 24 * HOUR_US;
            let mut all = Vec::new();
            for (gap, minutes, major) in spans {
                let begins = from + gap * 60_000_000;
                from = begins + minutes * 60_000_000;
                let status = if major { S::MajorOutage } else { S::PartialOutage };
                if begins < now.0 {
                    all.push(Outage { status, from: Timestamp(begins), until: (from < now.0).then_some(Timestamp(from)) });
                }
            }
            // Nothing is out before it is there.
            let since = Timestamp(now.0 - made_days_ago * 24 * HOUR_US - HOUR_US);
            all.retain(|outage| outage.from >= since);
            let few = condensed(all.clone(), Timestamp(now.0 - 91 * 24 * HOUR_US), &zone(), 0);
            prop_assert!(few.len() <= 2 * 92 + 1);
            prop_assert_eq!(days(&few, since, &zone(), now, DAYS), days(&all, since, &zone(), now, DAYS));
            for count in [DAYS, 60, 30] {
                prop_assert_eq!(uptime(&few, since, &zone(), now, count), uptime(&all, since, &zone(), now, count));
            }
        }
    }
}
