//! Why a use case did nothing.

use allclear_domain::incident::Refused;
use allclear_store::StoreError;

use crate::Permission;
use crate::guard::Refusal;

/// Why a use case did nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The actor may not.
    #[error("the scope {} is needed", .0.scope())]
    Forbidden(Permission),
    /// There is no such thing, or the actor may not know of it.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
        /// By which name.
        id: String,
    },
    /// No integration has this key; it is a credential, and not named.
    #[error("no integration has this key")]
    UnknownKey,
    /// An integration sent more events than it may; nothing of this one was kept.
    #[error("this integration sends more events a minute than it may")]
    TooMany,
    /// The state of the incident does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A load of files would remove more than it may without being told to.
    #[error("{0}")]
    WouldRemove(Refusal),
    /// What was asked for makes no sense; the text says why and what to do.
    #[error("{0}")]
    Invalid(String),
    /// The store.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for OpsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, id } => Self::NotFound { what, id },
            other => Self::Store(other),
        }
    }
}
