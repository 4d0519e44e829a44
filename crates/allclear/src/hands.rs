//! Lets pages run tests: the web room knows no engine, and the engine no pages.

use std::collections::BTreeSet;

use allclear_domain::apitest::document::Test;
use allclear_domain::{TestId, Timestamp};
use allclear_engine::ByHand;
use allclear_web::{Runs, Trial};

/// The engine's hands, as pages use them.
pub(crate) struct Hands(pub(crate) ByHand);

impl Runs for Hands {
    fn try_out(&self, test: Test, environment: String) -> Trial {
        let hands = self.0.clone();
        Box::pin(async move { hands.try_out(test, environment).await })
    }

    fn not_passing(&self) -> BTreeSet<TestId> {
        self.0.not_passing()
    }

    fn recent(&self, test: &TestId) -> Vec<(bool, u32, Timestamp)> {
        self.0.recent(test).into_iter().map(|mark| (mark.passed, mark.took_ms, mark.at)).collect()
    }
}
