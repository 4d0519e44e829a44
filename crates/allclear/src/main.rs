//! The binary: reads the environment and the command line, wires the rooms together, runs one command.

mod backup;
mod check;
mod cli;
mod client;
mod crowd;
mod demo;
mod hands;
mod http;
mod notify_test;
mod peer;
mod run;
mod say;
mod secrets;
mod server;
mod tls;
mod welcome;

use std::io::IsTerminal;
use std::process::ExitCode;

use allclear_ops::wish::Wish;
use clap::Parser;
use cli::{Cli, Command};

/// A tenth of what an event costs would go to the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Input that cannot be used.
const UNUSABLE: u8 = 2;

/// Ended before what was under way, as shells count an interrupt.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli);
    if let Err(error) = arm_crash_point() {
        eprintln!("allclear: {error}");
        return ExitCode::from(UNUSABLE);
    }
    let outcome = match cli.command {
        Command::Check(args) => Ok(check::check(&args)),
        Command::Run(args) => run::run(&args),
        Command::Up(args) => server::up(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Incidents(args) => client::incidents(&args),
        Command::Show(args) => client::show(&args),
        Command::Ack(args) => client::act(&args, Wish::Ack),
        Command::Resolve(args) => client::act(&args, Wish::Resolve),
        Command::Note(args) => client::act(&args.which, Wish::Note { text: args.text }),
        Command::Reassign(args) => client::act(&args.which, Wish::Reassign { people: args.people }),
        Command::Escalate(args) => client::act(&args.which, Wish::Escalate { level: args.level }),
        Command::Snooze(args) => client::act(&args.which, Wish::Snooze { span: args.span }),
        Command::Urgency(args) => client::set_urgency(&args),
        Command::Priority(args) => client::set_priority(&args),
        Command::Merge(args) => client::merge(&args),
        Command::Declare(args) => client::declare(&args),
        Command::Plan(args) => client::plan(&args),
        Command::Apply(args) => client::apply(&args),
        Command::Export(args) => client::export(&args),
        Command::Integrations(place) => client::integrations(&place),
        Command::Heartbeats(place) => client::heartbeats(&place),
        Command::Secret(args) => client::secret(&args),
        Command::User(args) => client::user(&args),
        Command::Token(args) => client::token(&args),
        Command::NotifyTest(args) => notify_test::notify_test(&args),
        Command::Schema => say::say(allclear_config::SCHEMA).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("allclear: {error:#}");
        ExitCode::FAILURE
    })
}

/// The log goes to the standard error; `--log json` for machines.
fn start_log(cli: &Cli) {
    use tracing_subscriber::EnvFilter;
    let quiet = !matches!(cli.command, Command::Up(_));
    let fallback = if quiet { "error" } else { "info" };
    let filter = cli.log_level.clone().unwrap_or_else(|| fallback.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(fallback));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    if cli.log == cli::LogFormat::Json { builder.json().init() } else { builder.init() }
}

/// The crash harness asks for the end of the process at a named point: `ALLCLEAR_CRASH=point:passage`.
#[expect(clippy::disallowed_methods, reason = "the environment is read in the binary")]
fn arm_crash_point() -> Result<(), String> {
    let Ok(wish) = std::env::var("ALLCLEAR_CRASH") else { return Ok(()) };
    let (name, passage) = wish.rsplit_once(':').unwrap_or((&wish, "1"));
    allclear_base::crash::arm(name, passage.parse().map_err(|_| format!("{passage:?} is not a number of passages"))?)
}
