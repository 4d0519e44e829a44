//! How a provider fares as a whole. While it fails, messages are not spent on it one after the other: a single try at
//! a time finds out whether it is back.

use super::Outcome;
use crate::{Span, Timestamp};

/// Failures in a row after which only single tries are made: fewer happen by chance, more tell nothing new.
pub const FAILURES_UNTIL_OPEN: u32 = 5;

/// The pause before the first single try; it doubles with each that fails.
const FIRST_PAUSE: Span = Span::from_secs(1);

/// The longest pause between two tries: a provider that is back is found at least this soon.
const LONGEST_PAUSE: Span = Span::from_secs(30);

/// The breaker of one provider. Closed at first: everything may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    /// Failures since the last success.
    failures: u32,
    /// When the next single try may begin; nothing while closed.
    next_try: Option<Timestamp>,
}

impl Breaker {
    /// How many of `free` calls may begin at `now`.
    #[must_use]
    pub fn allows(&self, free: usize, now: Timestamp) -> usize {
        match self.next_try {
            None => free,
            Some(at) if at <= now => free.min(1),
            Some(_) => 0,
        }
    }

    /// When more may begin than now; nothing while closed.
    #[must_use]
    pub const fn next_try(&self) -> Option<Timestamp> {
        self.next_try
    }

    /// A call begins. While open it is the single try: the next one waits for its pause.
    #[must_use]
    pub fn begun(self, now: Timestamp) -> Self {
        Self { next_try: self.next_try.map(|_| now.plus(self.pause())), ..self }
    }

    /// A call ended. Any answer about the message, its destination or the channel, even a refusal,
    /// says that the provider works. A fault of this machine says nothing.
    #[must_use]
    pub fn ended(self, outcome: &Outcome, now: Timestamp) -> Self {
        match outcome {
            Outcome::Accepted { .. }
            | Outcome::Permanent { .. }
            | Outcome::RateLimited { .. }
            | Outcome::Deferred { .. }
            | Outcome::ChannelBroken { .. }
            | Outcome::Gone { .. } => Self::default(),
            Outcome::LocalFault { .. } => self,
            Outcome::Retry { .. } | Outcome::Unknown { .. } => {
                let failed = Self { failures: self.failures.saturating_add(1), ..self };
                let opens = failed.failures >= FAILURES_UNTIL_OPEN;
                Self { next_try: opens.then(|| now.plus(failed.pause())), ..failed }
            }
        }
    }

    fn pause(self) -> Span {
        let doublings = self.failures.saturating_sub(FAILURES_UNTIL_OPEN).min(10);
        FIRST_PAUSE.times(1 << doublings).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused() -> Outcome {
        Outcome::Retry { why: "connection refused".into(), after: None, may_have_worked: false }
    }

    fn accepted() -> Outcome {
        Outcome::Accepted { provider_id: "SM1".into() }
    }

    fn second(n: i64) -> Timestamp {
        Timestamp(n * 1_000_000)
    }

    #[test]
    fn a_provider_that_fails_in_a_row_is_tried_one_message_at_a_time_until_it_answers() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_UNTIL_OPEN {
            assert_eq!(breaker.allows(16, second(0)), 16);
            breaker = breaker.begun(second(0)).ended(&refused(), second(0));
        }
        assert_eq!(breaker.allows(16, second(0)), 0);
        assert_eq!(breaker.allows(16, second(1)), 1);
        breaker = breaker.begun(second(1));
        assert_eq!(breaker.allows(16, second(1)), 0, "one try at a time");
        breaker = breaker.ended(&refused(), second(1));
        assert_eq!((breaker.allows(16, second(2)), breaker.next_try()), (0, Some(second(3))), "the pause doubles");
        breaker = breaker.begun(second(3)).ended(&accepted(), second(4));
        assert_eq!(breaker.allows(16, second(4)), 16);
    }

    #[test]
    fn a_message_that_is_refused_for_its_own_fault_says_nothing_against_the_provider() {
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            breaker = breaker.ended(&Outcome::Permanent { why: "no such number".into() }, second(0));
        }
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn only_what_says_something_about_the_provider_opens_the_breaker() {
        let why = || "as it is".to_owned();
        let failing = [Outcome::Retry { why: why(), after: None, may_have_worked: false }, Outcome::Unknown { why: why() }];
        let telling_nothing_bad = [
            Outcome::RateLimited { why: why(), after: None },
            Outcome::Deferred { why: why(), after: None },
            Outcome::Permanent { why: why() },
            Outcome::ChannelBroken { why: why() },
            Outcome::Gone { why: why() },
            Outcome::LocalFault { why: why() },
        ];
        let after_ten = |outcome: &Outcome| (0..10).fold(Breaker::default(), |breaker, _| breaker.ended(outcome, second(0)));
        assert!(failing.iter().all(|outcome| after_ten(outcome).next_try().is_some()));
        assert!(telling_nothing_bad.iter().all(|outcome| after_ten(outcome).next_try().is_none()));
    }

    proptest! {
        #[test]
        fn whatever_happened_a_try_is_allowed_within_the_longest_pause(failed in proptest::collection::vec(any::<bool>(), 0..60)) {
            let (mut breaker, mut now) = (Breaker::default(), second(0));
            for failed in failed {
                now = breaker.next_try().map_or(now, |at| at.max(now));
                prop_assert!(breaker.allows(1, now) == 1);
                breaker = breaker.begun(now).ended(&if failed { refused() } else { accepted() }, now);
                prop_assert!(breaker.next_try().is_none_or(|at| at.since(now) <= LONGEST_PAUSE));
            }
        }
    }
}
