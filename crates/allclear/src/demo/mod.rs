//! `allclear demo`: the product with a small world around it. AllClear's side is the product itself; only the
//! outside (the API under test, the telephone, Slack, the mail server) is the stage's.

mod inside;
mod script;
mod seen;
mod theatre;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use allclear_base::{OsRng, Secret, Secrets};
use allclear_domain::catalog::Document;
use allclear_ops::session;
use allclear_stage::live::LiveStreaming;
use allclear_stage::mailbox::{Certificate, Mailbox};
use allclear_stage::phone::Telephone;
use allclear_stage::slack::Workspace;
use allclear_stage::{Player, Stage};
use anyhow::{Context, bail};
use tokio::net::TcpListener;

use crate::cli::{DataArgs, DemoArgs};
use crate::server::{Files, Server, Settings, end, told_to_end};

const API_KEY: &str = "demo-api-key-4711";
const SLACK_TOKEN: &str = "xoxb-demo-token-4711";
const SLACK_SIGNING: &str = "demo-signing-secret-4711";
const TWILIO_ACCOUNT: &str = "ACde300000000000000000000000000000";
const TWILIO_TOKEN: &str = "demo-auth-token-4711";
const MAIL_PASSWORD: &str = "demo-mail-password-4711";

/// Streams that the API has room for.
const CAPACITY: usize = 8;

/// Where the parts of the stage listen.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) live: SocketAddr,
    pub(crate) phone: SocketAddr,
    pub(crate) slack: SocketAddr,
    /// Where mails are read.
    pub(crate) mailbox: SocketAddr,
    /// Where mails are sent.
    smtp: SocketAddr,
    /// Whom to trust there.
    authority: String,
}

pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("rest").build().context("no runtime")?;
    runtime.block_on(play(args))
}

async fn play(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let kept;
    let folder = match &args.data {
        Some(folder) => folder.as_path(),
        None => {
            kept = tempfile::Builder::new().prefix("allclear-demo-").tempdir().context("no temporary folder")?;
            kept.path()
        }
    };
    let world = set_up().await?;
    let server = start(args, folder, &world).await?;
    if let Some(why) = &server.not_applied {
        eprintln!("allclear: the demo goes on with what this folder holds: {why}");
    }
    connect_callbacks(&server, &world).await?;
    let outcome = if args.script { script::run(&server, &world).await } else { attend(&server, &world).await };
    let ended = end(server).await;
    outcome.map(|code| if ended == ExitCode::SUCCESS { code } else { ended })
}

async fn set_up() -> anyhow::Result<World> {
    let mailbox = Stage::new(Mailbox::new("allclear", MAIL_PASSWORD));
    let certificate = Certificate::new().context("no certificate for the demo's mail server")?;
    let authority = certificate.pem.clone();
    Ok(World {
        smtp: take_mail(mailbox.clone(), certificate).await?,
        mailbox: serve(mailbox).await?,
        authority,
        live: put_on_stage(LiveStreaming::new(API_KEY, CAPACITY)).await?,
        phone: put_on_stage(Telephone::new(TWILIO_ACCOUNT, TWILIO_TOKEN)).await?,
        slack: put_on_stage(Workspace::new(SLACK_TOKEN, SLACK_SIGNING)).await?,
    })
}

async fn put_on_stage(player: impl Player) -> anyhow::Result<SocketAddr> {
    serve(Stage::new(player)).await
}

#[expect(clippy::disallowed_methods, reason = "the stage is the outside world: it has tasks of its own")]
async fn serve(stage: Stage<impl Player>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(stage.serve(listener));
    Ok(addr)
}

#[expect(clippy::disallowed_methods, reason = "the stage is the outside world: it has tasks of its own")]
async fn take_mail(mailbox: Stage<Mailbox>, certificate: Certificate) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(mailbox.serve_mail(listener, Some(certificate)));
    Ok(addr)
}

async fn start(args: &DemoArgs, folder: &Path, world: &World) -> anyhow::Result<Server> {
    let secret = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
    let settings = Settings {
        place: DataArgs { data: folder.to_owned(), database: None },
        listen: args.listen,
        public_url: None,
        is_reached_at_own_address: true,
        tls: None,
        trusted_proxies: Arc::default(),
        secrets: Arc::new(Secrets::new([
            secret("SYNQ_KEY", API_KEY),
            secret("SLACK_TOKEN", SLACK_TOKEN),
            secret("SLACK_SIGNING_SECRET", SLACK_SIGNING),
            secret("TWILIO_TOKEN", TWILIO_TOKEN),
            secret("MAIL_PASSWORD", MAIL_PASSWORD),
        ])),
    };
    let documents = documents(include_str!("world.yaml"), world)?;
    Server::start(settings, Files::Read { source: "demo".to_owned(), documents }).await
}

/// The files of the demo, with the addresses of this stage.
pub(crate) fn documents(text: &str, world: &World) -> anyhow::Result<Vec<Document>> {
    let http = |addr: SocketAddr| format!("http://{addr}");
    let names = [
        ("$LIVE_API", http(world.live)),
        ("$PHONE_API", http(world.phone)),
        ("$SLACK_API", http(world.slack)),
        ("$MAIL_PORT", world.smtp.port().to_string()),
        ("$MAIL_AUTHORITY", world.authority.replace('\n', "\\n")),
    ];
    let filled = names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let loaded = allclear_config::load_str("demo.yaml", &filled, &|_, _| true);
    if !loaded.is_usable() {
        let shown: String = loaded.diagnostics.iter().map(ToString::to_string).collect();
        bail!("the demo's own files are wrong:\n{shown}");
    }
    Ok(loaded.into_documents())
}

/// What one does in Slack's and Twilio's consoles: tell them where we are.
async fn connect_callbacks(server: &Server, world: &World) -> anyhow::Result<()> {
    use allclear_domain::catalog::Kind;
    let catalog = server.store.catalog();
    let hook = |channel: &str, path: &str| {
        let id = catalog.id_of(Kind::Channel, channel).unwrap_or_default();
        serde_json::json!({ "url": format!("http://{}/hooks/{}", server.addr, path.replace("ID", id)) })
    };
    let eyes = seen::Eyes::new(server, world);
    eyes.post(world.slack, "/_stage/webhook", &hook("Slack", "slack/ID")).await?;
    eyes.post(world.phone, "/_stage/webhook", &hook("Twilio", "twilio/ID/sms")).await?;
    Ok(())
}

/// Leaves the world to the visitor.
async fn attend(server: &Server, world: &World) -> anyhow::Result<ExitCode> {
    let link = session::link_for(&server.store, &OsRng, session::Entry::SignIn, "Ada").await?;
    let stage = theatre::open(server, world, &link).await?;
    println!("AllClear tests a live-streaming API every second. Open the stage, turn the API's switch, and watch:\n");
    println!("  http://{stage}\n");
    println!("Its links lead into AllClear, signed in as Ada, who owns it. To let it play by itself: allclear demo --script.");
    println!("Stop with Ctrl-C.");
    told_to_end().await?;
    println!("Ending, once what is under way is finished. Ctrl-C once more ends at once.");
    Ok(ExitCode::SUCCESS)
}
