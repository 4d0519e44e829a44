//! What tests owe: a teardown is written down before the request that makes it necessary is sent, and crossed out
//! when it was run. After a kill the outstanding ones are paid.
//!
//! The journal is a file of JSON lines. A debt is on disk when writing it down returns; several that are made at once
//! share a sync. A torn last line is a debt that was not yet made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use allclear_domain::apitest::document::{Environment, Step};
use allclear_domain::{LocationName, RunId, Span, TestId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A teardown that is owed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Debt {
    /// The run that owes it.
    pub run: RunId,
    /// The test.
    pub test_id: TestId,
    /// The test's name.
    pub test_name: String,
    /// Headers, and the variables whose values are secret: as they are written, not as they are.
    pub environment: Environment,
    /// Where it ran.
    pub location: LocationName,
    /// The steps, for which variables they would have saved.
    pub steps: Vec<Step>,
    /// What is to be run.
    pub teardown: Vec<Step>,
    /// The variables that are known.
    pub known: BTreeMap<String, Value>,
    /// How often it was tried since AllClear started.
    #[serde(skip)]
    pub tries: u32,
    /// When it is tried next.
    #[serde(skip)]
    pub due_at: Timestamp,
}

/// How often a teardown is tried: with the pauses below, two days of an outage.
const MOST_TRIES: u32 = 56;

/// The pause before a second try; it doubles from then on.
const FIRST_PAUSE: Span = Span::from_secs(15);

/// The longest pause between two tries.
const LONGEST_PAUSE: Span = Span::from_mins(60);

#[derive(Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Line {
    Owe(Box<Debt>),
    Learn { run: RunId, saved: BTreeMap<String, Value> },
    Settle { run: RunId },
}

/// The journal is written anew when it has grown by this many lines, so that its size follows what is owed.
const LINES_UNTIL_COMPACTED: usize = 10_000;

/// The journal of debts. Writing to it blocks.
pub struct DebtJournal {
    path: PathBuf,
    state: Mutex<State>,
    /// How many lines are known to be on disk. Locked before the state where both are.
    synced: Mutex<u64>,
}

struct State {
    file: Arc<File>,
    owed: BTreeMap<RunId, Debt>,
    /// Debts of runs that have not come to their end; they pay by themselves.
    active: BTreeSet<RunId>,
    /// Lines since the file was written anew.
    lines: usize,
    /// Lines since the journal was opened.
    written: u64,
}

impl DebtJournal {
    /// Opens the journal in `folder` and reads what is owed.
    ///
    /// # Errors
    /// A folder or file that cannot be made or read.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("debts.jsonl");
        let owed = read(&path)?;
        let file = rewrite(&path, &owed)?;
        let state = State { file: Arc::new(file), owed, active: BTreeSet::new(), lines: 0, written: 0 };
        Ok(Self { path, state: Mutex::new(state), synced: Mutex::new(0) })
    }

    /// What is owed by runs that are over and due by `now`, oldest first.
    #[must_use]
    pub fn outstanding(&self, now: Timestamp) -> Vec<Debt> {
        let state = self.lock();
        let payable = |debt: &&Debt| debt.due_at <= now && !state.active.contains(&debt.run);
        state.owed.values().filter(payable).cloned().collect()
    }

    /// A teardown did not succeed: the debt stands, and is tried again until [`MOST_TRIES`]. Whether it stands.
    pub(crate) fn defer(&self, run: &RunId, now: Timestamp) -> bool {
        let mut state = self.lock();
        state.active.remove(run);
        state.owed.get_mut(run).is_some_and(|debt| {
            let doubled = FIRST_PAUSE.times(1 << debt.tries.min(20));
            debt.due_at = now.plus(doubled.min(LONGEST_PAUSE));
            debt.tries += 1;
            debt.tries < MOST_TRIES
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a debt down; on disk when it returns.
    pub(crate) fn owe(&self, debt: &Debt) -> std::io::Result<()> {
        let mut state = self.lock();
        state.owed.insert(debt.run.clone(), debt.clone());
        state.active.insert(debt.run.clone());
        let line = self.append(&mut state, &Line::Owe(Box::new(debt.clone())))?;
        drop(state);
        self.sync(line)
    }

    /// Adds what a step saved; on disk when it returns.
    pub(crate) fn learn(&self, run: &RunId, saved: BTreeMap<String, Value>) -> std::io::Result<()> {
        let mut state = self.lock();
        if let Some(debt) = state.owed.get_mut(run) {
            debt.known.extend(saved.clone());
        }
        let line = self.append(&mut state, &Line::Learn { run: run.clone(), saved })?;
        drop(state);
        self.sync(line)
    }

    /// Crosses a debt out. That may be lost: a teardown that is run twice does no harm.
    pub(crate) fn settle(&self, run: &RunId) -> std::io::Result<()> {
        let mut state = self.lock();
        state.owed.remove(run);
        state.active.remove(run);
        self.append(&mut state, &Line::Settle { run: run.clone() }).map(|_| ())
    }

    /// Appends a line; its number.
    fn append(&self, state: &mut State, line: &Line) -> std::io::Result<u64> {
        if state.lines >= LINES_UNTIL_COMPACTED {
            state.file = Arc::new(rewrite(&self.path, &state.owed)?);
            state.lines = 0;
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&*state.file).write_all(&text)?;
        state.lines += 1;
        state.written += 1;
        Ok(state.written)
    }

    /// Returns once the line of this number is on disk. Whoever comes while another syncs finds its line synced by the
    /// next one to sync, or is that one.
    fn sync(&self, line: u64) -> std::io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= line {
            return Ok(());
        }
        let (file, written) = {
            let state = self.lock();
            (Arc::clone(&state.file), state.written)
        };
        // Lines before the file was written anew are on disk with it.
        file.sync_data()?;
        *synced = written;
        Ok(())
    }
}

fn read(path: &Path) -> std::io::Result<BTreeMap<RunId, Debt>> {
    let mut owed = BTreeMap::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(owed),
        Err(error) => return Err(error),
    };
    for line in BufReader::new(file).split(b'\n') {
        match serde_json::from_slice(&line?) {
            Ok(Line::Owe(debt)) => {
                owed.insert(debt.run.clone(), *debt);
            }
            Ok(Line::Learn { run, saved }) => {
                if let Some(debt) = owed.get_mut(&run) {
                    debt.known.extend(saved);
                }
            }
            Ok(Line::Settle { run }) => {
                owed.remove(&run);
            }
            Err(error) => tracing::debug!(%error, "a torn line of the journal of debts"),
        }
    }
    Ok(owed)
}

/// Writes a fresh journal beside the old one and puts it in its place.
fn rewrite(path: &Path, owed: &BTreeMap<RunId, Debt>) -> std::io::Result<File> {
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    for debt in owed.values() {
        let mut text = serde_json::to_vec(&Line::Owe(Box::new(debt.clone())))?;
        text.push(b'\n');
        file.write_all(&text)?;
    }
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn debt(run: &str) -> Debt {
        Debt {
            run: run.into(),
            test_id: "t".into(),
            test_name: "Live".into(),
            environment: Environment::default(),
            location: "local".into(),
            steps: vec![],
            teardown: vec![],
            known: BTreeMap::new(),
            tries: 0,
            due_at: Timestamp(0),
        }
    }

    #[test]
    fn what_is_owed_survives_and_what_is_settled_does_not_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = DebtJournal::open(folder.path()).expect("a journal");
        journal.owe(&debt("a")).expect("written");
        journal.owe(&debt("b")).expect("written");
        journal.learn(&"b".into(), BTreeMap::from([("id".to_owned(), Value::from(7))])).expect("written");
        journal.settle(&"a".into()).expect("written");
        drop(journal);
        let owed = DebtJournal::open(folder.path()).expect("a journal").outstanding(Timestamp(0));
        assert_eq!(owed.len(), 1);
        assert_eq!(owed[0].known["id"], Value::from(7));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_damage_to_the_journal_makes_it_panic_or_hides_a_whole_line(damage in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().expect("a folder");
            let journal = DebtJournal::open(folder.path()).expect("a journal");
            journal.owe(&debt("a")).expect("written");
            drop(journal);
            let path = folder.path().join("debts.jsonl");
            let mut text = std::fs::read(&path).expect("the journal");
            text.extend(damage);
            std::fs::write(&path, text).expect("the journal");
            let owed = DebtJournal::open(folder.path()).expect("a journal").outstanding(Timestamp(0));
            prop_assert!(owed.iter().any(|debt| debt.run.as_str() == "a"));
        }
    }

    #[test]
    fn debts_that_are_made_at_once_are_all_on_disk_also_when_the_file_is_written_anew_between() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = DebtJournal::open(folder.path()).expect("a journal");
        journal.lock().lines = LINES_UNTIL_COMPACTED - 10;
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let journal = &journal;
                scope.spawn(move || (0..10).for_each(|n| journal.owe(&debt(&format!("{thread}-{n}"))).expect("written")));
            }
        });
        drop(journal);
        assert_eq!(DebtJournal::open(folder.path()).expect("a journal").outstanding(Timestamp(0)).len(), 40);
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = DebtJournal::open(folder.path()).expect("a journal");
        journal.owe(&debt("a")).expect("written");
        drop(journal);
        let path = folder.path().join("debts.jsonl");
        let mut text = std::fs::read(&path).expect("the journal");
        text.extend_from_slice(b"{\"entry\":\"owe\",\"run\":\"b");
        std::fs::write(&path, text).expect("the journal");
        assert_eq!(DebtJournal::open(folder.path()).expect("a journal").outstanding(Timestamp(0)).len(), 1);
    }
}
