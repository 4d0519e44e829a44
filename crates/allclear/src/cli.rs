//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use allclear_domain::Span;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::tls::Tls;

/// API tests, on-call paging and a public status page in one binary.
#[derive(Debug, Parser)]
#[command(name = "allclear", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// How the log is written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,
    /// What the log holds: error, warn, info, debug, or a filter such as `info,allclear_engine=debug`.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start AllClear with a small world around it and watch the whole loop.
    Demo(DemoArgs),
    /// Start AllClear.
    Up(UpArgs),
    /// Check files: every error at once, with its line and a suggestion.
    Check(CheckArgs),
    /// Run the tests in files, without a server. Exit code 0: passed, 1: a test failed, 2: unusable input.
    Run(RunArgs),
    /// List open incidents.
    Incidents(IncidentsArgs),
    /// Show an incident, a run or a component with everything behind it.
    Show(KeyArgs),
    /// Acknowledge an incident.
    Ack(KeyArgs),
    /// Resolve an incident.
    Resolve(KeyArgs),
    /// Write a note into an incident's timeline.
    Note(NoteArgs),
    /// Give an incident to other people: they are paged now.
    Reassign(ReassignArgs),
    /// Page an incident's next level now.
    Escalate(EscalateArgs),
    /// Put an incident off: quiet until then, paged again if it is still open.
    Snooze(SnoozeArgs),
    /// Make an incident louder or quieter.
    Urgency(UrgencyArgs),
    /// Say how much an incident matters: P1 to P5, or none.
    Priority(PriorityArgs),
    /// Let other incidents go on as one.
    Merge(MergeArgs),
    /// Open an incident by hand.
    Declare(DeclareArgs),
    /// Send one real message to a person, by each contact method or one, and tell what the provider said.
    /// Exit code 0: every provider took it; 1: one did not.
    NotifyTest(NotifyTestArgs),
    /// Show what applying files would change.
    Plan(FilesArgs),
    /// Make what the files' source owns be exactly what they say.
    Apply(ApplyArgs),
    /// Write the configuration as a file.
    Export(ExportArgs),
    /// Show the keys by which monitoring tools send events.
    Integrations(Reach),
    /// Show the addresses that heartbeats call, and when they last did.
    Heartbeats(Reach),
    /// Keep secrets on the server, sealed.
    Secret(SecretArgs),
    /// Manage who signs in.
    User(UserArgs),
    /// Make, list and revoke API tokens.
    Token(TokenArgs),
    /// Write the JSON Schema of the files, for editors.
    Schema,
    /// Write a verified copy of the embedded database, also while the server runs.
    Backup(BackupArgs),
    /// Put a copy in the database's place. Messages that are too old by then are listed, not sent.
    Restore(BackupArgs),
}

/// Where the data is.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = "allclear-data")]
    pub(crate) data: PathBuf,
    /// A PostgreSQL database in place of the embedded one.
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
}

/// Which AllClear is asked: the one with this data folder, or a server elsewhere.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reach {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// A server elsewhere, asked over HTTPS with the token in ALLCLEAR_TOKEN.
    #[arg(long, value_name = "URL", conflicts_with = "database")]
    pub(crate) server: Option<String>,
    /// Certificates in PEM form that are trusted besides the system's, for a server with a local authority.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) authority: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// The configuration: a file or a folder of *.yaml files. Where it cannot be applied, AllClear
    /// runs with the configuration on record and says so; it stops only where nothing is on record.
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: DataArgs,
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The address at which others reach AllClear; callbacks go there.
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub(crate) public_url: Option<String>,
    /// Speak TLS: a certificate with its key in PEM form, or `local` for one of an authority made on first use.
    #[arg(long, value_name = "CERT,KEY|local")]
    pub(crate) tls: Option<Tls>,
    /// A proxy that is believed when it names its client in X-Forwarded-For: an address, or a range such as 10.0.0.0/8.
    #[arg(long = "trusted-proxy", value_name = "ADDR")]
    pub(crate) trusted_proxies: Vec<allclear_egress::Cidr>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Play the story unattended and report each step as seen from outside; exit code 0 only if every step was seen.
    #[arg(long)]
    pub(crate) script: bool,
    /// Keep the data in this folder; without it, in a temporary one.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// Files or folders.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Files or folders with tests.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) paths: Vec<PathBuf>,
    /// The environment; needed where a test has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// A variable that replaces the environment's own: NAME=VALUE.
    #[arg(long = "var", value_name = "K=V")]
    pub(crate) vars: Vec<String>,
    /// Write a report: junit=FILE or json=FILE.
    #[arg(long = "report", value_name = "KIND=FILE")]
    pub(crate) reports: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct IncidentsArgs {
    /// Resolved ones as well.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// An incident's number or id; for `show` also a run's id or a component's name.
    #[arg(value_name = "WHICH")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NoteArgs {
    #[command(flatten)]
    pub(crate) which: KeyArgs,
    /// What to write.
    pub(crate) text: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReassignArgs {
    #[command(flatten)]
    pub(crate) which: KeyArgs,
    /// To whom: names or e-mail addresses.
    #[arg(required = true, value_name = "PERSON")]
    pub(crate) people: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EscalateArgs {
    #[command(flatten)]
    pub(crate) which: KeyArgs,
    /// This level in place of the next one; counted from 1.
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<usize>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SnoozeArgs {
    #[command(flatten)]
    pub(crate) which: KeyArgs,
    /// For how long: 30m, 4h, at most 7d.
    #[arg(value_name = "SPAN")]
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Loudness {
    High,
    Low,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UrgencyArgs {
    #[command(flatten)]
    pub(crate) which: KeyArgs,
    /// How loud.
    #[arg(value_enum)]
    pub(crate) urgency: Loudness,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DeclareArgs {
    /// What is wrong, in one line.
    pub(crate) title: String,
    /// The service.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: String,
    /// More about it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) details: Option<String>,
    /// How loud; the service's own urgency by default.
    #[arg(long, value_enum)]
    pub(crate) urgency: Option<Loudness>,
    /// To whom, in place of the service's escalation policy; may be repeated.
    #[arg(long = "to", value_name = "PERSON")]
    pub(crate) people: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NotifyTestArgs {
    /// To whom: a name or an e-mail address.
    pub(crate) person: String,
    /// The contact method's name; every one where none is named.
    pub(crate) method: Option<String>,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FilesArgs {
    /// A file or a folder of *.yaml files.
    pub(crate) path: PathBuf,
    /// What owns the documents: those of it that the files no longer contain are removed. By default the folder's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    /// Remove what the files no longer contain, though it is everything that their source owns, or
    /// a status page. Without it, such files are refused and nothing changes.
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// Only what this source owns.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and show it, once.
    Create {
        /// What it is for.
        name: String,
        /// What it may do: incidents:read, incidents:write, config:read, config:write, tokens:write, metrics:read.
        #[arg(long = "scope", value_name = "SCOPE", default_values = ["incidents:read"])]
        scopes: Vec<String>,
        /// The person it acts for: a name or an e-mail address. It dies with them.
        #[arg(long, value_name = "PERSON")]
        person: Option<String>,
        #[command(flatten)]
        place: Reach,
    },
    /// List the tokens: their ids, names, scopes and people, and whether they are good. Values are
    /// not kept.
    List {
        #[command(flatten)]
        place: Reach,
    },
    /// Revoke a token: nothing accepts it any more.
    Revoke {
        /// Its id, or its name where only one good token has it.
        #[arg(value_name = "ID|NAME")]
        key: String,
        #[command(flatten)]
        place: Reach,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PriorityArgs {
    #[command(flatten)]
    pub(crate) which: KeyArgs,
    /// P1, P2, P3, P4, P5 or none.
    #[arg(value_name = "PRIORITY")]
    pub(crate) priority: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MergeArgs {
    /// The incident that goes on: its number or id.
    #[arg(value_name = "INTO")]
    pub(crate) into: String,
    /// The incidents that go on as it.
    #[arg(required = true, value_name = "OTHER")]
    pub(crate) others: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Reach,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    pub(crate) command: SecretCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SecretCommand {
    /// Keep a secret; its value is read from the standard input and must not be empty.
    Set {
        /// Its name: files write {{secret.NAME}}.
        name: String,
        #[command(flatten)]
        place: Reach,
    },
    /// List the secrets by name.
    List {
        #[command(flatten)]
        place: Reach,
    },
    /// Forget a secret.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        place: Reach,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BackupArgs {
    /// The copy.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: DataArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a link by which somebody chooses a new password. It ends their sessions once it is used.
    Reset {
        /// Their e-mail address or name.
        who: String,
        #[command(flatten)]
        place: Reach,
    },
}

/// Reads the address at which the outside reaches AllClear, without a slash at its end; an empty one is
/// none, as where a unit file names a variable that is not set.
fn public_url(text: &str) -> Result<String, String> {
    const FORM: &str = "write https://allclear.example.com, with a port or a path where there is one";
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    let uri: http::Uri = text.parse().map_err(|_| format!("this is not an address; {FORM}"))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let is_web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    if !is_web {
        return Err(format!("it needs http:// or https:// and a host; {FORM}"));
    }
    if authority.contains('@') {
        return Err(format!("a name or password would stand in every message; {FORM}"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(format!("nothing may stand behind its path; {FORM}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_one_that_others_can_reach_and_that_says_no_secret() {
        for (text, read) in [
            ("https://allclear.example.com", "https://allclear.example.com"),
            (" https://allclear.example.com/ ", "https://allclear.example.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://example.com/allclear//", "https://example.com/allclear"),
            ("", ""),
            ("  ", ""),
        ] {
            assert_eq!(public_url(text).as_deref(), Ok(read), "{text:?}");
        }
        for wrong in [
            "allclear.example.com",
            "ftp://allclear.example.com",
            "https://",
            "https://user:pw@allclear.example.com",
            "https://allclear.example.com?x=1",
            "https://allclear.example.com/#x",
            "https://all clear.example.com",
        ] {
            let why = public_url(wrong).expect_err("it must be refused");
            assert!(!why.contains("pw@"), "{why}");
        }
    }
}
