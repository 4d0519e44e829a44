//! Identifiers, born in the shape of the dialect that shows them (see `docs/adr/0002-ids.md`).

use crate::Rng;

const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Digits to the base of 36, in the order in which databases compare bytes.
const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn draw(rng: &dyn Rng, alphabet: &[u8], len: usize) -> String {
    let bound = alphabet.len() as u64;
    (0..len).map(|_| char::from(alphabet[usize::try_from(rng.below(bound)).unwrap_or(0)])).collect()
}

/// StatusPage's shape: 12 lower-case alphanumerics.
pub fn statuspage(rng: &dyn Rng) -> String {
    draw(rng, LOWER, 12)
}

/// PagerDuty's shape for configuration: `P` and six of `A-Z0-9`.
pub fn pagerduty(rng: &dyn Rng) -> String {
    format!("P{}", draw(rng, UPPER, 6))
}

/// PagerDuty's shape for what happens (incidents, log entries): `Q` and thirteen of `A-Z0-9`. The first seven tell the time in
/// steps of 128 us, modulo 116 days: what comes later stands at the end of every index, so that a flood appends to a database and
/// does not rewrite it. The other six are drawn: 2.2 thousand million for each step.
pub fn pagerduty_record(rng: &dyn Rng, now_us: i64) -> String {
    const TIME: u32 = 7;
    let steps = now_us.div_euclid(128).rem_euclid(36_i64.pow(TIME));
    let digit = |place: u32| {
        let digit = steps / 36_i64.pow(place) % 36;
        char::from(DIGITS[usize::try_from(digit).unwrap_or(0)])
    };
    let time: String = (0..TIME).rev().map(digit).collect();
    format!("Q{time}{}", draw(rng, UPPER, 6))
}

/// A secret of 32 alphanumerics (186 bits), as integration keys and API tokens have it.
pub fn token(rng: &dyn Rng) -> String {
    draw(rng, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 32)
}

/// A random UUID (version 4), Runscope's shape.
pub fn uuid4(rng: &dyn Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    format_uuid(bytes, 4)
}

/// A UUID of version 7: its first 48 bits are `now_us` in milliseconds, the next twelve the fraction of its millisecond (RFC 9562,
/// section 6.2, method 3), so that it sorts by and carries its time.
pub fn uuid7(rng: &dyn Rng, now_us: i64) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    let now_us = u64::try_from(now_us).unwrap_or(0);
    let (millis, fraction) = (now_us / 1_000, now_us % 1_000 * 4_096 / 1_000);
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6..8].copy_from_slice(&fraction.to_be_bytes()[6..]);
    format_uuid(bytes, 7)
}

fn format_uuid(mut b: [u8; 16], version: u8) -> String {
    b[6] = (b[6] & 0x0f) | (version << 4);
    b[8] = (b[8] & 0x3f) | 0x80;
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (at, byte) in b.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRng;

    #[test]
    fn ids_have_the_shape_of_their_dialect() {
        let rng = SeededRng::new(7);
        assert_eq!(statuspage(&rng).len(), 12);
        let service = pagerduty(&rng);
        assert!(service.starts_with('P') && service.len() == 7, "{service}");
        let incident = pagerduty_record(&rng, 1_700_000_000_000_000);
        assert!(incident.starts_with('Q') && incident.len() == 14, "{incident}");
    }

    #[test]
    fn ids_of_what_happens_together_lie_together() {
        let rng = SeededRng::new(7);
        let at = |after_us: i64| pagerduty_record(&rng, 1_700_000_000_000_000 + after_us);
        let (now, same, later, much_later) = (at(0), at(0), at(128), at(600_000_000));
        assert_ne!(now, same);
        assert_eq!(now[..8], same[..8]);
        assert!(now < later && later < much_later);
    }

    #[test]
    fn a_version_7_uuid_sorts_by_time_and_carries_it() {
        let rng = SeededRng::new(7);
        let early = uuid7(&rng, 1_700_000_000_000_000);
        let late = uuid7(&rng, 1_700_000_000_000_001);
        assert!(early < late);
        assert_eq!(&early[14..15], "7");
        let millis = i64::from_str_radix(&early.replace('-', "")[..12], 16).expect("hexadecimal");
        assert_eq!(millis, 1_700_000_000_000);
    }
}
