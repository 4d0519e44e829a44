//! What an exchange alone costs on this machine: the same HTTP client, the same rate, nothing judged or stored.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use allclear_base::{Clock, SystemClock, clock};
use allclear_egress::{Client, Guard, Request, TcpConnect};
use anyhow::{Context, bail};

use super::process;

/// What to ask, how often and how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address to ask.
    #[arg(long)]
    pub target: SocketAddr,
    /// Exchanges a second.
    #[arg(long)]
    pub rate: u32,
    /// How many.
    #[arg(long)]
    pub count: u32,
}

/// Runs start together that are due within this time, as in the product.
const GRID: Duration = Duration::from_millis(20);

/// CPU per exchange, as a process of its own spends it.
pub(super) fn cpu_per_exchange(target: SocketAddr, rate: u32, span: Duration) -> anyhow::Result<Duration> {
    let count = rate * u32::try_from(span.as_secs().max(1))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", "--target", &target.to_string(), "--rate", &rate.to_string(), "--count", &count.to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the bare exchanges failed");
    }
    let micros: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("no figure came")?;
    Ok(Duration::from_micros(micros))
}

/// Makes the exchanges and prints the microseconds of CPU of each.
///
/// # Errors
/// An exchange that failed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let clock = Arc::new(SystemClock::start());
    let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock) as _)), Arc::clone(&clock) as _);
    let before = process::cpu(std::process::id())?;
    let at_once = args.rate * u32::try_from(GRID.as_millis())? / 1_000;
    let (url, begun_us) = (format!("http://{}/probe", args.target), clock.now_us());
    for tick in 1..=args.count / at_once.max(1) {
        let asked = (0..at_once).map(|_| runtime.spawn(exchange(client.clone(), url.clone())));
        let asked: Vec<_> = asked.collect();
        let due_us = begun_us + i64::try_from((GRID * tick).as_micros())?;
        runtime.block_on(async {
            for one in asked {
                one.await??;
            }
            clock::sleep(&*clock, Duration::from_micros(u64::try_from(due_us - clock.now_us()).unwrap_or(0))).await;
            anyhow::Ok(())
        })?;
    }
    println!("{}", (process::cpu(std::process::id())? - before).as_micros() / u128::from(args.count));
    Ok(())
}

async fn exchange(client: Client, url: String) -> anyhow::Result<()> {
    let request = Request {
        method: http::Method::GET,
        url,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
        timeout: Duration::from_secs(5),
        largest_body: 1 << 20,
        follow_redirects: false,
    };
    client.send(request, &Guard::with_private()).await?;
    Ok(())
}
