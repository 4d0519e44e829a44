//! The outside world in miniature: the live-streaming API of the story, a telephone (Twilio), a
//! Slack, a mail server, an endpoint for webhooks, the real PagerDuty and StatusPage.
//!
//! Each is a pure `handle(state, request) → reply` under an HTTP skin ([`server`]); stateful, and
//! able to misbehave as the real ones do: drop an answer after it had its effect, delay, refuse,
//! duplicate a callback. What happened is read, and what is to happen is set, under `/_stage/`.

pub mod endpoint;
pub mod facts;
pub mod faults;
mod house;
pub mod live;
pub mod mailbox;
pub mod pagerduty;
pub mod phone;
pub mod rates;
pub mod server;
pub mod slack;
pub mod statuspage;
pub mod wire;

pub use house::Violation;
pub use rates::Rates;
pub use server::Stage;
pub use wire::{Answer, Callback, Player, Reply, Request, Response};
