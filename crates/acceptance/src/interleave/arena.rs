//! A database in which pairs of use cases meet, one after the other; before each it is as the scene left it.

use std::net::ToSocketAddrs;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, bail};
use regex::Regex;

use super::End;
use super::cases::{Actors, CASES, Known};
use super::gate::Gate;
use crate::binary::wait;

/// How long anything may take that needs no lock.
const PATIENCE: Duration = Duration::from_secs(20);

/// A scene begins at a multiple of this revision of the configuration; no pair makes as many.
const REVISIONS: i64 = 10;

/// The database with its two actors: the way of the one can be shut.
pub(super) struct Arena {
    held: Actors,
    free: Actors,
    gate: Gate,
    referee: Mutex<Referee>,
}

/// Looks at the database and puts it back.
struct Referee {
    client: postgres::Client,
    tables: Vec<String>,
    /// The revision that the scene began at; it only grows, as the actors expect of a configuration.
    rev: i64,
    revisions: Regex,
    numbers: Regex,
}

impl Arena {
    /// A copy of the scene.
    pub(super) fn new(scene: &str, known: &Known) -> anyhow::Result<Self> {
        let (base, template) = scene.rsplit_once('/').context("an address with a database")?;
        let (user, host) = base.rsplit_once('@').context("an address with a user")?;
        let server = host.to_socket_addrs()?.next().context("an address of a server")?;
        let url = crate::postgres::copy_of(base, template)?;
        let name = url.rsplit_once('/').map_or("", |(_, name)| name);
        let gate = Gate::before(server)?;
        let referee = Mutex::new(Referee::new(&url)?);
        Ok(Self { held: Actors::on(&format!("{user}@{}/{name}", gate.addr()), known)?, free: Actors::on(&url, known)?, gate, referee })
    }

    fn referee(&self) -> MutexGuard<'_, Referee> {
        self.referee.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One after the other; the end, and how many statements the first one is made of.
    pub(super) fn serial(&self, (first, second): (usize, usize)) -> anyhow::Result<(End, usize)> {
        self.referee().set_scene()?;
        self.gate.shut_after(usize::MAX);
        let said_first = said((CASES[first].run)(&self.held));
        let statements = self.gate.passed();
        let said_second = said((CASES[second].run)(&self.free));
        Ok(((self.referee().dump()?, said_first, said_second), statements))
    }

    /// The first stands still before its statement number `at` while the second runs until it ends or waits for a lock.
    pub(super) fn interleaved(&self, first: usize, second: usize, at: usize) -> anyhow::Result<End> {
        self.referee().set_scene()?;
        self.gate.shut_after(at);
        let (tell_first, first_tells) = mpsc::channel();
        let (tell_second, second_tells) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || tell_first.send(said((CASES[first].run)(&self.held))));
            let mut said_first = None;
            let stands = wait(PATIENCE, || {
                said_first = first_tells.try_recv().ok();
                said_first.is_some() || self.gate.holds()
            });
            scope.spawn(move || tell_second.send(said((CASES[second].run)(&self.free))));
            let mut said_second = None;
            let meets = wait(PATIENCE, || {
                said_second = second_tells.try_recv().ok();
                said_second.is_some() || self.referee().somebody_waits().unwrap_or(false)
            });
            self.gate.open();
            if !stands || !meets {
                bail!("\"{}\" and \"{}\": one of them neither ends nor waits", CASES[first].name, CASES[second].name);
            }
            let said_first = said_first.map_or_else(|| first_tells.recv_timeout(PATIENCE), Ok).context("the first never ended")?;
            let said_second = said_second.map_or_else(|| second_tells.recv_timeout(PATIENCE), Ok).context("the second never ended")?;
            Ok((self.referee().dump()?, said_first, said_second))
        })
    }
}

fn said<E: std::fmt::Display>(result: Result<String, E>) -> String {
    result.unwrap_or_else(|error| format!("refused: {error}"))
}

impl Referee {
    /// Keeps a copy of every table.
    fn new(url: &str) -> anyhow::Result<Self> {
        let mut client = postgres::Client::connect(url, postgres::NoTls)?;
        let ours = "SELECT relname::text FROM pg_stat_user_tables WHERE relname NOT IN ('meta', 'migration') ORDER BY 1";
        let tables: Vec<String> = client.query(ours, &[])?.iter().map(|row| row.get(0)).collect();
        // Rows are put back in any order.
        client.batch_execute("SET session_replication_role = replica; CREATE SCHEMA scene")?;
        for table in &tables {
            client.batch_execute(&format!("CREATE TABLE scene.{table} AS TABLE public.{table}"))?;
        }
        let revisions = Regex::new(r#"("catalog_rev": |"rev": |\\"configuration\\":)(\d+)"#)?;
        let numbers = Regex::new(r#"\\?"number\\?": ?\d+"#)?;
        Ok(Self { client, tables, rev: 0, revisions, numbers })
    }

    fn set_scene(&mut self) -> anyhow::Result<()> {
        self.rev += REVISIONS;
        let rev = self.rev;
        let mut sql = String::from("BEGIN;");
        for table in &self.tables {
            sql.push_str(&format!("DELETE FROM public.{table}; INSERT INTO public.{table} SELECT * FROM scene.{table};"));
        }
        for table in ["catalog", "resource", "resource_history"] {
            sql.push_str(&format!("UPDATE {table} SET rev = {rev};"));
        }
        for table in ["run", "log_entry", "component_change"] {
            sql.push_str(&format!("UPDATE {table} SET catalog_rev = {rev};"));
        }
        sql.push_str("COMMIT");
        Ok(self.client.batch_execute(&sql)?)
    }

    /// Whether a transaction of this database waits for another's lock.
    fn somebody_waits(&mut self) -> anyhow::Result<bool> {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        Ok(!self.client.query(waiting, &[])?.is_empty())
    }

    /// Every row of every table, but for what no order fixes: lock rows, the numbers of incidents, where evidence lies in its file, the revision that a
    /// run began on, and how often the same page was published. Revisions count from the scene's.
    fn dump(&mut self) -> anyhow::Result<Vec<String>> {
        let rows_of = |table: &String| {
            let left_out = match table.as_str() {
                "published_page" => "- 'seq'",
                "run" => "- 'catalog_rev' - 'evidence_day' - 'evidence_at' - 'evidence_len'",
                _ => "",
            };
            format!("SELECT '{table} ' || (to_jsonb(t) {left_out})::text FROM public.{table} t")
        };
        let all: Vec<String> = self.tables.iter().filter(|table| *table != "lock").map(rows_of).collect();
        let mut rows: Vec<String> = self.client.query(&all.join(" UNION ALL "), &[])?.iter().map(|row| row.get(0)).collect();
        for row in &mut rows {
            let counted = self.revisions.replace_all(row, |found: &regex::Captures<'_>| {
                let rev = found[2].parse::<i64>().unwrap_or_default() - self.rev;
                format!("{}+{rev}", &found[1])
            });
            *row = self.numbers.replace_all(&counted, "\"number\": N").into_owned();
        }
        rows.sort();
        Ok(rows)
    }
}
