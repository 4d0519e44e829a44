//! A million runs that are too old go, while events are answered.

use std::time::Duration;

use anyhow::{Context, bail};

use super::crowd::{Ground, RUNS, Target, now, remember_runs, serve, test, wall_us};
use super::pages::people;
use super::{ms, quantile};
use crate::binary::{pause, request};

/// The longest that anybody may wait for their commit meanwhile.
const MOST_WAIT: Duration = Duration::from_millis(100);

const DAY_US: i64 = 86_400_000_000;

/// How long it may take; the janitor begins after a minute.
const PATIENCE: Duration = Duration::from_secs(400);

pub(super) fn measure(_: Duration) -> anyhow::Result<()> {
    const TESTS: usize = 10;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let target = runtime.block_on(serve(Target::default()))?;
    // Whoever is paged is where nobody answers.
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let mut world = people(nobody, None, 1, 1);
    for n in 0..TESTS {
        world.push_str(&test(n, target, "environments: { production: {} }\n"));
    }
    let ground = Ground::new(&world)?;
    let (mut process, _) = ground.start()?;
    process.terminate()?;
    remember_runs(&ground, 125)?;
    let (mut process, _) = ground.start()?;
    // By the index: to count them would hold the log back.
    let oldest = || ground.count("SELECT COALESCE((SELECT started_at FROM run ORDER BY started_at LIMIT 1), 0)");
    let key = ground.integration_keys()?.into_iter().next().context("no integration")?;
    let (begun, mut waits, mut first_gone) = (now(), Vec::new(), None);
    let (first, today) = (oldest()?, wall_us());
    while oldest()? < today - 91 * DAY_US {
        if begun.elapsed() > PATIENCE {
            bail!("old runs are still there");
        }
        for n in 0..100 {
            let took = event(&ground, &key, n)?;
            if first_gone.is_some() {
                waits.push(took);
            }
            pause(Duration::from_millis(5));
        }
        if first_gone.is_none() && oldest()? > first {
            first_gone = Some(now());
        }
    }
    process.terminate()?;
    waits.sort_unstable();
    let most = waits.last().copied().unwrap_or_default();
    let took = first_gone.map_or(Duration::ZERO, |first| first.elapsed());
    println!("{RUNS} runs went in {:.0} s; {} events meanwhile were answered within", took.as_secs_f64(), waits.len());
    println!("p50 {:.2} ms, p99 {:.2} ms, at most {:.1} ms", ms(quantile(&waits, 0.5)), ms(quantile(&waits, 0.99)), ms(most));
    if most > MOST_WAIT { bail!("one waited {:.0} ms, wanted {:.0}", ms(most), ms(MOST_WAIT)) } else { Ok(()) }
}

/// An event, answered after its commit; how long that took.
fn event(ground: &Ground, key: &str, n: usize) -> anyhow::Result<Duration> {
    let body = serde_json::json!({ "routing_key": key, "event_action": "trigger", "dedup_key": format!("host-{n}"),
        "payload": { "summary": "CPU is high", "source": "bench", "severity": "critical" } })
    .to_string();
    let host = ground.listen;
    let raw = format!("POST /v2/enqueue HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let begun = now();
    if request(host, &raw).is_none_or(|(status, _)| status != 202) {
        bail!("an event was not taken");
    }
    Ok(begun.elapsed())
}
