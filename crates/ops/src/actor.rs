//! Who asks, and what they may do.

use allclear_domain::PersonId;
use allclear_domain::delivery::Role;
use allclear_domain::incident::{Agent, Via};

use crate::OpsError;

/// Something that not everybody may do. Tokens name these as scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Read incidents, runs and timelines.
    IncidentsRead,
    /// Acknowledge and resolve incidents.
    IncidentsWrite,
    /// Read the configuration.
    ConfigRead,
    /// Change the configuration.
    ConfigWrite,
    /// Make and revoke tokens.
    TokensWrite,
    /// Read what operators watch.
    MetricsRead,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 6] =
        [Self::IncidentsRead, Self::IncidentsWrite, Self::ConfigRead, Self::ConfigWrite, Self::TokensWrite, Self::MetricsRead];

    /// The scope that grants it.
    #[must_use]
    pub const fn scope(self) -> &'static str {
        match self {
            Self::IncidentsRead => "incidents:read",
            Self::IncidentsWrite => "incidents:write",
            Self::ConfigRead => "config:read",
            Self::ConfigWrite => "config:write",
            Self::TokensWrite => "tokens:write",
            Self::MetricsRead => "metrics:read",
        }
    }

    /// The permission with this scope.
    #[must_use]
    pub fn from_scope(scope: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.scope() == scope)
    }
}

/// Somebody or something that asks. Every use case wants one, so that asking for permission cannot be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    agent: Agent,
    name: String,
    permissions: Vec<Permission>,
}

impl Actor {
    /// A token, acting for a person or for nobody.
    #[must_use]
    pub fn token(name: &str, person: Option<PersonId>, permissions: Vec<Permission>) -> Self {
        let agent = match person {
            Some(person) => Agent::Person { person, via: Via::Api },
            None => Agent::Token { name: name.to_owned() },
        };
        Self { agent, name: format!("token {name}"), permissions }
    }

    /// A person who answered a message; they may act on the incidents that they were told of.
    #[must_use]
    pub fn responder(person: PersonId, via: Via) -> Self {
        let name = format!("person {person} {}", via.words());
        Self { agent: Agent::Person { person, via }, name, permissions: vec![Permission::IncidentsRead, Permission::IncidentsWrite] }
    }

    /// Somebody in the app, by their role.
    #[must_use]
    pub fn signed_in(person: PersonId, role: Role) -> Self {
        use Permission::{ConfigRead, ConfigWrite, IncidentsRead, IncidentsWrite, MetricsRead, TokensWrite};
        let permissions = match role {
            Role::Observer => vec![IncidentsRead, ConfigRead],
            Role::Responder => vec![IncidentsRead, ConfigRead, IncidentsWrite],
            Role::Admin => vec![IncidentsRead, ConfigRead, IncidentsWrite, ConfigWrite, MetricsRead],
            Role::Owner => vec![IncidentsRead, ConfigRead, IncidentsWrite, ConfigWrite, MetricsRead, TokensWrite],
        };
        let name = format!("person {person} {}", Via::App.words());
        Self { agent: Agent::Person { person, via: Via::App }, name, permissions }
    }

    /// Whoever can read the data folder: the command line on this machine.
    #[must_use]
    pub fn local() -> Self {
        Self { agent: Agent::Token { name: "command line".into() }, name: "command line".into(), permissions: Permission::ALL.to_vec() }
    }

    /// The files that AllClear was started with.
    #[must_use]
    pub fn files() -> Self {
        Self { agent: Agent::Configuration, name: "files".into(), permissions: vec![Permission::ConfigRead, Permission::ConfigWrite] }
    }

    /// The same actor as a person, where a request names one.
    #[must_use]
    pub fn on_behalf_of(mut self, person: PersonId, via: Via) -> Self {
        self.agent = Agent::Person { person, via };
        self
    }

    /// Who it is, for a timeline.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Who it is, for the history of a document.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Refuses where it may not.
    ///
    /// # Errors
    /// [`OpsError::Forbidden`].
    pub fn require(&self, permission: Permission) -> Result<(), OpsError> {
        if self.may(permission) { Ok(()) } else { Err(OpsError::Forbidden(permission)) }
    }
}
