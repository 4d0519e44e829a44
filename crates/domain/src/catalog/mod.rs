//! Everything that people write, as one immutable snapshot with a revision.
//!
//! A snapshot is cheap to clone and to change (persistent maps). Hot paths read configuration from here and
//! never from the database.

mod document;
pub mod shape;

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

pub use document::{
    Account, Channel, Document, Heartbeat, Integration, Location, MOST_INTEGRATIONS, MaintenanceWindow, NotADocument, Pace,
    PagerdutyAccount, Room, Service, Settings, SlackAccount, SlackWebhookAccount, SmtpAccount, SmtpTls, StatuspageAccount, TwilioAccount,
    WebhookAccount,
};

use crate::apitest::document::Test;
use crate::delivery::Person;
use crate::escalation::{self, Level, Policy, Resolved};
use crate::oncall::Schedule;
use crate::status::{Component, Page, Rule};
use crate::{
    ChannelId, ComponentId, HeartbeatId, LocationName, PageId, PersonId, PolicyId, RuleId, ScheduleId, ServiceId, TestId, Timestamp,
};

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An account at a provider.
    Channel,
    /// Somebody.
    Person,
    /// People taking turns.
    Schedule,
    /// Whom to page, and then whom.
    EscalationPolicy,
    /// What incidents belong to.
    Service,
    /// An API test.
    Test,
    /// A status page.
    Page,
    /// A part of a status page.
    Component,
    /// Service to component.
    Rule,
    /// When services rest.
    MaintenanceWindow,
    /// What calls us regularly.
    Heartbeat,
    /// Where tests run from.
    Location,
    /// What concerns the whole server.
    Settings,
}

impl Kind {
    /// Every kind, each after those that it may refer to.
    pub const ALL: [Self; 13] = [
        Self::Channel,
        Self::Person,
        Self::Schedule,
        Self::EscalationPolicy,
        Self::Service,
        Self::Test,
        Self::Page,
        Self::Component,
        Self::Rule,
        Self::MaintenanceWindow,
        Self::Heartbeat,
        Self::Location,
        Self::Settings,
    ];

    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Person => "person",
            Self::Schedule => "schedule",
            Self::EscalationPolicy => "escalation_policy",
            Self::Service => "service",
            Self::Test => "test",
            Self::Page => "page",
            Self::Component => "component",
            Self::Rule => "rule",
            Self::MaintenanceWindow => "maintenance_window",
            Self::Heartbeat => "heartbeat",
            Self::Location => "location",
            Self::Settings => "settings",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A document with its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its id; made once and never used again.
    pub id: String,
    /// The revision of the catalog that last changed it.
    pub rev: i64,
    /// The source of files that owns it, if one does.
    pub source: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it says.
    pub document: Document,
}

/// A snapshot of all documents.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    rev: i64,
    by_id: OrdMap<(Kind, String), Arc<Resource>>,
    by_name: OrdMap<(Kind, String), String>,
}

impl Catalog {
    /// The revision: a total order of all changes of the configuration.
    #[must_use]
    pub const fn rev(&self) -> i64 {
        self.rev
    }

    /// The snapshot at a later revision: `changed` replaces or adds, `removed` goes.
    #[must_use]
    pub fn advanced(&self, rev: i64, changed: Vec<Resource>, removed: Vec<(Kind, String)>) -> Self {
        let mut next = self.clone();
        next.rev = rev;
        for (kind, id) in removed {
            next.forget(kind, &id);
        }
        for resource in changed {
            let kind = resource.document.kind();
            next.forget(kind, &resource.id);
            next.by_name.insert((kind, resource.document.identity()), resource.id.clone());
            next.by_id.insert((kind, resource.id.clone()), Arc::new(resource));
        }
        next
    }

    fn forget(&mut self, kind: Kind, id: &str) {
        if let Some(old) = self.by_id.remove(&(kind, id.to_owned())) {
            let name = (kind, old.document.identity());
            if self.by_name.get(&name).is_some_and(|owner| owner == id) {
                self.by_name.remove(&name);
            }
        }
    }

    /// A document by its id.
    #[must_use]
    pub fn get(&self, kind: Kind, id: &str) -> Option<&Arc<Resource>> {
        self.by_id.get(&(kind, id.to_owned()))
    }

    /// The id of the document with this identity (its name; for a test, bucket and name).
    #[must_use]
    pub fn id_of(&self, kind: Kind, identity: &str) -> Option<&str> {
        self.by_name.get(&(kind, identity.to_owned())).map(String::as_str)
    }

    /// Every document of one kind, in the order of their ids.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_id.range((kind, String::new())..).take_while(move |((k, _), _)| *k == kind).map(|(_, resource)| resource)
    }

    /// Every document.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_id.values()
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A test.
    #[must_use]
    pub fn test(&self, id: &TestId) -> Option<&Test> {
        self.get(Kind::Test, id.as_str())?.document.as_test()
    }

    /// A service.
    #[must_use]
    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.get(Kind::Service, id.as_str())?.document.as_service()
    }

    /// A person.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<&Person> {
        self.get(Kind::Person, id.as_str())?.document.as_person()
    }

    /// An escalation policy.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        self.get(Kind::EscalationPolicy, id.as_str())?.document.as_policy()
    }

    /// An on-call schedule.
    #[must_use]
    pub fn schedule(&self, id: &ScheduleId) -> Option<&Schedule> {
        self.get(Kind::Schedule, id.as_str())?.document.as_schedule()
    }

    /// An account at a provider.
    #[must_use]
    pub fn channel(&self, id: &ChannelId) -> Option<&Channel> {
        self.get(Kind::Channel, id.as_str())?.document.as_channel()
    }

    /// A status page.
    #[must_use]
    pub fn page(&self, id: &PageId) -> Option<&Page> {
        self.get(Kind::Page, id.as_str())?.document.as_page()
    }

    /// A component.
    #[must_use]
    pub fn component(&self, id: &ComponentId) -> Option<&Component> {
        self.get(Kind::Component, id.as_str())?.document.as_component()
    }

    /// A heartbeat.
    #[must_use]
    pub fn heartbeat(&self, id: &HeartbeatId) -> Option<&Heartbeat> {
        self.get(Kind::Heartbeat, id.as_str())?.document.as_heartbeat()
    }

    /// Whether a service rests at `at`, by its own pause or in a maintenance window: no incident opens on it, those that are
    /// open go on.
    #[must_use]
    pub fn rests(&self, id: &ServiceId, at: Timestamp) -> bool {
        let in_window = |window: &MaintenanceWindow| window.from <= at && at < window.until && window.services.contains(id);
        self.service(id).is_some_and(|service| service.is_paused(at))
            || self.of_kind(Kind::MaintenanceWindow).filter_map(|resource| resource.document.as_window()).any(in_window)
    }

    /// The rules of a service, in the order of their ids.
    pub fn rules_of(&self, service: &ServiceId) -> impl Iterator<Item = (RuleId, &Rule)> {
        let service = service.clone();
        self.of_kind(Kind::Rule).filter_map(move |resource| {
            let rule = resource.document.as_rule()?;
            (rule.service == service).then(|| (RuleId(resource.id.clone()), rule))
        })
    }

    /// The components of a page, in display order.
    #[must_use]
    pub fn components_of(&self, page: &PageId) -> Vec<(&Arc<Resource>, &Component)> {
        let mut found: Vec<_> = self
            .of_kind(Kind::Component)
            .filter_map(|resource| resource.document.as_component().map(|component| (resource, component)))
            .filter(|(_, component)| component.page == *page)
            .collect();
        found.sort_by(|(a_id, a), (b_id, b)| (a.position, &a.name, &a_id.id).cmp(&(b.position, &b.name, &b_id.id)));
        found
    }

    /// A location's settings; the defaults where no document names it.
    #[must_use]
    pub fn location(&self, name: &LocationName) -> Location {
        let named = self.id_of(Kind::Location, name.as_str()).and_then(|id| self.get(Kind::Location, id));
        named.and_then(|resource| resource.document.as_location().cloned()).unwrap_or_else(|| Location::named(name.as_str()))
    }

    /// The server's settings; the defaults where no document sets them.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.of_kind(Kind::Settings).find_map(|resource| resource.document.as_settings().cloned()).unwrap_or_default()
    }

    /// A policy's levels with the people who are on call at `at`. A schedule that cannot be computed has nobody.
    #[must_use]
    pub fn people_of(&self, levels: &[Level], at: Timestamp) -> Vec<Resolved> {
        let mut resolved = escalation::resolve(levels, |schedule| {
            let turn = self.schedule(schedule)?.on_call(at).ok()??;
            Some(turn.person)
        });
        // A person who was deleted cannot be paged: the level counts as having one fewer.
        for level in &mut resolved {
            level.people.retain(|person| self.person(person).is_some());
        }
        resolved
    }
}
