//! Incidents: the list, one with everything that belongs to it, and what a responder does to it.

use allclear_domain::apitest::difference::Difference;
use allclear_domain::catalog::Kind;
use allclear_domain::delivery::{self, Purpose, Status};
use allclear_domain::incident::{Agent, Incident, LogKind, Paging, Priority, Refused, ResolveReason, State as Standing, Urgency};
use allclear_domain::status::published::PublishedPage;
use allclear_domain::{ComponentId, IncidentId, PersonId, RunId, Span};
use allclear_ops::view::{self, IncidentView, Names};
use allclear_ops::wish::{Declared, Wish};
use allclear_ops::{incident, wish};
use allclear_store::record::delivery::Stored;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::evidence::Evidence;
use super::guard::{Viewer, failed};
use super::named::Named;
use super::tests::differences;
use super::{Clock, Moment, Shell, in_words, open_incidents};
use crate::page::Filled;
use crate::{Web, page};

/// Incidents on one page of the list.
const ON_A_PAGE: u32 = 50;

/// One incident in a list.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) number: i64,
    pub(crate) title: String,
    pub(crate) service: String,
    pub(crate) status: &'static str,
    pub(crate) urgency: &'static str,
    pub(crate) priority: Option<&'static str>,
    pub(crate) opened: Moment,
    /// Who has it, or how it ended.
    pub(crate) remark: String,
}

impl Row {
    pub(crate) fn new(incident: &Incident, names: &Names, clock: &Clock) -> Self {
        Self {
            id: incident.id.0.clone(),
            number: incident.number,
            title: incident.title.clone(),
            service: names.service(&incident.service),
            status: incident.state.word(),
            urgency: incident.urgency.word(),
            priority: incident.priority.map(Priority::word),
            opened: clock.moment(incident.opened_at),
            remark: remark(incident, names, clock),
        }
    }
}

fn people(names: &Names, people: &[PersonId]) -> String {
    people.iter().map(|person| names.person(person)).collect::<Vec<_>>().join(", ")
}

/// Whether somebody is the only one who has it.
fn has_it(incident: &Incident, person: &PersonId) -> bool {
    match &incident.state {
        Standing::Triggered(Paging::Level(here)) => here.assigned == [person.clone()],
        Standing::Acknowledged(held) => {
            matches!(held.by.last().map(|last| &last.by), Some(Agent::Person { person: by, .. }) if by == person)
        }
        Standing::Triggered(Paging::Nobody { .. }) | Standing::Resolved(_) => false,
    }
}

/// How it stands, in a sentence.
fn remark(incident: &Incident, names: &Names, clock: &Clock) -> String {
    match &incident.state {
        Standing::Triggered(Paging::Level(here)) => {
            let next = here.escalates_at.map_or(String::new(), |at| format!("; escalates at {}", clock.time(at)));
            let who = people(names, &here.assigned);
            if here.assigned.iter().any(|person| names.can_be_reached(person)) {
                format!("{who} {} paged{next}", if here.assigned.len() == 1 { "was" } else { "were" })
            } else {
                format!("nobody was paged: {who} has no contact method{next}")
            }
        }
        Standing::Triggered(Paging::Nobody { .. }) => "nobody to notify".to_owned(),
        Standing::Acknowledged(held) => {
            let by = held.by.last().map_or(String::new(), |last| match &last.by {
                Agent::Person { person, via } => format!("{} has it ({})", names.person(person), via.words()),
                other => format!("{} has it", names.agent(other)),
            });
            let until =
                held.times_out_at.map_or(String::new(), |at| format!("; unless it ends, people are paged again at {}", clock.time(at)));
            format!("{by}{until}")
        }
        Standing::Resolved(ended) => {
            let lasted = in_words(ended.at.since(incident.opened_at).as_secs());
            format!("{}, {}, after {lasted}", ended.why.words(), clock.time(ended.at))
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "app/incidents.html")]
struct List {
    shell: Shell,
    sections: Vec<Section>,
    services: Named,
    is_first_page: bool,
}

/// The incidents of one status, newest first.
#[derive(Debug)]
struct Section {
    status: &'static str,
    title: &'static str,
    /// What stands there where none is.
    none: &'static str,
    rows: Vec<Row>,
    /// The number before which the next page begins.
    older: Option<i64>,
}

/// Status, title and what is said of none.
const SECTIONS: [(&str, &str, &str); 3] = [
    ("triggered", "Open", "Nothing waits for anybody."),
    ("acknowledged", "Somebody has it", "Nobody has an open incident."),
    ("resolved", "Resolved", "No incident was resolved yet."),
];

#[derive(Deserialize, Default)]
pub(crate) struct Wanted {
    /// The one status of which more is wanted.
    status: Option<String>,
    before: Option<i64>,
}

/// `GET /incidents`: what is open first, then what ended.
pub(crate) async fn list(State(web): State<Web>, Viewer(who): Viewer, Query(wanted): Query<Wanted>) -> Response {
    let (actor, names, clock) = (who.actor(), Names::of(&web.store), Clock::of(&web.store, &who));
    let before = wanted.before.filter(|_| wanted.status.is_some()).unwrap_or(i64::MAX);
    let is_first_page = wanted.status.is_none();
    let found = async {
        let mut sections = Vec::new();
        for (status, title, none) in SECTIONS {
            if wanted.status.as_ref().is_some_and(|one| one != status) {
                continue;
            }
            let found = view::list_incidents(&web.store, &actor, Some(status.to_owned()), before, ON_A_PAGE).await?;
            let is_full = u32::try_from(found.len()).is_ok_and(|n| n >= ON_A_PAGE);
            sections.push(Section {
                status,
                title,
                none,
                rows: found.iter().map(|incident| Row::new(incident, &names, &clock)).collect(),
                older: found.last().filter(|_| is_full).map(|last| last.number),
            });
        }
        Ok((sections, super::open_incidents(&web, &who).await?))
    };
    let (sections, open) = match found.await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let catalog = web.store.catalog();
    let services = Named::of(&catalog, Kind::Service, "", |_| true);
    let view = List { shell: Shell::new("Incidents", "incidents", &who, open), sections, services, is_first_page };
    page::app(StatusCode::OK, &view)
}

#[derive(Debug, Template)]
#[template(path = "app/incident.html")]
struct Page {
    shell: Shell,
    row: Row,
    /// Why what was pressed just now changed nothing.
    refused: Option<String>,
    is_open: bool,
    can_acknowledge: bool,
    /// Whether whoever looks is the one who has it.
    is_mine: bool,
    /// What times of day are told in.
    zone: String,
    merged_into: Option<i64>,
    why: Vec<String>,
    components: Vec<String>,
    run: Option<String>,
    evidence: Option<Evidence>,
    evidence_gone: bool,
    differences: Vec<Difference>,
    entries: Vec<Entry>,
    /// Whether earlier entries are not shown.
    has_earlier: bool,
    /// Whether somebody was told before the first that is listed.
    told_earlier: bool,
    told: Vec<Told>,
    changes: Vec<Changed>,
    /// Whether there were more.
    changes_cut: bool,
    people: Named,
    /// Why somebody was told, or why nobody was.
    paging: Vec<String>,
}

/// A line of the timeline.
#[derive(Debug)]
struct Entry {
    at: Moment,
    time: String,
    agent: String,
    sentence: String,
    is_note: bool,
}

/// A message.
#[derive(Debug)]
struct Told {
    to: String,
    by: String,
    what: &'static str,
    status: &'static str,
    class: &'static str,
    why: String,
    at: Moment,
}

/// `GET /incidents/{id}`
pub(crate) async fn show(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Query(said): Query<Said>) -> Response {
    let actor = who.actor();
    let found = match view::show_incident(&web.store, &actor, &id).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    // People type its number; what the page posts goes to its id.
    if found.incident.id.as_str() != id {
        return Redirect::to(&format!("/incidents/{}", found.incident.id)).into_response();
    }
    let report = match &found.incident.run {
        Some(run) => report(&web, &who, run).await,
        None => Kept::default(),
    };
    match (view::published_pages(&web.store).await, open_incidents(&web, &who).await) {
        (Ok(published), Ok(open)) => {
            let refused = Refused::from_word(&said.refused).map(|refused| refused.to_string());
            page::app(StatusCode::OK, &Page { refused, ..Page::new(&web, &who, &found, report, &published, open) })
        }
        (Err(error), _) | (_, Err(error)) => failed(&error),
    }
}

/// What an address says of what came before.
#[derive(Deserialize, Default)]
pub(crate) struct Said {
    #[serde(default)]
    refused: String,
}

/// A component with what customers read beside it.
fn seen_of(id: &ComponentId, names: &Names, published: &[(i64, PublishedPage)]) -> String {
    let shown = published.iter().flat_map(|(_, page)| &page.components).find(|component| component.id == *id);
    shown.map_or_else(|| names.component(id), |component| format!("{}: {}", component.name, component.status.label()))
}

/// What was kept of the run that opened it.
async fn report(web: &Web, who: &allclear_ops::session::SignedIn, run: &RunId) -> Kept {
    match view::show_run(&web.store, &web.evidence, &who.actor(), run).await {
        Ok(found) => Kept {
            evidence: found.report.as_ref().map(Evidence::of),
            gone: found.report.is_none(),
            differences: differences(web, who, &found).await,
        },
        Err(_) => Kept { gone: true, ..Kept::default() },
    }
}

/// What is left of the run that opened an incident.
#[derive(Debug, Default)]
struct Kept {
    evidence: Option<Evidence>,
    gone: bool,
    differences: Vec<Difference>,
}

impl Page {
    fn new(
        web: &Web,
        who: &allclear_ops::session::SignedIn,
        found: &IncidentView,
        kept: Kept,
        published: &[(i64, PublishedPage)],
        open: i64,
    ) -> Self {
        let (names, clock, incident) = (Names::of(&web.store), Clock::of(&web.store, who), &found.incident);
        let catalog = web.store.catalog();
        let merged_into = match &incident.state {
            Standing::Resolved(ended) => match &ended.why {
                ResolveReason::Merged { number, .. } => Some(*number),
                _ => None,
            },
            Standing::Triggered(_) | Standing::Acknowledged(_) => None,
        };
        let mut why: Vec<String> = found.alerts.iter().map(|alert| alert.why.clone()).collect();
        why.dedup();
        let entry = |entry: &allclear_store::record::incident::LogEntry| Entry {
            at: clock.moment(entry.draft.at),
            time: clock.time(entry.draft.at),
            agent: names.agent(&entry.draft.agent),
            sentence: names.sentence(&entry.draft.kind, &|at| clock.time(at)),
            is_note: matches!(entry.draft.kind, LogKind::Noted { .. }),
        };
        Self {
            shell: Shell::new(format!("#{} {}", incident.number, incident.title), "incidents", who, open),
            row: Row::new(incident, &names, &clock),
            refused: None,
            is_open: incident.is_open(),
            can_acknowledge: matches!(incident.state, Standing::Triggered(_)),
            is_mine: has_it(incident, &who.person),
            zone: clock.zone(),
            merged_into,
            why,
            components: found.components.iter().map(|component| seen_of(component, &names, published)).collect(),
            run: incident.run.as_ref().map(|run| run.0.clone()),
            evidence: kept.evidence,
            evidence_gone: kept.gone,
            differences: kept.differences,
            entries: found.log.iter().rev().map(entry).collect(),
            has_earlier: found.log.first().is_some_and(|first| first.seq > 1),
            told_earlier: found.has_earlier_messages(),
            told: found.deliveries.iter().map(|stored| Told::new(stored, &names, &clock)).collect(),
            changes_cut: found.changes.len() >= view::MOST_CHANGES as usize,
            changes: found
                .changes
                .iter()
                .map(|change| Changed { at: clock.moment(change.at), time: clock.time(change.at), summary: change.summary.clone() })
                .collect(),
            people: Named::of(&catalog, Kind::Person, "", |_| true),
            paging: paging(found, &names),
        }
    }
}

/// A change in the service.
#[derive(Debug)]
struct Changed {
    at: Moment,
    time: String,
    summary: String,
}

/// "Why was I paged?", or "why was nobody?".
fn paging(found: &IncidentView, names: &Names) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for entry in &found.log {
        let sentences = match &entry.draft.kind {
            LogKind::Assigned { people, level, why } => {
                let because = |person: &PersonId| match names.why_on_level(&found.incident.levels, *level, person, entry.draft.at) {
                    Some(reason) => format!("{} on level {level}, {}: {reason}", names.person(person), why.words()),
                    None => format!("{} on level {level}: {}", names.person(person), why.words()),
                };
                people.iter().map(because).collect()
            }
            LogKind::NobodyToNotify => {
                let mut sentences = vec!["Nobody was paged: no level of the escalation policy had anybody who can be reached.".to_owned()];
                sentences.extend(names.why_nobody(&found.incident.levels, entry.draft.at));
                sentences
            }
            LogKind::Exhausted => vec!["Every level was paged and nobody acknowledged.".to_owned()],
            LogKind::Reassigned { people: who } => vec![format!("{}: it was given to them", people(names, who))],
            _ => continue,
        };
        for sentence in sentences {
            if !told.contains(&sentence) {
                told.push(sentence);
            }
        }
    }
    told
}

impl Told {
    fn new(stored: &Stored, names: &Names, clock: &Clock) -> Self {
        use allclear_domain::delivery::Recipient;
        let sent = &stored.delivery;
        let to = match &sent.recipient {
            Recipient::Person { person } => names.person(person),
            Recipient::Room { .. } => sent.address.clone(),
            Recipient::Mirror { component } => format!("{} elsewhere", names.component(component)),
            Recipient::Presser { user } => format!("{user}, who pressed a button"),
        };
        let (status, class) = match stored.status {
            Status::Pending => ("waits", "quiet"),
            Status::Claimed => ("under way", "quiet"),
            Status::Accepted => ("sent", "good"),
            Status::Delivered => ("arrived", "good"),
            Status::Undelivered if stored.why.as_deref() == Some(delivery::STOPPED_RINGING) => ("stopped ringing", "quiet"),
            Status::Undelivered => ("did not arrive", "bad"),
            Status::Failed => ("failed", "bad"),
            Status::Cancelled => ("not needed any more", "quiet"),
            Status::Unknown => ("not known", "warn"),
            Status::Parked => ("given up", "bad"),
        };
        let what = match sent.purpose {
            Purpose::Page => "page",
            Purpose::State => "update",
            Purpose::Note => "note",
            Purpose::AllClear => "all-clear",
            Purpose::Mirror => "status",
            Purpose::HangUp => "stop ringing",
            Purpose::Notice => "notice",
            Purpose::Reply => "answer",
        };
        Self {
            to,
            by: view::means(&stored.provider).to_owned(),
            what,
            status,
            class,
            why: stored.why.clone().filter(|why| why != delivery::STOPPED_RINGING).unwrap_or_default(),
            at: clock.moment(stored.finished_at.unwrap_or(sent.due_at)),
        }
    }
}

/// What a form of the page sends.
#[derive(Deserialize)]
pub(crate) struct Sent {
    act: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    person: String,
    #[serde(default)]
    span: String,
}

impl Sent {
    fn wish(self, me: &PersonId) -> Option<Wish> {
        Some(match self.act.as_str() {
            "acknowledge" => Wish::Ack,
            "resolve" => Wish::Resolve,
            "escalate" => Wish::Escalate { level: None },
            "take" => Wish::Reassign { people: vec![me.0.clone()] },
            "reassign" => Wish::Reassign { people: vec![self.person] },
            "note" => Wish::Note { text: self.text },
            "snooze" => Wish::Snooze { span: self.span.parse::<Span>().ok()? },
            "louder" => Wish::Urgency { urgency: Urgency::High },
            "quieter" => Wish::Urgency { urgency: Urgency::Low },
            _ => return None,
        })
    }
}

/// `POST /incidents/{id}`
pub(crate) async fn act(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Filled(sent): Filled<Sent>) -> Response {
    let Some(wished) = sent.wish(&who.person) else {
        return page::notice(StatusCode::UNPROCESSABLE_ENTITY, "Nothing was changed", "Go back and use one of the page's forms.");
    };
    let actor = who.actor();
    let done = async {
        let act = wished.act(&web.store)?;
        incident::act(&web.store, &*web.rng, &actor, &IncidentId::from(id.as_str()), act).await
    };
    match done.await {
        // Whoever goes by keyboard goes on from the heading.
        Ok(changed) => Redirect::to(&format!("/incidents/{}#heading", changed.id)).into_response(),
        // What somebody else did a moment before is no mistake: the page shows it, and says that nothing came of this.
        Err(allclear_ops::OpsError::Refused(refused)) => {
            Redirect::to(&format!("/incidents/{id}?refused={}#heading", refused.word())).into_response()
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
pub(crate) struct Declaring {
    title: String,
    service: String,
    #[serde(default)]
    details: String,
}

/// `POST /incidents`
pub(crate) async fn declare(State(web): State<Web>, Viewer(who): Viewer, Filled(sent): Filled<Declaring>) -> Response {
    let details = Some(sent.details).filter(|details| !details.trim().is_empty());
    let wished = Declared {
        title: sent.title,
        service: sent.service,
        details,
        urgency: None,
        people: vec![],
        policy: None,
        priority: None,
        taken: false,
        key: None,
    };
    match wish::declare(&web.store, &*web.rng, &who.actor(), wished).await {
        Ok(opened) => Redirect::to(&format!("/incidents/{}", opened.id)).into_response(),
        Err(error) => failed(&error),
    }
}
