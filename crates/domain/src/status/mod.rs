//! What customers see: components with their status, the page's overall state, and who may change what.
//!
//! A component's automatic status is the worst that any open incident presses on it. A person who sets a status
//! owns it: automation then proposes and does not act, until the person gives it back.

pub mod published;
pub mod uptime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::incident::Urgency;
use crate::{ChannelId, ComponentId, PageId, ServiceId, Span};

/// A status page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Its name.
    pub name: String,
    /// The last part of its address on our own host: `/status/<slug>`.
    pub slug: String,
    /// Its own host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The IANA name of the zone that its times are shown in.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// How it looks.
    #[serde(default, skip_serializing_if = "Branding::is_plain")]
    pub branding: Branding,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a page looks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Branding {
    /// The address of a logo, shown in place of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
    /// The colour of links and of the line at the top: `#1f5fbf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// A sentence below the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Where else to go: the product, the support.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Sites that may show the page in a frame of theirs: `https://synq.example`. No other may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frame_ancestors: Vec<String>,
}

impl Branding {
    /// Whether nothing is set.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        let Self { logo, colour, about, links, frame_ancestors } = self;
        logo.is_none() && colour.is_none() && about.is_none() && links.is_empty() && frame_ancestors.is_empty()
    }
}

/// A link of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it says.
    pub text: String,
    /// Where it leads.
    pub url: String,
}

fn utc() -> String {
    "Etc/UTC".to_owned()
}

/// A component of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The page that shows it.
    pub page: PageId,
    /// The name of the group that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A sentence for customers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its place on the page.
    #[serde(default)]
    pub position: i64,
    /// Where else its status is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A component of the real `StatusPage` that shows what one of ours shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// The account.
    pub channel: ChannelId,
    /// The component's id there.
    pub component: String,
}

/// A rule: while the service has an open incident, the component has this status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The service.
    pub service: ServiceId,
    /// The component.
    pub component: ComponentId,
    /// The status for an incident of high urgency.
    #[serde(default = "degraded")]
    pub high: ComponentStatus,
    /// The status for an incident of low urgency.
    #[serde(default = "degraded")]
    pub low: ComponentStatus,
    /// How long an incident must be open before it shows.
    #[serde(default)]
    pub delay: Span,
    /// Whether a public incident opens too, and with what words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentTemplate>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Rule {
    /// The status for an incident of this urgency.
    #[must_use]
    pub const fn status(&self, urgency: Urgency) -> ComponentStatus {
        match urgency {
            Urgency::High => self.high,
            Urgency::Low => self.low,
        }
    }
}

const fn degraded() -> ComponentStatus {
    ComponentStatus::DegradedPerformance
}

/// The words of a public incident that a rule opens. Customers read them; nothing internal belongs here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentTemplate {
    /// Its title.
    pub name: String,
    /// The first update.
    #[serde(default = "investigating_body")]
    pub investigating: String,
    /// The update when an engineer has acknowledged.
    #[serde(default = "identified_body")]
    pub identified: String,
    /// The last update.
    #[serde(default = "resolved_body")]
    pub resolved: String,
}

impl IncidentTemplate {
    /// The first update where the template does not say.
    pub const INVESTIGATING: &'static str = "We are currently investigating this issue.";
    /// The update at an acknowledgement where the template does not say.
    pub const IDENTIFIED: &'static str = "The issue has been identified and a fix is being implemented.";
    /// The last update where the template does not say, or is gone.
    pub const RESOLVED: &'static str = "This incident has been resolved.";

    /// The words for a stage.
    #[must_use]
    pub fn words(&self, stage: published::Stage) -> &str {
        match stage {
            published::Stage::Investigating => &self.investigating,
            published::Stage::Identified | published::Stage::Monitoring => &self.identified,
            published::Stage::Resolved => &self.resolved,
        }
    }
}

fn investigating_body() -> String {
    IncidentTemplate::INVESTIGATING.to_owned()
}

fn identified_body() -> String {
    IncidentTemplate::IDENTIFIED.to_owned()
}

fn resolved_body() -> String {
    IncidentTemplate::RESOLVED.to_owned()
}

/// A component's status, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    /// It works.
    #[default]
    Operational,
    /// It is being worked on as announced.
    UnderMaintenance,
    /// It works badly.
    DegradedPerformance,
    /// A part does not work.
    PartialOutage,
    /// It does not work.
    MajorOutage,
}

impl ComponentStatus {
    /// Every status, best first.
    pub const ALL: [Self; 5] =
        [Self::Operational, Self::UnderMaintenance, Self::DegradedPerformance, Self::PartialOutage, Self::MajorOutage];

    /// StatusPage's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::UnderMaintenance => "under_maintenance",
            Self::DegradedPerformance => "degraded_performance",
            Self::PartialOutage => "partial_outage",
            Self::MajorOutage => "major_outage",
        }
    }

    /// The status with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// What customers read.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Operational => "Operational",
            Self::UnderMaintenance => "Under maintenance",
            Self::DegradedPerformance => "Degraded performance",
            Self::PartialOutage => "Partial outage",
            Self::MajorOutage => "Major outage",
        }
    }
}

/// Who decides a component's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The rules.
    #[default]
    Automation,
    /// A person, until they give it back.
    Person,
}

/// What automation makes of a component when the pressure on it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// It already has the status.
    Unchanged,
    /// It gets this status.
    Set(ComponentStatus),
    /// It would get this status, but a person owns it.
    Proposed(ComponentStatus),
}

/// Derives a component's status from what open incidents press on it.
#[must_use]
pub fn derive(current: ComponentStatus, owner: Owner, pressures: &[ComponentStatus]) -> Derived {
    let worst = pressures.iter().copied().max().unwrap_or_default();
    match owner {
        _ if worst == current => Derived::Unchanged,
        Owner::Automation => Derived::Set(worst),
        Owner::Person => Derived::Proposed(worst),
    }
}

/// Components of a page at most: more than anybody reads.
pub const MOST_COMPONENTS: usize = 500;

/// A page's overall state; also an incident's impact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// Nothing is wrong.
    #[default]
    None,
    /// Announced work.
    Maintenance,
    /// A little.
    Minor,
    /// Much.
    Major,
    /// Everything.
    Critical,
}

impl Indicator {
    /// StatusPage's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Maintenance => "maintenance",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }
}

/// The overall state of leaf components and StatusPage's phrase for it: one of its seven.
#[must_use]
pub fn rollup(leaves: &[ComponentStatus]) -> (Indicator, &'static str) {
    let count = |status| leaves.iter().filter(|leaf| **leaf == status).count();
    let all = leaves.len();
    let major = count(ComponentStatus::MajorOutage);
    let partial = count(ComponentStatus::PartialOutage);
    let degraded = count(ComponentStatus::DegradedPerformance);
    let maintenance = count(ComponentStatus::UnderMaintenance);
    if major > 0 && major == all {
        (Indicator::Critical, "Major System Outage")
    } else if major > 0 || (partial > 0 && partial == all) {
        (Indicator::Major, "Partial System Outage")
    } else if partial > 0 {
        (Indicator::Minor, "Minor Service Outage")
    } else if degraded > 1 && degraded == all {
        (Indicator::Minor, "Degraded System Service")
    } else if degraded > 0 {
        (Indicator::Minor, "Partially Degraded Service")
    } else if maintenance > 0 {
        (Indicator::Maintenance, "Service Under Maintenance")
    } else {
        (Indicator::None, "All Systems Operational")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ComponentStatus as S;
    use proptest::prelude::*;

    #[test]
    fn the_rollup_says_statuspages_phrases() {
        let table: &[(&[S], &str, &str)] = &[
            (&[], "none", "All Systems Operational"),
            (&[S::Operational], "none", "All Systems Operational"),
            (&[S::UnderMaintenance], "maintenance", "Service Under Maintenance"),
            (&[S::DegradedPerformance], "minor", "Partially Degraded Service"),
            (&[S::PartialOutage], "major", "Partial System Outage"),
            (&[S::MajorOutage], "critical", "Major System Outage"),
            (&[S::MajorOutage, S::Operational], "major", "Partial System Outage"),
            (&[S::MajorOutage, S::MajorOutage], "critical", "Major System Outage"),
            (&[S::PartialOutage, S::PartialOutage], "major", "Partial System Outage"),
            (&[S::PartialOutage, S::Operational], "minor", "Minor Service Outage"),
            (&[S::DegradedPerformance, S::DegradedPerformance], "minor", "Degraded System Service"),
            (&[S::DegradedPerformance, S::Operational], "minor", "Partially Degraded Service"),
            (&[S::UnderMaintenance, S::Operational], "maintenance", "Service Under Maintenance"),
        ];
        for (leaves, indicator, phrase) in table {
            let (got, words) = rollup(leaves);
            assert_eq!((got.word(), words), (*indicator, *phrase), "{leaves:?}");
        }
    }

    #[test]
    fn the_worst_of_several_incidents_wins_and_a_person_keeps_what_they_set() {
        let pressures = [S::DegradedPerformance, S::MajorOutage];
        assert_eq!(derive(S::Operational, Owner::Automation, &pressures), Derived::Set(S::MajorOutage));
        assert_eq!(derive(S::MajorOutage, Owner::Automation, &pressures[..1]), Derived::Set(S::DegradedPerformance));
        assert_eq!(derive(S::MajorOutage, Owner::Automation, &[]), Derived::Set(S::Operational));
        assert_eq!(derive(S::PartialOutage, Owner::Person, &pressures), Derived::Proposed(S::MajorOutage));
        assert_eq!(derive(S::MajorOutage, Owner::Person, &pressures), Derived::Unchanged);
    }

    proptest! {
        #[test]
        fn a_derived_status_does_not_depend_on_the_order_of_incidents(mut picks in proptest::collection::vec(0_usize..5, 0..8)) {
            let statuses = |picks: &[usize]| picks.iter().map(|i| S::ALL[*i]).collect::<Vec<_>>();
            let forward = derive(S::Operational, Owner::Automation, &statuses(&picks));
            picks.reverse();
            prop_assert_eq!(forward, derive(S::Operational, Owner::Automation, &statuses(&picks)));
        }
    }
}
