//! When a scheduled test is due: slots are multiples of the interval plus a phase that spreads tests evenly.
//!
//! The phase is a fixed hash of test, environment and location, so that every node and every restart agrees.

use std::collections::BTreeSet;

use crate::{LocationName, Span, TestId, Timestamp};

/// A schedule with everything that its slots depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    every_us: i64,
    phase_us: i64,
}

impl Slots {
    /// The slots of one test, environment and location.
    #[must_use]
    pub fn new(test: &TestId, environment: &str, location: &LocationName, every: Span) -> Self {
        let every_us = every.as_micros().max(1);
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for part in [test.as_str(), environment, location.as_str()] {
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        // FNV's high bits mix poorly for short texts; a final multiplication spreads them.
        let spread = u128::from(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * u128::from(every_us.unsigned_abs());
        Self { every_us, phase_us: i64::try_from(spread >> 64).unwrap_or(0) }
    }

    /// The first slot at or after `at`.
    #[must_use]
    pub fn at_or_after(self, at: Timestamp) -> Timestamp {
        let past = (at.0 - self.phase_us).rem_euclid(self.every_us);
        Timestamp(if past == 0 { at.0 } else { at.0.saturating_add(self.every_us - past) })
    }

    /// The first slot after `at`.
    #[must_use]
    pub fn after(self, at: Timestamp) -> Timestamp {
        self.at_or_after(Timestamp(at.0.saturating_add(1)))
    }

    /// How many slots lie in `from..to`.
    #[must_use]
    pub fn count(self, from: Timestamp, to: Timestamp) -> i64 {
        if to <= from {
            return 0;
        }
        let first = self.at_or_after(from);
        if first >= to { 0 } else { (to.0 - 1 - first.0) / self.every_us + 1 }
    }

    /// The slots in `from..to` that lie in none of `known`, as stretches: `known` are spans with both their ends.
    #[must_use]
    pub fn missing(self, from: Timestamp, to: Timestamp, known: &BTreeSet<(Timestamp, Timestamp)>) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut here = from;
        for (first, last) in known.iter().copied().chain([(to, to)]) {
            let slots = self.count(here, first.min(to));
            if slots > 0 {
                let first = self.at_or_after(here);
                stretches.push(Stretch { first, last: Timestamp(first.0 + (slots - 1) * self.every_us), slots });
            }
            here = here.max(Timestamp(last.0.saturating_add(1)));
        }
        stretches
    }
}

/// Whether a run that started at `started` is late for `slot`: more than a second, or a tenth of the interval.
#[must_use]
pub fn is_late(slot: Timestamp, started: Timestamp, every: Span) -> bool {
    started.since(slot) > Span::from_secs(1).max(Span::from_micros(every.as_micros() / 10))
}

/// Slots in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// How many.
    pub slots: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slots(test: &str, every: Span) -> Slots {
        Slots::new(&test.into(), "production", &"local".into(), every)
    }

    #[test]
    fn a_thousand_tests_are_spread_over_their_interval() {
        let every = Span::from_mins(1);
        let mut per_second = [0_u32; 60];
        for n in 0..1_000 {
            let first = slots(&format!("test-{n}"), every).at_or_after(Timestamp(0));
            per_second[usize::try_from(first.0 / 1_000_000).expect("within a minute")] += 1;
        }
        assert!(per_second.iter().all(|n| (3..50).contains(n)), "{per_second:?}");
    }

    proptest! {
        #[test]
        fn a_schedule_has_no_gap_and_no_double(start in 0_i64..4_000_000_000_000_000, every in 1_i64..100_000_000_000, name in "[a-z]{1,8}") {
            let slots = slots(&name, Span::from_micros(every));
            let first = slots.at_or_after(Timestamp(start));
            prop_assert!(first.0 >= start && first.0 - start < every);
            prop_assert_eq!(slots.after(first).0, first.0 + every);
            prop_assert_eq!(slots.at_or_after(first), first);
            prop_assert_eq!(slots.count(Timestamp(start), Timestamp(start + 7 * every)), 7);
        }

        #[test]
        fn every_slot_is_known_or_missing(until in 0_i64..300, spans in prop::collection::btree_set((0_i64..300, 0_i64..40), 0..8)) {
            let slots = slots("a", Span::from_micros(7));
            let known: BTreeSet<_> = spans.iter().map(|(first, length)| (Timestamp(*first), Timestamp(first + length))).collect();
            let missing = slots.missing(Timestamp(0), Timestamp(until), &known);
            for at in (0..until).map(Timestamp).filter(|at| slots.at_or_after(*at) == *at) {
                let is_known = known.iter().any(|(first, last)| *first <= at && at <= *last);
                let times = missing.iter().filter(|stretch| stretch.first <= at && at <= stretch.last).count();
                prop_assert_eq!(times, usize::from(!is_known), "{:?}", at);
            }
            let counted: i64 = missing.iter().map(|stretch| stretch.slots).sum();
            prop_assert!(missing.iter().all(|s| slots.count(s.first, Timestamp(s.last.0 + 1)) == s.slots) && counted <= slots.count(Timestamp(0), Timestamp(until)));
        }
    }
}
