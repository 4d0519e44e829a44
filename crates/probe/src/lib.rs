//! Runs tests: template → request → extract → assert, then the teardown.
//!
//! A failing test is a report, never an error. What a test will have to clean up is on disk before the request
//! that makes it is sent (see [`DebtJournal`]).

mod canary;
mod debt;
mod exchange;
mod run;
mod schedule;
mod variables;

pub use debt::{Debt, DebtJournal};
pub use run::{Job, Runner};
pub use schedule::{Assignment, Begun, Finished, From, Item, Mark, Missed, REMEMBERED, Scheduler};
