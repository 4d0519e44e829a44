//! When a test counts as failing: runs are folded in slot order per location, and locations into a quorum.
//!
//! A result older than the last one judged changes history only. An inconclusive result counts neither way, but
//! when nothing else comes for three intervals the test is *blind*, which is an alert of its own.

use serde::{Deserialize, Serialize};

use super::report::Verdict;
use crate::{Span, Timestamp};

/// How a test stands in one environment and location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Standing {
    /// The slot (or start, for a run by hand) of the last result that counted; nothing before the first. One more pass
    /// after a pass is not worth a write: as it is stored it may be older, and the runs themselves say how far it is.
    pub judged_until: Option<Timestamp>,
    /// Consecutive failures up to now.
    pub failures: u32,
    /// Consecutive passes since the last failure, as far as they had to be counted.
    pub passes: u32,
    /// Whether the location counts as failing.
    pub failing: bool,
    /// Since when every result was inconclusive.
    pub blind_since: Option<Timestamp>,
    /// Whether it has been inconclusive for too long.
    pub blind: bool,
}

impl Standing {
    /// Whether the last result was a pass and nothing is wrong: one more pass changes nothing.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.judged_until.is_some() && self.failures == 0 && !self.failing && self.blind_since.is_none() && !self.blind
    }
}

/// One result, as far as judging needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Result<'a> {
    /// The slot that it was for, or its start.
    pub slot: Timestamp,
    /// What came of it.
    pub verdict: &'a Verdict,
}

/// From how many results on a location changes its mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Consecutive failures until it counts as failing; at least 1.
    pub after_failures: u32,
    /// Consecutive passes until it counts as passing; at least 1.
    pub after_passes: u32,
    /// The schedule's interval; nothing for a test that only runs by hand.
    pub interval: Option<Span>,
}

/// What a result did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fold {
    /// The standing after it.
    Counted(Standing),
    /// The same, one pass further: there is nothing to write.
    OneMorePass(Standing),
    /// It came too late to count; the run is kept all the same.
    HistoryOnly(NotCounted),
}

/// Why a result changes history only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCounted {
    /// A later slot was judged already.
    LaterSlotJudged,
    /// It is older than two intervals.
    OlderThanTwoIntervals,
    /// The test cannot be run as it is written.
    Misconfigured,
}

/// After this many intervals of inconclusive results a test counts as blind.
const INTERVALS_UNTIL_BLIND: i64 = 3;

/// Folds one result into a standing. `now` is when it is judged.
#[must_use]
pub fn fold(standing: &Standing, result: &Result<'_>, thresholds: Thresholds, now: Timestamp) -> Fold {
    if matches!(result.verdict, Verdict::Misconfigured { .. }) {
        return Fold::HistoryOnly(NotCounted::Misconfigured);
    }
    if standing.judged_until.is_some_and(|until| result.slot <= until) {
        return Fold::HistoryOnly(NotCounted::LaterSlotJudged);
    }
    if thresholds.interval.is_some_and(|interval| now.since(result.slot) > interval.times(2).max(LATEST_TOLERATED)) {
        return Fold::HistoryOnly(NotCounted::OlderThanTwoIntervals);
    }
    let mut next = standing.clone();
    next.judged_until = Some(result.slot);
    match result.verdict {
        Verdict::Passed if standing.is_calm() => return Fold::OneMorePass(next),
        Verdict::Passed => {
            next.passes = standing.passes.saturating_add(1);
            next.failures = 0;
            next.failing = standing.failing && next.passes < thresholds.after_passes.max(1);
            see(&mut next);
        }
        Verdict::Failed(_) => {
            next.failures = standing.failures.saturating_add(1);
            next.passes = 0;
            next.failing = standing.failing || next.failures >= thresholds.after_failures.max(1);
            see(&mut next);
        }
        Verdict::Inconclusive { .. } => {
            let since = *next.blind_since.get_or_insert(result.slot);
            let patience = thresholds.interval.map(|interval| interval.times(INTERVALS_UNTIL_BLIND));
            next.blind = patience.is_some_and(|patience| result.slot.since(since) >= patience);
        }
        Verdict::Misconfigured { .. } => {}
    }
    Fold::Counted(next)
}

/// A run may last ten minutes: a result is not too old while its own run could have lasted that long.
const LATEST_TOLERATED: Span = Span::from_mins(11);

fn see(standing: &mut Standing) {
    standing.blind_since = None;
    standing.blind = false;
}

/// What an alert should do after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertStep {
    /// Open it, or count one more trigger if it is open.
    Trigger,
    /// Resolve it.
    Resolve,
    /// Leave it as it is.
    Stay,
}

/// Decides for one test and environment over all its locations.
///
/// `failing` locations count as failing now; `failed_now` says whether this batch brought a failing result, so
/// that an alert resolved by hand opens again with the next failing run and not with the next pass elsewhere.
#[must_use]
pub fn alert_step(open: bool, failing: usize, quorum: u32, failed_now: bool) -> AlertStep {
    let quorum = usize::try_from(quorum.max(1)).unwrap_or(usize::MAX);
    match (failing >= quorum, open) {
        (true, _) if failed_now => AlertStep::Trigger,
        (false, true) => AlertStep::Resolve,
        (true, _) | (false, false) => AlertStep::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Failure;
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000_000;

    fn failed() -> Verdict {
        Verdict::Failed(Failure { step: "s".into(), message: "m".into() })
    }

    fn inconclusive() -> Verdict {
        Verdict::Inconclusive { why: "canaries fail".into() }
    }

    fn thresholds(after_failures: u32, after_passes: u32) -> Thresholds {
        Thresholds { after_failures, after_passes, interval: Some(Span::from_mins(5)) }
    }

    fn run_through(verdicts: &[Verdict], thresholds: Thresholds) -> Vec<Standing> {
        let mut standing = Standing::default();
        let mut seen = Vec::new();
        for (n, verdict) in verdicts.iter().enumerate() {
            let slot = Timestamp(i64::try_from(n + 1).expect("small") * 5 * MINUTE);
            match fold(&standing, &Result { slot, verdict }, thresholds, slot) {
                Fold::Counted(next) | Fold::OneMorePass(next) => standing = next,
                Fold::HistoryOnly(why) => panic!("{why:?}"),
            }
            seen.push(standing.clone());
        }
        seen
    }

    #[test]
    fn a_location_fails_after_the_threshold_and_recovers_after_its_own() {
        let seen = run_through(&[failed(), failed(), Verdict::Passed, failed(), Verdict::Passed, Verdict::Passed], thresholds(2, 2));
        let failing: Vec<bool> = seen.iter().map(|s| s.failing).collect();
        assert_eq!(failing, [false, true, true, true, true, false]);
    }

    #[test]
    fn inconclusive_results_count_neither_way_and_blind_the_test_after_three_intervals() {
        let seen =
            run_through(&[failed(), inconclusive(), inconclusive(), inconclusive(), inconclusive(), Verdict::Passed], thresholds(1, 1));
        assert!(seen[..5].iter().all(|s| s.failing), "an inconclusive result must not clear a failure");
        assert_eq!(seen.iter().map(|s| s.blind).collect::<Vec<_>>(), [false, false, false, false, true, false]);
    }

    #[test]
    fn a_result_of_an_earlier_slot_changes_history_only() {
        let seen = run_through(&[Verdict::Passed, Verdict::Passed], thresholds(1, 1));
        let late = Result { slot: Timestamp(7 * MINUTE), verdict: &failed() };
        let fold = fold(&seen[1], &late, thresholds(1, 1), Timestamp(10 * MINUTE));
        assert_eq!(fold, Fold::HistoryOnly(NotCounted::LaterSlotJudged));
    }

    #[test]
    fn one_more_pass_after_a_pass_changes_nothing_and_any_other_pass_does() {
        let seen = run_through(&[Verdict::Passed, failed(), Verdict::Passed, inconclusive()], thresholds(2, 1));
        let pass = Result { slot: Timestamp(60 * MINUTE), verdict: &Verdict::Passed };
        let folds = |standing: &Standing| fold(standing, &pass, thresholds(2, 1), Timestamp(60 * MINUTE));
        for (standing, same) in [(&Standing::default(), false), (&seen[0], true), (&seen[1], false), (&seen[2], true), (&seen[3], false)] {
            let judged = Standing { judged_until: Some(pass.slot), ..standing.clone() };
            assert_eq!(folds(standing) == Fold::OneMorePass(judged), same, "{standing:?}");
        }
    }

    #[test]
    fn a_result_older_than_two_intervals_changes_history_only() {
        let result = Result { slot: Timestamp(5 * MINUTE), verdict: &failed() };
        let fold = fold(&Standing::default(), &result, thresholds(1, 1), Timestamp(17 * MINUTE));
        assert_eq!(fold, Fold::HistoryOnly(NotCounted::OlderThanTwoIntervals));
    }

    #[test]
    fn an_alert_opens_at_the_quorum_and_resolves_below_it() {
        assert_eq!(alert_step(false, 1, 2, true), AlertStep::Stay);
        assert_eq!(alert_step(false, 2, 2, true), AlertStep::Trigger);
        assert_eq!(alert_step(true, 2, 2, false), AlertStep::Stay);
        assert_eq!(alert_step(true, 1, 2, false), AlertStep::Resolve);
    }

    #[test]
    fn an_alert_resolved_by_hand_opens_again_only_with_a_failing_run() {
        assert_eq!(alert_step(false, 1, 1, false), AlertStep::Stay);
        assert_eq!(alert_step(false, 1, 1, true), AlertStep::Trigger);
    }

    proptest! {
        #[test]
        fn a_location_counts_as_failing_only_with_enough_failures_and_never_after_enough_passes(
            kinds in proptest::collection::vec(0_u8..3, 1..40), after_failures in 1_u32..4, after_passes in 1_u32..4
        ) {
            let verdicts: Vec<Verdict> = kinds.iter().map(|k| match k { 0 => Verdict::Passed, 1 => failed(), _ => inconclusive() }).collect();
            for standing in run_through(&verdicts, thresholds(after_failures, after_passes)) {
                prop_assert!(standing.failures < after_failures || standing.failing);
                prop_assert!(standing.passes < after_passes || !standing.failing);
                prop_assert!(standing.failures == 0 || standing.passes == 0);
            }
        }
    }
}
