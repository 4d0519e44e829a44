//! Ids that a re-run draws again: the seed is drawn outside the transaction and captured.

use allclear_base::{Rng, SeededRng, id};

/// A seed from which a closure draws the same ids however often it runs.
#[derive(Debug, Clone, Copy)]
pub struct Draw(u64);

impl Draw {
    /// Draws a seed.
    #[must_use]
    pub fn new(rng: &dyn Rng) -> Self {
        Self(rng.next_u64())
    }

    /// The ids, from the first.
    #[must_use]
    pub(crate) fn ids(self) -> Ids {
        Ids(SeededRng::new(self.0))
    }
}

/// A sequence of ids.
pub(crate) struct Ids(SeededRng);

impl Ids {
    pub(crate) fn statuspage(&self) -> String {
        id::statuspage(&self.0)
    }

    pub(crate) fn pagerduty(&self) -> String {
        id::pagerduty(&self.0)
    }

    pub(crate) fn pagerduty_record(&self) -> String {
        id::pagerduty_record(&self.0)
    }

    pub(crate) fn uuid4(&self) -> String {
        id::uuid4(&self.0)
    }

    pub(crate) fn uuid7(&self, now: allclear_domain::Timestamp) -> String {
        id::uuid7(&self.0, now.0)
    }
}
