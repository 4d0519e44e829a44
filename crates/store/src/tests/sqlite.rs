//! What only the embedded database can get wrong: the group, the disk, the file.

use std::sync::Arc;

use allclear_base::clock::VirtualClock;
use allclear_base::{Clock, SeededRng};
use futures::future::join_all;

use super::{NOON, options, wait};
use crate::record::timer::{self, Timer};
use crate::{Backend, Lane, Options, Store, StoreError, Tx, Write};

fn set(key: String, size: usize) -> impl Fn(&mut Tx<'_>) -> Result<(), StoreError> {
    move |tx| {
        let timer = Timer { subject: key.clone(), kind: "k".into(), due_at: tx.now(), body: "x".repeat(size) };
        timer::set_timer(tx, &timer)
    }
}

#[test]
fn a_full_disk_in_the_middle_of_a_group_gives_each_closure_its_true_answer() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let backend = Backend::Sqlite { folder: folder.path().to_owned(), synchronous_normal: false, max_pages: Some(150) };
    let store = Store::open(&options(backend, &clock)).expect("a database");
    // Sixty-four closures at once, each of which alone would fit and all of which together do not.
    let wishes = (0..64).map(|n| store.write(Write::new("fill", Lane::Events), set(format!("s{n}"), 8_000)));
    let answers = wait(join_all(wishes));
    let (kept, refused): (Vec<_>, Vec<_>) = answers.iter().enumerate().partition(|(_, answer)| answer.is_ok());
    assert!(!kept.is_empty() && !refused.is_empty(), "{} kept, {} refused", kept.len(), refused.len());
    for (n, answer) in answers.iter().enumerate() {
        let key = format!("s{n}");
        let found = wait(store.read("look", move |tx| timer::timers_of(tx, &key))).expect("read");
        assert_eq!(found.len(), usize::from(answer.is_ok()), "closure {n} was answered {answer:?}");
    }
    assert!(refused.iter().all(|(_, answer)| matches!(answer, Err(StoreError::Unavailable(_)))));
    store.close();
}

#[test]
fn a_second_process_is_refused_and_a_freed_folder_is_taken() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let first = Store::open(&options(Backend::sqlite(folder.path()), &clock)).expect("a database");
    let second = Store::open(&options(Backend::sqlite(folder.path()), &clock));
    assert!(matches!(second, Err(StoreError::InUse(_))));
    first.close();
    Store::open(&options(Backend::sqlite(folder.path()), &clock)).expect("free again").close();
}

#[test]
fn a_clock_set_back_an_hour_does_not_take_store_time_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |at: i64| Store::open(&options(Backend::sqlite(folder.path()), &VirtualClock::at(at))).expect("a database");
    let store = open(NOON);
    wait(store.write(Write::new("t", Lane::Act), set("a".into(), 1))).expect("kept");
    store.close();
    let store = open(NOON - 3_600_000_000);
    let now = wait(store.write(Write::new("t", Lane::Act), |tx| Ok::<_, StoreError>(tx.now()))).expect("asked");
    assert!(now.0 >= NOON, "{now}");
    store.close();
}

#[test]
fn a_closure_that_waited_too_long_is_not_run() {
    struct Leaping(VirtualClock);
    impl Clock for Leaping {
        fn now_us(&self) -> i64 {
            self.0.advance(std::time::Duration::from_secs(60));
            self.0.now_us()
        }
        fn sleep_until(&self, at_us: i64) -> allclear_base::clock::Sleep {
            self.0.sleep_until(at_us)
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(Leaping(VirtualClock::at(NOON)));
    let options = Options { backend: Backend::sqlite(folder.path()), clock, rng: Arc::new(SeededRng::new(1)) };
    let store = Store::open(&options).expect("a database");
    let late = wait(store.write(Write::new("t", Lane::Act), set("a".into(), 1)));
    assert!(matches!(late, Err(StoreError::TooLate)), "{late:?}");
    store.close();
}

#[test]
fn a_database_of_a_newer_program_or_of_a_changed_migration_is_refused() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let open = || Store::open(&options(Backend::sqlite(folder.path()), &clock));
    open().expect("a database").close();
    let edit = |sql: &str| {
        let conn = rusqlite::Connection::open(folder.path().join("allclear.db")).expect("the file");
        conn.execute_batch(sql).expect("an edit");
    };
    edit("INSERT INTO migration (version, name, checksum, at) VALUES (99, 'x', 'x', 0)");
    assert!(matches!(open(), Err(StoreError::Newer { found: 99, .. })));
    edit("DELETE FROM migration WHERE version = 99; UPDATE migration SET checksum = 'y'");
    assert!(matches!(open(), Err(StoreError::Open(_))));
}

#[test]
fn what_was_answered_is_there_after_the_store_is_gone() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let store = Store::open(&options(Backend::sqlite(folder.path()), &clock)).expect("a database");
    let wishes = (0..200).map(|n| store.write(Write::new("t", Lane::Results), set(format!("s{n:03}"), 10)));
    assert!(wait(join_all(wishes)).iter().all(Result::is_ok));
    store.close();
    let store = Store::open(&options(Backend::sqlite(folder.path()), &clock)).expect("a database");
    let due = wait(store.read("look", |tx| timer::due_timers(tx, 1_000))).expect("read");
    assert_eq!(due.len(), 200);
    store.close();
}

#[test]
fn a_group_that_changes_nothing_leaves_no_commit_behind() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let store = Store::open(&options(Backend::sqlite(folder.path()), &clock)).expect("a database");
    let commits = || {
        let file = rusqlite::Connection::open(folder.path().join("allclear.db")).expect("the file");
        file.query_row("SELECT seq FROM commit_mark WHERE id = 1", [], |row| row.get::<_, i64>(0)).expect("the mark")
    };
    wait(store.write(Write::new("t", Lane::Act), set("a".into(), 1))).expect("kept");
    let before = commits();
    let due = wait(store.write(Write::new("look", Lane::Act), |tx| timer::due_timers(tx, 10))).expect("looked");
    assert_eq!((due.len(), commits()), (1, before));
    wait(store.write(Write::new("t", Lane::Act), set("b".into(), 1))).expect("kept");
    assert_eq!(commits(), before + 1);
    store.close();
}
