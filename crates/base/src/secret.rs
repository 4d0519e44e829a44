//! Values that must never be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A value that prints as `***`. Only [`Secret::expose`] gives it away.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is empty, or has nothing but blanks. Nothing is signed or signed in with such a
    /// value: everybody knows it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

type Named = BTreeMap<String, Secret>;

/// Secrets by name: those that this process was given, and those that are stored. What was given comes first.
/// A blank value is no secret: its name is missing here, as if nobody had set it.
#[derive(Debug, Default)]
pub struct Secrets {
    given: Named,
    stored: RwLock<Arc<Named>>,
}

impl Secrets {
    /// The secrets with these names.
    pub fn new(named: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self { given: without_blanks(named), stored: RwLock::default() }
    }

    /// Puts these in place of all that were stored.
    pub fn replace_stored(&self, named: impl IntoIterator<Item = (String, Secret)>) {
        *self.stored.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(without_blanks(named));
    }

    fn stored(&self) -> Arc<Named> {
        Arc::clone(&self.stored.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A secret by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Secret> {
        self.given.get(name).cloned().or_else(|| self.stored().get(name).cloned())
    }

    /// Every value, for masking.
    #[must_use]
    pub fn values(&self) -> Vec<Secret> {
        self.given.values().chain(self.stored().values()).cloned().collect()
    }

    /// The value that a setting stands for: `{{secret.NAME}}` names one, anything else is itself.
    ///
    /// # Errors
    /// The name of a secret that is not set or is empty.
    pub fn resolve(&self, setting: &str) -> Result<Secret, String> {
        let name = setting.trim().strip_prefix("{{").and_then(|s| s.strip_suffix("}}")).and_then(|s| s.trim().strip_prefix("secret."));
        match name {
            Some(name) => self.get(name).ok_or_else(|| name.to_owned()),
            None => Ok(Secret::new(setting)),
        }
    }
}

fn without_blanks(named: impl IntoIterator<Item = (String, Secret)>) -> Named {
    named.into_iter().filter(|(_, value)| !value.is_blank()).collect()
}

/// A secret shorter than this is not searched for in texts: masking "1" would destroy every number.
const SHORTEST_MASKED: usize = 4;

/// Replaces every occurrence of each secret in `text` by `***`, also in percent-encoded and base64 form where
/// `also` lists those encodings' results.
#[must_use]
pub fn mask(text: &str, secrets: &[Secret]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets {
        if secret.0.len() >= SHORTEST_MASKED && masked.contains(&secret.0) {
            masked = masked.replace(&secret.0, "***");
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_prints_as_three_stars() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_wherever_it_stood(secret in "[a-zA-Z0-9+/=%-]{4,20}", parts in prop::collection::vec("\\PC{0,10}", 1..5)) {
            let masked = mask(&parts.join(&secret), &[Secret::new(secret.clone())]);
            prop_assert!(!masked.contains(&secret));
        }

        #[test]
        fn no_setting_makes_the_reader_panic(setting in "\\PC{0,30}|\\{\\{ ?(secret\\.)?[A-Z]{0,5} ?\\}{0,2}") {
            let _resolved = Secrets::default().resolve(&setting);
        }
    }

    #[test]
    fn what_was_given_comes_before_what_is_stored() {
        let secrets = Secrets::new([("A".to_owned(), Secret::new("given"))]);
        secrets.replace_stored([("A".to_owned(), Secret::new("stored")), ("B".to_owned(), Secret::new("kept"))]);
        assert_eq!(secrets.get("A"), Some(Secret::new("given")));
        assert_eq!(secrets.get("B"), Some(Secret::new("kept")));
        secrets.replace_stored([]);
        assert_eq!(secrets.get("B"), None);
    }

    #[test]
    fn a_secret_of_blanks_is_missing() {
        for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}"] {
            let secrets = Secrets::new([("A".to_owned(), Secret::new(blank))]);
            secrets.replace_stored([("B".to_owned(), Secret::new(blank))]);
            for name in ["A", "B"] {
                assert_eq!(secrets.get(name), None, "{name} is {blank:?}");
                assert_eq!(secrets.resolve(&format!("{{{{secret.{name}}}}}")), Err(name.to_owned()));
            }
            assert!(secrets.values().is_empty());
            secrets.replace_stored([("A".to_owned(), Secret::new("stored"))]);
            assert_eq!(secrets.get("A"), Some(Secret::new("stored")), "what is blank hides nothing");
        }
        let spaced = Secrets::new([("A".to_owned(), Secret::new(" a b "))]);
        assert_eq!(spaced.get("A"), Some(Secret::new(" a b ")), "a value is kept as it is");
    }

    #[test]
    fn masking_leaves_no_occurrence() {
        let secrets = [Secret::new("hunter22"), Secret::new("1")];
        assert_eq!(mask("a hunter22 b hunter22 1", &secrets), "a *** b *** 1");
    }
}
