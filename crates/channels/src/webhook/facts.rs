//! Facts of Standard Webhooks. Source: standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.

/// The headers of a message, in the order of their values.
pub(super) const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// What may stand before a secret.
pub(super) const SECRET_PREFIX: &str = "whsec_";

/// The bytes of a secret.
pub(super) const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The endpoint is gone for good.
pub(super) const GONE: u16 = 410;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::{extract, words};

    #[test]
    fn the_facts_of_standard_webhooks_are_those_of_its_specification() {
        let standard = extract("standard-webhooks");
        assert_eq!(words(&standard["headers"]), HEADERS);
        assert_eq!(standard["secret"]["prefix"], SECRET_PREFIX);
        assert_eq!(standard["secret"]["least_bytes"], *SECRET_BYTES.start() as u64);
        assert_eq!(standard["secret"]["most_bytes"], *SECRET_BYTES.end() as u64);
        assert_eq!(standard["answers"]["gone"], GONE);
    }
}
