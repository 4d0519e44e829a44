//! API tests: what they are, how a response is examined, and when a test counts as failing.

pub mod compare;
pub mod difference;
pub mod document;
pub mod judge;
pub mod path;
pub mod report;
pub mod slots;
pub mod template;
