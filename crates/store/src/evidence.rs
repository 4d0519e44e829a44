//! Evidence of runs, outside the database: compressed entries appended to one file per day.
//!
//! An entry is written and synced before the commit that names it, so that a named entry is always there; one
//! that no commit names is swept with its day. The sync goes on while the transaction is made: it waits for it last
//! ([`Synced::wait`]). Retention is the removal of a file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use allclear_domain::Timestamp;
use allclear_domain::apitest::report::RunReport;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::StoreError;

/// Where an entry lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The day's file: `2026-11-22`.
    pub day: String,
    /// The first byte.
    pub at: i64,
    /// How many bytes.
    pub len: i64,
}

/// The largest entry once decompressed; a run's bodies are bounded far below.
const MOST_DECOMPRESSED: u64 = 256 << 20;

/// The evidence of one database. Cheap to clone.
#[derive(Clone)]
pub struct Evidence {
    folder: PathBuf,
    open: Arc<Mutex<Option<Day>>>,
}

/// The file of the current day, with the day.
type Day = (String, Arc<File>);

/// Entries that were written and are not yet synced.
pub struct Appended {
    /// Where they lie.
    pub places: Vec<Place>,
    /// Says when they are on disk.
    pub synced: Synced,
    file: Option<Arc<File>>,
    evidence: Evidence,
}

impl Appended {
    /// Syncs them. Blocks; call it on a thread that may.
    pub fn sync(mut self) {
        let done = self.file.take().map_or(Ok(()), |file| file.sync_data());
        if done.is_err() {
            // A torn tail is harmless: nothing names it, and the next entry starts after it in a file opened anew.
            *self.evidence.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.synced.set(done.map_err(|e| e.to_string()));
    }
}

impl Drop for Appended {
    /// Whoever waits must not wait for a sync that never comes.
    fn drop(&mut self) {
        if self.file.is_some() {
            self.synced.set(Err("it was interrupted".into()));
        }
    }
}

/// Whether entries are on disk. Cheap to clone.
#[derive(Clone, Default)]
pub struct Synced(Arc<Outcome>);

/// How a sync ended, and a bell for those who wait for it.
#[derive(Default)]
struct Outcome {
    done: Mutex<Option<Result<(), String>>>,
    bell: Condvar,
}

/// A disk that takes longer fails, for whoever waits.
const LONGEST_SYNC: Duration = Duration::from_secs(10);

impl Synced {
    fn set(&self, done: Result<(), String>) {
        *self.0.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        self.0.bell.notify_all();
    }

    /// Waits until the entries are on disk: the last thing that a transaction does which names them. Blocks.
    ///
    /// # Errors
    /// A disk that is full or fails; nothing may name the entries then.
    pub fn wait(&self) -> Result<(), StoreError> {
        let state = self.0.done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.bell.wait_timeout_while(state, LONGEST_SYNC, |done| done.is_none());
        let (done, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let fault = |why: &str| StoreError::Unavailable(format!("evidence cannot be written: {why}"));
        match &*done {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(fault(why)),
            None => Err(fault("the disk does not answer")),
        }
    }
}

impl Evidence {
    /// The evidence in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = folder.join("evidence");
        std::fs::create_dir_all(&folder).map_err(|e| StoreError::fault("making the evidence folder", e))?;
        Ok(Self { folder, open: Arc::default() })
    }

    /// Appends reports; they are yet to be synced. Blocks; call it on a thread that may.
    ///
    /// # Errors
    /// A disk that is full or fails; nothing is named by then.
    pub fn append(&self, reports: &[&RunReport], now: Timestamp) -> Result<Appended, StoreError> {
        let fault = |e: std::io::Error| StoreError::Unavailable(format!("evidence cannot be written: {e}"));
        let appended = |places, file| Appended { places, synced: Synced::default(), file, evidence: self.clone() };
        if reports.is_empty() {
            return Ok(appended(vec![], None));
        }
        let day = now.to_jiff().strftime("%Y-%m-%d").to_string();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(current, _)| *current != day) {
            let path = self.folder.join(format!("{day}.runs"));
            let file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(fault)?;
            *open = Some((day.clone(), Arc::new(file)));
        }
        let Some((_, file)) = open.as_ref() else { return Ok(appended(vec![], None)) };
        let file = Arc::clone(file);
        let mut at = (&*file).seek(SeekFrom::End(0)).map_err(fault)?;
        let mut places = Vec::with_capacity(reports.len());
        let mut bytes = Vec::new();
        for report in reports {
            let start = bytes.len();
            let mut encoder = DeflateEncoder::new(&mut bytes, Compression::fast());
            serde_json::to_writer(&mut encoder, report).map_err(|e| StoreError::fault("a report does not encode", e))?;
            encoder.finish().map_err(fault)?;
            let len = (bytes.len() - start) as u64;
            places.push(Place { day: day.clone(), at: as_i64(at), len: as_i64(len) });
            at += len;
        }
        if let Err(error) = (&*file).write_all(&bytes) {
            *open = None;
            return Err(fault(error));
        }
        Ok(appended(places, Some(file)))
    }

    /// Reads an entry. Blocks.
    ///
    /// # Errors
    /// An entry that is gone with its day, or damaged.
    pub fn read(&self, place: &Place) -> Result<RunReport, StoreError> {
        let missing = |e: std::io::Error| StoreError::fault(format!("the evidence of {} cannot be read", place.day), e);
        if !place.day.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(StoreError::NotFound { what: "evidence", id: place.day.clone() });
        }
        let mut file = File::open(self.folder.join(format!("{}.runs", place.day))).map_err(missing)?;
        file.seek(SeekFrom::Start(u64::try_from(place.at).unwrap_or(0))).map_err(missing)?;
        let entry = file.take(u64::try_from(place.len).unwrap_or(0));
        let decoder = DeflateDecoder::new(entry).take(MOST_DECOMPRESSED);
        serde_json::from_reader(decoder).map_err(|e| StoreError::fault("a piece of evidence is damaged", e))
    }

    /// Removes the days before `before`. Blocks.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn drop_days_before(&self, before: Timestamp) -> Result<usize, StoreError> {
        let first_kept = before.to_jiff().strftime("%Y-%m-%d.runs").to_string();
        let fault = |e: std::io::Error| StoreError::fault("sweeping the evidence folder", e);
        let mut dropped = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".runs") && name < first_kept {
                std::fs::remove_file(entry.path()).map_err(fault)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

fn as_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
