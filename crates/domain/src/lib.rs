//! The rules of AllClear, pure: types, state machines and decisions.
//!
//! Nothing here does I/O, reads a clock or draws a random number; time and ids are arguments, and decisions
//! come back as data with their reasons. Whoever wants to know why AllClear did something reads this crate.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod apitest;
pub mod catalog;
pub mod delivery;
pub mod escalation;
pub mod event;
pub mod forms;
pub mod ids;
pub mod incident;
pub mod oncall;
pub mod status;
pub mod time;

pub use ids::{
    AlertId, ChannelId, ComponentId, DeliveryId, HeartbeatId, IncidentId, IntegrationId, LocationName, PageId, PersonId, PolicyId, RuleId,
    RunId, ScheduleId, ServiceId, TestId,
};
pub use time::{Span, Timestamp};
