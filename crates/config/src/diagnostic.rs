//! Errors and warnings as people read them: where, the line itself, a caret, and what to do.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::tree::Pos;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The files cannot be used.
    Error,
    /// They can, but look wrong.
    Warning,
}

/// Something that is wrong, or looks wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
    /// The line's text.
    pub source: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn of_file(path: &Path, message: String) -> Self {
        Self { severity: Severity::Error, file: path.to_owned(), line: 0, column: 0, width: 0, source: String::new(), message, help: None }
    }
}

/// Diagnostics of one file that are kept: nobody reads the thousandth, and each holds its line.
const MOST: usize = 200;

/// The most of a line that is shown.
const WIDEST_LINE: usize = 160;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let file = self.file.display();
        if self.line == 0 {
            return writeln!(f, "{file}: {word}: {}", self.message);
        }
        writeln!(f, "{file}:{}:{}: {word}: {}", self.line, self.column, self.message)?;
        let gutter = self.line.to_string().len();
        // A long line is shown from a little before the place that is meant.
        let skip = if self.column > WIDEST_LINE { self.column.saturating_sub(20) } else { 0 };
        let shown: String = self.source.chars().skip(skip).take(WIDEST_LINE).map(|c| if c == '\t' { ' ' } else { c }).collect();
        let width = self.width.clamp(1, WIDEST_LINE);
        writeln!(f, " {} | {shown}", self.line)?;
        writeln!(f, " {:gutter$} | {:indent$}{}", "", "", "^".repeat(width), indent = self.column.saturating_sub(1 + skip))?;
        if let Some(help) = &self.help {
            writeln!(f, " {:gutter$} = {help}", "")?;
        }
        Ok(())
    }
}

/// Collects what is wrong with one file.
#[derive(Clone)]
pub(crate) struct Sink {
    file: PathBuf,
    lines: Rc<Vec<String>>,
    found: Rc<RefCell<Vec<Diagnostic>>>,
}

impl Sink {
    pub(crate) fn new(file: &Path, text: &str) -> Self {
        Self { file: file.to_owned(), lines: Rc::new(text.lines().map(str::to_owned).collect()), found: Rc::default() }
    }

    pub(crate) fn error(&self, pos: Pos, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Error, pos, message.into(), help);
    }

    pub(crate) fn warning(&self, pos: Pos, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, pos, message.into(), help);
    }

    fn push(&self, severity: Severity, pos: Pos, message: String, help: Option<String>) {
        let full = self.found.borrow().len() >= MOST;
        // One error among many warnings is an error all the same.
        if full && (severity == Severity::Warning || self.found.borrow().iter().any(|known| known.severity == Severity::Error)) {
            return;
        }
        let source = self.lines.get(pos.line.saturating_sub(1)).cloned().unwrap_or_default();
        let rest = source.chars().count().saturating_sub(pos.column.saturating_sub(1));
        let width = pos.width.min(rest.max(1));
        let file = self.file.clone();
        self.found.borrow_mut().push(Diagnostic { severity, file, line: pos.line, column: pos.column, width, source, message, help });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|known| known.severity == Severity::Error)
    }

    pub(crate) fn take(&self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.found.borrow_mut())
    }
}

/// The known word nearest to `word`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = known.into_iter().map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate));
    let (score, best) = scored.min_by_key(|(score, _)| *score)?;
    (score <= word.chars().count().div_ceil(3)).then_some(best)
}

/// Edits between two words, with a swap of neighbours as one.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 60;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}
