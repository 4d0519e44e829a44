//! What the command line shows: the same text whether it comes from the running server or from the database.

use std::fmt::Write;

use allclear_base::{Rng, Vault};
use allclear_domain::apitest::report::{AssertionReport, RunReport, StepReport, Teardown, Verdict};
use allclear_domain::catalog::{Document, Kind};
use allclear_domain::delivery::Status;
use allclear_domain::incident::{Incident, Paging, State};
use allclear_domain::status::Owner;
use allclear_domain::{DeliveryId, RunId, Timestamp};
use allclear_ops::config::{Action, Plan};
use allclear_ops::incident;
use allclear_ops::view::{self, IncidentView, Names};
use allclear_ops::wish::{self, Declared, Wish};
use allclear_ops::{self as ops, Actor, OpsError, config, delivery, event, token};
use allclear_store::Store;
use allclear_store::evidence::Evidence;
use axum::Json;
use axum::extract::{Path, RawQuery, State as Shared};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::access::{Caller, Problem};

/// A wish for a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenWish {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The person it acts for, by name or e-mail address.
    pub person: Option<String>,
}

/// A wish for a test message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestMessage {
    /// To whom: a name or an e-mail address.
    pub person: String,
    /// By which contact method; by all of them where none is named.
    pub method: Option<String>,
}

/// How a test message stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestMessageState {
    /// The message.
    pub id: String,
    /// What carries it: `sms`.
    pub by: String,
    /// The channel's name.
    pub channel: String,
    /// The address, as far as it is shown.
    pub address: String,
    /// How it stands, in the outbox's words.
    pub status: Status,
    /// What the provider said, or why it is tried again.
    pub why: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
}

/// `POST /config/v1/test-messages`: writes the messages; their ids.
pub(crate) async fn post_test_message(Shared(app): Shared<App>, Caller(actor): Caller, body: Bytes) -> Result<Json<Vec<String>>, Problem> {
    let wanted: TestMessage = serde_json::from_slice(&body).map_err(|e| OpsError::Invalid(format!("the body is not JSON: {e}")))?;
    let written = delivery::notify_test(&app.store, &*app.rng, &actor, &wanted.person, wanted.method.as_deref()).await?;
    Ok(Json(written.into_iter().map(|one| one.id.0).collect()))
}

/// `GET /config/v1/test-messages/{ids}`: how they stand; ids are separated by commas.
pub(crate) async fn get_test_messages(
    Shared(app): Shared<App>,
    Caller(actor): Caller,
    Path(ids): Path<String>,
) -> Result<Json<Vec<TestMessageState>>, Problem> {
    let ids = ids.split(',').map(DeliveryId::from).collect();
    let state = |sent: delivery::Sent| TestMessageState {
        id: sent.id.0,
        by: sent.class,
        channel: sent.channel,
        address: sent.address,
        status: sent.status,
        why: sent.why,
        attempts: sent.attempts,
    };
    Ok(Json(delivery::sent(&app.store, &actor, ids).await?.into_iter().map(state).collect()))
}

/// The newest incidents, a line each; open ones only unless `all`.
///
/// # Errors
/// As `ops::view::list_incidents`.
pub async fn incidents(store: &Store, actor: &Actor, all: bool) -> Result<String, OpsError> {
    const MOST: u32 = 200;
    let found = view::list_incidents(store, actor, None, i64::MAX, MOST).await?;
    let names = Names::of(store);
    let shown: Vec<_> = found.iter().filter(|incident| all || incident.is_open()).collect();
    if shown.is_empty() {
        return Ok("No open incidents. All clear.\n".to_owned());
    }
    let mut text = String::new();
    for incident in shown {
        let age = ago(store.now(), incident.opened_at);
        put(
            &mut text,
            format_args!(
                "#{:<5} {:<14} {:<12} {:<5} {:>8} ago  {} ({})",
                incident.number,
                incident.id,
                incident.state.word(),
                incident.urgency.word(),
                age,
                incident.title,
                names.service(&incident.service)
            ),
        );
    }
    Ok(text)
}

/// A span in its largest unit.
fn ago(now: Timestamp, then: Timestamp) -> String {
    match now.since(then).as_secs() {
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _written = text.write_fmt(line);
    text.push('\n');
}

/// Everything about an incident, a run or a component: the chain from what customers see to the failing assertion.
///
/// # Errors
/// [`OpsError::NotFound`] where `key` names none of them.
pub async fn show(store: &Store, evidence: &Evidence, actor: &Actor, key: &str) -> Result<String, OpsError> {
    let is_component = store.catalog().id_of(Kind::Component, key).is_some() || store.catalog().component(&key.into()).is_some();
    if is_component {
        return show_component(store, evidence, actor, key).await;
    }
    if key.len() == 36 && key.matches('-').count() == 4 {
        return show_run(store, evidence, actor, key).await;
    }
    let found = view::show_incident(store, actor, key).await?;
    let mut text = String::new();
    incident_text(&mut text, store, &found);
    if let Some(run) = &found.incident.run {
        text.push('\n');
        text.push_str(&run_or_reason(store, evidence, actor, run).await);
    }
    Ok(text)
}

/// A run that is no longer kept is not an error of the incident that it opened.
async fn run_or_reason(store: &Store, evidence: &Evidence, actor: &Actor, id: &RunId) -> String {
    match show_run(store, evidence, actor, id.as_str()).await {
        Ok(text) => text,
        Err(error) => format!("Run {id}: {error}\n"),
    }
}

fn incident_text(text: &mut String, store: &Store, found: &IncidentView) {
    let names = Names::of(store);
    let incident = &found.incident;
    put(text, format_args!("Incident #{} {}: {}", incident.number, incident.id, incident.title));
    put(
        text,
        format_args!(
            "  {}, {} urgency, on {}, opened {}",
            incident.state.word(),
            incident.urgency.word(),
            names.service(&incident.service),
            incident.opened_at
        ),
    );
    for component in &found.components {
        put(text, format_args!("  presses on component {} ({component})", names.component(component)));
    }
    for alert in &found.alerts {
        let end = alert.resolved_at.map_or("open".to_owned(), |at| format!("resolved {at}"));
        let times = if alert.triggers == 1 { "once".to_owned() } else { format!("{} times", alert.triggers) };
        put(text, format_args!("\nAlert {} ({end}, triggered {times})\n  {}", alert.dedup_key, alert.why));
        if let Some(event) = &alert.event {
            event_text(text, event);
        }
    }
    put(text, format_args!("\nTimeline"));
    let mut changes = found.changes.iter().peekable();
    for entry in &found.log {
        while let Some(change) = changes.next_if(|change| change.at <= entry.draft.at) {
            put(text, format_args!("  {}  change: {}", change.at, change.summary));
        }
        put(
            text,
            format_args!(
                "  {}  {}  [{}]",
                entry.draft.at,
                names.sentence(&entry.draft.kind, &|at| at.to_string()),
                names.agent(&entry.draft.agent)
            ),
        );
    }
    for change in changes {
        put(text, format_args!("  {}  change: {}", change.at, change.summary));
    }
    put(text, format_args!("\nTold"));
    if found.deliveries.is_empty() {
        put(text, format_args!("  nobody: no contact method, no room"));
    }
    if found.has_earlier_messages() {
        put(text, format_args!("  … earlier messages are not shown"));
    }
    for sent in &found.deliveries {
        let who = match &sent.delivery.recipient {
            allclear_domain::delivery::Recipient::Person { person } => names.person(person),
            allclear_domain::delivery::Recipient::Room { .. } | allclear_domain::delivery::Recipient::Mirror { .. } => {
                sent.delivery.address.clone()
            }
            allclear_domain::delivery::Recipient::Presser { user } => format!("{user} (who pressed)"),
        };
        let why = sent.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        let purpose = sent.delivery.purpose.word().replace('_', "-");
        put(
            text,
            format_args!(
                "  {:<24} {:<6} {:<10} {}{why}, {} attempt(s)",
                who,
                sent.provider,
                purpose,
                sent.status.word(),
                sent.delivery.attempts
            ),
        );
    }
    let counts = delivery::summary(&found.deliveries);
    let counts: Vec<String> = counts.iter().map(|((provider, status), n)| format!("{n} {provider} {status}")).collect();
    if !counts.is_empty() {
        put(text, format_args!("  {}: {}", if found.has_earlier_messages() { "of these" } else { "in all" }, counts.join(", ")));
    }
}

/// What a monitoring tool said: a line for each field, the custom details laid out below.
fn event_text(text: &mut String, event: &allclear_store::record::alert::Reported) {
    const LONGEST: usize = 2_000;
    if let Some(severity) = event.severity {
        put(text, format_args!("  severity: {}", severity.word()));
    }
    for (name, value) in &event.details {
        let shown = match value {
            serde_json::Value::String(words) => words.clone(),
            other => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        let shown: String = shown.chars().take(LONGEST).map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        put(text, format_args!("  {name}: {}", shown.replace('\n', "\n    ")));
    }
}

async fn show_run(store: &Store, evidence: &Evidence, actor: &Actor, key: &str) -> Result<String, OpsError> {
    let found = view::show_run(store, evidence, actor, &key.into()).await?;
    let run = &found.run;
    let mut text = String::new();
    let took = run.finished_at.since(run.started_at);
    put(&mut text, format_args!("Run {}: {} in {}, from {}, attempt {}", run.id, run.verdict, run.environment, run.location, run.attempt));
    put(
        &mut text,
        format_args!("  started {}, took {} ms, configuration {}, {}", run.started_at, took.as_millis(), run.catalog_rev, run.judged),
    );
    if let Some(why) = &run.why {
        put(&mut text, format_args!("  {why}"));
    }
    if let Some(incident) = &found.incident {
        put(&mut text, format_args!("  incident #{} {}", incident.number, incident.title));
    }
    match &found.report {
        Some(report) => report_text(&mut text, report),
        None => put(&mut text, format_args!("  its requests and responses were not kept (passes are sampled)")),
    }
    Ok(text)
}

/// A report, step by step.
pub fn report_text(text: &mut String, report: &RunReport) {
    for step in &report.steps {
        step_text(text, step);
    }
    for step in &report.teardown_steps {
        text.push_str("  teardown\n");
        step_text(text, step);
    }
    match &report.verdict {
        Verdict::Passed | Verdict::Failed(_) => {}
        Verdict::Inconclusive { why } => put(text, format_args!("  inconclusive: {why}")),
        Verdict::Misconfigured { why } => put(text, format_args!("  misconfigured: {why}")),
    }
    match &report.teardown {
        Teardown::None | Teardown::Done => {}
        Teardown::NothingToDelete => put(text, format_args!("  teardown: nothing to delete")),
        Teardown::MayHaveLeaked { why } => put(text, format_args!("  teardown: something may have been left behind: {why}")),
        Teardown::Failed { why } => put(text, format_args!("  teardown failed: {why}")),
    }
}

fn step_text(text: &mut String, step: &StepReport) {
    let sign = if step.passed { "pass" } else { "FAIL" };
    put(text, format_args!("  {sign}  {}", step.name));
    if let Some(exchange) = &step.exchange {
        let t = exchange.timings;
        let status = exchange.status.map_or("no answer".to_owned(), |s| s.to_string());
        put(text, format_args!("        {} {} -> {status}, {} bytes", exchange.method, exchange.url, exchange.response_size));
        let ms = |us: i64| format!("{}.{} ms", us / 1_000, us % 1_000 / 100);
        put(
            text,
            format_args!(
                "        dns {}, connect {}, tls {}, wait {}, transfer {}",
                ms(t.dns_us),
                ms(t.connect_us),
                ms(t.tls_us),
                ms(t.wait_us),
                ms(t.transfer_us)
            ),
        );
        if !step.passed && !exchange.response_body.is_empty() {
            let body: String = exchange.response_body.chars().take(500).collect();
            put(text, format_args!("        body: {}", body.replace('\n', " ")));
        }
    }
    for assertion in &step.assertions {
        let sign = if assertion.passed { "ok  " } else { "FAIL" };
        put(text, format_args!("        {sign} {}", AssertionReport::sentence(assertion)));
    }
    if let Some(error) = step.error.as_ref().filter(|_| step.assertions.iter().all(|a| a.passed)) {
        put(text, format_args!("        {error}"));
    }
}

async fn show_component(store: &Store, evidence: &Evidence, actor: &Actor, key: &str) -> Result<String, OpsError> {
    let found = view::show_component(store, actor, key).await?;
    let mut text = String::new();
    let owner = match found.state.owner {
        Owner::Automation => "set by rules",
        Owner::Person => "set by hand",
    };
    put(&mut text, format_args!("Component {} ({}): {}, {owner}", found.name, found.id, found.state.status.label()));
    put(&mut text, format_args!("\nChanges"));
    if found.changes.is_empty() {
        put(&mut text, format_args!("  none: it has been operational since it was made"));
    }
    for change in &found.changes {
        let incident = change.cause.get("incident").and_then(serde_json::Value::as_str).unwrap_or("nobody");
        put(&mut text, format_args!("  {}  {} → {}  by incident {incident}", change.at, change.before.label(), change.after.label()));
    }
    for incident in found.pressed_by.iter().take(5) {
        text.push('\n');
        text.push_str(&Box::pin(show(store, evidence, actor, incident.as_str())).await?);
    }
    Ok(text)
}

/// Does something to an incident, and says how it stands.
///
/// # Errors
/// As `ops::incident::act`.
pub async fn act(store: &Store, rng: &dyn Rng, actor: &Actor, key: &str, wish: Wish) -> Result<String, OpsError> {
    let found = view::find_to_act_on(store, actor, key).await?;
    let noted = matches!(wish, Wish::Note { .. });
    let changed = incident::act(store, rng, actor, &found.id, wish.act(store)?).await?;
    if noted {
        return Ok(format!("#{} {}: noted.\n", changed.number, changed.title));
    }
    Ok(format!("#{} {} is {}{}.\n", changed.number, changed.title, changed.state.word(), whose(&Names::of(store), &changed)))
}

/// Who has it, or until when it is put off.
fn whose(names: &Names, incident: &Incident) -> String {
    let people = |people: &[allclear_domain::PersonId]| people.iter().map(|p| names.person(p)).collect::<Vec<_>>().join(", ");
    match &incident.state {
        State::Triggered(Paging::Level(here)) => format!(", assigned to {}", people(&here.assigned)),
        State::Acknowledged(held) => held.times_out_at.map_or(String::new(), |at| format!(" until {at}")),
        State::Triggered(Paging::Nobody { .. }) | State::Resolved(_) => String::new(),
    }
}

/// Opens an incident, and says which.
///
/// # Errors
/// As `ops::incident::declare`.
pub async fn declare(store: &Store, rng: &dyn Rng, actor: &Actor, wish: Declared) -> Result<String, OpsError> {
    let opened = wish::declare(store, rng, actor, wish).await?;
    Ok(format!("#{} {} is {}{}.\n", opened.number, opened.title, opened.state.word(), whose(&Names::of(store), &opened)))
}

/// Documents with the source that owns them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Files {
    /// The source.
    pub source: String,
    /// Each document's kind and body; references are names.
    pub documents: Vec<(Kind, serde_json::Value)>,
}

impl Files {
    /// Puts documents into the form in which they travel.
    ///
    /// # Errors
    /// A document with a value that JSON cannot hold.
    pub fn new(source: String, documents: &[Document]) -> Result<Self, serde_json::Error> {
        let pair = |document: &Document| Ok((document.kind(), document.to_json()?));
        Ok(Self { source, documents: documents.iter().map(pair).collect::<Result<_, serde_json::Error>>()? })
    }

    fn read(self) -> Result<(String, Vec<Document>), OpsError> {
        let read = |(kind, body)| Document::from_json(kind, body).map_err(|e| OpsError::Invalid(format!("{e}: {}", e.source)));
        let documents = self.documents.into_iter().map(read).collect::<Result<Vec<_>, OpsError>>()?;
        // A file without a document is a mistake; here nobody wrote one.
        if documents.is_empty() {
            return Ok((self.source, documents));
        }
        // Whoever sent it, it is checked as a file is.
        let text = allclear_config::export(&documents).map_err(|e| OpsError::Invalid(e.to_string()))?;
        let checked = allclear_config::load_str("configuration", &text, &|_, _| true);
        match checked.diagnostics.iter().find(|one| one.severity == allclear_config::Severity::Error) {
            Some(error) => Err(OpsError::Invalid(error.to_string())),
            None => Ok((self.source, checked.into_documents())),
        }
    }
}

/// What applying these documents would do.
///
/// # Errors
/// As `ops::config::plan`.
pub async fn plan(store: &Store, rng: &dyn Rng, actor: &Actor, files: Files) -> Result<String, OpsError> {
    let (source, documents) = files.read()?;
    Ok(plan_text(&config::plan(store, rng, actor, &source, documents).await?, "to be applied"))
}

/// Applies these documents, and says what that did.
///
/// # Errors
/// As `ops::config::apply`.
pub async fn apply(store: &Store, rng: &dyn Rng, actor: &Actor, files: Files) -> Result<String, OpsError> {
    let (source, documents) = files.read()?;
    Ok(plan_text(&config::apply(store, rng, actor, &source, documents).await?, "applied"))
}

/// The same for somebody who means it, whatever it removes.
///
/// # Errors
/// As `ops::config::apply_removing`.
pub async fn apply_removing(store: &Store, rng: &dyn Rng, actor: &Actor, files: Files) -> Result<String, OpsError> {
    let (source, documents) = files.read()?;
    Ok(plan_text(&config::apply_removing(store, rng, actor, &source, documents).await?, "applied"))
}

fn plan_text(plan: &Plan, done: &str) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let sign = match step.action {
            Action::Create => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        put(&mut text, format_args!("{sign} {} {}", step.kind.word(), step.name));
    }
    match plan.steps.len() {
        0 => text.push_str("Nothing changes.\n"),
        1 => put(&mut text, format_args!("1 change {done}.")),
        n => put(&mut text, format_args!("{n} changes {done}.")),
    }
    if let Some(refusal) = &plan.refused {
        put(&mut text, format_args!("`allclear apply` refuses this: {refusal}."));
    }
    text
}

/// What a source owns, or everything, as a file.
///
/// # Errors
/// As `ops::config::export`.
pub fn export(store: &Store, actor: &Actor, source: Option<&str>) -> Result<String, OpsError> {
    let documents = config::export(store, actor, source)?;
    allclear_config::export(&documents).map_err(|e| OpsError::Invalid(e.to_string()))
}

/// Makes a token and shows it, once.
///
/// # Errors
/// As `ops::token::create`.
pub async fn create_token(store: &Store, rng: &dyn Rng, actor: &Actor, wish: &TokenWish) -> Result<String, OpsError> {
    let made = token::create(store, rng, actor, &wish.name, &wish.scopes, wish.person.as_deref()).await?;
    Ok(format!("{}\n", made.value))
}

/// The tokens, a line each, without their values.
///
/// # Errors
/// As `ops::token::list`.
pub async fn tokens(store: &Store, actor: &Actor) -> Result<String, OpsError> {
    let listed = token::list(store, actor).await?;
    if listed.tokens.is_empty() {
        return Ok("No tokens. `allclear token create NAME` makes one.\n".to_owned());
    }
    let now = store.now();
    let mut text = String::new();
    for one in &listed.tokens {
        let holder = match &one.holder {
            token::Holder::Nobody => "nobody",
            token::Holder::Person(name) => name,
            token::Holder::Removed => "a removed person",
        };
        let state = match (one.revoked_at, &one.holder) {
            (Some(at), _) => format!("revoked {} ago", ago(now, at)),
            (None, token::Holder::Removed) => "dead: its person was removed".to_owned(),
            (None, token::Holder::Nobody | token::Holder::Person(_)) => "good".to_owned(),
        };
        let (id, name, made) = (&one.id, plain(&one.name), ago(now, one.created_at));
        put(&mut text, format_args!("{id}  {name}  [{}]  for {}  made {made} ago  {state}", one.scopes, plain(holder)));
    }
    if listed.has_more {
        text.push_str("… there are more; older ones are not shown\n");
    }
    Ok(text)
}

/// A text on one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Revokes a token by its id or its name.
///
/// # Errors
/// As `ops::token::revoke`.
pub async fn revoke_token(store: &Store, actor: &Actor, key: &str) -> Result<String, OpsError> {
    let token::Revoked { id, name, before } = token::revoke(store, actor, key).await?;
    let name = plain(&name);
    Ok(match before {
        None => format!("The token {name} ({id}) is revoked: nothing accepts it any more.\n"),
        Some(at) => format!("The token {name} ({id}) was revoked {} ago; nothing was changed.\n", ago(store.now(), at)),
    })
}

/// Lets other incidents go on as one, and says which.
///
/// # Errors
/// As `ops::merge::merge`.
pub async fn merge(store: &Store, rng: &dyn Rng, actor: &Actor, into: &str, others: &[String]) -> Result<String, OpsError> {
    let target = view::find_to_act_on(store, actor, into).await?;
    let mut sources = Vec::with_capacity(others.len());
    for other in others {
        sources.push(view::find_to_act_on(store, actor, other).await?.id);
    }
    let merged = ops::merge::merge(store, rng, actor, &target.id, &sources).await?;
    Ok(format!("#{} {} took in {} and is {}.\n", merged.number, merged.title, others.join(", "), merged.state.word()))
}

/// Every heartbeat with the address that it calls, and when it last did.
///
/// # Errors
/// As `ops::heartbeat::list`.
pub async fn heartbeats(store: &Store, actor: &Actor, public_url: Option<&str>) -> Result<String, OpsError> {
    let all = ops::heartbeat::list(store, actor).await?;
    if all.is_empty() {
        return Ok("No heartbeats. Add a document with `kind: heartbeat`.\n".to_owned());
    }
    let (names, now, url) = (Names::of(store), store.now(), public_url.unwrap_or_default());
    let mut text = String::new();
    for one in all {
        let beat = &one.heartbeat;
        let last = match (beat.last_ping_at, &beat.last_ping) {
            (Some(at), Some(said)) => format!("{said} {} ago", ago(now, at)),
            _ => "never called".to_owned(),
        };
        put(&mut text, format_args!("{url}/ping/{}  {} on {}: {last}", beat.key, one.name, names.service(&one.service)));
    }
    Ok(text)
}

/// A link by which somebody chooses a new password.
///
/// # Errors
/// As `ops::session::link_for`.
pub async fn reset_user(store: &Store, rng: &dyn Rng, actor: &Actor, who: &str, public_url: Option<&str>) -> Result<String, OpsError> {
    actor.require(ops::Permission::TokensWrite)?;
    let link = ops::session::link_for(store, rng, ops::session::Entry::Reset, who).await?;
    Ok(format!("{}/enter/{link}\n", public_url.unwrap_or("ADDRESS OF ALLCLEAR")))
}

/// The stored secrets by name.
///
/// # Errors
/// As `ops::secret::list`.
pub async fn secrets(store: &Store, vault: &Vault, actor: &Actor) -> Result<String, OpsError> {
    let all = ops::secret::list(store, vault, actor).await?;
    if all.is_empty() {
        return Ok("No secrets are stored.\n".to_owned());
    }
    let mut text = String::new();
    for one in all {
        let state = match one.state {
            ops::secret::State::Good => "",
            ops::secret::State::Locked => "  cannot be opened: it was sealed with another key file",
            ops::secret::State::Blank => "  is empty and counts as missing: set it anew",
        };
        put(&mut text, format_args!("{}  changed {} ago{state}", one.name, ago(store.now(), one.changed_at)));
    }
    Ok(text)
}

/// Keeps a secret.
///
/// # Errors
/// As `ops::secret::put`.
pub async fn set_secret(store: &Store, rng: &dyn Rng, vault: &Vault, actor: &Actor, name: &str, value: &str) -> Result<String, OpsError> {
    ops::secret::put(store, rng, vault, actor, name, value).await?;
    Ok(format!("The secret {name} is kept; files name it {{{{secret.{name}}}}}.\n"))
}

/// Forgets a secret.
///
/// # Errors
/// As `ops::secret::remove`.
pub async fn remove_secret(store: &Store, vault: &Vault, actor: &Actor, name: &str) -> Result<String, OpsError> {
    ops::secret::remove(store, vault, actor, name).await?;
    Ok(format!("The secret {name} is forgotten.\n"))
}

/// Every integration with its key and the addresses that it sends to.
///
/// # Errors
/// As `ops::event::integrations`.
pub async fn integrations(store: &Store, actor: &Actor, public_url: Option<&str>) -> Result<String, OpsError> {
    let all = event::integrations(store, actor).await?;
    let names = Names::of(store);
    let mut text = String::new();
    if all.is_empty() {
        return Ok("No integrations. Add `integrations: [Alertmanager]` to a service.\n".to_owned());
    }
    for one in &all {
        put(&mut text, format_args!("{}  {} / {}", one.key, names.service(&one.service), one.name));
    }
    if let Some(url) = public_url {
        put(&mut text, format_args!("\nEvents v2  {url}/v2/enqueue"));
        put(&mut text, format_args!("Changes    {url}/v2/change/enqueue"));
        put(&mut text, format_args!("Events v1  {url}/generic/2010-04-15/create_event.json"));
    }
    Ok(text)
}

pub(crate) async fn get_integrations(Shared(app): Shared<App>, Caller(actor): Caller) -> Result<String, Problem> {
    Ok(integrations(&app.store, &actor, Some(app.channels.site().url())).await?)
}

pub(crate) async fn get_heartbeats(Shared(app): Shared<App>, Caller(actor): Caller) -> Result<String, Problem> {
    Ok(heartbeats(&app.store, &actor, Some(app.channels.site().url())).await?)
}

pub(crate) async fn post_merge(
    Shared(app): Shared<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<String, Problem> {
    let others: Vec<String> =
        serde_json::from_slice(&body).map_err(|e| OpsError::Invalid(format!("the body is no list of incidents: {e}")))?;
    if others.len() > ops::merge::MOST_MERGED {
        return Err(OpsError::Invalid(format!("at most {} incidents are merged at once", ops::merge::MOST_MERGED)).into());
    }
    Ok(merge(&app.store, &*app.rng, &actor, &id, &others).await?)
}

pub(crate) async fn post_reset(Shared(app): Shared<App>, Caller(actor): Caller, Path(who): Path<String>) -> Result<String, Problem> {
    Ok(reset_user(&app.store, &*app.rng, &actor, &who, Some(app.channels.site().url())).await?)
}

pub(crate) async fn get_secrets(Shared(app): Shared<App>, Caller(actor): Caller) -> Result<String, Problem> {
    Ok(secrets(&app.store, &app.vault, &actor).await?)
}

pub(crate) async fn put_secret(
    Shared(app): Shared<App>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<String, Problem> {
    let value = std::str::from_utf8(&body).map_err(|_| OpsError::Invalid("a secret is a text in UTF-8".into()))?;
    Ok(set_secret(&app.store, &*app.rng, &app.vault, &actor, &name, value).await?)
}

pub(crate) async fn delete_secret(Shared(app): Shared<App>, Caller(actor): Caller, Path(name): Path<String>) -> Result<String, Problem> {
    Ok(remove_secret(&app.store, &app.vault, &actor, &name).await?)
}

pub(crate) async fn get_incidents(Shared(app): Shared<App>, Caller(actor): Caller, RawQuery(query): RawQuery) -> Result<String, Problem> {
    Ok(incidents(&app.store, &actor, query.as_deref() == Some("all=true")).await?)
}

pub(crate) async fn get_show(Shared(app): Shared<App>, Caller(actor): Caller, Path(key): Path<String>) -> Result<String, Problem> {
    Ok(show(&app.store, &app.evidence, &actor, &key).await?)
}

pub(crate) async fn post_act(
    Shared(app): Shared<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<String, Problem> {
    let wish: Wish = serde_json::from_slice(&body).map_err(|e| OpsError::Invalid(format!("the body is no wish: {e}")))?;
    Ok(act(&app.store, &*app.rng, &actor, &id, wish).await?)
}

pub(crate) async fn post_declare(Shared(app): Shared<App>, Caller(actor): Caller, body: Bytes) -> Result<String, Problem> {
    let wish: Declared = serde_json::from_slice(&body).map_err(|e| OpsError::Invalid(format!("the body declares nothing: {e}")))?;
    Ok(declare(&app.store, &*app.rng, &actor, wish).await?)
}

fn files(body: &[u8]) -> Result<Files, OpsError> {
    serde_json::from_slice(body).map_err(|e| OpsError::Invalid(format!("the body is no configuration: {e}")))
}

pub(crate) async fn post_plan(Shared(app): Shared<App>, Caller(actor): Caller, body: Bytes) -> Result<String, Problem> {
    Ok(plan(&app.store, &*app.rng, &actor, files(&body)?).await?)
}

pub(crate) async fn post_apply(
    Shared(app): Shared<App>,
    Caller(actor): Caller,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<String, Problem> {
    let files = files(&body)?;
    Ok(match query.as_deref() {
        Some("remove=true") => apply_removing(&app.store, &*app.rng, &actor, files).await?,
        _ => apply(&app.store, &*app.rng, &actor, files).await?,
    })
}

pub(crate) async fn get_export(Shared(app): Shared<App>, Caller(actor): Caller, RawQuery(query): RawQuery) -> Result<String, Problem> {
    let source = query.as_deref().and_then(|query| query.strip_prefix("source="));
    let source = source.map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    Ok(export(&app.store, &actor, source.as_deref())?)
}

pub(crate) async fn post_token(Shared(app): Shared<App>, Caller(actor): Caller, body: Bytes) -> Result<String, Problem> {
    let wish: TokenWish = serde_json::from_slice(&body).map_err(|e| OpsError::Invalid(format!("the body is not JSON: {e}")))?;
    Ok(create_token(&app.store, &*app.rng, &actor, &wish).await?)
}

pub(crate) async fn get_tokens(Shared(app): Shared<App>, Caller(actor): Caller) -> Result<String, Problem> {
    Ok(tokens(&app.store, &actor).await?)
}

pub(crate) async fn delete_token(Shared(app): Shared<App>, Caller(actor): Caller, Path(key): Path<String>) -> Result<String, Problem> {
    Ok(revoke_token(&app.store, &actor, &key).await?)
}
