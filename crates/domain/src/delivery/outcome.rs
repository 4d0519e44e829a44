//! What a provider's answer means, and what follows from it.
//!
//! An answer is about one of six things, and each has its own consequence: the *provider* (it does not
//! work: try again, and let the breaker know), the *destination* (it must wait), the *receiver* (it
//! works and does not take the message now), the *channel* (its account or endpoint cannot be used:
//! every message fails until somebody mends it), the *message* itself (it never will arrive), or *this
//! machine* (it has no file descriptors or no memory).

use super::{Delivery, Purpose, Status};
use crate::incident::Urgency;
use crate::{Span, Timestamp};

/// A provider's answer, as far as it decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it.
    Accepted {
        /// Its reference.
        provider_id: String,
    },
    /// The provider failed: no answer, or an answer that speaks of its own trouble.
    Retry {
        /// Why.
        why: String,
        /// Not before this long, if the provider said so.
        after: Option<Span>,
        /// Whether this attempt may have had its effect all the same; then the next may be a repeat.
        may_have_worked: bool,
    },
    /// The provider works and asks this destination to wait. It costs no try.
    RateLimited {
        /// Why.
        why: String,
        /// How long to wait, if the provider said so.
        after: Option<Span>,
    },
    /// The receiver works and does not take the message now; it may later.
    Deferred {
        /// Why.
        why: String,
        /// Not before this long, if the receiver said so.
        after: Option<Span>,
    },
    /// This message can never arrive: its number, its room or its form is refused.
    Permanent {
        /// Why.
        why: String,
    },
    /// No message can arrive by this channel: its credential, account or permission is refused.
    ChannelBroken {
        /// Why.
        why: String,
    },
    /// The endpoint says that it is gone for good: nothing more is sent to it.
    Gone {
        /// Why.
        why: String,
    },
    /// The fault is on this machine: no file descriptors, no memory. It costs no try.
    LocalFault {
        /// Why.
        why: String,
    },
    /// The request may have been taken; no answer came.
    Unknown {
        /// What happened instead.
        why: String,
    },
}

impl Outcome {
    /// The word for it, for counting.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Retry { .. } | Self::Deferred { .. } => "retry",
            Self::RateLimited { .. } => "rate_limited",
            Self::Permanent { .. } => "failed",
            Self::ChannelBroken { .. } => "channel_broken",
            Self::Gone { .. } => "gone",
            Self::LocalFault { .. } => "local_fault",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why it was not accepted.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Retry { why, .. }
            | Self::RateLimited { why, .. }
            | Self::Deferred { why, .. }
            | Self::Permanent { why }
            | Self::ChannelBroken { why }
            | Self::Gone { why }
            | Self::LocalFault { why }
            | Self::Unknown { why } => Some(why),
        }
    }

    /// The same with another reason, for masking.
    #[must_use]
    pub fn map_why(self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Accepted { provider_id } => Self::Accepted { provider_id },
            Self::Retry { why, after, may_have_worked } => Self::Retry { why: change(&why), after, may_have_worked },
            Self::RateLimited { why, after } => Self::RateLimited { why: change(&why), after },
            Self::Deferred { why, after } => Self::Deferred { why: change(&why), after },
            Self::Permanent { why } => Self::Permanent { why: change(&why) },
            Self::ChannelBroken { why } => Self::ChannelBroken { why: change(&why) },
            Self::Gone { why } => Self::Gone { why: change(&why) },
            Self::LocalFault { why } => Self::LocalFault { why: change(&why) },
            Self::Unknown { why } => Self::Unknown { why: change(&why) },
        }
    }
}

/// What follows from an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Finished, as this status.
    Finished {
        /// The status.
        status: Status,
        /// Why, if it did not arrive.
        why: Option<String>,
    },
    /// Again at this time.
    Again {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
        /// Whether the message must say that it may be a repeat.
        possible_repeat: bool,
        /// Whether the attempt counts against the bound.
        costs_a_try: bool,
    },
}

/// The most attempts per delivery. For people that is, with the back-off below, about 40 minutes of a
/// provider's outage: escalation goes on meanwhile, so more would only page about what is long known.
/// For an endpoint that is tried over days it is three days and a half.
pub const MOST_ATTEMPTS: u32 = 12;

/// The most times that a page of unknown fate is sent again: at most one extra page per lost answer.
const MOST_REPEATS_OF_UNKNOWN: u32 = 3;

/// How often two channels are asked for a message that they refuse, together.
const MOST_REFUSALS_BY_TWO: u32 = 4;

/// How often a call is told to stop ringing: it stops by itself before a third time.
const MOST_HANG_UPS: u32 = 2;

/// How often an answer to a button is tried: after some seconds nobody looks for it any more.
const MOST_REPLIES: u32 = 3;

/// The longest pause between two attempts for people.
const LONGEST_BACKOFF: Span = Span::from_mins(5);

/// The longest pause that a provider may ask for; beyond it another method is quicker.
const LONGEST_ASKED_PAUSE: Span = Span::from_mins(10);

/// The longest pause that an endpoint of a program may ask for.
const LONGEST_ASKED_BY_PROGRAMS: Span = Span::from_mins(24 * 60);

/// How long attempts that cost no try go on.
const LONGEST_WAIT: Span = Span::from_mins(24 * 60);

/// The same for what is tried over days.
const LONGEST_WAIT_OVER_DAYS: Span = Span::from_mins(4 * 24 * 60);

/// The pauses, in seconds, before each further try of an endpoint that is tried over days; the last
/// one repeats. Standard Webhooks asks for tries "over days"; these make 3 days and 11 hours.
const PAUSES_OVER_DAYS_S: [i64; 11] = [1, 5, 30, 120, 600, 3_600, 3 * 3_600, 8 * 3_600, 20 * 3_600, 24 * 3_600, 27 * 3_600];

/// How long to wait before attempt `attempts + 1`: 1 s, 2 s, 4 s … at most 5 minutes.
#[must_use]
pub fn backoff(attempts: u32) -> Span {
    Span::from_secs(1_i64 << attempts.saturating_sub(1).min(20)).min(LONGEST_BACKOFF)
}

/// What a decision about an answer depends on besides the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Whether the provider drops a repeated request by itself: an unknown outcome is then settled by
    /// asking again.
    pub idempotent: bool,
    /// Whether another channel can carry the message: what the first one refused goes there at once.
    pub has_second: bool,
    /// Whether the receiver is an endpoint that is tried over days.
    pub over_days: bool,
    /// How long the message has waited since it was written.
    pub waited: Span,
}

impl Way {
    /// How long to wait before the next try. Endpoints that failed together are not tried together
    /// again: each message adds up to a tenth of the pause, by its id.
    fn pause(self, delivery: &Delivery) -> Span {
        if !self.over_days {
            return backoff(delivery.attempts);
        }
        let step = usize::try_from(delivery.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = PAUSES_OVER_DAYS_S.len() - 1;
        let pause_s = PAUSES_OVER_DAYS_S.get(step.min(last)).copied().unwrap_or(1);
        let hash = delivery.id.as_str().bytes().fold(7_i64, |hash, byte| hash.wrapping_mul(31).wrapping_add(i64::from(byte)) & 0xffff);
        Span::from_millis(pause_s * 1_000 + pause_s * 100 * (hash % 1_000) / 1_000)
    }

    /// How long attempts that cost no try go on.
    const fn longest_wait(self) -> Span {
        if self.over_days { LONGEST_WAIT_OVER_DAYS } else { LONGEST_WAIT }
    }

    /// The longest pause that a receiver may ask for.
    const fn longest_asked(self) -> Span {
        if self.over_days { LONGEST_ASKED_BY_PROGRAMS } else { LONGEST_ASKED_PAUSE }
    }

    /// The pause before the next try, where the provider may ask for a longer one.
    fn pause_asked(self, delivery: &Delivery, asked: Option<Span>) -> Span {
        asked.unwrap_or(Span::ZERO).min(self.longest_asked()).max(self.pause(delivery))
    }
}

/// Decides what follows from a provider's answer to the delivery's last attempt.
#[must_use]
pub fn settle(delivery: &Delivery, urgency: Urgency, outcome: Outcome, way: Way, at: Timestamp) -> Settled {
    // A receiver that drops repeats may be asked again as safely as one that refused.
    let outcome = match outcome {
        Outcome::Unknown { why } if way.idempotent => Outcome::Retry { why, after: None, may_have_worked: false },
        // A secret may be mended within days, and a program cannot know what it missed.
        Outcome::ChannelBroken { why } if way.over_days => Outcome::Deferred { why, after: None },
        Outcome::Accepted { .. }
        | Outcome::Retry { .. }
        | Outcome::RateLimited { .. }
        | Outcome::Deferred { .. }
        | Outcome::Permanent { .. }
        | Outcome::ChannelBroken { .. }
        | Outcome::Gone { .. }
        | Outcome::LocalFault { .. }
        | Outcome::Unknown { .. } => outcome,
    };
    let again =
        |pause: Span, why: String, possible_repeat: bool| Settled::Again { at: at.plus(pause), why, possible_repeat, costs_a_try: true };
    // What costs no try is slowed down by how long it has gone on.
    let free = |asked: Option<Span>, why: String| {
        if way.waited >= way.longest_wait() {
            return Settled::Finished { status: Status::Parked, why: Some(why) };
        }
        let grown = Span::from_micros(way.waited.as_micros() / 8).min(LONGEST_BACKOFF);
        let pause = asked.map_or(grown, |asked| asked.min(way.longest_asked())).max(Span::from_secs(1));
        Settled::Again { at: at.plus(pause), why, possible_repeat: false, costs_a_try: false }
    };
    let attempts = delivery.attempts;
    let other_untried = way.has_second && attempts <= 1;
    if let Some(most) = most_tries(delivery.purpose)
        && attempts >= most
        && let Some(why) = outcome.why()
    {
        return Settled::Finished { status: Status::Failed, why: Some(why.to_owned()) };
    }
    match outcome {
        // No receipt follows, and neither is a message that must be known to have arrived.
        Outcome::Accepted { .. } if matches!(delivery.purpose, Purpose::HangUp | Purpose::Reply) => {
            Settled::Finished { status: Status::Delivered, why: None }
        }
        Outcome::Accepted { .. } => Settled::Finished { status: Status::Accepted, why: None },
        // What the first cannot take now goes by the second at once.
        Outcome::RateLimited { why, .. } if other_untried => again(Span::ZERO, why, false),
        Outcome::RateLimited { why, after } => free(after, why),
        Outcome::LocalFault { why } => free(None, why),
        Outcome::Permanent { why } | Outcome::ChannelBroken { why } | Outcome::Gone { why } => {
            if other_untried {
                return again(Span::ZERO, why, false);
            }
            // The one that refused may be the one that is broken: each way gets a second try.
            if way.has_second && attempts < MOST_REFUSALS_BY_TWO {
                return again(way.pause(delivery), why, false);
            }
            Settled::Finished { status: Status::Failed, why: Some(why) }
        }
        Outcome::Retry { why, may_have_worked, .. } if other_untried => again(Span::ZERO, why, may_have_worked),
        Outcome::Deferred { why, .. } if other_untried => again(Span::ZERO, why, false),
        Outcome::Retry { why, .. } | Outcome::Deferred { why, .. } if attempts >= MOST_ATTEMPTS => {
            Settled::Finished { status: Status::Parked, why: Some(why) }
        }
        Outcome::Retry { why, after, may_have_worked } => again(way.pause_asked(delivery, after), why, may_have_worked && !way.idempotent),
        Outcome::Deferred { why, after } => again(way.pause_asked(delivery, after), why, false),
        Outcome::Unknown { why } => {
            let pages = delivery.purpose == Purpose::Page && urgency == Urgency::High;
            let may_repeat = delivery.purpose == Purpose::State || pages;
            if may_repeat && attempts < MOST_REPEATS_OF_UNKNOWN {
                again(backoff(attempts), why, true)
            } else {
                Settled::Finished { status: Status::Unknown, why: Some(why) }
            }
        }
    }
}

/// How often a message of this purpose is tried at most, where that is less than for others.
const fn most_tries(purpose: Purpose) -> Option<u32> {
    match purpose {
        Purpose::HangUp => Some(MOST_HANG_UPS),
        Purpose::Reply => Some(MOST_REPLIES),
        Purpose::Page | Purpose::State | Purpose::Note | Purpose::AllClear | Purpose::Mirror | Purpose::Notice => None,
    }
}
