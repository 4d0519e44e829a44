//! Ids that a re-run draws again: the seed is drawn outside the transaction and captured.

use allclear_base::{Rng, SeededRng, id};
use sha2::{Digest, Sha256};

/// A seed from which a closure draws the same ids however often it runs.
#[derive(Debug, Clone, Copy)]
pub struct Draw(u64);

impl Draw {
    /// Draws a seed.
    #[must_use]
    pub fn new(rng: &dyn Rng) -> Self {
        Self(rng.next_u64())
    }

    /// The ids, from the first.
    #[must_use]
    pub(crate) fn ids(self) -> Ids {
        Ids(SeededRng::new(self.0))
    }
}

/// A sequence of ids.
pub(crate) struct Ids(SeededRng);

impl Ids {
    pub(crate) fn statuspage(&self) -> String {
        id::statuspage(&self.0)
    }

    pub(crate) fn pagerduty(&self) -> String {
        id::pagerduty(&self.0)
    }

    pub(crate) fn pagerduty_record(&self, now: allclear_domain::Timestamp) -> String {
        id::pagerduty_record(&self.0, now.0)
    }

    pub(crate) fn uuid4(&self) -> String {
        id::uuid4(&self.0)
    }

    pub(crate) fn uuid7(&self, now: allclear_domain::Timestamp) -> String {
        id::uuid7(&self.0, now.0)
    }
}

/// What new credentials are made from: keys of integrations, links in mails. It is drawn outside the transaction, so that a
/// re-run makes the same ones, and apart from what ids are drawn from, which everybody sees.
#[derive(Clone)]
pub(crate) struct SecretSeed([u8; 32]);

impl SecretSeed {
    pub(crate) fn new(rng: &dyn Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        Self(seed)
    }

    /// A credential in the form of a UUID.
    pub(crate) fn uuid(&self, parts: &[&str]) -> String {
        let keyed = Sha256::new().chain_update(self.0);
        let digest = parts.iter().fold(keyed, |digest, part| digest.chain_update(part).chain_update([0])).finalize();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        // The bits that say "version 4, variant 1"; the other 122 are drawn.
        let variant = ["8", "9", "a", "b"][usize::from(digest[8] % 4)];
        format!("{}-{}-4{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }

    /// A credential of 160 bits for what these parts name.
    pub(crate) fn derive(&self, parts: &[&str]) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let keyed = Sha256::new().chain_update(self.0);
        let digest = parts.iter().fold(keyed, |digest, part| digest.chain_update(part).chain_update([0])).finalize();
        digest.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
    }
}

/// What is kept of a credential.
pub(crate) fn hash(value: &str) -> String {
    Sha256::digest(value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
