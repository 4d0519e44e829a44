//! What every HTTP route says of itself, whichever room answers it: a test walks them all.

use crate::Permission;

/// Where a request comes from, as far as whoever took it could tell; it is among the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub std::net::IpAddr);

/// A route with what it needs.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: everybody may.
    Public,
    /// A provider's signature, checked by the handler on the raw bytes.
    Signed,
    /// An integration key in the body, checked by the handler.
    Key,
    /// A credential in the address, checked by the handler: whoever got the mail.
    Link,
    /// A token with this permission.
    Needs(Permission),
}
