//! Copies of the embedded database: made while it is used, verified, and put back. PostgreSQL has tools of its own.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use allclear_domain::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::engine::lock_folder;
use crate::{StoreError, migrate};

/// A verified copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its size in bytes.
    pub bytes: u64,
    /// The revision of the configuration in it.
    pub catalog_rev: i64,
    /// When its last change was made.
    pub last_change: Timestamp,
    /// Incidents in it.
    pub incidents: i64,
}

const NAME: &str = "allclear.db";

fn failed(what: &str, path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Open(format!("{what} {}: {error}", path.display()))
}

/// Copies the database in `folder` to `target`, which must not be there yet; a server may use it meanwhile. The copy is
/// checked and on disk when this returns.
///
/// # Errors
/// A database that cannot be read, a target that is there or cannot be written, a copy that does not pass its check.
pub fn back_up(folder: &Path, target: &Path) -> Result<Copy, StoreError> {
    let source = folder.join(NAME);
    if target.exists() {
        return Err(StoreError::Open(format!("{} is there already; name another file", target.display())));
    }
    let half = with_suffix(target, "part");
    remove(&half)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&source, flags).map_err(|e| failed("cannot open", &source, e))?;
    conn.busy_timeout(Duration::from_secs(10)).map_err(|e| failed("cannot open", &source, e))?;
    let copied = conn.execute("VACUUM INTO ?1", [half.to_string_lossy()]);
    let checked = copied.map_err(|e| failed("cannot copy to", &half, e)).and_then(|_| check(&half));
    match checked.and_then(|copy| put_in_place(&half, target).map(|()| copy)) {
        Ok(copy) => Ok(copy),
        Err(error) => {
            remove(&half)?;
            Err(error)
        }
    }
}

/// Puts a copy in the place of the database in `folder`, which no server may use. The database that was there is kept
/// beside it, under the name that is returned.
///
/// # Errors
/// As [`back_up`]; [`StoreError::InUse`]; [`StoreError::Newer`] for a copy of a newer program.
pub fn restore(folder: &Path, copy: &Path, now: Timestamp) -> Result<(Copy, Option<PathBuf>), StoreError> {
    let found = check(copy)?;
    let _lock = lock_folder(folder)?;
    let (place, half) = (folder.join(NAME), folder.join("allclear.db.part"));
    remove(&half)?;
    fs::copy(copy, &half).map_err(|e| failed("cannot copy to", &half, e))?;
    let stamp: String = now.to_rfc3339_seconds().chars().filter(char::is_ascii_alphanumeric).collect();
    let kept = folder.join(format!("allclear-replaced-{stamp}.db"));
    let was_there = place.exists();
    if was_there {
        // What stands in the log belongs to the database: both go, the log first, so that no half is ever left with the other's.
        let conn = Connection::open(&place).map_err(|e| failed("cannot open", &place, e))?;
        let folded = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        folded.map_err(|e| failed("cannot close", &place, e))?;
        drop(conn);
        remove(&with_suffix(&place, "db-wal"))?;
        remove(&with_suffix(&place, "db-shm"))?;
        // A second name first: at no instant is there no database in its place.
        if fs::hard_link(&place, &kept).is_err() {
            fs::copy(&place, &kept).map_err(|e| failed("cannot keep", &place, e))?;
        }
    }
    put_in_place(&half, &place)?;
    Ok((found, was_there.then_some(kept)))
}

fn check(file: &Path) -> Result<Copy, StoreError> {
    let fail = |e: rusqlite::Error| failed("this is no copy of AllClear's database:", file, e);
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fail)?;
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(fail)?;
    if sound != "ok" {
        return Err(failed("the copy is damaged:", file, sound));
    }
    migrate::check_readable(&conn, file)?;
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fail);
    Ok(Copy {
        bytes: fs::metadata(file).map_err(|e| failed("cannot read", file, e))?.len(),
        catalog_rev: number("SELECT rev FROM catalog WHERE id = 1")?,
        last_change: Timestamp(number("SELECT at FROM commit_mark WHERE id = 1")?),
        incidents: number("SELECT count(*) FROM incident")?,
    })
}

/// Renames a file that is whole, so that whoever finds the name finds the whole of it, also after a power cut.
fn put_in_place(half: &Path, target: &Path) -> Result<(), StoreError> {
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(|e| failed("cannot write", path, e));
    // It holds the keys of integrations.
    fs::set_permissions(half, fs::Permissions::from_mode(0o600)).map_err(|e| failed("cannot write", half, e))?;
    sync(half)?;
    fs::rename(half, target).map_err(|e| failed("cannot write", target, e))?;
    sync(target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    if suffix == "part" {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        return name.into();
    }
    path.with_extension(suffix)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("cannot remove", path, error)),
        _ => Ok(()),
    }
}
