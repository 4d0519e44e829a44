//! `backup` and `restore` of the embedded database.

use std::process::ExitCode;

use allclear_base::{Clock, SystemClock};
use allclear_domain::Timestamp;
use allclear_ops::delivery;
use allclear_store::backup::{self, Copy};
use anyhow::{Context, bail};

use crate::cli::{BackupArgs, DataArgs};
use crate::server;

/// Whoever has PostgreSQL has its tools, which also know how to back up while it runs.
fn embedded_only(place: &DataArgs) -> anyhow::Result<()> {
    if place.database.is_some() {
        bail!("PostgreSQL is backed up by its own tools: pg_dump --format=custom, pg_restore");
    }
    Ok(())
}

fn describe(copy: &Copy) -> String {
    let Copy { bytes, catalog_rev, last_change, incidents } = copy;
    format!("{:.1} MB, last change {last_change}, configuration {catalog_rev}, {incidents} incidents", *bytes as f64 / 1e6)
}

pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    embedded_only(&args.place)?;
    let copy = backup::back_up(&args.place.data, &args.file)?;
    println!("{} is written and checked: {}.", args.file.display(), describe(&copy));
    println!("It holds neither the key file secret.key nor the requests and responses of runs (the folder evidence).");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn restore(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    embedded_only(&args.place)?;
    let now = SystemClock::start().now_us();
    let (copy, kept) = backup::restore(&args.place.data, &args.file, Timestamp(now))?;
    println!("{} is restored: {}.", args.file.display(), describe(&copy));
    if let Some(kept) = kept {
        println!("The database that was there is kept as {}.", kept.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = server::open_store(&args.place)?;
    let retired = runtime.block_on(delivery::retire_old(&store));
    let locked = runtime.block_on(async {
        let vault = server::vault(&args.place.data, std::sync::Arc::default())?;
        allclear_ops::secret::load(&store, &vault).await.context("the secrets cannot be read")
    });
    store.close();
    let retired = retired?;
    if !retired.is_empty() {
        println!("Too old to be sent, and not sent:");
    }
    for line in &retired {
        println!("  {line}");
    }
    for name in locked? {
        println!("The secret {name} was sealed with another key file: put that back as secret.key, or set the secret anew.");
    }
    Ok(ExitCode::SUCCESS)
}
