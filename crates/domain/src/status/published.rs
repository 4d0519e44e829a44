//! A page as it is published: one document, changed in the commit of what it shows, from which every public
//! answer is rendered. It holds nothing that customers may not see.

use serde::{Deserialize, Serialize};

use super::uptime::Outage;
use super::{Branding, ComponentStatus, Indicator, rollup};
use crate::{ComponentId, PageId, Timestamp};

/// Below a page's address, what stands for all that is not there.
pub const NOTHING: &str = "not-found";

/// A page with everything that it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPage {
    /// The page.
    pub id: PageId,
    /// Its name.
    pub name: String,
    /// The last part of its address on our own host.
    pub slug: String,
    /// Its own host name.
    pub host: Option<String>,
    /// The IANA name of its zone.
    pub time_zone: String,
    /// How it looks.
    #[serde(default)]
    pub branding: Branding,
    /// When anything on it changed last.
    pub updated_at: Timestamp,
    /// Its components, in display order.
    pub components: Vec<PublishedComponent>,
    /// Its newest incidents, at most [`MOST_INCIDENTS`], newest first; then those before them that are open.
    pub incidents: Vec<PublishedIncident>,
}

/// How many incidents the public API lists; StatusPage's bound.
pub const MOST_INCIDENTS: usize = 50;

/// How many outages of a component a page knows: two for each day that it shows, and what lasts. Where there were more, those of
/// a day stand together.
pub const MOST_OUTAGES: usize = 200;

/// A component as customers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedComponent {
    /// The component.
    pub id: ComponentId,
    /// Its name.
    pub name: String,
    /// A sentence about it.
    pub description: Option<String>,
    /// The name of its group.
    pub group: Option<String>,
    /// Its place.
    pub position: i64,
    /// How it stands.
    pub status: ComponentStatus,
    /// Since when it exists.
    pub created_at: Timestamp,
    /// Since when its outages are known, where that is not as long as it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since: Option<Timestamp>,
    /// When its status changed last.
    pub updated_at: Timestamp,
    /// Its outages within the time that a page shows, oldest first; at most [`MOST_OUTAGES`].
    #[serde(default)]
    pub outages: Vec<Outage>,
}

impl PublishedComponent {
    /// Since when it is known how it fared.
    #[must_use]
    pub fn known_since(&self) -> Timestamp {
        self.known_since.map_or(self.created_at, |since| since.max(self.created_at))
    }
}

/// How a public incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// We look for the cause.
    Investigating,
    /// We know the cause.
    Identified,
    /// It seems fixed.
    Monitoring,
    /// It is over.
    Resolved,
}

impl Stage {
    /// StatusPage's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Investigating => "investigating",
            Self::Identified => "identified",
            Self::Monitoring => "monitoring",
            Self::Resolved => "resolved",
        }
    }
}

/// An incident as customers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedIncident {
    /// Its public id, in StatusPage's shape.
    pub id: String,
    /// Its title.
    pub name: String,
    /// How it stands.
    pub stage: Stage,
    /// The worst state that its components reached.
    pub impact: Indicator,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// The affected components.
    pub components: Vec<ComponentId>,
    /// What was said, newest first.
    pub updates: Vec<PublishedUpdate>,
}

/// Something said about an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedUpdate {
    /// Its id.
    pub id: String,
    /// How the incident stood.
    pub stage: Stage,
    /// What was said.
    pub body: String,
    /// When.
    pub at: Timestamp,
    /// What it changed.
    pub affected: Vec<Affected>,
}

/// A component that an update changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The component.
    pub id: ComponentId,
    /// Its name, with its group.
    pub name: String,
    /// Before.
    pub from: ComponentStatus,
    /// After.
    pub to: ComponentStatus,
}

impl PublishedPage {
    /// The page's overall state and its phrase.
    #[must_use]
    pub fn overall(&self) -> (Indicator, &'static str) {
        let leaves: Vec<ComponentStatus> = self.components.iter().map(|component| component.status).collect();
        rollup(&leaves)
    }

    /// The names of the groups, in the order in which their first component stands.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for group in self.components.iter().filter_map(|component| component.group.as_deref()) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }
}
