//! AllClear's API on a database whose commits are not synced: it exists to be found out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use allclear_api::{App, AppParts, PublicPages, Ready};
use allclear_base::runtime::{Health, TokioSpawn};
use allclear_base::{OsRng, Runtime, Secrets, SystemClock, Vault};
use allclear_channels::{Channels, Site};
use allclear_egress::{Client, TcpConnect};
use allclear_store::evidence::Evidence;
use allclear_store::{Backend, Options, Store};
use anyhow::Context;

/// Where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A data folder.
    #[arg(long)]
    pub data: PathBuf,
    /// The address to listen on.
    #[arg(long)]
    pub listen: SocketAddr,
}

/// Serves until it is killed.
///
/// # Errors
/// A database or a socket that cannot be opened.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let clock = Arc::new(SystemClock::start());
    let backend = Backend::Sqlite { folder: args.data.clone(), synchronous_normal: true, max_pages: None };
    let store = Store::open(&Options { backend, clock: Arc::clone(&clock) as _, rng: Arc::new(OsRng) })?;
    let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock) as _)), Arc::clone(&clock) as _);
    let app = App::new(AppParts {
        store,
        evidence: Evidence::open(&args.data)?,
        rng: Arc::new(OsRng),
        pager: Runtime { clock: Arc::clone(&clock) as _, rng: Arc::new(OsRng), spawner: Arc::new(TokioSpawn) },
        channels: Channels::new(client, Arc::new(Secrets::default()), Site::new("http://allclear.test", Some("http://allclear.test"))),
        vault: Arc::new(Vault::new(&[7; 32], Arc::default()).context("no vault")?),
        pages: PublicPages::without_html("http://allclear.test"),
        health: Arc::new(Health::default()),
        ready: Ready::default(),
        local: false,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen).await?;
        let front = allclear_api::router(app, axum::Router::new());
        Ok(axum::serve(listener, axum::ServiceExt::<axum::extract::Request>::into_make_service(front)).await?)
    })
}
