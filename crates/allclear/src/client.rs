//! Commands that talk to the running server over the socket in its data folder, or to one elsewhere; with no server running
//! they open the database themselves.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use allclear_api::console::{self, Files, TestMessage, TokenWish};
use allclear_base::{Clock, OsRng, Secret, SystemClock};
use allclear_domain::incident::{Priority, Urgency};
use allclear_egress::{Client, Guard, Target, TcpConnect};
use allclear_ops::wish::{Declared, Wish};
use allclear_ops::{Actor, OpsError};
use allclear_store::Store;
use allclear_store::evidence::Evidence;
use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::UnixStream;

use crate::cli::{
    ApplyArgs, DataArgs, DeclareArgs, ExportArgs, FilesArgs, IncidentsArgs, KeyArgs, Loudness, MergeArgs, PriorityArgs, Reach, SecretArgs,
    SecretCommand, TokenArgs, TokenCommand, UrgencyArgs, UserArgs, UserCommand,
};
use crate::say::say;
use crate::{UNUSABLE, check, server};

/// What is asked for, in both forms.
pub(crate) enum Ask {
    Incidents { all: bool },
    Show { key: String },
    Act { key: String, wish: Wish },
    Declare(Declared),
    Plan(Files),
    Apply(Files),
    ApplyRemoving(Files),
    Export { source: Option<String> },
    Token(TokenWish),
    Tokens,
    RevokeToken { key: String },
    Integrations,
    Heartbeats,
    Merge { into: String, others: Vec<String> },
    ResetUser { who: String },
    Secrets,
    SetSecret { name: String, value: Secret },
    RemoveSecret { name: String },
    TestMessage(TestMessage),
    TestMessages { ids: Vec<String> },
}

pub(crate) fn incidents(args: &IncidentsArgs) -> anyhow::Result<ExitCode> {
    ask(&args.place, Ask::Incidents { all: args.all })
}

pub(crate) fn show(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    ask(&args.place, Ask::Show { key: args.key.clone() })
}

pub(crate) fn act(args: &KeyArgs, wish: Wish) -> anyhow::Result<ExitCode> {
    ask(&args.place, Ask::Act { key: args.key.clone(), wish })
}

const fn urgency(loudness: Loudness) -> Urgency {
    match loudness {
        Loudness::High => Urgency::High,
        Loudness::Low => Urgency::Low,
    }
}

pub(crate) fn set_urgency(args: &UrgencyArgs) -> anyhow::Result<ExitCode> {
    act(&args.which, Wish::Urgency { urgency: urgency(args.urgency) })
}

pub(crate) fn declare(args: &DeclareArgs) -> anyhow::Result<ExitCode> {
    let DeclareArgs { title, service, details, urgency: loudness, people, place } = args.clone();
    let urgency = loudness.map(urgency);
    ask(&place, Ask::Declare(Declared { title, service, details, urgency, people, policy: None, priority: None, taken: false, key: None }))
}

pub(crate) fn set_priority(args: &PriorityArgs) -> anyhow::Result<ExitCode> {
    let priority = match args.priority.as_str() {
        "none" => None,
        word => Some(Priority::from_word(word).with_context(|| format!("{word:?} is no priority: write P1, P2, P3, P4, P5 or none"))?),
    };
    act(&args.which, Wish::Priority { priority })
}

pub(crate) fn merge(args: &MergeArgs) -> anyhow::Result<ExitCode> {
    ask(&args.place, Ask::Merge { into: args.into.clone(), others: args.others.clone() })
}

pub(crate) fn heartbeats(place: &Reach) -> anyhow::Result<ExitCode> {
    ask(place, Ask::Heartbeats)
}

pub(crate) fn secret(args: &SecretArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        SecretCommand::List { place } => ask(place, Ask::Secrets),
        SecretCommand::Remove { name, place } => ask(place, Ask::RemoveSecret { name: name.clone() }),
        SecretCommand::Set { name, place } => {
            // Never an argument: every user of the machine can see those.
            if std::io::stdin().is_terminal() {
                eprintln!("The value of {name}, then Enter and Ctrl-D:");
            }
            let value = std::io::read_to_string(std::io::stdin()).context("the value cannot be read")?;
            let value = Secret::new(value.strip_suffix('\n').unwrap_or(&value));
            ask(place, Ask::SetSecret { name: name.clone(), value })
        }
    }
}

pub(crate) fn user(args: &UserArgs) -> anyhow::Result<ExitCode> {
    let UserCommand::Reset { who, place } = &args.command;
    ask(place, Ask::ResetUser { who: who.clone() })
}

pub(crate) fn integrations(place: &Reach) -> anyhow::Result<ExitCode> {
    ask(place, Ask::Integrations)
}

pub(crate) fn token(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        TokenCommand::Create { name, scopes, person, place } => {
            ask(place, Ask::Token(TokenWish { name: name.clone(), scopes: scopes.clone(), person: person.clone() }))
        }
        TokenCommand::List { place } => ask(place, Ask::Tokens),
        TokenCommand::Revoke { key, place } => ask(place, Ask::RevokeToken { key: key.clone() }),
    }
}

/// What files say, with their source; nothing where they cannot be used.
fn read(args: &FilesArgs) -> anyhow::Result<Option<Files>> {
    // What other sources own is known to the database alone; it has the last word.
    let loaded = allclear_config::load(std::slice::from_ref(&args.path), &|_, _| true);
    check::show(&loaded);
    if !loaded.is_usable() {
        return Ok(None);
    }
    let source = match &args.source {
        Some(source) => source.clone(),
        None if args.path.is_dir() => server::source_name(&args.path),
        None => bail!("name the source of a single file with --source: what the source owns and the file lacks is removed"),
    };
    Ok(Some(Files::new(source, &loaded.into_documents())?))
}

pub(crate) fn plan(args: &FilesArgs) -> anyhow::Result<ExitCode> {
    read(args)?.map_or(Ok(ExitCode::from(UNUSABLE)), |files| ask(&args.place, Ask::Plan(files)))
}

pub(crate) fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let wish = if args.remove { Ask::ApplyRemoving } else { Ask::Apply };
    read(&args.files)?.map_or(Ok(ExitCode::from(UNUSABLE)), |files| ask(&args.files.place, wish(files)))
}

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    ask(&args.place, Ask::Export { source: args.source.clone() })
}

fn ask(place: &Reach, ask: Ask) -> anyhow::Result<ExitCode> {
    say(&answer(place, ask)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What the server, or the database where no server runs, answers.
pub(crate) fn answer(place: &Reach, ask: Ask) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &place.server {
        Some(server) => runtime.block_on(ask_elsewhere(server, place, &ask)),
        None => runtime.block_on(ask_here(&place.data, ask)),
    }
}

async fn ask_here(place: &DataArgs, ask: Ask) -> anyhow::Result<String> {
    if place.database.is_none() && !place.data.exists() {
        bail!("there is no data folder {}; name it with --data", place.data.display());
    }
    match UnixStream::connect(server::socket_path(&place.data)).await {
        Ok(stream) => ask_server(TokioIo::new(stream), "localhost", None, &ask).await,
        Err(_) => {
            // Nobody listens: the database is free, or somebody has it who does not listen.
            let store = server::open_store(place)?;
            let answer = ask_database(&store, place, ask).await;
            store.close();
            answer
        }
    }
}

/// Asks a server elsewhere. Without TLS a token goes to nobody but this machine.
#[expect(clippy::disallowed_methods, reason = "the environment is read in the binary")]
async fn ask_elsewhere(server: &str, place: &Reach, ask: &Ask) -> anyhow::Result<String> {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
    let token = std::env::var("ALLCLEAR_TOKEN").ok().filter(|token| !token.is_empty());
    let token = token.context("set ALLCLEAR_TOKEN to a token of that server: `allclear token create` makes one")?;
    let url: http::Uri = server.parse().with_context(|| format!("{server:?} is not an address"))?;
    let (secure, host) = match (url.scheme_str(), url.host()) {
        (Some("https"), Some(host)) => (true, host),
        (Some("http"), Some(host)) if host == "localhost" || host.starts_with("127.") || host == "[::1]" => (false, host),
        _ => bail!("write --server https://HOST[:PORT]; plain http reaches this machine alone"),
    };
    let host = host.trim_matches(['[', ']']);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock))), clock);
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let target = Target { host: host.to_owned(), port, tls: false };
    let mut io = client.open(&target, &Guard::with_private(), PATIENCE).await.with_context(|| format!("cannot reach {server}"))?;
    if secure {
        let authority = match &place.authority {
            Some(file) => Some(std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?),
            None => None,
        };
        let secured = client.start_tls(io, host, authority.as_deref()).await;
        io = secured.with_context(|| format!("no TLS with {server}; name its authority with --authority"))?;
    }
    ask_server(TokioIo::new(io), url.authority().map_or(host, |authority| authority.as_str()), Some(&token), ask).await
}

async fn ask_database(store: &Store, place: &DataArgs, ask: Ask) -> anyhow::Result<String> {
    let (actor, rng) = (Actor::local(), Arc::new(OsRng));
    let answer: Result<String, OpsError> = match ask {
        Ask::Incidents { all } => console::incidents(store, &actor, all).await,
        Ask::Integrations => console::integrations(store, &actor, None).await,
        Ask::Show { key } => console::show(store, &Evidence::open(&place.data)?, &actor, &key).await,
        Ask::Act { key, wish } => console::act(store, &*rng, &actor, &key, wish).await,
        Ask::Declare(wish) => console::declare(store, &*rng, &actor, wish).await,
        Ask::Plan(files) => console::plan(store, &*rng, &actor, files).await,
        Ask::Apply(files) => console::apply(store, &*rng, &actor, files).await,
        Ask::ApplyRemoving(files) => console::apply_removing(store, &*rng, &actor, files).await,
        Ask::Export { source } => console::export(store, &actor, source.as_deref()),
        Ask::Token(wish) => console::create_token(store, &*rng, &actor, &wish).await,
        Ask::Tokens => console::tokens(store, &actor).await,
        Ask::RevokeToken { key } => console::revoke_token(store, &actor, &key).await,
        Ask::Heartbeats => console::heartbeats(store, &actor, None).await,
        Ask::ResetUser { who } => console::reset_user(store, &*rng, &actor, &who, None).await,
        Ask::Merge { into, others } => console::merge(store, &*rng, &actor, &into, &others).await,
        Ask::Secrets => console::secrets(store, &server::vault(&place.data, Arc::default())?, &actor).await,
        Ask::SetSecret { name, value } => {
            console::set_secret(store, &*rng, &server::vault(&place.data, Arc::default())?, &actor, &name, value.expose()).await
        }
        Ask::RemoveSecret { name } => console::remove_secret(store, &server::vault(&place.data, Arc::default())?, &actor, &name).await,
        Ask::TestMessage(_) | Ask::TestMessages { .. } => {
            bail!("no AllClear runs on this data folder: start it with `allclear up`, which is what sends messages")
        }
    };
    Ok(answer?)
}

async fn ask_server<I>(io: I, host: &str, token: Option<&str>, ask: &Ask) -> anyhow::Result<String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (method, path, body) = match ask {
        Ask::Incidents { all } => ("GET", format!("/config/v1/incidents{}", if *all { "?all=true" } else { "" }), Bytes::new()),
        Ask::Show { key } => ("GET", format!("/config/v1/show/{}", encode(key)), Bytes::new()),
        Ask::Act { key, wish } => ("POST", format!("/config/v1/incidents/{}", encode(key)), Bytes::from(serde_json::to_vec(wish)?)),
        Ask::Declare(wish) => ("POST", "/config/v1/incidents".to_owned(), Bytes::from(serde_json::to_vec(wish)?)),
        Ask::Plan(files) => ("POST", "/config/v1/plan".to_owned(), Bytes::from(serde_json::to_vec(files)?)),
        Ask::Apply(files) => ("POST", "/config/v1/apply".to_owned(), Bytes::from(serde_json::to_vec(files)?)),
        Ask::ApplyRemoving(files) => ("POST", "/config/v1/apply?remove=true".to_owned(), Bytes::from(serde_json::to_vec(files)?)),
        Ask::Export { source } => {
            let query = source.as_deref().map_or(String::new(), |source| format!("?source={}", encode(source)));
            ("GET", format!("/config/v1/export{query}"), Bytes::new())
        }
        Ask::Integrations => ("GET", "/config/v1/integrations".to_owned(), Bytes::new()),
        Ask::Heartbeats => ("GET", "/config/v1/heartbeats".to_owned(), Bytes::new()),
        Ask::ResetUser { who } => ("POST", format!("/config/v1/users/{}/reset", encode(who)), Bytes::new()),
        Ask::Merge { into, others } => ("POST", format!("/config/v1/merge/{}", encode(into)), Bytes::from(serde_json::to_vec(others)?)),
        Ask::Secrets => ("GET", "/config/v1/secrets".to_owned(), Bytes::new()),
        Ask::SetSecret { name, value } => ("PUT", format!("/config/v1/secrets/{}", encode(name)), Bytes::from(value.expose().to_owned())),
        Ask::RemoveSecret { name } => ("DELETE", format!("/config/v1/secrets/{}", encode(name)), Bytes::new()),
        Ask::Token(wish) => ("POST", "/config/v1/tokens".to_owned(), Bytes::from(serde_json::to_vec(wish)?)),
        Ask::Tokens => ("GET", "/config/v1/tokens".to_owned(), Bytes::new()),
        Ask::RevokeToken { key } => ("DELETE", format!("/config/v1/tokens/{}", encode(key)), Bytes::new()),
        Ask::TestMessage(wanted) => ("POST", "/config/v1/test-messages".to_owned(), Bytes::from(serde_json::to_vec(wanted)?)),
        Ask::TestMessages { ids } => ("GET", format!("/config/v1/test-messages/{}", encode(&ids.join(","))), Bytes::new()),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let request = hyper::Request::builder().method(method).uri(path).header("host", host);
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let request = request.body(Full::new(body))?;
    let sending = std::pin::pin!(async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
    });
    let (status, body) = match futures::future::select(sending, std::pin::pin!(connection)).await {
        futures::future::Either::Left((answer, _)) => answer,
        futures::future::Either::Right((_, sending)) => sending.await,
    }
    .context("the server did not answer")?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Ok(text);
    }
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let reason = problem["error"]["errors"][0].as_str().or(problem["error"]["message"].as_str()).unwrap_or(&text);
    bail!("{reason}")
}
