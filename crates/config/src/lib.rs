//! Files and documents: YAML with positions, every error at once, each with its line and a caret.
//!
//! A file holds many documents, a folder many files. References in the documents that come out are names.

mod decode;
mod diagnostic;
mod document;
mod export;
mod lint;
mod schema;
mod test;
mod tree;

use std::path::{Path, PathBuf};

use allclear_domain::catalog::{Document, Kind};

use diagnostic::Sink;
pub use diagnostic::{Diagnostic, Severity};
pub use document::is_mail_address;
pub use export::export;
pub use schema::SCHEMA;

/// A document with where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The document; its references are names.
    pub document: Document,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// What files say.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The documents that could be read.
    pub documents: Vec<Located>,
    /// Everything that is wrong or looks wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether the files can be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
    }

    /// The documents alone.
    #[must_use]
    pub fn into_documents(self) -> Vec<Document> {
        self.documents.into_iter().map(|located| located.document).collect()
    }
}

/// The largest file that is read: far above any that a person writes.
const LARGEST_FILE: u64 = 10 << 20;

/// The most files in a folder.
const MOST_FILES: usize = 10_000;

/// Reads files and folders (their `*.yaml` and `*.yml`, in the order of their names, folders within included).
/// Names that a document refers to must stand in these files, unless `known` has them.
#[must_use]
pub fn load(paths: &[PathBuf], known: &dyn Fn(Kind, &str) -> bool) -> Loaded {
    let mut loaded = Loaded::default();
    let mut sites = Vec::new();
    for path in files(paths, &mut loaded.diagnostics) {
        match read(&path) {
            Ok(text) => load_text(&path, &text, &mut loaded, &mut sites),
            Err(why) => loaded.diagnostics.push(Diagnostic::of_file(&path, why)),
        }
    }
    lint::check(&mut loaded, &sites, known);
    loaded.diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    loaded
}

/// Reads one text, as [`load`] reads a file.
#[must_use]
pub fn load_str(name: &str, text: &str, known: &dyn Fn(Kind, &str) -> bool) -> Loaded {
    let mut loaded = Loaded::default();
    let mut sites = Vec::new();
    load_text(Path::new(name), text, &mut loaded, &mut sites);
    lint::check(&mut loaded, &sites, known);
    loaded.diagnostics.sort_by_key(|d| (d.line, d.column));
    loaded
}

/// A document with the place of every name that it refers to, for errors.
pub(crate) struct Site {
    pub(crate) at: usize,
    pub(crate) sink: Sink,
    pub(crate) name_pos: tree::Pos,
    pub(crate) references: Vec<(Kind, String, tree::Pos)>,
    pub(crate) addresses: Vec<document::AddressSite>,
}

fn load_text(path: &Path, text: &str, loaded: &mut Loaded, sites: &mut Vec<Site>) {
    let sink = Sink::new(path, text);
    let nodes = tree::parse(text, &sink);
    if nodes.is_empty() && !sink.has_errors() {
        refuse_emptiness(text, &sink);
    }
    for node in nodes {
        if let Some(read) = document::decode(&node, &sink) {
            sites.push(Site {
                at: loaded.documents.len(),
                sink: sink.clone(),
                name_pos: read.name_pos,
                references: read.references,
                addresses: read.addresses,
            });
            loaded.documents.push(Located { document: read.document, file: path.to_owned(), line: node.pos.line });
        }
    }
    loaded.diagnostics.extend(sink.take());
}

/// A file without a document looks like one that was cut off or written over: what it held would be
/// removed. One that has only comments was left so on purpose.
fn refuse_emptiness(text: &str, sink: &Sink) {
    let lines = || text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate();
    let other = lines().find(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    if other.is_none() && lines().any(|(_, line)| line.starts_with('#')) {
        return;
    }
    let pos = tree::Pos { line: other.map_or(1, |(n, _)| n + 1), column: 1, width: 1 };
    let help = "write a document, delete the file, or leave a comment in it that says why it holds nothing";
    sink.error(pos, "there is no document in this file", Some(help.to_owned()));
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > LARGEST_FILE {
        return Err(format!("the file is larger than {} MiB", LARGEST_FILE >> 20));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        format!("the file is not UTF-8 (line {line})")
    })
}

fn files(paths: &[PathBuf], diagnostics: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, true, &mut found, diagnostics);
    }
    if found.is_empty() && diagnostics.is_empty() {
        let shown = paths.first().map_or_else(PathBuf::new, Clone::clone);
        diagnostics.push(Diagnostic::of_file(&shown, "there is no *.yaml file here".into()));
    }
    found
}

fn collect(path: &Path, named: bool, found: &mut Vec<PathBuf>, diagnostics: &mut Vec<Diagnostic>) {
    if found.len() >= MOST_FILES {
        return;
    }
    if path.is_dir() {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut inside: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
                inside.sort();
                let hidden = |p: &PathBuf| p.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                inside.iter().filter(|p| !hidden(p)).for_each(|p| collect(p, false, found, diagnostics));
            }
            Err(error) => diagnostics.push(Diagnostic::of_file(path, error.to_string())),
        }
    } else if named || path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        found.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests;
