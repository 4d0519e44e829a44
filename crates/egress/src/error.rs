//! What can go wrong on the way out, by whose fault it is.

use std::net::IpAddr;

/// A phase of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the name.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Waiting for the response's head.
    Wait,
    /// Reading the body.
    Transfer,
}

impl Phase {
    const fn words(self) -> &'static str {
        match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Wait => "waiting for the response",
            Self::Transfer => "reading the body",
        }
    }
}

/// Why an exchange did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is not one that can be called.
    #[error("{0}")]
    BadUrl(String),
    /// The guard does not allow the address.
    #[error("{host} is the internal address {addr}, which is not allowed here")]
    Blocked {
        /// The name that was asked for.
        host: String,
        /// The address that it has.
        addr: IpAddr,
    },
    /// The name has no address.
    #[error("the name {host} cannot be resolved: {why}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// Nothing listens there, or nobody answers.
    #[error("cannot connect to {to}: {why}")]
    Connect {
        /// The address.
        to: String,
        /// What the system said.
        why: String,
        /// Whether the target itself refused: it can be reached.
        refused: bool,
    },
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The deadline passed.
    #[error("timed out after {after_ms} ms while {}", .phase.words())]
    Timeout {
        /// Meanwhile.
        phase: Phase,
        /// The time allowed.
        after_ms: u64,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no proper answer: {why}")]
    BadAnswer {
        /// What came instead.
        why: String,
        /// Whether the request may have reached the target.
        sent: bool,
    },
    /// The body is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Redirects that do not end.
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    /// The fault is on this machine: no file descriptors, no memory.
    #[error("a local fault: {0}")]
    Local(String),
}

impl Error {
    /// Whether the fault is positively ours.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Whether the request may have reached the target, so that it may have had its effect.
    #[must_use]
    pub const fn may_have_been_sent(&self) -> bool {
        match self {
            Self::BadUrl(_) | Self::Blocked { .. } | Self::Dns { .. } | Self::Connect { .. } | Self::Tls(_) | Self::Local(_) => false,
            Self::Timeout { phase, .. } => matches!(phase, Phase::Wait | Phase::Transfer),
            Self::BadAnswer { sent, .. } => *sent,
            Self::TooLarge { .. } | Self::TooManyRedirects(_) => true,
        }
    }

    /// Whether nothing at all was heard of the target, so that it is a question whether anything can be heard from here.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        match self {
            Self::Dns { .. } | Self::Timeout { phase: Phase::Resolve | Phase::Connect | Phase::Tls, .. } => true,
            Self::Connect { refused, .. } => !*refused,
            Self::BadUrl(_)
            | Self::Blocked { .. }
            | Self::Tls(_)
            | Self::Timeout { phase: Phase::Wait | Phase::Transfer, .. }
            | Self::BadAnswer { .. }
            | Self::TooLarge { .. }
            | Self::TooManyRedirects(_)
            | Self::Local(_) => false,
        }
    }
}
