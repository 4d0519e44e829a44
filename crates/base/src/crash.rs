//! Named crash points: places between two durable states where the crash harness stops the process dead.
//!
//! A point costs one relaxed load while none is armed. [`arm`] is called once, by the binary, when the harness
//! asks for it; the process then ends at the n-th passage without running a destructor or flushing anything.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Every crash point of the product, so that the harness can visit each one. That between the statements of a migration is
/// passed once in a database's life; a test of its own visits it.
pub const POINTS: &[&str] = &[
    "probe.before_debt",
    "probe.after_debt",
    "probe.after_request",
    "probe.before_teardown",
    "probe.after_teardown",
    "probe.after_settle",
    "judge.before_evidence",
    "judge.after_evidence",
    "judge.after_commit",
    "dispatch.after_claim",
    "dispatch.after_send",
    "dispatch.after_outcome",
    "timer.before_fire",
    "timer.after_fire",
    "store.before_commit",
    "store.after_commit",
    "hook.after_commit",
    "publish.after_write",
    "migrate.statement",
    "start.after_migrate",
    "start.after_catalog",
    "apply.after_commit",
    "event.after_commit",
    "heartbeat.after_commit",
];

static ARMED: AtomicBool = AtomicBool::new(false);
static LEFT: AtomicU64 = AtomicU64::new(0);
static NAME: OnceLock<String> = OnceLock::new();

/// Arms the point `name`: its `passage`-th passage (1 is the first) ends the process.
///
/// # Errors
/// The list of known points when `name` is none of them.
pub fn arm(name: &str, passage: u64) -> Result<(), String> {
    if !POINTS.contains(&name) {
        return Err(format!("unknown crash point {name:?}; known: {}", POINTS.join(", ")));
    }
    LEFT.store(passage.max(1), Ordering::SeqCst);
    if NAME.set(name.to_owned()).is_ok() {
        ARMED.store(true, Ordering::SeqCst);
    }
    Ok(())
}

/// Passes the point `name`; ends the process if it is armed and this is the passage asked for.
pub fn point(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "crash point {name} is not listed in POINTS");
    if ARMED.load(Ordering::Relaxed) && NAME.get().is_some_and(|armed| armed == name) {
        passed();
    }
}

#[cold]
fn passed() {
    if LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}
