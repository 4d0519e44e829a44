//! Secrets from the environment: `ALLCLEAR_SECRET_NAME` is `{{secret.NAME}}`.

use allclear_base::{Secret, Secrets};

const PREFIX: &str = "ALLCLEAR_SECRET_";

/// The secrets that this process was given.
#[expect(clippy::disallowed_methods, reason = "the environment is read in the binary")]
pub(crate) fn from_environment() -> Secrets {
    let named = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str()?.strip_prefix(PREFIX)?.to_owned();
        Some((name, Secret::new(value.into_string().ok()?)))
    });
    Secrets::new(named)
}
