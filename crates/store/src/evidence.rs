//! Evidence of runs, outside the database: compressed entries appended to one file per day.
//!
//! An entry is written and synced before the commit that names it, so that a named entry is always there; one
//! that no commit names is swept with its day. Retention is the removal of a file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
    open: Arc<Mutex<Option<(String, File)>>>,
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

    /// Appends reports and syncs them. Blocks; call it on a thread that may.
    ///
    /// # Errors
    /// A disk that is full or fails; nothing is named by then.
    pub fn append(&self, reports: &[&RunReport], now: Timestamp) -> Result<Vec<Place>, StoreError> {
        if reports.is_empty() {
            return Ok(vec![]);
        }
        let fault = |e: std::io::Error| StoreError::Unavailable(format!("evidence cannot be written: {e}"));
        let day = now.to_jiff().strftime("%Y-%m-%d").to_string();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(current, _)| *current != day) {
            let path = self.folder.join(format!("{day}.runs"));
            let file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(fault)?;
            *open = Some((day.clone(), file));
        }
        let Some((_, file)) = open.as_mut() else { return Ok(vec![]) };
        let mut at = file.seek(SeekFrom::End(0)).map_err(fault)?;
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
        let written = file.write_all(&bytes).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A torn tail is harmless: nothing names it, and the next entry starts after it.
            *open = None;
            return Err(fault(error));
        }
        Ok(places)
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
