//! Status pages as those see them who look after them: components with who decides about them, and public incidents.

use allclear_domain::catalog::{Catalog, Document, Kind};
use allclear_domain::status::published::{PublishedIncident, Stage};
use allclear_domain::status::{ComponentStatus, Owner};
use allclear_domain::{ComponentId, IncidentId, PageId, ServiceId};
use allclear_ops::public::{self, Hand, Looked, Said};
use allclear_ops::view::{self, Names};
use allclear_ops::{OpsError, Permission};
use allclear_store::record::component::ComponentChange;
use allclear_store::record::page::StatusIncident;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::guard::{Viewer, failed};
use super::rules::{self, RuleRow};
use super::{Clock, Moment, Shell};
use crate::page::Filled;
use crate::prose::prose;
use crate::{Web, page};

/// A status that can be chosen.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) word: &'static str,
    pub(crate) label: &'static str,
    pub(crate) chosen: bool,
}

pub(crate) fn statuses(chosen: Option<ComponentStatus>) -> Vec<Choice> {
    let choice = |status: ComponentStatus| Choice { word: status.word(), label: status.label(), chosen: chosen == Some(status) };
    ComponentStatus::ALL.into_iter().map(choice).collect()
}

/// How a public incident can stand.
fn stages(chosen: Stage) -> Vec<Choice> {
    let all = [
        (Stage::Investigating, "Investigating"),
        (Stage::Identified, "Identified"),
        (Stage::Monitoring, "Monitoring"),
        (Stage::Resolved, "Resolved"),
    ];
    all.into_iter().map(|(stage, label)| Choice { word: stage.word(), label, chosen: stage == chosen }).collect()
}

fn stage_of(word: &str) -> Option<Stage> {
    [Stage::Investigating, Stage::Identified, Stage::Monitoring, Stage::Resolved].into_iter().find(|stage| stage.word() == word)
}

#[derive(Debug, Template)]
#[template(path = "app/pages.html")]
struct List {
    shell: Shell,
    pages: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    id: String,
    name: String,
    indicator: &'static str,
    phrase: &'static str,
    remark: String,
}

/// `GET /pages`
pub(crate) async fn list(State(web): State<Web>, Viewer(who): Viewer) -> Response {
    let (found, open) = match (view::published_pages(&web.store).await, super::open_incidents(&web, &who).await) {
        (Ok(found), Ok(open)) => (found, open),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let listed = |(_, shown): &(i64, allclear_domain::status::published::PublishedPage)| {
        let (indicator, phrase) = shown.overall();
        let open = shown.incidents.iter().filter(|incident| incident.stage != Stage::Resolved).count();
        let remark = format!("{} · {}", count(shown.components.len(), "component"), count(open, "public incident"));
        Listed { id: shown.id.0.clone(), name: shown.name.clone(), indicator: indicator.word(), phrase, remark }
    };
    let mut pages: Vec<Listed> = found.iter().map(listed).collect();
    pages.sort_by_key(|page| page.name.to_lowercase());
    page::app(StatusCode::OK, &List { shell: Shell::new("Status pages", "pages", &who, open), pages })
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[derive(Debug, Template)]
#[template(path = "app/page.html")]
struct Room {
    shell: Shell,
    id: String,
    name: String,
    slug: String,
    components: Vec<Component>,
    open: Vec<Public>,
    past: Vec<Public>,
    /// Whether there may be older ones.
    is_cut: bool,
    rules: Vec<RuleRow>,
    /// How many more there are than are listed.
    more_rules: usize,
    can_configure: bool,
    problem: Option<String>,
    draft: Draft,
    /// Whether it stays as things are: not while something is being written.
    live: bool,
}

#[derive(Debug)]
struct Component {
    id: String,
    name: String,
    group: Option<String>,
    status: &'static str,
    label: &'static str,
    by_hand: bool,
    /// What rules would make of it, where that is another status.
    proposed: Option<&'static str>,
    pressed_by: Vec<(String, String)>,
    /// How many more press on it than are shown.
    more_pressing: i64,
    statuses: Vec<Choice>,
}

/// A public incident.
#[derive(Debug)]
struct Public {
    id: String,
    name: String,
    stage: &'static str,
    impact: &'static str,
    at: Moment,
    /// Who writes it.
    owner: String,
}

/// A public incident that is being written.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    body: String,
    stages: Vec<Choice>,
    components: Vec<(String, String, Vec<Choice>)>,
    /// Components that it concerns and that people set: their ids, their names, and whether the rules get them back in the end.
    set_by_hand: Vec<(String, String, bool)>,
    preview: Option<Preview>,
}

/// What customers would read.
#[derive(Debug)]
struct Preview {
    name: String,
    label: String,
    /// Safe HTML.
    html: String,
    components: Vec<String>,
}

impl Component {
    fn new(looked: &Looked, catalog: &Catalog) -> Self {
        let named = |(id, number, title): &(IncidentId, i64, String)| (id.0.clone(), format!("#{number} {title}"));
        let document = catalog.component(&looked.id);
        let by_hand = looked.state.owner == Owner::Person;
        Self {
            id: looked.id.0.clone(),
            name: document.map_or_else(|| looked.id.0.clone(), |found| found.name.clone()),
            group: document.and_then(|found| found.group.clone()),
            status: looked.state.status.word(),
            label: looked.state.status.label(),
            by_hand,
            proposed: (by_hand && looked.proposed != looked.state.status).then(|| looked.proposed.label()),
            pressed_by: looked.pressed_by.iter().map(named).collect(),
            more_pressing: looked.pressing.saturating_sub(i64::try_from(looked.pressed_by.len()).unwrap_or(0)),
            statuses: statuses(Some(looked.state.status)),
        }
    }
}

impl Public {
    fn new(found: &StatusIncident, clock: &Clock) -> Self {
        let shown = &found.shown;
        let owner = match (&found.follows, found.owner) {
            (Some(_), Owner::Automation) => "written by a rule",
            (Some(_), Owner::Person) => "opened by a rule, written by people",
            (None, _) => "written by people",
        };
        Self {
            id: shown.id.clone(),
            name: shown.name.clone(),
            stage: shown.stage.word(),
            impact: shown.impact.word(),
            at: clock.moment(shown.created_at),
            owner: owner.to_owned(),
        }
    }
}

/// What the forms of a page send.
#[derive(Deserialize, Default)]
pub(crate) struct Sent {
    #[serde(default)]
    act: String,
    #[serde(default)]
    component: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    stage: String,
    #[serde(default)]
    body: String,
    /// `component-ID=status`, `keep` or `automatic`.
    #[serde(flatten)]
    others: std::collections::BTreeMap<String, String>,
}

impl Sent {
    /// The components that the form sets.
    fn components(&self) -> Vec<(ComponentId, Hand)> {
        let chosen = self.others.iter().filter_map(|(name, word)| Some((name.strip_prefix("component-")?, word)));
        let mut set: Vec<(ComponentId, Hand)> = chosen.filter_map(|(id, word)| Some((ComponentId::from(id), hand_of(word)?))).collect();
        if self.stage == Stage::Resolved.word() {
            let cleared = self.others.keys().filter_map(|name| name.strip_prefix("clear-")).map(ComponentId::from);
            let cleared: Vec<ComponentId> = cleared.filter(|id| set.iter().all(|(known, _)| known != id)).collect();
            set.extend(cleared.into_iter().map(|id| (id, Hand::GiveBack)));
        }
        set
    }

    /// The components of a public incident that people set, each with whether the rules get it back when it is resolved.
    fn set_by_hand(&self, components: &[Component], concerned: &[ComponentId]) -> Vec<(String, String, bool)> {
        let is_set = |one: &&Component| one.by_hand && concerned.iter().any(|id| id.as_str() == one.id);
        let cleared = |id: &str| self.act.is_empty() || self.others.contains_key(&format!("clear-{id}"));
        components.iter().filter(is_set).map(|one| (one.id.clone(), one.name.clone(), cleared(&one.id))).collect()
    }

    fn said(&self) -> Said {
        let stage = stage_of(&self.stage).unwrap_or(Stage::Investigating);
        Said { stage, body: self.body.clone(), components: self.components() }
    }

    fn draft(&self, components: &[Component], stage: Stage, title: &str) -> Draft {
        let chosen = |id: &str| self.others.get(&format!("component-{id}")).and_then(|word| ComponentStatus::from_word(word));
        let said = self.said();
        let stage = if self.stage.is_empty() { stage } else { said.stage };
        let preview = (self.act == "preview").then(|| Preview {
            name: if title.is_empty() { self.name.clone() } else { title.to_owned() },
            label: stages(stage).into_iter().find(|one| one.chosen).map_or_else(String::new, |one| one.label.to_owned()),
            html: prose(&self.body),
            components: components
                .iter()
                .filter_map(|one| Some(format!("It shows {} as: {}.", one.name, chosen(&one.id)?.label())))
                .collect(),
        });
        Draft {
            name: self.name.clone(),
            body: self.body.clone(),
            stages: stages(stage),
            components: components.iter().map(|one| (one.id.clone(), one.name.clone(), statuses(chosen(&one.id)))).collect(),
            set_by_hand: vec![],
            preview,
        }
    }
}

fn hand_of(word: &str) -> Option<Hand> {
    if word == "automatic" { Some(Hand::GiveBack) } else { ComponentStatus::from_word(word).map(Hand::Set) }
}

/// `GET /pages/{id}`
pub(crate) async fn show(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    room(&web, &who, &id, &Sent::default(), None).await
}

async fn room(web: &Web, who: &allclear_ops::session::SignedIn, id: &str, sent: &Sent, problem: Option<String>) -> Response {
    let (page_id, actor) = (PageId::from(id), who.actor());
    let (found, open) = match (public::show_page(&web.store, &actor, &page_id).await, super::open_incidents(web, who).await) {
        (Ok(found), Ok(open)) => (found, open),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let (catalog, clock) = (web.store.catalog(), Clock::of(&web.store, who));
    let Some(document) = catalog.page(&page_id) else { return failed(&OpsError::NotFound { what: "page", id: id.to_owned() }) };
    let components: Vec<Component> = found.components.iter().map(|looked| Component::new(looked, &catalog)).collect();
    let (open_ones, past): (Vec<_>, Vec<_>) = found.incidents.iter().partition(|one| one.shown.stage != Stage::Resolved);
    let (rules, all_rules) = rules::of_page(&catalog, &page_id);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let view = Room {
        shell: Shell::new(document.name.clone(), "pages", who, open),
        id: id.to_owned(),
        name: document.name.clone(),
        slug: document.slug.clone(),
        draft: sent.draft(&components, Stage::Investigating, ""),
        components,
        is_cut: open_ones.len() + past.len() >= public::MOST_INCIDENTS as usize,
        open: open_ones.into_iter().map(|one| Public::new(one, &clock)).collect(),
        past: past.into_iter().map(|one| Public::new(one, &clock)).collect(),
        more_rules: all_rules - rules.len(),
        rules,
        can_configure: actor.may(Permission::ConfigWrite),
        live: problem.is_none() && sent.act.is_empty(),
        problem,
    };
    page::app(status, &view)
}

/// `POST /pages/{id}`: sets a component, gives it back, or opens a public incident.
pub(crate) async fn act(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Filled(sent): Filled<Sent>) -> Response {
    let (actor, component) = (who.actor(), ComponentId::from(sent.component.as_str()));
    let back = Redirect::to(&format!("/pages/{id}")).into_response();
    let done = match (sent.act.as_str(), hand_of(&sent.status)) {
        ("set", Some(hand)) => public::set_component(&web.store, &*web.rng, &actor, &component, hand).await.map(|_| back),
        ("automatic", _) => public::set_component(&web.store, &*web.rng, &actor, &component, Hand::GiveBack).await.map(|_| back),
        ("open", _) => {
            let opened = public::open(&web.store, &*web.rng, &actor, &PageId::from(id.as_str()), &sent.name, sent.said()).await;
            opened.map(|opened| Redirect::to(&format!("/public-incidents/{opened}")).into_response())
        }
        ("preview", _) => return room(&web, &who, &id, &sent, None).await,
        _ => Ok(back),
    };
    match done {
        Ok(response) => response,
        Err(OpsError::Invalid(problem)) => room(&web, &who, &id, &sent, Some(problem)).await,
        Err(error) => failed(&error),
    }
}

#[derive(Debug, Template)]
#[template(path = "app/public_incident.html")]
struct PublicPage {
    shell: Shell,
    page: String,
    page_name: String,
    slug: String,
    id: String,
    name: String,
    stage: &'static str,
    impact: &'static str,
    is_open: bool,
    owner: String,
    /// The engineers' incident that it follows.
    follows: Option<(String, String)>,
    can_give_back: bool,
    components: Vec<String>,
    updates: Vec<Update>,
    problem: Option<String>,
    draft: Draft,
    live: bool,
}

#[derive(Debug)]
struct Update {
    label: &'static str,
    /// Safe HTML.
    html: String,
    at: Moment,
    affected: Vec<String>,
}

fn updates(shown: &PublishedIncident, clock: &Clock) -> Vec<Update> {
    let update = |update: &allclear_domain::status::published::PublishedUpdate| Update {
        label: stages(update.stage).into_iter().find(|one| one.chosen).map_or("", |one| one.label),
        html: prose(&update.body),
        at: clock.moment(update.at),
        affected: update.affected.iter().map(|one| format!("{}: {} → {}", one.name, one.from.label(), one.to.label())).collect(),
    };
    shown.updates.iter().map(update).collect()
}

/// `GET /public-incidents/{id}`
pub(crate) async fn show_public(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    public_room(&web, &who, &id, &Sent::default(), None).await
}

async fn public_room(web: &Web, who: &allclear_ops::session::SignedIn, id: &str, sent: &Sent, problem: Option<String>) -> Response {
    let actor = who.actor();
    let found = async {
        let found = public::show_incident(&web.store, &actor, id).await?;
        let looked = public::show_page(&web.store, &actor, &found.page).await?;
        let follows = match &found.follows {
            Some((incident, _)) => view::find_incident(&web.store, &actor, incident).await?,
            None => None,
        };
        Ok::<_, OpsError>((found, looked, follows, super::open_incidents(web, who).await?))
    };
    let (found, looked, follows, open) = match found.await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let (catalog, clock, names) = (web.store.catalog(), Clock::of(&web.store, who), Names::of(&web.store));
    let components: Vec<Component> = looked.components.iter().map(|looked| Component::new(looked, &catalog)).collect();
    let shown = &found.shown;
    let document = catalog.page(&found.page);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let is_open = shown.stage != Stage::Resolved;
    let view = PublicPage {
        shell: Shell::new(shown.name.clone(), "pages", who, open),
        page: found.page.0.clone(),
        page_name: document.map_or_else(|| found.page.0.clone(), |page| page.name.clone()),
        slug: document.map_or_else(String::new, |page| page.slug.clone()),
        id: shown.id.clone(),
        name: shown.name.clone(),
        stage: shown.stage.word(),
        impact: shown.impact.word(),
        is_open,
        owner: Public::new(&found, &clock).owner,
        follows: follows.map(|incident| (incident.id.0.clone(), format!("#{} {}", incident.number, incident.title))),
        can_give_back: is_open && found.follows.is_some() && found.owner == Owner::Person,
        components: shown.components.iter().map(|id| names.component(id)).collect(),
        updates: updates(shown, &clock),
        live: problem.is_none() && sent.act.is_empty(),
        problem,
        draft: Draft { set_by_hand: sent.set_by_hand(&components, &shown.components), ..sent.draft(&components, shown.stage, &shown.name) },
    };
    page::app(status, &view)
}

/// `POST /public-incidents/{id}`: a further update, or back to the rule.
pub(crate) async fn act_public(
    State(web): State<Web>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Filled(sent): Filled<Sent>,
) -> Response {
    let actor = who.actor();
    let done = match sent.act.as_str() {
        "update" => public::update(&web.store, &*web.rng, &actor, &id, sent.said()).await,
        "automatic" => public::give_back(&web.store, &*web.rng, &actor, &id).await,
        "preview" => return public_room(&web, &who, &id, &sent, None).await,
        _ => Ok(()),
    };
    match done {
        Ok(()) => Redirect::to(&format!("/public-incidents/{id}")).into_response(),
        Err(OpsError::Invalid(problem)) => public_room(&web, &who, &id, &sent, Some(problem)).await,
        Err(error) => failed(&error),
    }
}

#[derive(Debug, Template)]
#[template(path = "app/component.html")]
struct ComponentPage {
    shell: Shell,
    page: String,
    page_name: String,
    name: String,
    status: &'static str,
    label: &'static str,
    by_hand: bool,
    since: Moment,
    changes: Vec<Change>,
    /// Whether there may be older ones.
    is_cut: bool,
}

/// A change of a component, and what caused it.
#[derive(Debug)]
struct Change {
    at: Moment,
    from: &'static str,
    to: &'static str,
    status: &'static str,
    why: String,
    incident: Option<String>,
    rule: Option<String>,
}

impl Change {
    fn new(change: &ComponentChange, catalog: &Catalog, clock: &Clock) -> Self {
        let text = |name: &str| change.cause.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let service = |id: &ServiceId| catalog.service(id).map_or_else(|| id.0.clone(), |service| service.name.clone());
        let rule = text("rule").and_then(|id| match &catalog.get(Kind::Rule, &id)?.document {
            Document::Rule(rule) => Some(format!("the rule of {}", service(&rule.service))),
            _ => None,
        });
        let why = match (text("by_hand"), text("incident")) {
            (Some(who), _) => format!("set by hand: {}", person_in(&who, catalog)),
            (None, Some(_)) if change.after == ComponentStatus::Operational => "its last incident ended".to_owned(),
            (None, Some(_)) => "an incident".to_owned(),
            (None, None) => "the configuration changed".to_owned(),
        };
        Self {
            at: clock.moment(change.at),
            from: change.before.label(),
            to: change.after.label(),
            status: change.after.word(),
            why,
            incident: text("incident"),
            rule,
        }
    }
}

/// `person ID in the app` with their name.
fn person_in(actor: &str, catalog: &Catalog) -> String {
    let mut words: Vec<String> = actor.split(' ').map(str::to_owned).collect();
    if words.first().is_some_and(|word| word == "person") {
        words.remove(0);
    }
    if let Some(first) = words.first_mut()
        && let Some(person) = catalog.person(&allclear_domain::PersonId::from(first.as_str()))
    {
        first.clone_from(&person.name);
    }
    words.join(" ")
}

/// `GET /components/{id}`: how it came to stand as it does.
pub(crate) async fn show_component(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    let (found, open) = match (view::show_component(&web.store, &who.actor(), &id).await, super::open_incidents(&web, &who).await) {
        (Ok(found), Ok(open)) => (found, open),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let (catalog, clock) = (web.store.catalog(), Clock::of(&web.store, &who));
    let page_id = catalog.component(&found.id).map(|component| component.page.clone());
    let page_name = page_id.as_ref().and_then(|id| catalog.page(id)).map_or_else(String::new, |page| page.name.clone());
    let view = ComponentPage {
        shell: Shell::new(found.name.clone(), "pages", &who, open),
        page: page_id.map_or_else(String::new, |id| id.0),
        page_name,
        name: found.name.clone(),
        status: found.state.status.word(),
        label: found.state.status.label(),
        by_hand: found.state.owner == Owner::Person,
        since: clock.moment(found.state.changed_at),
        is_cut: found.changes.len() >= view::MOST_CHANGES as usize,
        changes: found.changes.iter().map(|change| Change::new(change, &catalog, &clock)).collect(),
    };
    page::app(StatusCode::OK, &view)
}
