//! What a closure may change: aggregates, locked in one order so that no two closures wait for each other.

use allclear_domain::{ComponentId, IncidentId, PageId, PersonId, ServiceId, TestId};

/// An aggregate. The order of the variants is the order in which locks are taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    /// The configuration.
    Catalog,
    /// A test with its standings and alerts.
    Test(TestId),
    /// A service: which incident is open on it.
    Service(ServiceId),
    /// An incident with its log, timers and deliveries.
    Incident(IncidentId),
    /// A component with the pressures on it.
    Component(ComponentId),
    /// A published page.
    Page(PageId),
    /// How a person is reached: messages that are about no incident.
    Person(PersonId),
}

impl Lock {
    /// The key of its row in the lock table.
    #[must_use]
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Catalog => "0".to_owned(),
            Self::Test(id) => format!("1:{id}"),
            Self::Service(id) => format!("2:{id}"),
            Self::Incident(id) => format!("3:{id}"),
            Self::Component(id) => format!("4:{id}"),
            Self::Page(id) => format!("5:{id}"),
            Self::Person(id) => format!("6:{id}"),
        }
    }
}
