//! What a message says, before a provider's form is chosen for it.

use serde::{Deserialize, Serialize};

use super::Purpose;
use crate::IncidentId;
use crate::incident::{IncidentEvent, Urgency};
use crate::status::ComponentStatus;

/// What an incident looks like in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The incident.
    pub incident: IncidentId,
    /// Its number.
    pub number: i64,
    /// What tells its alert from others: the same for all failures of a test in an environment.
    pub key: String,
    /// What is wrong, in one line.
    pub title: String,
    /// The failing assertion, or what else opened it; empty where that says no more than the title.
    pub detail: String,
    /// The service's name.
    pub service: String,
    /// How loud it is.
    pub urgency: Urgency,
    /// How it stands: `triggered`, `acknowledged`, `resolved`.
    pub status: String,
    /// Who has it, or why it ended, in words.
    pub remark: String,
    /// What changed, for a message that tells of a change.
    #[serde(default)]
    pub news: Option<News>,
    /// The host or system that the alert is about, where a monitoring tool named one.
    #[serde(default)]
    pub source: Option<String>,
    /// Links that the monitoring tool sent along; at most [`Brief::MOST_LINKS`].
    #[serde(default)]
    pub links: Vec<EventLink>,
    /// Names and values that the monitoring tool sent along; at most [`Brief::MOST_FIELDS`].
    #[serde(default)]
    pub fields: Vec<(String, String)>,
}

impl Brief {
    /// More links than these do not fit into a message that is read at a glance.
    pub const MOST_LINKS: usize = 5;

    /// More fields than these do not fit into a message that is read at a glance.
    pub const MOST_FIELDS: usize = 20;
}

/// A change of an incident: its name for programs, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The kind of change.
    pub event: IncidentEvent,
    /// What happened, in words.
    pub words: String,
}

/// A link that a monitoring tool sent with its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLink {
    /// An absolute `http` or `https` address.
    pub href: String,
    /// What to call it.
    pub text: String,
}

/// A message, ready to be put into a provider's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is for.
    pub purpose: Purpose,
    /// What it tells of; none where a component was set by hand.
    pub incidents: Vec<Brief>,
    /// How many more it tells of than stand in `incidents`.
    pub more: usize,
    /// The component's id on the other page and its status here, for a mirror.
    pub mirror: Option<(String, ComponentStatus)>,
    /// What it says, where it is not about an incident.
    #[serde(default)]
    pub words: Option<String>,
    /// Whether an earlier attempt may have arrived.
    pub possible_repeat: bool,
}
