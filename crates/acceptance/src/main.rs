//! `cargo xtask crash | flood | sim | interleave | bench` end up here.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Kills the real binary at every named point and at random.
    Crash(allclear_acceptance::crash::Args),
    /// Sends events while the process is killed, and looks for each that was accepted.
    Flood(allclear_acceptance::flood::Args),
    /// Plays seeded days in virtual time.
    Sim(allclear_acceptance::sim::Args),
    /// Lets pairs of use cases meet on two connections to PostgreSQL.
    Interleave(allclear_acceptance::interleave::Args),
    /// Takes pictures of every page.
    Pictures(allclear_acceptance::pictures::Args),
    /// Measures.
    Bench(allclear_acceptance::bench::Args),
    /// Exchanges and nothing else, for comparison.
    #[command(hide = true)]
    Bare(allclear_acceptance::bench::bare::Args),
    /// Serves the API without syncing commits, for the test that finds that out.
    #[command(hide = true)]
    Unsynced(allclear_acceptance::unsynced::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Crash(args) => allclear_acceptance::crash::run(&args),
        Task::Flood(args) => allclear_acceptance::flood::run(&args),
        Task::Sim(args) => allclear_acceptance::sim::run(&args),
        Task::Interleave(args) => allclear_acceptance::interleave::run(&args),
        Task::Pictures(args) => allclear_acceptance::pictures::run(&args),
        Task::Bench(args) => allclear_acceptance::bench::run(&args),
        Task::Bare(args) => allclear_acceptance::bench::bare::run(&args),
        Task::Unsynced(args) => allclear_acceptance::unsynced::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
