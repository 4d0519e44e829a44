//! The running server: start and stop in their order.
//!
//! Start: lock, open, migrate, catalog (the store) → published pages, timers and outbox → listeners → probe.
//! Stop: not ready → no new runs → finish HTTP → no new claims, finish calls → drain the writer, checkpoint, unlock.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use allclear_api::{App, AppParts, Asked, Older, PublicPages, Ready, Rendered};
use allclear_base::runtime::{HandleSpawn, Health, Switch};
use allclear_base::{Clock, OsRng, Runtime, Secrets, SystemClock, Vault, crash};
use allclear_channels::{Channels, Site};
use allclear_domain::Timestamp;
use allclear_domain::catalog::Document;
use allclear_domain::status::published::PublishedPage;
use allclear_egress::{Cidr, Client, TcpConnect};
use allclear_engine::{AUDIT_EVERY, Engine, LOOK_ANYWAY, Parts, Published};
use allclear_ops::config::Plan;
use allclear_ops::{Actor, OpsError};
use allclear_probe::{DebtJournal, Runner};
use allclear_store::evidence::Evidence;
use allclear_store::{Backend, Options, Store, StoreError};
use anyhow::{Context, bail};
use tokio::net::{TcpListener, UnixListener};

use crate::cli::{DataArgs, UpArgs};
use crate::hands::Hands;
use crate::tls::{Certificate, Names, Tls};
use crate::{INTERRUPTED, UNUSABLE, check, http, secrets, welcome};

/// What a server is started with.
pub(crate) struct Settings {
    pub(crate) place: DataArgs,
    pub(crate) listen: SocketAddr,
    /// The address at which the outside reaches it. Without one no callback can arrive, and nothing
    /// asks for any.
    pub(crate) public_url: Option<String>,
    /// Whether the providers stand on this machine, as in the demo, and reach the own address.
    pub(crate) is_reached_at_own_address: bool,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) tls: Option<Tls>,
    pub(crate) trusted_proxies: Arc<[Cidr]>,
}

/// The files that a server is started with.
pub(crate) enum Files {
    /// It is started without any.
    None,
    /// What they say, with the source that owns it.
    Read {
        /// The source.
        source: String,
        /// The documents.
        documents: Vec<Document>,
    },
    /// They have mistakes, which were shown.
    Unusable,
}

/// Files that were not applied, where there is nothing else that AllClear could run with.
#[derive(Debug)]
pub(crate) struct NothingOnRecord {
    why: String,
}

impl std::fmt::Display for NothingOnRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; no configuration is on record, so AllClear does not start", self.why)
    }
}

impl std::error::Error for NothingOnRecord {}

/// A running server.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) locked_secrets: Vec<String>,
    /// Why the files were not applied: it runs with the configuration on record.
    pub(crate) not_applied: Option<String>,
    engine: Engine,
    ready: Ready,
    no_http: Switch,
    socket: PathBuf,
    pager: Pager,
}

/// The runtime of its own for paging. A start that fails lets go of it without waiting.
struct Pager(Option<tokio::runtime::Runtime>);

impl Drop for Pager {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which database, by the command line.
pub(crate) fn backend(place: &DataArgs) -> Backend {
    match &place.database {
        Some(url) => Backend::Postgres { url: url.clone(), folder: place.data.clone() },
        None => Backend::sqlite(&place.data),
    }
}

/// Opens the database. Blocks.
pub(crate) fn open_store(place: &DataArgs) -> Result<Store, StoreError> {
    open_store_by(place, Arc::new(SystemClock::start()))
}

fn open_store_by(place: &DataArgs, clock: Arc<SystemClock>) -> Result<Store, StoreError> {
    Store::open(&Options { backend: backend(place), clock, rng: Arc::new(OsRng) })
}

/// What opens the stored secrets: a key file in the data folder, which no backup holds.
pub(crate) fn vault(data: &Path, secrets: Arc<Secrets>) -> anyhow::Result<Vault> {
    let file = data.join("secret.key");
    Vault::open_file(&file, &OsRng, secrets).with_context(|| format!("the key file {} cannot be used", file.display()))
}

/// Where the command line finds the running server.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("allclear.sock")
}

pub(crate) fn up(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let files = args.config.as_deref().map_or(Files::None, read_files);
    let are_unusable = matches!(files, Files::Unusable);
    // Where there is no data folder nothing is on record: none is made for files that cannot be
    // used.
    if are_unusable && args.place.database.is_none() && !args.place.data.exists() {
        return Ok(ExitCode::from(UNUSABLE));
    }
    let public = args.public_url.clone().filter(|url| !url.is_empty());
    let settings = Settings {
        place: args.place.clone(),
        listen: args.listen,
        public_url: public.clone(),
        is_reached_at_own_address: false,
        secrets: Arc::new(secrets::from_environment()),
        tls: args.tls.clone(),
        trusted_proxies: args.trusted_proxies.clone().into(),
    };
    raise_file_limit();
    let rest = rest_runtime()?;
    rest.block_on(async {
        let known = Arc::clone(&settings.secrets);
        let server = match Server::start(settings, files).await {
            Err(error) if are_unusable && error.is::<NothingOnRecord>() => {
                eprintln!("allclear: {error}");
                return Ok(ExitCode::from(UNUSABLE));
            }
            started => started?,
        };
        let own = format!("{}://{}", if server.certificate.is_some() { "https" } else { "http" }, server.addr);
        for line in welcome::lines(&server.store.catalog(), &known, &own, public.as_deref()) {
            println!("{line}");
        }
        if let Some(authority) = server.certificate.as_ref().and_then(Certificate::authority) {
            println!("  clients must trust {}", authority.display());
        }
        if let Some(link) = allclear_ops::session::set_up_link(&server.store, &OsRng).await? {
            println!("  nobody can sign in yet; open this within a day: {}/enter/{link}", public.as_deref().unwrap_or(&own));
        }
        for name in &server.locked_secrets {
            println!("  missing: the stored secret {name} was sealed with another key file; put that back, or set the secret anew");
        }
        if let Some(why) = &server.not_applied {
            println!("  NOT APPLIED: {why}");
            println!("  AllClear runs with the configuration on record; once the files are right, a SIGHUP or `allclear apply` reads them");
        }
        serve_until_told(&server, args.config.as_deref()).await?;
        Ok(end(server).await)
    })
}

/// What the files say; mistakes are shown.
fn read_files(path: &Path) -> Files {
    let loaded = check::load(&[path.to_owned()]);
    check::show(&loaded);
    if loaded.is_usable() { Files::Read { source: source_name(path), documents: loaded.into_documents() } } else { Files::Unusable }
}

/// Applies the files of a start. Where they cannot be applied, but something is on record, AllClear
/// runs with that: a pager that stays away because of a file helps nobody. The answer is why they
/// were not applied.
async fn apply_files(store: &Store, runtime: &Runtime, files: Files) -> anyhow::Result<Option<String>> {
    let why = match files {
        Files::None => return Ok(None),
        Files::Unusable => "the files have mistakes".to_owned(),
        Files::Read { source, documents } => {
            match allclear_ops::config::apply(store, &*runtime.rng, &Actor::files(), &source, documents).await {
                Ok(plan) => {
                    report_plan(&plan);
                    return Ok(None);
                }
                Err(error @ (OpsError::WouldRemove(_) | OpsError::Invalid(_))) => error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
    };
    if store.catalog().is_empty() {
        return Err(NothingOnRecord { why }.into());
    }
    tracing::error!(why, "the files were not applied; AllClear runs with the configuration on record");
    Ok(Some(why))
}

/// Sockets of hanging runs and of clients count as open files; the usual soft limit is 1,024, and what may be had beyond it
/// costs nothing.
fn raise_file_limit() {
    const WANTED: u64 = 32_768;
    match rlimit::increase_nofile_limit(WANTED) {
        Ok(limit) if limit < WANTED => {
            tracing::warn!(limit, wanted = WANTED, "few files can be open: many hanging runs would be inconclusive")
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// The runtime for everything but paging. The pager and the writer of the database have threads of their own: where there
/// is little to do, fewer workers wake each other less.
pub(crate) fn rest_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = cores.saturating_sub(1).max(1);
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().thread_name("rest").build().context("no runtime")
}

/// The name under which `apply` remembers what these files own: the folder's.
pub(crate) fn source_name(path: &Path) -> String {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let name = folder.and_then(|folder| folder.canonicalize().ok()).and_then(|f| f.file_name().map(|n| n.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "files".to_owned())
}

/// Waits for the end; the terminal's own end is one too.
pub(crate) async fn told_to_end() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Stops in order. Told once more, it leaves what is under way: what was accepted is on disk, and the next start takes it up.
pub(crate) async fn end(server: Server) -> ExitCode {
    tokio::select! {
        () = server.stop() => ExitCode::SUCCESS,
        _ = told_to_end() => {
            tracing::warn!("stop: told again; what is under way is left, and the next start takes it up");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// Waits for the end; a SIGHUP reads the files anew.
async fn serve_until_told(server: &Server, config: Option<&Path>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(server, config).await,
        }
    }
}

/// Applies the files as they are now. Files with a mistake change nothing.
async fn reload(server: &Server, config: Option<&Path>) {
    if let Some(Err(error)) = server.certificate.as_ref().map(|certificate| certificate.renew(server.store.now())) {
        tracing::error!(error = format!("{error:#}"), "the certificate cannot be read anew; the old one stays");
    }
    let Some(path) = config else {
        tracing::warn!("there are no files to read anew: it was started without --config");
        return;
    };
    let loaded = check::load(&[path.to_owned()]);
    for diagnostic in &loaded.diagnostics {
        tracing::warn!("{diagnostic}");
    }
    if !loaded.is_usable() {
        tracing::error!("the files cannot be used; the configuration stays as it is");
        return;
    }
    let (source, documents) = (source_name(path), loaded.into_documents());
    match allclear_ops::config::apply(&server.store, &*server.runtime.rng, &Actor::files(), &source, documents).await {
        Ok(plan) => report_plan(&plan),
        Err(error) => tracing::error!(%error, "the files cannot be applied; the configuration stays as it is"),
    }
}

fn phase(name: &'static str) {
    tracing::info!(phase = name, "{name}");
}

impl Server {
    /// Starts everything in order; the files are applied before the first test runs.
    pub(crate) async fn start(settings: Settings, files: Files) -> anyhow::Result<Self> {
        phase("start: open");
        let clock = Arc::new(SystemClock::start());
        let runtime = runtime_on(tokio::runtime::Handle::current(), &clock);
        let (listener, store) = open(&settings, &runtime, &clock).await?;
        match Self::start_on(settings, files, listener, store.clone(), clock, runtime).await {
            Ok(server) => Ok(server),
            Err(error) => {
                // Closing waits for the database, which no task may do.
                tokio::task::spawn_blocking(move || store.close()).await.context("the database could not be closed in order")?;
                Err(error)
            }
        }
    }

    async fn start_on(
        settings: Settings,
        files: Files,
        listener: Option<Arc<TcpListener>>,
        store: Store,
        clock: Arc<SystemClock>,
        runtime: Runtime,
    ) -> anyhow::Result<Self> {
        crash::point("start.after_migrate");
        let folder = &settings.place.data;
        allclear_store::make_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let evidence = Evidence::open(folder)?;
        let pager = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("pager").build()?;
        let pager_runtime = runtime_on(pager.handle().clone(), &clock);
        let pager = Pager(Some(pager));
        // The port is taken before anything runs, so that a port in use stops the start and nothing else.
        let listener = match listener {
            Some(listener) => listener,
            None => bind(settings.listen).await?,
        };
        let addr = listener.local_addr()?;
        let names = Names { listen: addr, public_url: settings.public_url.clone() };
        let certificate = settings.tls.map(|tls| Certificate::open(tls, folder, names, store.now())).transpose()?;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let own_url = format!("{scheme}://{addr}");
        let reached_at = settings.public_url.or_else(|| settings.is_reached_at_own_address.then(|| own_url.clone()));
        let site = Site::new(&own_url, reached_at.as_deref());
        let public_url = site.url().to_owned();
        if site.public().is_none() {
            tracing::warn!(
                "there is no --public-url: messages carry no links and ask for no answer, because no button, key, reply or receipt could arrive"
            );
        }
        let secrets = settings.secrets;
        let vault = Arc::new(vault(folder, Arc::clone(&secrets))?);
        let locked_secrets = allclear_ops::secret::load(&store, &vault).await?;
        if !locked_secrets.is_empty() {
            tracing::error!(names = locked_secrets.join(", "), "stored secrets cannot be opened with this key file");
        }
        let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock) as _)), Arc::clone(&clock) as _);
        let channels = Channels::new(client.clone(), Arc::clone(&secrets), site);
        let journal = DebtJournal::open(&folder.join("probe")).context("cannot open the journal of what tests owe")?;
        let runner = Runner::new(client, runtime.clone(), secrets, Some(Arc::new(journal)));
        let app_url = public_url.clone();
        let (health, ready) = (Arc::new(Health::default()), Ready::default());
        let pages = public_pages(&public_url).with_older(older(&store));
        phase("start: catalog");
        let not_applied = apply_files(&store, &runtime, files).await?;
        crash::point("start.after_catalog");
        phase("start: pages, timers, outbox");
        let (shown, at) = (pages.clone(), Arc::clone(&clock));
        let parts = Parts {
            pager: pager_runtime.clone(),
            rest: runtime.clone(),
            store: store.clone(),
            evidence: evidence.clone(),
            channels: channels.clone(),
            runner,
            health: Arc::clone(&health),
            on_publish: Arc::new(move |published| match published {
                Published::Pages(pages) => shown.replace(pages, Timestamp(at.now_us())),
                Published::AwaySince(since) => shown.went_away(since, Timestamp(at.now_us())),
            }),
            look_anyway: LOOK_ANYWAY,
            audit_every: AUDIT_EVERY,
        };
        let engine = Engine::start(parts).await?;
        engine.follow_wall(&clock);
        phase("start: listeners");
        let app = App::new(AppParts {
            store: store.clone(),
            evidence,
            rng: Arc::new(OsRng),
            pager: pager_runtime.clone(),
            channels,
            vault,
            pages,
            health,
            ready: ready.clone(),
            local: false,
        });
        let no_http = Switch::default();
        let socket = socket_path(folder);
        let local = bind_socket(&socket)?;
        let people = allclear_web::router(allclear_web::Web::new(
            store.clone(),
            app.evidence.clone(),
            runtime.clone(),
            Arc::clone(&app.health),
            Arc::new(Hands(engine.by_hand())),
            &app_url,
        ));
        let door = http::Door { listener, certificate: certificate.clone(), proxies: settings.trusted_proxies };
        runtime.spawn(http::serve_tcp(door, allclear_api::router(app.clone(), people), runtime.clone(), no_http.clone()));
        runtime.spawn(http::serve_unix(local, allclear_api::local_router(&app), runtime.clone(), no_http.clone()));
        phase("start: probe");
        engine.start_probe().await?;
        ready.set(true);
        phase("start: ready");
        Ok(Self { addr, store, runtime, certificate, locked_secrets, not_applied, engine, ready, no_http, socket, pager })
    }

    /// Stops everything in order.
    pub(crate) async fn stop(self) {
        phase("stop: not ready");
        self.ready.set(false);
        phase("stop: no new runs");
        self.engine.stop_probe().await;
        phase("stop: finish HTTP");
        self.no_http.turn();
        self.runtime.sleep(Duration::from_millis(50)).await;
        phase("stop: no new claims");
        self.engine.stop_dispatch().await;
        phase("stop: drain and unlock");
        let (store, mut pager) = (self.store, self.pager);
        let drained = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = pager.0.take() {
                runtime.shutdown_timeout(Duration::from_secs(2));
            }
            store.close();
        });
        if drained.await.is_err() {
            tracing::error!("the database could not be closed in order");
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the socket was gone already");
        }
        phase("stop: done");
    }
}

fn runtime_on(handle: tokio::runtime::Handle, clock: &Arc<SystemClock>) -> Runtime {
    Runtime { clock: Arc::clone(clock) as _, rng: Arc::new(OsRng), spawner: Arc::new(HandleSpawn(handle)) }
}

async fn bind(listen: SocketAddr) -> anyhow::Result<Arc<TcpListener>> {
    Ok(Arc::new(TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?))
}

/// Opens the database. Where its server cannot be reached, but the data folder knows the public pages, those are served
/// until it can be: then the listener comes back as well.
async fn open(settings: &Settings, runtime: &Runtime, clock: &Arc<SystemClock>) -> anyhow::Result<(Option<Arc<TcpListener>>, Store)> {
    let attempt = || {
        let (place, clock) = (settings.place.clone(), Arc::clone(clock));
        async { runtime.unblock(move || open_store_by(&place, clock)).await.context("the start was interrupted") }
    };
    let opened = match attempt().await? {
        Err(StoreError::Away(why)) => match allclear_engine::kept_pages(&settings.place.data) {
            Some(kept) => {
                let (listener, store) = serve_until_open(settings, runtime, kept, &why, attempt).await?;
                (Some(listener), store)
            }
            None => return Err(StoreError::Away(why).into()),
        },
        other => (None, other?),
    };
    // The last commit may lie in what is now the future: the clock was set back while AllClear was down.
    let behind_us = opened.1.now().0 - clock.now_us();
    if behind_us > 0 {
        tracing::error!(seconds = behind_us / 1_000_000, "the clock of this machine was set back; time goes on from the last commit");
        clock.advance(behind_us);
    }
    Ok(opened)
}

async fn serve_until_open<F: Future<Output = anyhow::Result<Result<Store, StoreError>>>>(
    settings: &Settings,
    runtime: &Runtime,
    kept: Vec<(i64, PublishedPage)>,
    why: &str,
    attempt: impl Fn() -> F,
) -> anyhow::Result<(Arc<TcpListener>, Store)> {
    const PACE: Duration = Duration::from_secs(1);
    let listener = bind(settings.listen).await?;
    tracing::error!(why, "the database cannot be reached; the public pages are served as they were last known");
    println!("{why}\nThe public pages are served as they were last known, at http://{}; waiting for the database.", listener.local_addr()?);
    let pages = public_pages(settings.public_url.as_deref().unwrap_or_default());
    pages.replace(&kept, Timestamp(runtime.clock.now_us()));
    // When the copy was written is not known; each page knows when it changed last.
    let changed_at = kept.iter().map(|(_, page)| page.updated_at).max().unwrap_or(Timestamp(runtime.clock.now_us()));
    pages.went_away(changed_at, Timestamp(runtime.clock.now_us()));
    let names = Names { listen: listener.local_addr()?, public_url: settings.public_url.clone() };
    let now = Timestamp(runtime.clock.now_us());
    let certificate = settings.tls.clone().map(|tls| Certificate::open(tls, &settings.place.data, names, now)).transpose()?;
    let open = Switch::default();
    runtime.spawn(http::serve_tcp(
        http::Door { listener: Arc::clone(&listener), certificate, proxies: settings.trusted_proxies.clone() },
        allclear_api::waiting_router(pages, allclear_web::assets_router()),
        runtime.clone(),
        open.clone(),
    ));
    loop {
        runtime.sleep(PACE).await;
        match attempt().await? {
            Err(StoreError::Away(why)) => tracing::debug!(why, "the database is still away"),
            other => {
                open.turn();
                return Ok((listener, other?));
            }
        }
    }
}

/// The public pages, JSON and HTML.
fn public_pages(public_url: &str) -> PublicPages {
    let rendered = |part: allclear_web::status::Part| Rendered { path: part.path, content_type: part.content_type, body: part.body };
    let render = move |page: &PublishedPage, now: Timestamp, base: &str, away_since: Option<Timestamp>, only: Option<&str>| {
        let parts = match only {
            None => allclear_web::status::render(page, now, base, away_since),
            Some(path) => allclear_web::status::render_one(page, now, base, away_since, path).into_iter().collect(),
        };
        parts.into_iter().map(rendered).collect()
    };
    PublicPages::new(public_url, Arc::new(render))
}

/// Finds public incidents in the database.
fn older(store: &Store) -> Older {
    let store = store.clone();
    Arc::new(move |page, asked| {
        let store = store.clone();
        Box::pin(async move {
            let found = match asked {
                Asked::One(id) => allclear_ops::view::published_incident(&store, &page, &id).await.map(|found| found.into_iter().collect()),
                Asked::Before(id) => allclear_ops::view::published_before(&store, &page, &id).await,
            };
            found.ok()
        })
    })
}

fn report_plan(plan: &Plan) {
    for step in &plan.steps {
        tracing::info!(action = ?step.action, kind = step.kind.word(), name = step.name, "configuration");
    }
    tracing::info!(rev = plan.rev, changes = plan.steps.len(), "the configuration is applied");
}

/// A socket that only this user may use; one left behind by a killed process is replaced.
fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
    const LONGEST_PATH: usize = 100;
    if path.as_os_str().len() > LONGEST_PATH {
        bail!("the data folder's path is too long for a socket: {}", path.display());
    }
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot make {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
