//! Transactions a second through the real `write`, 64 callers at once, against one caller on the same disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use allclear_base::{OsRng, SystemClock};
use allclear_domain::Span;
use allclear_store::record::slot::{self, SlotException, Watermark};
use allclear_store::record::timer::{self, Timer};
use allclear_store::{Backend, Lane, Options, Store, StoreError, Tx, Write};
use anyhow::bail;

use super::{ms, quantile};

const CALLERS: usize = 64;

/// DESIGN's floor for the embedded database.
const WANTED: f64 = 10_000.0;

pub(super) fn open(folder: &std::path::Path) -> anyhow::Result<Store> {
    let options = Options { backend: Backend::sqlite(folder), clock: Arc::new(SystemClock::start()), rng: Arc::new(OsRng) };
    Ok(Store::open(&options)?)
}

/// Nine statements as judging and escalation make them: timers, an exception of the slot ledger, a watermark.
fn nine_statements(tx: &mut Tx<'_>, n: u64) -> Result<(), StoreError> {
    let subject = format!("incident:Q{n:013}");
    let timer = |kind: &str, seconds: i64| Timer {
        subject: subject.clone(),
        kind: kind.to_owned(),
        due_at: tx_time(n).plus(Span::from_secs(seconds)),
        body: "{\"level\":0,\"pass\":0}".to_owned(),
    };
    timer::set_timer(tx, &timer("escalate", 300))?;
    timer::set_timer(tx, &timer("auto_resolve", 14_400))?;
    timer::set_timer(tx, &timer("escalate", 600))?;
    timer::timers_of(tx, &subject)?;
    timer::clear_timer(tx, &subject, "auto_resolve")?;
    timer::next_due(tx)?;
    let (test, at) = (format!("test-{}", n % 1_000), tx_time(n));
    let missed = SlotException {
        test: test.as_str().into(),
        environment: "production".into(),
        location: "local".into(),
        first: at,
        last: at,
        slots: 1,
        reason: "still running".into(),
    };
    slot::insert_exceptions(tx, &[missed])?;
    let probe = format!("probe-{}", n % 64);
    slot::watermark(tx, &"local".into(), &probe)?;
    slot::put_watermark(tx, &Watermark { location: "local".into(), probe, boot: "b".into(), seq: 1, through: at })
}

fn tx_time(n: u64) -> allclear_domain::Timestamp {
    allclear_domain::Timestamp(1_774_699_200_000_000 + i64::try_from(n).unwrap_or(0) * 1_000)
}

/// Times of transactions that `callers` made one after the other for `span`.
#[expect(clippy::disallowed_methods, reason = "a measurement")]
pub(super) fn load(store: &Store, callers: usize, span: Duration) -> anyhow::Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let next = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + span;
    let mut times = runtime.block_on(async {
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (store, next) = (store.clone(), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        let (begun, n) = (Instant::now(), next.fetch_add(1, Ordering::Relaxed));
                        store.write(Write::new("nine statements", Lane::Act), move |tx| nine_statements(tx, n)).await?;
                        times.push(begun.elapsed());
                    }
                    Ok::<_, StoreError>(times)
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    times.sort_unstable();
    Ok(times)
}

/// One transaction by one caller.
#[expect(clippy::disallowed_methods, reason = "a measurement")]
pub(super) fn one(store: &Store, n: u64) -> Result<Duration, StoreError> {
    let begun = Instant::now();
    futures::executor::block_on(store.write(Write::new("nine statements", Lane::Act), move |tx| nine_statements(tx, n)))?;
    Ok(begun.elapsed())
}

pub(super) fn measure(span: Duration) -> anyhow::Result<()> {
    let folder = super::folder()?;
    let store = open(folder.path())?;
    let mut rates = Vec::new();
    for callers in [1, CALLERS] {
        let times = load(&store, callers, span / 4)?;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = times.len() as f64 / (span / 4).as_secs_f64();
        println!(
            "{callers:>3} callers: {rate:>8.0} transactions/s of nine statements, p50 {:.2} ms, p99 {:.2} ms",
            ms(quantile(&times, 0.5)),
            ms(quantile(&times, 0.99))
        );
        rates.push(rate);
    }
    store.close();
    println!("ratio: {:.1} (64 callers against one, synchronous=FULL)", rates[1] / rates[0]);
    if rates[1] < WANTED {
        bail!("{:.0} transactions/s, wanted {WANTED}", rates[1]);
    }
    Ok(())
}
