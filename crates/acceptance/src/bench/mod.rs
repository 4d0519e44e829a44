//! The figures of `docs/benchmarks.md`: each as a ratio, both sides in one run on one machine.

mod app;
pub mod bare;
mod crowd;
mod events;
mod latency;
mod page;
mod pages;
mod peer;
mod process;
mod retention;
mod scheduled;
mod store;

use std::path::PathBuf;
use std::time::Duration;

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One figure only: store, events, scheduled, latency, storm, many, hanging, provider, page, app or retention.
    #[arg(long)]
    pub only: Option<String>,
    /// Seconds per figure.
    #[arg(long, default_value_t = 40)]
    pub seconds: u64,
}

type Figure = fn(Duration) -> anyhow::Result<()>;

const FIGURES: &[(&str, Figure)] = &[
    ("store", store::measure),
    ("events", events::measure),
    ("scheduled", scheduled::measure),
    ("latency", latency::measure),
    ("storm", crowd::storm),
    ("many", crowd::many),
    ("hanging", pages::beside_runs),
    ("provider", pages::beside_a_provider),
    ("page", page::measure),
    ("app", app::measure),
    ("retention", retention::measure),
];

/// Measures and prints.
///
/// # Errors
/// A figure that cannot be measured; a target that was missed is printed as such and fails in the end.
pub fn run(args: &Args) -> anyhow::Result<()> {
    println!("machine: {}", process::machine());
    let mut failed = Vec::new();
    for (name, measure) in FIGURES.iter().filter(|(name, _)| args.only.as_deref().is_none_or(|only| only == *name)) {
        println!("\n== {name}");
        if let Err(error) = measure(Duration::from_secs(args.seconds)) {
            println!("MISSED: {error:#}");
            failed.push(*name);
        }
    }
    if failed.is_empty() { Ok(()) } else { anyhow::bail!("not reached: {}", failed.join(", ")) }
}

/// A folder on the disk that the project stands on: a temporary one may lie in memory, where a sync costs nothing.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::fs::create_dir_all(&target)?;
    tempfile::Builder::new().prefix("bench-").tempdir_in(target)
}

/// A quantile of measured times.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index into a list")]
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
