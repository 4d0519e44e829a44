//! Reading: incidents with their evidence, the chain from a component's status to the failing assertion.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::apitest::report::RunReport;
use allclear_domain::catalog::Kind;
use allclear_domain::delivery::STOPPED_RINGING;
use allclear_domain::escalation::{Level, Target};
use allclear_domain::incident::{Agent, Incident, LogKind, State};
use allclear_domain::status::ComponentStatus;
use allclear_domain::status::published::{MOST_INCIDENTS, PublishedIncident, PublishedPage};
use allclear_domain::{ComponentId, IncidentId, PageId, PersonId, RunId, ServiceId, Span, TestId, Timestamp};
use allclear_store::evidence::Evidence;
use allclear_store::record::alert::{self, Alert};
use allclear_store::record::change::{self, ChangeEvent};
use allclear_store::record::component::{self, ComponentChange, ComponentState};
use allclear_store::record::delivery::{self as outbox, Stored};
pub use allclear_store::record::incident::OpenCount;
use allclear_store::record::incident::{self as incidents, LogEntry};
use allclear_store::record::page;
use allclear_store::record::run::{self, Run};
use allclear_store::record::slot::{self, SlotException};
use allclear_store::{Store, Tx};

use crate::delivery::agent_name;
use crate::judge::alert_keys;
use crate::{Actor, OpsError, Permission};

/// An incident with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct IncidentView {
    /// The incident.
    pub incident: Incident,
    /// What opened it.
    pub alerts: Vec<Alert>,
    /// What happened, oldest first: the last [`MOST_ENTRIES`].
    pub log: Vec<LogEntry>,
    /// What changed in its service, from a day before it opened until it ended, oldest first.
    pub changes: Vec<ChangeEvent>,
    /// Who was told how, oldest first: the last thousand.
    pub deliveries: Vec<Stored>,
    /// The run that opened it, if its row is still kept.
    pub run: Option<Run>,
    /// The components that it presses on.
    pub components: Vec<ComponentId>,
}

impl IncidentView {
    /// Whether there are messages before those that are shown.
    #[must_use]
    pub fn has_earlier_messages(&self) -> bool {
        self.deliveries.first().is_some_and(|first| first.seq > 1)
    }
}

/// Entries of a timeline that are read at once: the last ones.
pub const MOST_ENTRIES: u32 = 500;

/// The newest incidents, all or of one status.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn list_incidents(
    store: &Store,
    actor: &Actor,
    status: Option<String>,
    before_number: i64,
    most: u32,
) -> Result<Vec<Incident>, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    store.read("list incidents", move |tx| Ok::<_, OpsError>(incidents::list_incidents(tx, status.as_deref(), before_number, most)?)).await
}

/// The incident that somebody wants to act on, by its id or its number.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn find_to_act_on(store: &Store, actor: &Actor, key: &str) -> Result<Incident, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let key = key.to_owned();
    store.read("find incident", move |tx| find(tx, &key)).await
}

/// An incident by its id; nothing where it is no longer kept.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn find_incident(store: &Store, actor: &Actor, id: &IncidentId) -> Result<Option<Incident>, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let id = id.clone();
    store.read("find incident", move |tx| Ok::<_, OpsError>(incidents::find_incident(tx, &id)?)).await
}

fn find(tx: &mut Tx<'_>, key: &str) -> Result<Incident, OpsError> {
    let number = key.strip_prefix('#').unwrap_or(key).parse::<i64>().ok();
    let found = match number {
        Some(number) => incidents::find_incident_by_number(tx, number)?,
        None => incidents::find_incident(tx, &IncidentId::from(key))?,
    };
    found.ok_or_else(|| OpsError::NotFound { what: "incident", id: key.to_owned() })
}

/// An incident by its id or its number.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn show_incident(store: &Store, actor: &Actor, key: &str) -> Result<IncidentView, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let key = key.to_owned();
    store.read("show incident", move |tx| incident_view(tx, &key)).await
}

fn incident_view(tx: &mut Tx<'_>, key: &str) -> Result<IncidentView, OpsError> {
    let incident = find(tx, key)?;
    let run = match &incident.run {
        Some(id) => run::find_run(tx, id)?,
        None => None,
    };
    const BEFORE: Span = Span::from_mins(24 * 60);
    let until = if let State::Resolved(ended) = &incident.state { ended.at } else { tx.now() };
    let since = incident.opened_at.minus(BEFORE);
    Ok(IncidentView {
        changes: change::change_events_of(tx, &incident.service, since, until, MOST_CHANGES)?,
        alerts: alert::alerts_of(tx, &incident.id)?,
        log: incidents::end_of_log(tx, &incident.id, MOST_ENTRIES)?,
        deliveries: outbox::deliveries_of(tx, &incident.id)?,
        components: component::pressed_by(tx, &incident.id)?,
        run,
        incident,
    })
}

/// A run with its evidence, if it was kept.
#[derive(Debug, Clone)]
pub struct RunView {
    /// The run's row.
    pub run: Run,
    /// Everything that was kept of it.
    pub report: Option<RunReport>,
    /// The incident that it opened or kept open, where it did not pass.
    pub incident: Option<Incident>,
}

/// A run by its id.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn show_run(store: &Store, evidence: &Evidence, actor: &Actor, id: &RunId) -> Result<RunView, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let key = id.clone();
    let look = move |tx: &mut Tx<'_>| {
        let Some(run) = run::find_run(tx, &key)? else { return Ok(None) };
        let incident = incident_of(tx, &run)?;
        Ok::<_, OpsError>(Some((run, incident)))
    };
    let (run, incident) = store.read("show run", look).await?.ok_or_else(|| OpsError::NotFound { what: "run", id: id.0.clone() })?;
    let report = match &run.evidence {
        Some(place) => Some(evidence.read(place)?),
        None => None,
    };
    Ok(RunView { run, report, incident })
}

/// The incident of a run that did not pass: its test's alert was open, or opened when the run was judged.
fn incident_of(tx: &mut Tx<'_>, run: &Run) -> Result<Option<Incident>, OpsError> {
    const JUDGED_WITHIN: Span = Span::from_mins(1);
    if run.verdict == "pass" {
        return Ok(None);
    }
    for key in alert_keys(&run.test, &run.environment) {
        if let Some(alert) = alert::alert_between(tx, &key, run.started_at, run.finished_at.plus(JUDGED_WITHIN))? {
            return Ok(incidents::find_incident(tx, &alert.incident)?);
        }
    }
    Ok(None)
}

/// The last good run of the same test, environment and location before a run, with its evidence; nothing where none was kept.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn good_run_before(store: &Store, evidence: &Evidence, actor: &Actor, run: &Run) -> Result<Option<RunReport>, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let of = run.clone();
    let good = store.read("good run before", move |tx| Ok::<_, OpsError>(run::good_before(tx, &of)?)).await?;
    // Evidence that is gone or damaged leaves nothing to compare with.
    Ok(good.and_then(|good| good.evidence).and_then(|place| evidence.read(&place).ok()))
}

/// The slots of a test that did not run, newest first.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn missed_slots(store: &Store, actor: &Actor, test: &TestId, most: u32) -> Result<Vec<SlotException>, OpsError> {
    actor.require(Permission::ConfigRead)?;
    let test = test.clone();
    store.read("missed slots", move |tx| Ok::<_, OpsError>(slot::exceptions_of(tx, &test, most)?)).await
}

/// A public incident of a page as customers see it; for whoever has its address.
///
/// # Errors
/// Errors of the store.
pub async fn published_incident(store: &Store, page: &PageId, id: &str) -> Result<Option<PublishedIncident>, OpsError> {
    let id = id.to_owned();
    let found = store.read("public incident", move |tx| Ok::<_, OpsError>(page::find_status_incident(tx, &id)?)).await?;
    Ok(found.filter(|found| found.page == *page).map(|found| found.shown))
}

/// The public incidents of a page that are next before one of them, newest first, as many as a page shows at once.
///
/// # Errors
/// Errors of the store.
pub async fn published_before(store: &Store, page: &PageId, id: &str) -> Result<Vec<PublishedIncident>, OpsError> {
    let (page, id) = (page.clone(), id.to_owned());
    let most = u32::try_from(MOST_INCIDENTS).unwrap_or(50);
    let found = store.read("public incidents", move |tx| Ok::<_, OpsError>(page::before_on_page(tx, &page, &id, most)?)).await?;
    Ok(found.into_iter().map(|one| one.shown).collect())
}

/// The most changes that are shown at once.
pub const MOST_CHANGES: u32 = 50;

/// A component with its history.
#[derive(Debug, Clone)]
pub struct ComponentView {
    /// The component.
    pub id: ComponentId,
    /// Its name.
    pub name: String,
    /// How it stands, and who decides that.
    pub state: ComponentState,
    /// The open incidents that press on it.
    pub pressed_by: Vec<IncidentId>,
    /// Its latest changes, newest first.
    pub changes: Vec<ComponentChange>,
}

/// A component by its id or name.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn show_component(store: &Store, actor: &Actor, key: &str) -> Result<ComponentView, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let catalog = store.catalog();
    let id = catalog.id_of(Kind::Component, key).map(ComponentId::from).unwrap_or_else(|| key.into());
    let missing = || OpsError::NotFound { what: "component", id: key.to_owned() };
    let name = catalog.component(&id).map(|component| component.name.clone()).ok_or_else(missing)?;
    let work = move |tx: &mut Tx<'_>| {
        Ok::<_, OpsError>(ComponentView {
            id: id.clone(),
            name: name.clone(),
            state: component::component_state(tx, &id)?,
            pressed_by: component::pressures(tx, &id)?.into_iter().map(|(incident, _)| incident).collect(),
            changes: component::changes_of(tx, &id, MOST_CHANGES)?,
        })
    };
    store.read("show component", work).await
}

/// Every published page with its number. Public: no actor is asked.
///
/// # Errors
/// Errors of the store.
pub async fn published_pages(store: &Store) -> Result<Vec<(i64, PublishedPage)>, OpsError> {
    store.read("published pages", |tx| Ok::<_, OpsError>(page::published_pages(tx)?)).await
}

/// What operators watch, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measures {
    /// Messages that wait or are being sent.
    pub waiting: i64,
    /// How long the oldest of them has been due, in seconds.
    pub oldest_due_s: i64,
    /// Open incidents by status.
    pub open: Vec<(&'static str, i64)>,
}

/// Measures what operators watch.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn measure(store: &Store, actor: &Actor) -> Result<Measures, OpsError> {
    actor.require(Permission::MetricsRead)?;
    store
        .read("measure", |tx| {
            let (waiting, oldest) = outbox::backlog(tx)?;
            let mut open = Vec::new();
            for status in ["triggered", "acknowledged"] {
                open.push((status, incidents::count_incidents(tx, status)?));
            }
            let oldest_due_s = oldest.map_or(0, |due| tx.now().since(due).as_secs().max(0));
            Ok::<_, OpsError>(Measures { waiting, oldest_due_s, open })
        })
        .await
}

/// How everything stands, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Tests with an open alert.
    pub failing_tests: i64,
    /// Messages that wait or are being sent.
    pub waiting: i64,
    /// How long the oldest of them has been due, in seconds.
    pub oldest_due_s: i64,
}

/// Counts what an overview shows.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn standing(store: &Store, actor: &Actor) -> Result<Standing, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let look = |tx: &mut Tx<'_>| {
        let (waiting, oldest) = outbox::backlog(tx)?;
        let oldest_due_s = oldest.map_or(0, |due| tx.now().since(due).as_secs());
        Ok::<_, OpsError>(Standing { failing_tests: alert::failing_tests(tx)?, waiting, oldest_due_s })
    };
    store.read("standing", look).await
}

/// The tests with an open alert.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn failing_tests(store: &Store, actor: &Actor) -> Result<BTreeSet<TestId>, OpsError> {
    const MOST: u32 = 20_000;
    actor.require(Permission::ConfigRead)?;
    let open = store.read("failing tests", |tx| Ok::<_, OpsError>(alert::open_test_alerts(tx, MOST)?)).await?;
    Ok(open.into_iter().filter_map(|alert| alert.test.map(|(test, _)| test)).collect())
}

/// The latest runs of a test, newest first.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn runs_of(store: &Store, actor: &Actor, test: &TestId, most: u32) -> Result<Vec<Run>, OpsError> {
    actor.require(Permission::ConfigRead)?;
    let catalog = store.catalog();
    let Some(found) = catalog.test(test) else { return Err(OpsError::NotFound { what: "test", id: test.0.clone() }) };
    let environments: Vec<String> = found.environments.keys().take(run::MOST_ENVIRONMENTS).cloned().collect();
    let test = test.clone();
    let look = move |tx: &mut Tx<'_>| {
        let mut runs = run::latest_runs(tx, &test, &environments, most)?;
        runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
        runs.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok::<_, OpsError>(runs)
    };
    store.read("runs of a test", look).await
}

/// How many incidents of each service are open.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn open_counts(store: &Store, actor: &Actor) -> Result<BTreeMap<ServiceId, OpenCount>, OpsError> {
    actor.require(Permission::ConfigRead)?;
    store.read("open incidents", |tx| Ok(incidents::open_counts(tx)?)).await
}

/// Names for ids, for people.
pub struct Names {
    catalog: std::sync::Arc<allclear_domain::catalog::Catalog>,
}

impl Names {
    /// The names of the present configuration.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self { catalog: store.catalog() }
    }

    /// The names of one configuration.
    pub(crate) const fn of_catalog(catalog: std::sync::Arc<allclear_domain::catalog::Catalog>) -> Self {
        Self { catalog }
    }

    /// A person's name.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> String {
        self.catalog.person(id).map_or_else(|| id.0.clone(), |person| person.name.clone())
    }

    /// Whether there is any way to tell a person something.
    #[must_use]
    pub fn can_be_reached(&self, id: &PersonId) -> bool {
        self.catalog.person(id).is_some_and(|person| !person.contact_methods.is_empty())
    }

    /// A service's name.
    #[must_use]
    pub fn service(&self, id: &ServiceId) -> String {
        self.catalog.service(id).map_or_else(|| id.0.clone(), |service| service.name.clone())
    }

    /// Why somebody was on a level, counted from 1, at `at`, as the configuration has it now: by name, or on call.
    #[must_use]
    pub fn why_on_level(&self, levels: &[Level], level: usize, person: &PersonId, at: Timestamp) -> Option<String> {
        let targets = &levels.get(level.checked_sub(1)?)?.targets;
        targets.iter().find_map(|target| match target {
            Target::Person(named) => (named == person).then(|| "the policy names them".to_owned()),
            Target::Schedule(id) => {
                let schedule = self.catalog.schedule(id)?;
                let turn = schedule.on_call(at).ok().flatten().filter(|turn| turn.person == *person)?;
                let stands_in = schedule.person_of_layer(at).ok().flatten().is_some_and(|usual| usual != turn.person);
                let how = if stands_in { "by an override of" } else { "on call on" };
                Some(format!("{how} “{}”", schedule.name))
            }
        })
    }

    /// Why nobody of any level could be told at `at`, as the configuration has it now: a sentence for each target.
    #[must_use]
    pub fn why_nobody(&self, levels: &[Level], at: Timestamp) -> Vec<String> {
        if levels.is_empty() {
            return vec!["The service's escalation policy has no level, or is gone.".to_owned()];
        }
        // Somebody who is found has come since.
        let is_gone = |person: &PersonId| self.catalog.person(person).is_none();
        let of_target = |target: &Target| match target {
            Target::Person(person) => is_gone(person).then(|| "somebody who is gone".to_owned()),
            Target::Schedule(id) => match self.catalog.schedule(id).map(|schedule| (schedule, schedule.on_call(at).ok().flatten())) {
                None => Some("a schedule that is gone".to_owned()),
                Some((schedule, None)) => Some(format!("nobody was on call on “{}”", schedule.name)),
                Some((schedule, Some(turn))) => is_gone(&turn.person).then(|| format!("who is on call on “{}” is gone", schedule.name)),
            },
        };
        let of_level = |(n, level): (usize, &Level)| -> Vec<String> {
            level.targets.iter().filter_map(of_target).map(|why| format!("Level {}: {why}.", n + 1)).collect()
        };
        levels.iter().enumerate().flat_map(of_level).collect()
    }

    /// A component's name.
    #[must_use]
    pub fn component(&self, id: &ComponentId) -> String {
        self.catalog.component(id).map_or_else(|| id.0.clone(), |component| component.name.clone())
    }

    /// Who did something.
    #[must_use]
    pub fn agent(&self, agent: &Agent) -> String {
        agent_name(agent, &|id| self.person(id))
    }

    /// What happened, as a sentence; `time` tells an instant.
    #[must_use]
    pub fn sentence(&self, kind: &LogKind, time: &dyn Fn(Timestamp) -> String) -> String {
        let people = |people: &[PersonId]| people.iter().map(|p| self.person(p)).collect::<Vec<_>>().join(", ");
        match kind {
            LogKind::Triggered { why } => format!("opened: {why}"),
            LogKind::Assigned { people: who, level, why } => format!("level {level} is paged: {} ({})", people(who), why.words()),
            LogKind::NobodyToNotify => "nobody to notify: no level has anybody who can be reached".to_owned(),
            LogKind::Exhausted => "every level was paged and nobody acknowledged".to_owned(),
            LogKind::Acknowledged => "acknowledged".to_owned(),
            LogKind::Unacknowledged => "the acknowledgement timed out".to_owned(),
            LogKind::Noted { text } => format!("note: {text}"),
            LogKind::Reassigned { people: who } => format!("given to {}", people(who)),
            LogKind::Escalated => "escalated".to_owned(),
            LogKind::Snoozed { until } => format!("snoozed until {}", time(*until)),
            LogKind::UrgencyChanged { to } => format!("the urgency is {} now", to.word()),
            LogKind::PriorityChanged { to } => {
                to.map_or("it has no priority any more".to_owned(), |to| format!("the priority is {} now", to.word()))
            }
            LogKind::Retitled { to } => format!("the title is {to:?} now"),
            LogKind::Absorbed { numbers } => format!("took in {}", numbers.iter().map(|n| format!("#{n}")).collect::<Vec<_>>().join(", ")),
            LogKind::Resolved { why } => format!("resolved: {}", why.words()),
            LogKind::Notified { person, method, address, outcome } => {
                let who = person.as_ref().map_or_else(|| "the room".to_owned(), |person| self.person(person));
                format!("{who} by {} ({address}): {}", means(method), came_of_it(outcome))
            }
            LogKind::ComponentChanged { component, from, to } => format!("component {component}: {} → {}", label(from), label(to)),
            LogKind::ComponentProposed { component, to } => {
                let to = label(to);
                format!("component {component} would turn {to}, but a person set it: press \"back to automatic\" to let it follow")
            }
        }
    }
}

/// What carries a message, as people say it.
#[must_use]
pub fn means(class: &str) -> &str {
    match class {
        "sms" => "text message",
        "voice" => "call",
        "email" => "mail",
        "slack" => "Slack",
        "webhook" => "webhook",
        "pagerduty" => "PagerDuty",
        "statuspage" => "StatusPage",
        other => other,
    }
}

/// What became of a message, as people say it: it is the provider that accepts one, not the person.
fn came_of_it(outcome: &str) -> String {
    let (clear, rest) = outcome.strip_prefix("all-clear ").map_or(("", outcome), |rest| ("all-clear ", rest));
    let (word, why) = rest.split_once(": ").map_or((rest, None), |(word, why)| (word, Some(why)));
    let said = match word {
        "accepted" => "sent",
        "delivered" => "arrived",
        // Nothing went wrong: somebody else was faster.
        "undelivered" if why == Some(STOPPED_RINGING) => return format!("{clear}stopped ringing: it was not needed any more"),
        "undelivered" => "did not arrive",
        "unknown" => "perhaps sent",
        "parked" => "given up",
        other => other,
    };
    format!("{clear}{said}{}", why.map_or_else(String::new, |why| format!(": {why}")))
}

/// A component's status as pages call it.
fn label(word: &str) -> &str {
    ComponentStatus::from_word(word).map_or(word, |status| status.label())
}
