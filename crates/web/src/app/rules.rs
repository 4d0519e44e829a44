//! Rules: which component a service moves, to what status, and what customers are told by themselves.

use allclear_domain::catalog::{Catalog, Document, Kind};
use allclear_domain::status::{ComponentStatus, IncidentTemplate, Rule};
use allclear_domain::{ComponentId, PageId, ServiceId, Span};
use allclear_ops::public::{LONGEST_BODY, LONGEST_NAME};
use allclear_ops::session::SignedIn;
use allclear_ops::{OpsError, resource};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::Shell;
use super::guard::{Viewer, failed};
use super::named::Named;
use super::pages::{Choice, statuses};
use crate::page::Filled;
use crate::{Web, page};

/// A rule among those of a page.
#[derive(Debug)]
pub(crate) struct RuleRow {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) component: String,
    pub(crate) sentence: String,
    /// The files that own it; then it is changed there.
    pub(crate) source: Option<String>,
}

/// Rules that a page lists at most.
pub(crate) const MOST_LISTED: usize = 500;

/// The rules for the components of a page, by service and component: the first [`MOST_LISTED`]; and how many there are.
pub(crate) fn of_page(catalog: &Catalog, page: &PageId) -> (Vec<RuleRow>, usize) {
    let mut rows: Vec<RuleRow> = Vec::new();
    for resource in catalog.of_kind(Kind::Rule) {
        let Document::Rule(rule) = &resource.document else { continue };
        let Some(component) = catalog.component(&rule.component).filter(|component| component.page == *page) else { continue };
        rows.push(RuleRow {
            id: resource.id.clone(),
            service: service_name(catalog, &rule.service),
            component: component.name.clone(),
            sentence: sentence(rule),
            source: resource.source.clone(),
        });
    }
    rows.sort_by(|a, b| (&a.service, &a.component).cmp(&(&b.service, &b.component)));
    let count = rows.len();
    rows.truncate(MOST_LISTED);
    (rows, count)
}

fn service_name(catalog: &Catalog, id: &ServiceId) -> String {
    catalog.service(id).map_or_else(|| id.0.clone(), |service| service.name.clone())
}

fn sentence(rule: &Rule) -> String {
    let statuses = if rule.high == rule.low {
        rule.high.label().to_owned()
    } else {
        format!("{} at high urgency, {} at low", rule.high.label(), rule.low.label())
    };
    let delay = if rule.delay == Span::ZERO { String::new() } else { format!(", after {}", rule.delay) };
    let incident = rule.incident.as_ref().map_or_else(String::new, |template| format!(", with the public incident “{}”", template.name));
    format!("{statuses}{delay}{incident}")
}

#[derive(Debug, Template)]
#[template(path = "app/rule.html")]
struct RulePage {
    shell: Shell,
    page: String,
    page_name: String,
    /// Nothing for a rule that is not there yet.
    rule: Option<Known>,
    services: Named,
    components: Named,
    high: Vec<Choice>,
    low: Vec<Choice>,
    /// What stands in the fields.
    sent: RuleSent,
    longest: (usize, usize),
    problem: Option<String>,
}

impl RulePage {
    /// The files that own the rule.
    fn source(&self) -> Option<&String> {
        self.rule.as_ref()?.source.as_ref()
    }
}

/// A rule that is there.
#[derive(Debug)]
struct Known {
    service: String,
    component: String,
    sentence: String,
    source: Option<String>,
}

/// What the form of a rule sends: service and component by name, for a new one.
#[derive(Debug, Clone, Deserialize, Default)]
pub(crate) struct RuleSent {
    #[serde(default)]
    act: String,
    #[serde(default)]
    service: String,
    #[serde(default)]
    component: String,
    #[serde(default)]
    high: String,
    #[serde(default)]
    low: String,
    #[serde(default)]
    delay: String,
    /// The title of the public incident; empty for none.
    #[serde(default)]
    incident: String,
    #[serde(default)]
    investigating: String,
    #[serde(default)]
    identified: String,
    #[serde(default)]
    resolved: String,
}

impl RuleSent {
    /// The fields as the rule has them.
    fn of(rule: &Rule) -> Self {
        let words = |pick: fn(&IncidentTemplate) -> &String| rule.incident.as_ref().map_or_else(String::new, |one| pick(one).clone());
        Self {
            act: String::new(),
            service: String::new(),
            component: String::new(),
            high: rule.high.word().to_owned(),
            low: rule.low.word().to_owned(),
            delay: if rule.delay == Span::ZERO { String::new() } else { rule.delay.to_string() },
            incident: words(|one| &one.name),
            investigating: words(|one| &one.investigating),
            identified: words(|one| &one.identified),
            resolved: words(|one| &one.resolved),
        }
    }

    /// The rule of a service for a component.
    fn rule(&self, service: ServiceId, component: ComponentId) -> Result<Rule, OpsError> {
        let delay = match self.delay.trim() {
            "" => Span::ZERO,
            text => text.parse().map_err(|_| OpsError::Invalid(format!("{text:?} is no time: write 30s, 5m or 1h")))?,
        };
        Ok(Rule {
            service,
            component,
            high: status_of(&self.high)?,
            low: status_of(&self.low)?,
            delay,
            incident: self.incident()?,
            extra: serde_json::Map::new(),
        })
    }

    /// A new rule for a component of a page.
    fn new_rule(&self, catalog: &Catalog, page: &PageId) -> Result<Rule, OpsError> {
        let known =
            |kind, name: &str| catalog.id_of(kind, name).ok_or_else(|| OpsError::Invalid(format!("no {} is called {name:?}", kind.word())));
        let service = ServiceId::from(known(Kind::Service, self.service.trim())?);
        let component = ComponentId::from(known(Kind::Component, self.component.trim())?);
        if catalog.component(&component).is_none_or(|found| found.page != *page) {
            return Err(OpsError::Invalid(format!("the component {:?} stands on another page", self.component.trim())));
        }
        self.rule(service, component)
    }

    fn incident(&self) -> Result<Option<IncidentTemplate>, OpsError> {
        let name = self.incident.trim();
        if name.is_empty() {
            return Ok(None);
        }
        let or = |text: &str, usual: &str| if text.trim().is_empty() { usual.to_owned() } else { text.trim().to_owned() };
        let template = IncidentTemplate {
            name: name.to_owned(),
            investigating: or(&self.investigating, IncidentTemplate::INVESTIGATING),
            identified: or(&self.identified, IncidentTemplate::IDENTIFIED),
            resolved: or(&self.resolved, IncidentTemplate::RESOLVED),
        };
        let bodies = [&template.investigating, &template.identified, &template.resolved];
        if name.chars().count() > LONGEST_NAME || bodies.iter().any(|body| body.chars().count() > LONGEST_BODY) {
            return Err(OpsError::Invalid(format!("a title has at most {LONGEST_NAME} characters, an update at most {LONGEST_BODY}")));
        }
        Ok(Some(template))
    }
}

fn status_of(word: &str) -> Result<ComponentStatus, OpsError> {
    match word {
        "" => Ok(ComponentStatus::DegradedPerformance),
        word => ComponentStatus::from_word(word).ok_or_else(|| OpsError::Invalid(format!("{word:?} is no status of a component"))),
    }
}

/// `GET /pages/{id}/new-rule`
pub(crate) async fn show_new(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    blank(&web, &who, &id, RuleSent::default(), None).await
}

/// `POST /pages/{id}/new-rule`
pub(crate) async fn add(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Filled(sent): Filled<RuleSent>) -> Response {
    let done = match sent.new_rule(&web.store.catalog(), &PageId::from(id.as_str())) {
        Ok(rule) => {
            let make = move |_: Option<&Document>, catalog: &Catalog| {
                let known = |document: &Document| matches!(document, Document::Rule(one) if one.service == rule.service && one.component == rule.component);
                match catalog.of_kind(Kind::Rule).any(|resource| known(&resource.document)) {
                    true => Err(OpsError::Invalid("there is a rule for this service and component: change that one".into())),
                    false => Ok(Document::Rule(rule.clone())),
                }
            };
            resource::put(&web.store, &*web.rng, &who.actor(), Kind::Rule, None, make).await.map(|_| ())
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => to_page(&id),
        Err(OpsError::Invalid(problem)) => blank(&web, &who, &id, sent, Some(problem)).await,
        Err(error) => failed(&error),
    }
}

async fn blank(web: &Web, who: &SignedIn, id: &str, sent: RuleSent, problem: Option<String>) -> Response {
    form(web, who, &PageId::from(id), None, sent, problem).await
}

/// `GET /rules/{id}`
pub(crate) async fn show(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    match find(&web.store.catalog(), &id) {
        Some(found) => form(&web, &who, &found.page, Some(found.known), found.sent, None).await,
        None => failed(&OpsError::NotFound { what: "rule", id }),
    }
}

struct Found {
    page: PageId,
    service: ServiceId,
    component: ComponentId,
    known: Known,
    sent: RuleSent,
}

fn find(catalog: &Catalog, id: &str) -> Option<Found> {
    let resource = catalog.get(Kind::Rule, id)?;
    let Document::Rule(rule) = &resource.document else { return None };
    let component = catalog.component(&rule.component)?;
    let known = Known {
        service: service_name(catalog, &rule.service),
        component: component.name.clone(),
        sentence: sentence(rule),
        source: resource.source.clone(),
    };
    let (service, sent) = (rule.service.clone(), RuleSent::of(rule));
    Some(Found { page: component.page.clone(), service, component: rule.component.clone(), known, sent })
}

/// `POST /rules/{id}`: another rule in its place, or none.
pub(crate) async fn act(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Filled(sent): Filled<RuleSent>) -> Response {
    let Some(found) = find(&web.store.catalog(), &id) else { return failed(&OpsError::NotFound { what: "rule", id }) };
    let (store, rng, actor) = (&web.store, &*web.rng, who.actor());
    let done = match (sent.act.as_str(), sent.rule(found.service, found.component)) {
        ("remove", _) => resource::remove(store, rng, &actor, Kind::Rule, &id).await,
        (_, Err(error)) => Err(error),
        (_, Ok(rule)) => {
            let make = move |old: Option<&Document>, _: &Catalog| match old {
                // Of which service and component it is stays, and so do fields of another version.
                Some(Document::Rule(old)) => Ok(Document::Rule(Rule {
                    service: old.service.clone(),
                    component: old.component.clone(),
                    extra: old.extra.clone(),
                    ..rule.clone()
                })),
                _ => Ok(Document::Rule(rule.clone())),
            };
            resource::put(store, rng, &actor, Kind::Rule, Some(&id), make).await.map(|_| ())
        }
    };
    match done {
        Ok(()) => to_page(found.page.as_str()),
        Err(OpsError::Invalid(problem)) => form(&web, &who, &found.page, Some(found.known), sent, Some(problem)).await,
        Err(error) => failed(&error),
    }
}

fn to_page(id: &str) -> Response {
    Redirect::to(&format!("/pages/{id}#rules")).into_response()
}

async fn form(web: &Web, who: &SignedIn, page: &PageId, rule: Option<Known>, sent: RuleSent, problem: Option<String>) -> Response {
    let catalog = web.store.catalog();
    let Some(document) = catalog.page(page) else { return failed(&OpsError::NotFound { what: "page", id: page.0.clone() }) };
    let open = match super::open_incidents(web, who).await {
        Ok(open) => open,
        Err(error) => return failed(&error),
    };
    let is_new = rule.is_none();
    let services = Named::of(&catalog, Kind::Service, &sent.service, |_| is_new);
    let of_page = |document: &Document| matches!(document, Document::Component(one) if one.page == *page);
    let components = Named::of(&catalog, Kind::Component, &sent.component, |document| is_new && of_page(document));
    let chosen = |word: &str| statuses(ComponentStatus::from_word(word).or(Some(ComponentStatus::DegradedPerformance)));
    let title = rule.as_ref().map_or_else(|| "New rule".to_owned(), |rule| format!("Rule: {} → {}", rule.service, rule.component));
    let view = RulePage {
        shell: Shell::new(title, "pages", who, open),
        page: page.0.clone(),
        page_name: document.name.clone(),
        rule,
        services,
        components,
        high: chosen(&sent.high),
        low: chosen(&sent.low),
        sent,
        longest: (LONGEST_NAME, LONGEST_BODY),
        problem: problem.clone(),
    };
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    page::app(status, &view)
}
