//! What can go wrong with the database, by what the caller can do.

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting; try again after the pause.
    #[error("the database is busy; try again in {retry_after_s} s")]
    Busy {
        /// When to try again.
        retry_after_s: u32,
    },
    /// The database does not answer or has no room. Nothing was changed.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The commit's fate is not known, and could not be found out.
    #[error("whether the change was kept is not known: {0}")]
    OutcomeUnknown(String),
    /// The closure could not be run within its deadline; it was not run.
    #[error("the change waited too long and was not made")]
    TooLate,
    /// A unique value is taken.
    #[error("{0} is taken")]
    Taken(Conflict),
    /// A row was changed or is gone since it was read.
    #[error("{0} was changed at the same time")]
    Changed(&'static str),
    /// A row that must be there is not.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Under which id.
        id: String,
    },
    /// A closure decided on something without its lock, or took locks out of order: a fault of ours.
    #[error("lock order: {0}")]
    Lock(String),
    /// A stored value that cannot be read, or a statement that the database refuses: a fault of ours.
    #[error("{context}")]
    Fault {
        /// What was being done.
        context: String,
        /// What the database or the decoder said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The database was made by a newer AllClear.
    #[error("the database is at version {found}, this program knows {known}; use the newer program")]
    Newer {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// Another process uses the database.
    #[error("another AllClear is running on {0}; stop it first, or give this one its own --data folder")]
    InUse(String),
    /// The server of the database cannot be reached now.
    #[error("{0}")]
    Away(String),
    /// It cannot be opened.
    #[error("cannot open the database: {0}")]
    Open(String),
}

impl StoreError {
    pub(crate) fn fault(context: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Fault { context: context.into(), source: Some(Box::new(source)) }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unavailable(_) | Self::Away(_) | Self::TooLate | Self::OutcomeUnknown(_))
    }

    /// Whether nothing was done because too much waits.
    #[must_use]
    pub const fn is_overload(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::TooLate)
    }

    /// The error with everything that caused it, for a log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// A unique constraint, by table and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The table.
    pub table: String,
    /// Its columns, comma-separated.
    pub columns: String,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.table, self.columns)
    }
}
