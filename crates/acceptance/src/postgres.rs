//! Databases on the PostgreSQL server that the test command starts.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

/// Where the test command's server is.
///
/// # Errors
/// A test that was not started by the test command.
#[expect(clippy::disallowed_methods, reason = "the test command says where its cluster is")]
pub fn server() -> anyhow::Result<String> {
    std::env::var("ALLCLEAR_TEST_POSTGRES").context("PostgreSQL is needed: run these tests with `cargo xtask test`")
}

/// An empty database on a server, by its address.
///
/// # Errors
/// A server that does not answer.
pub fn fresh_database(server: &str) -> anyhow::Result<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("acceptance_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let mut client = postgres::Client::connect(server, postgres::NoTls)?;
    client.batch_execute(&format!("CREATE DATABASE {name}"))?;
    let (head, _) = server.rsplit_once('/').context("the address of the server names no database")?;
    Ok(format!("{head}/{name}"))
}

/// A database that begins as a copy of another, which nobody may be connected to. `base` is the server's address.
///
/// # Errors
/// A server that does not answer.
pub fn copy_of(base: &str, template: &str) -> anyhow::Result<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("{template}_{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let mut client = postgres::Client::connect(&format!("{base}/postgres"), postgres::NoTls)?;
    client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))?;
    Ok(format!("{base}/{name}"))
}

/// Breaks every other connection to a database, as a server does that restarts.
///
/// # Errors
/// A server that does not answer.
pub fn break_connections(url: &str) -> anyhow::Result<i64> {
    let mut client = postgres::Client::connect(url, postgres::NoTls)?;
    let all =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    Ok(client.query_one(all, &[])?.get(0))
}

/// Lets nobody connect to a database any more, and breaks whatever is connected; or lets them again.
///
/// # Errors
/// A server that does not answer.
pub fn open_or_shut(url: &str, open: bool) -> anyhow::Result<()> {
    let (head, name) = url.rsplit_once('/').context("the address names no database")?;
    let mut client = postgres::Client::connect(&format!("{head}/postgres"), postgres::NoTls)?;
    client.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {open}"))?;
    if !open {
        client.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", &[&name])?;
    }
    Ok(())
}

/// The certificate of the authority that the test command's server is known by: a file.
///
/// # Errors
/// A test that was not started by the test command.
#[expect(clippy::disallowed_methods, reason = "the test command says where its cluster is")]
pub fn authority() -> anyhow::Result<String> {
    std::env::var("ALLCLEAR_TEST_POSTGRES_CA").context("PostgreSQL with TLS is needed: run these tests with `cargo xtask test`")
}

/// How many connections to a database are encrypted.
///
/// # Errors
/// A server that does not answer.
pub fn encrypted_connections(url: &str) -> anyhow::Result<i64> {
    let mut client = postgres::Client::connect(url, postgres::NoTls)?;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.datname = current_database()";
    Ok(client.query_one(encrypted, &[])?.get(0))
}
