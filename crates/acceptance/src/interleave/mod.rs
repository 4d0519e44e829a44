//! Each pair of use cases on two connections to PostgreSQL: the one stands still between two of its statements while
//! the other runs until it has ended or waits for a lock. However they meet, the database ends as if one of them had
//! run after the other.

mod cases;
mod gate;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::binary::wait;
use cases::{Actors, CASES, Case, Known, set_scene};
use gate::Gate;

/// What is interleaved.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The PostgreSQL server.
    #[arg(long)]
    pub database: String,
    /// Places within each first use case at which the second one comes; all of them when absent.
    #[arg(long)]
    pub places: Option<usize>,
    /// Only pairs with this use case.
    #[arg(long)]
    pub only: Option<String>,
}

/// How long anything may take that needs no lock.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pairs that are played side by side.
const WORKERS: usize = 2;

/// What a database holds and what each of the two was answered.
type End = (Vec<String>, String, String);

/// Plays every pair.
///
/// # Errors
/// The first pair whose end is none of the two serial ones.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let server = Server::new(&args.database)?;
    let known = set_scene(&server.url(&server.scene))?;
    let wanted = |case: &Case| args.only.as_ref().is_none_or(|only| case.name == only);
    let pairs: Vec<(&Case, &Case)> =
        CASES.iter().flat_map(|a| CASES.iter().map(move |b| (a, b))).filter(|(a, b)| wanted(a) || wanted(b)).collect();
    let (next, places) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> anyhow::Result<()> {
        while let Some((first, second)) = pairs.get(next.fetch_add(1, Ordering::SeqCst)) {
            places.fetch_add(server.play(&known, first, second, args.places)?, Ordering::SeqCst);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a pair panicked")))
    })?;
    println!("{} pairs of use cases met at {} places; each end was a serial one", pairs.len(), places.load(Ordering::SeqCst));
    Ok(())
}

/// The server with the database that every trial begins as.
struct Server {
    base: String,
    addr: SocketAddr,
    scene: String,
}

impl Server {
    fn new(url: &str) -> anyhow::Result<Self> {
        let scene = crate::postgres::fresh_database(url)?;
        let (base, scene) = scene.rsplit_once('/').context("an address with a database")?;
        let host = base.rsplit_once('@').map_or(base, |(_, host)| host);
        let addr = host.to_socket_addrs()?.next().context("an address of a server")?;
        Ok(Self { base: base.to_owned(), addr, scene: scene.to_owned() })
    }

    fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.base)
    }

    /// The same by another way.
    fn url_by(&self, way: SocketAddr, database: &str) -> String {
        let user = self.base.rsplit_once('@').map_or("postgres://allclear", |(user, _)| user);
        format!("{user}@{way}/{database}")
    }

    /// A copy of the scene.
    fn copy(&self) -> anyhow::Result<Trial<'_>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}_{}", self.scene, NEXT.fetch_add(1, Ordering::SeqCst));
        self.administer(&format!("CREATE DATABASE {name} TEMPLATE {}", self.scene))?;
        Ok(Trial { server: self, name })
    }

    fn administer(&self, sql: &str) -> anyhow::Result<()> {
        let mut client = postgres::Client::connect(&self.url("postgres"), postgres::NoTls)?;
        // Two copies of one template at once are refused; whoever was second comes again.
        let mut last = None;
        let done = wait(PATIENCE, || match client.batch_execute(sql) {
            Ok(()) => true,
            Err(error) => {
                last = Some(error);
                false
            }
        });
        match (done, last) {
            (true, _) => Ok(()),
            (false, Some(error)) => Err(error.into()),
            (false, None) => bail!("the server does not answer"),
        }
    }

    /// Lets `second` come at places within `first`; how many places there were.
    fn play(&self, known: &Known, first: &Case, second: &Case, most: Option<usize>) -> anyhow::Result<usize> {
        let (before, statements) = self.serial(known, first, second)?;
        let (after, _) = self.serial(known, second, first)?;
        let after = (after.0, after.2, after.1);
        let chosen = chosen(statements, most, first.name.len() + second.name.len());
        for at in &chosen {
            let end = self.interleaved(known, first, second, *at)?;
            if end != before && end != after {
                bail!(
                    "\"{}\", held before its statement {at}, and \"{}\" end as neither order would:\n{}",
                    first.name,
                    second.name,
                    difference(&end, &before, &after)
                );
            }
        }
        Ok(chosen.len())
    }

    /// One after the other; the end, and how many statements the first one is made of.
    fn serial(&self, known: &Known, first: &Case, second: &Case) -> anyhow::Result<(End, usize)> {
        let (trial, gate) = (self.copy()?, Gate::before(self.addr)?);
        let actors = Actors::on(&self.url_by(gate.addr(), &trial.name), known)?;
        gate.shut_after(usize::MAX);
        let said_first = said((first.run)(&actors));
        let statements = gate.passed();
        drop(actors);
        let said_second = said((second.run)(&Actors::on(&self.url(&trial.name), known)?));
        Ok(((trial.dump()?, said_first, said_second), statements))
    }

    fn interleaved(&self, known: &Known, first: &Case, second: &Case, at: usize) -> anyhow::Result<End> {
        let (trial, gate) = (self.copy()?, Gate::before(self.addr)?);
        let held = Actors::on(&self.url_by(gate.addr(), &trial.name), known)?;
        let free = Actors::on(&self.url(&trial.name), known)?;
        gate.shut_after(at);
        let (told, answers) = (mpsc::channel(), mpsc::channel());
        let (run_first, run_second) = (first.run, second.run);
        std::thread::scope(|scope| {
            let answer = told.0;
            scope.spawn(move || answer.send(said(run_first(&held))));
            let mut early = None;
            wait(PATIENCE, || {
                early = told.1.try_recv().ok();
                early.is_some() || gate.holds()
            });
            let answer = answers.0;
            scope.spawn(move || answer.send(said(run_second(&free))));
            let mut ended = None;
            let stands = wait(PATIENCE, || {
                ended = answers.1.try_recv().ok();
                ended.is_some() || trial.somebody_waits().unwrap_or(false)
            });
            gate.open();
            if !stands {
                bail!("\"{}\" neither ends nor waits for a lock", second.name);
            }
            let said_first = early.map_or_else(|| told.1.recv_timeout(PATIENCE), Ok).context("the first never ended")?;
            let said_second = ended.map_or_else(|| answers.1.recv_timeout(PATIENCE), Ok).context("the second never ended")?;
            Ok((trial.dump()?, said_first, said_second))
        })
    }
}

fn said<E: std::fmt::Display>(result: Result<String, E>) -> String {
    result.unwrap_or_else(|error| format!("refused: {error}"))
}

/// Places within a use case of so many statements: all, or `most` of them, at even distances from a start that
/// differs from pair to pair.
fn chosen(statements: usize, most: Option<usize>, start: usize) -> Vec<usize> {
    let most = most.unwrap_or(statements).clamp(1, statements.max(1));
    (0..most).map(|n| (start + n * statements.div_ceil(most)) % statements.max(1)).collect()
}

/// What an end has that neither serial one has.
fn difference(end: &End, before: &End, after: &End) -> String {
    let mut text = format!("  answers: {:?}, {:?}\n", end.1, end.2);
    for (name, serial) in [("the first before the second", before), ("the second before the first", after)] {
        text.push_str(&format!("  against {name} (answers {:?}, {:?}):\n", serial.1, serial.2));
        end.0.iter().filter(|row| !serial.0.contains(row)).for_each(|row| text.push_str(&format!("    + {row}\n")));
        serial.0.iter().filter(|row| !end.0.contains(row)).for_each(|row| text.push_str(&format!("    - {row}\n")));
    }
    text
}

/// A database of one trial, gone at its end.
struct Trial<'a> {
    server: &'a Server,
    name: String,
}

impl Trial<'_> {
    /// Whether a transaction of this database waits for another's lock.
    fn somebody_waits(&self) -> anyhow::Result<bool> {
        let mut client = postgres::Client::connect(&self.server.url(&self.name), postgres::NoTls)?;
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        Ok(!client.query(waiting, &[])?.is_empty())
    }

    /// Every row of every table, but for what no order fixes: lock rows, and where evidence lies in its file.
    fn dump(&self) -> anyhow::Result<Vec<String>> {
        let mut client = postgres::Client::connect(&self.server.url(&self.name), postgres::NoTls)?;
        let tables = "SELECT relname::text FROM pg_stat_user_tables WHERE relname NOT IN ('lock', 'meta', 'migration') ORDER BY 1";
        let mut rows = Vec::new();
        for table in client.query(tables, &[])? {
            let table: String = table.get(0);
            let body = format!("SELECT (to_jsonb(t) - 'evidence_day' - 'evidence_at' - 'evidence_len')::text FROM {table} t ORDER BY 1");
            for row in client.query(&body, &[])? {
                rows.push(format!("{table} {}", row.get::<_, String>(0)));
            }
        }
        Ok(rows)
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.server.administer(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            eprintln!("a trial's database could not be removed: {error}");
        }
    }
}
