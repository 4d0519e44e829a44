//! `allclear notify-test`: one real message through the outbox, and what its provider said.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use allclear_api::console::{TestMessage, TestMessageState};
use allclear_domain::delivery::Status;
use allclear_ops::view::means;
use anyhow::Context;

use crate::cli::NotifyTestArgs;
use crate::client::{Ask, answer};
use crate::say::say;

/// How long the command waits for the providers' answers: longer than a call to one may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long it waits for a receipt once a provider took the message. A telephone may be off.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(15);

/// How often it looks.
const EVERY: Duration = Duration::from_millis(300);

/// Sends the messages, waits for what comes of them, and prints a line for each.
#[expect(clippy::disallowed_methods, reason = "a command waits for what people wait for")]
pub(crate) fn notify_test(args: &NotifyTestArgs) -> anyhow::Result<ExitCode> {
    let wanted = TestMessage { person: args.person.clone(), method: args.method.clone() };
    let ids: Vec<String> =
        serde_json::from_str(&answer(&args.place, Ask::TestMessage(wanted))?).context("the server answered something else")?;
    let begun = Instant::now();
    loop {
        let text = answer(&args.place, Ask::TestMessages { ids: ids.clone() })?;
        let states: Vec<TestMessageState> = serde_json::from_str(&text).context("the server answered something else")?;
        let waited = begun.elapsed();
        let is_settled = states.iter().all(|state| match state.status {
            Status::Pending | Status::Claimed => waited >= PATIENCE,
            Status::Accepted if is_receipted(state) => waited >= RECEIPT_PATIENCE,
            _ => true,
        });
        if is_settled {
            let lines: String = states.iter().map(|state| format!("{}\n", line(state))).collect();
            say(&lines)?;
            let is_taken = |state: &TestMessageState| matches!(state.status, Status::Accepted | Status::Delivered);
            let all_taken = states.len() == ids.len() && states.iter().all(is_taken);
            return Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        std::thread::sleep(EVERY);
    }
}

/// Whether the provider tells later that the message arrived.
fn is_receipted(state: &TestMessageState) -> bool {
    matches!(state.by.as_str(), "sms" | "voice")
}

fn line(state: &TestMessageState) -> String {
    let what = match state.status {
        Status::Pending if state.attempts == 0 => "waits to be sent",
        Status::Pending | Status::Claimed => "is still being tried",
        Status::Accepted if is_receipted(state) => "was taken by the provider; no receipt yet",
        Status::Accepted => "was taken by the provider",
        Status::Delivered => "arrived",
        Status::Undelivered => "did not arrive",
        Status::Failed => "failed",
        Status::Cancelled => "was not needed any more",
        Status::Unknown => "was perhaps sent: no answer came",
        Status::Parked => "was given up after its last try",
    };
    let why = state.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!("{} by {} to {} {what}{why}", state.channel, means(&state.by), state.address)
}
