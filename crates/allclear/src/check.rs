//! `allclear check`: every error at once.

use std::process::ExitCode;

use allclear_config::{Loaded, Severity};

use crate::UNUSABLE;
use crate::cli::CheckArgs;

/// Nothing is known beside the files themselves.
pub(crate) fn load(paths: &[std::path::PathBuf]) -> Loaded {
    allclear_config::load(paths, &|_, _| false)
}

pub(crate) fn check(args: &CheckArgs) -> ExitCode {
    let loaded = load(&args.paths);
    show(&loaded);
    let count = |severity| loaded.diagnostics.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    println!("{}, {}, {}", plural(loaded.documents.len(), "document"), plural(errors, "error"), plural(warnings, "warning"));
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(UNUSABLE) }
}

/// Shows what is wrong, on the standard error.
pub(crate) fn show(loaded: &Loaded) {
    for diagnostic in &loaded.diagnostics {
        eprintln!("{diagnostic}");
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
