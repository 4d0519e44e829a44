//! The project's own tasks: `cargo xtask test | bench | crash | sim | interleave`.
//!
//! What a task needs of the system (PostgreSQL's server programs, a benchmark's peer) it finds, or installs through
//! the system's package manager, saying so.

mod packages;
mod postgres;
mod python;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail};

const HELP: &str = "cargo xtask TASK

  test          format, lints, all tests on both databases, short crash and simulation runs, the demo's script
  crash         the long crash run (at least 300 kills)
  flood         events while the process is killed: 100,000 accepted, none lost
  sim           the simulation: --seed N --runs M, or --planted
  interleave    every pair of use cases on two connections to PostgreSQL, met at every statement
  screenshots   pictures of every page, wide and narrow, light and dark: --out FOLDER
  postgres      a PostgreSQL cluster to run single tests against
  bench         the figures of docs/benchmarks.md";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match task.as_str() {
        "test" => test(),
        "crash" => acceptance(&["crash", "--kills", "300"], &rest),
        "flood" => acceptance(&["flood"], &rest),
        "sim" => acceptance(&["sim"], &rest),
        "interleave" => interleave(&rest),
        "screenshots" => screenshots(&rest),
        "bench" => bench(&rest),
        "postgres" => postgres(),
        _ => {
            println!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever waits wants to see how long it took")]
fn test() -> anyhow::Result<()> {
    let begun = Instant::now();
    let step = |name: &str| println!("\n== {name} ({} s)", begun.elapsed().as_secs());
    step("format");
    run(Command::new("cargo").args(["fmt", "--all", "--check"]))?;
    step("lints");
    run(Command::new("cargo").args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("PostgreSQL");
    let server = postgres::Server::start()?;
    println!("a cluster of our own listens on {}", server.url());
    packages::ensure("strace", "strace")?;
    packages::ensure("prometheus-alertmanager", "prometheus-alertmanager")?;
    packages::ensure("chromium", "chromium")?;
    let python = python::with_clients()?;
    step("build");
    run(Command::new("cargo").args(["build", "--workspace", "--all-targets"]))?;
    step("tests");
    run(Command::new("cargo")
        .args(["test", "--workspace"])
        .env("ALLCLEAR_TEST_POSTGRES", server.url())
        .env("ALLCLEAR_TEST_POSTGRES_CA", server.authority())
        .env("ALLCLEAR_TEST_PYTHON", &python.program)
        .env("ALLCLEAR_TEST_AXE", &python.axe))?;
    step("the story, from outside");
    run(Command::new("cargo").args(["run", "--quiet", "-p", "allclear", "--", "demo", "--script"]))?;
    step("short crash run");
    acceptance(&["crash", "--kills", "30"], &[])?;
    step("pairs of use cases on PostgreSQL");
    acceptance(&["interleave", "--places", "3", "--database", &server.url()], &[])?;
    step("short simulation");
    acceptance(&["sim", "--runs", "80"], &[])?;
    acceptance(&["sim", "--runs", "5", "--database", &server.url()], &[])?;
    step("everything passed");
    Ok(())
}

/// Runs a task of the acceptance crate on a freshly built binary.
fn acceptance(fixed: &[&str], more: &[String]) -> anyhow::Result<()> {
    run(Command::new("cargo").args(["build", "--quiet", "-p", "allclear", "-p", "allclear-acceptance"]))?;
    run(Command::new("cargo").args(["run", "--quiet", "-p", "allclear-acceptance", "--"]).args(fixed).args(more))
}

fn screenshots(more: &[String]) -> anyhow::Result<()> {
    packages::ensure("chromium", "chromium")?;
    // Slack's signs are pictures of a font.
    if !std::path::Path::new("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf").exists() {
        packages::install("fonts-noto-color-emoji")?;
    }
    acceptance(&["pictures"], more)
}

fn interleave(more: &[String]) -> anyhow::Result<()> {
    let server = postgres::Server::start()?;
    acceptance(&["interleave", "--database", &server.url()], more)
}

/// A cluster to test against by hand, for as long as somebody wants it.
fn postgres() -> anyhow::Result<()> {
    let server = postgres::Server::start()?;
    let (url, authority, python) = (server.url(), server.authority(), python::with_clients()?);
    println!(
        "export ALLCLEAR_TEST_POSTGRES={url} ALLCLEAR_TEST_POSTGRES_CA={} ALLCLEAR_TEST_PYTHON={} ALLCLEAR_TEST_AXE={}",
        authority.display(),
        python.program.display(),
        python.axe.display()
    );
    println!("press Enter to end it");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn bench(more: &[String]) -> anyhow::Result<()> {
    packages::ensure("prometheus-blackbox-exporter", "prometheus-blackbox-exporter")?;
    packages::ensure("prometheus-alertmanager", "prometheus-alertmanager")?;
    packages::ensure("wrk", "wrk")?;
    packages::ensure("curl", "curl")?;
    if !std::path::Path::new("/usr/sbin/nginx").exists() {
        packages::ensure("nginx", "nginx-light")?;
    }
    let server = postgres::Server::start()?;
    run(Command::new("cargo").args(["build", "--release", "-p", "allclear", "-p", "allclear-acceptance"]))?;
    run(Command::new("cargo")
        .args(["run", "--release", "--quiet", "-p", "allclear-acceptance", "--", "bench"])
        .args(more)
        .env("ALLCLEAR_TEST_POSTGRES", server.url()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        bail!("{} {} ended with {status}", command.get_program().to_string_lossy(), words.join(" "));
    }
    Ok(())
}
