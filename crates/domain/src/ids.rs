//! Identifiers as types, so that a service's id is never taken for an incident's.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }
    )*};
}

id! {
    /// A test; a UUID, as Runscope has it.
    TestId,
    /// One run of a test; a UUID of version 7.
    RunId,
    /// A service, in PagerDuty's shape.
    ServiceId,
    /// An escalation policy, in PagerDuty's shape.
    PolicyId,
    /// An on-call schedule, in PagerDuty's shape.
    ScheduleId,
    /// A person, in PagerDuty's shape for users.
    PersonId,
    /// A channel: one account at a provider through which messages leave.
    ChannelId,
    /// A status page, in StatusPage's shape.
    PageId,
    /// A component of a status page, in StatusPage's shape.
    ComponentId,
    /// A rule that ties a service to a component.
    RuleId,
    /// An incident that engineers work on, in PagerDuty's shape for records.
    IncidentId,
    /// An alert: one test in one environment that fails.
    AlertId,
    /// One message on its way to one recipient by one method.
    DeliveryId,
    /// An integration: what a monitoring tool sends its events by.
    IntegrationId,
    /// A heartbeat: something outside that says regularly that it lives.
    HeartbeatId,
    /// Where tests run from.
    LocationName,
}
