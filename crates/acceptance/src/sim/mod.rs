//! A seeded simulation of the whole loop in virtual time: the real engine, store, probe, channels and API handlers;
//! no socket, no thread. The outside world is the stage on pipes in memory; it flips, drops, delays and duplicates,
//! people answer, the process is killed between any two steps, and the invariants hold all the while.

mod day;
mod executor;
mod far;
mod pipe;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::bail;

/// Which days are played.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    pub runs: u64,
    /// Play on this PostgreSQL server instead of SQLite in memory.
    #[arg(long)]
    pub database: Option<String>,
    /// Plant each known bug in turn and see that it is found.
    #[arg(long)]
    pub planted: bool,
}

/// Seeds within which a planted bug must be found.
const SEEDS_FOR_A_BUG: u64 = 1_000;

/// Plays the days.
///
/// # Errors
/// The first violation with its seed, or a planted bug that was not found.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.planted {
        return find_planted(args.seed);
    }
    let next = AtomicU64::new(args.seed);
    let played = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| play_some(args, &next))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a day panicked"))).collect::<Vec<_>>()
    });
    let mut totals = day::Totals::default();
    for part in played {
        totals.add(&part?);
    }
    println!("{} seeds: {totals}", args.runs);
    Ok(())
}

/// Days that are played side by side; each has its own database and clock.
const WORKERS: usize = 2;

fn play_some(args: &Args, next: &AtomicU64) -> anyhow::Result<day::Totals> {
    let mut totals = day::Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if seed >= args.seed + args.runs {
            return Ok(totals);
        }
        let played = day::play(seed, args.database.as_deref(), None)?;
        if let Some(violation) = played.violation {
            // The other worker stops after its day.
            next.store(u64::MAX / 2, Ordering::SeqCst);
            bail!("seed {seed}: {violation}\nreplay it with: cargo xtask sim --seed {seed} --runs 1");
        }
        totals.add(&played.totals);
    }
}

fn find_planted(first: u64) -> anyhow::Result<()> {
    let next = AtomicU64::new(0);
    let search = || -> anyhow::Result<Vec<&str>> {
        let mut missed = Vec::new();
        while let Some((bug, _)) = allclear_store::PLANTED.get(usize::try_from(next.fetch_add(1, Ordering::SeqCst))?) {
            match first_violation(bug, first)? {
                Some((seed, violation)) => {
                    println!("{bug}: found with seed {seed}: {}", violation.lines().nth(1).unwrap_or(&violation).trim())
                }
                None => missed.push(*bug),
            }
        }
        Ok(missed)
    };
    let mut missed = Vec::new();
    let searched = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(search)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a day panicked"))).collect::<Vec<_>>()
    });
    for part in searched {
        missed.extend(part?);
    }
    if missed.is_empty() { Ok(()) } else { bail!("not found within {SEEDS_FOR_A_BUG} seeds: {}", missed.join(", ")) }
}

fn first_violation(bug: &str, first: u64) -> anyhow::Result<Option<(u64, String)>> {
    for seed in first..first + SEEDS_FOR_A_BUG {
        if let Some(violation) = day::play(seed, None, Some(bug))?.violation {
            return Ok(Some((seed, violation)));
        }
    }
    Ok(None)
}
