//! Pages without an engine: where only routes or incidents are looked at.

use std::collections::BTreeSet;

use allclear_domain::apitest::document::Test;
use allclear_domain::{TestId, Timestamp};
use allclear_web::{Runs, Trial};

/// Runs no test.
pub struct NoRuns;

impl Runs for NoRuns {
    fn try_out(&self, _: Test, _: String) -> Trial {
        Box::pin(std::future::ready(None))
    }

    fn not_passing(&self) -> BTreeSet<TestId> {
        BTreeSet::new()
    }

    fn recent(&self, _: &TestId) -> Vec<(bool, u32, Timestamp)> {
        vec![]
    }
}
