//! Each pair of use cases on two connections to PostgreSQL: the one stands still between two of its statements while
//! the other runs until it has ended or waits for a lock. However they meet, the database ends as if one of them had
//! run after the other.

mod arena;
mod cases;
mod gate;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::bail;

use arena::Arena;
use cases::{CASES, set_scene};

/// What is interleaved.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The PostgreSQL server.
    #[arg(long)]
    pub database: String,
    /// Places within each first use case at which the second one comes; all of them when absent.
    #[arg(long)]
    pub places: Option<usize>,
    /// Only pairs with this use case.
    #[arg(long)]
    pub only: Option<String>,
}

/// Pairs that are played side by side, each in a database of its own.
const WORKERS: usize = 2;

/// What a database holds, and what the first and the second were answered.
type End = (Vec<String>, String, String);

/// Plays every pair.
///
/// # Errors
/// The first pair whose end is none of the two serial ones.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let scene = crate::postgres::fresh_database(&args.database)?;
    let known = set_scene(&scene)?;
    let arenas = (0..WORKERS).map(|_| Arena::new(&scene, &known)).collect::<anyhow::Result<Vec<_>>>()?;
    let all: Vec<(usize, usize)> = (0..CASES.len()).flat_map(|a| (0..CASES.len()).map(move |b| (a, b))).collect();
    let serial = Mutex::new(BTreeMap::new());
    shared(&arenas, &all, |arena, pair| {
        let end = arena.serial(pair)?;
        serial.lock().unwrap_or_else(PoisonError::into_inner).insert(pair, end);
        Ok(())
    })?;
    let serial = serial.into_inner().unwrap_or_else(PoisonError::into_inner);
    let wanted = |case: usize| args.only.as_ref().is_none_or(|only| CASES[case].name == only);
    let pairs: Vec<(usize, usize)> = all.into_iter().filter(|(a, b)| wanted(*a) || wanted(*b)).collect();
    let places = AtomicUsize::new(0);
    shared(&arenas, &pairs, |arena, (first, second)| {
        let (before, statements) = &serial[&(first, second)];
        let (rows, said_second, said_first) = serial[&(second, first)].0.clone();
        let after = (rows, said_first, said_second);
        for at in chosen(*statements, args.places, first + second) {
            let end = arena.interleaved(first, second, at)?;
            places.fetch_add(1, Ordering::SeqCst);
            if end != *before && end != after {
                let (first, second) = (CASES[first].name, CASES[second].name);
                let difference = difference(&end, before, &after);
                bail!("\"{first}\", held before its statement {at}, and \"{second}\" end as neither order would:\n{difference}");
            }
        }
        Ok(())
    })?;
    println!("{} pairs of use cases met at {} places; each end was a serial one", pairs.len(), places.into_inner());
    Ok(())
}

/// Does `work` for each pair, a pair at a time in each arena.
fn shared(
    arenas: &[Arena],
    pairs: &[(usize, usize)],
    work: impl Fn(&Arena, (usize, usize)) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let (next, work) = (&AtomicUsize::new(0), &work);
    std::thread::scope(|scope| {
        let one = |arena| {
            move || {
                while let Some(pair) = pairs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    // The others stop after their pair.
                    work(arena, *pair).inspect_err(|_| next.store(pairs.len(), Ordering::SeqCst))?;
                }
                Ok(())
            }
        };
        let workers: Vec<_> = arenas.iter().map(|arena| scope.spawn(one(arena))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a pair panicked")))
    })
}

/// Places within a use case of so many statements: all, or `most` of them, at even distances from a start that
/// differs from pair to pair.
fn chosen(statements: usize, most: Option<usize>, start: usize) -> Vec<usize> {
    let most = most.unwrap_or(statements).clamp(1, statements.max(1));
    (0..most).map(|n| (start + n * statements.div_ceil(most)) % statements.max(1)).collect()
}

/// The begin of a row says which one it is.
const LONGEST_SHOWN: usize = 400;

/// What an end has that neither serial one has.
fn difference(end: &End, before: &End, after: &End) -> String {
    let short = |row: &String| row.chars().take(LONGEST_SHOWN).collect::<String>();
    let mut text = format!("  answers: {:?}, {:?}\n", end.1, end.2);
    for (name, serial) in [("the first before the second", before), ("the second before the first", after)] {
        text.push_str(&format!("  against {name} (answers {:?}, {:?}):\n", serial.1, serial.2));
        end.0.iter().filter(|row| !serial.0.contains(row)).for_each(|row| text.push_str(&format!("    + {}\n", short(row))));
        serial.0.iter().filter(|row| !end.0.contains(row)).for_each(|row| text.push_str(&format!("    - {}\n", short(row))));
    }
    text
}
