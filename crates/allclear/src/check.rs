//! `allclear check`: every error at once.

use std::process::ExitCode;

use allclear_config::{Loaded, Severity};

use crate::cli::CheckArgs;
use crate::{UNUSABLE, secrets};

/// Nothing is known beside the files themselves.
pub(crate) fn load(paths: &[std::path::PathBuf]) -> Loaded {
    allclear_config::load(paths, &|_, _| false)
}

pub(crate) fn check(args: &CheckArgs) -> ExitCode {
    let loaded = load(&args.paths);
    show(&loaded);
    let count = |severity| loaded.diagnostics.iter().filter(|d| d.severity == severity).count();
    let errors = count(Severity::Error) + show_unusable_secrets(&loaded);
    let warnings = count(Severity::Warning);
    println!("{}, {}, {}", plural(loaded.documents.len(), "document"), plural(errors, "error"), plural(warnings, "warning"));
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(UNUSABLE) }
}

/// Shows what is wrong, on the standard error.
pub(crate) fn show(loaded: &Loaded) {
    for diagnostic in &loaded.diagnostics {
        eprintln!("{diagnostic}");
    }
}

/// Shows which secrets of this environment cannot be used, on the standard error; how many. Secrets that are
/// not set here are another machine's.
fn show_unusable_secrets(loaded: &Loaded) -> usize {
    let secrets = secrets::from_environment();
    let mut count = 0;
    for located in &loaded.documents {
        let channel = located.document.as_channel();
        if let Some(why) = channel.and_then(|channel| secrets::unusable(channel, &secrets)) {
            count += 1;
            eprintln!("{}:{}: error: {why}", located.file.display(), located.line);
        }
    }
    count
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
