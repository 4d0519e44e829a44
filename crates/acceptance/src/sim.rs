//! Placeholder until the next commit.

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs.
///
/// # Errors
/// None yet.
pub fn run(_args: &Args) -> anyhow::Result<()> {
    Ok(())
}
