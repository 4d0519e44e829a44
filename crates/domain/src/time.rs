//! Instants and spans: microseconds since 1970 in UTC, and lengths of time as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant plus a span; saturates at the ends of time.
    #[must_use]
    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.as_micros()))
    }

    /// This instant less a span; saturates at the ends of time.
    #[must_use]
    pub fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.as_micros()))
    }

    /// The span from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same instant for calendar arithmetic; clamped to the calendar's range.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX })
    }

    /// RFC 3339 in UTC with seconds, as PagerDuty writes it: `2026-05-01T12:30:45Z`.
    #[must_use]
    pub fn to_rfc3339_seconds(self) -> String {
        self.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// RFC 3339 in UTC with milliseconds, as StatusPage writes it: `2026-05-01T12:30:45.123Z`.
    #[must_use]
    pub fn to_rfc3339_millis(self) -> String {
        self.to_jiff().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}

/// A text that is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an instant; write it with its offset: 2026-01-05T09:00:00Z or 2026-01-05T10:00:00+01:00")]
pub struct NotAnInstant(String);

impl FromStr for Timestamp {
    type Err = NotAnInstant;

    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        let instant = text.trim().parse::<jiff::Timestamp>().map_err(|_| NotAnInstant(text.chars().take(40).collect()))?;
        Ok(Self(instant.as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339_millis())
    }
}

/// A length of time, never negative. Written as `5m`, `1h30m`, `500ms`, `2d`, `1w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span(i64);

const UNITS: &[(&str, i64)] = &[
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The longest span that can be written: a hundred years, beyond which a schedule is surely a slip of the pen.
const LONGEST_SPAN_US: i64 = 100 * 366 * 86_400_000_000;

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of microseconds; negative counts as zero.
    #[must_use]
    pub const fn from_micros(us: i64) -> Self {
        Self(if us < 0 { 0 } else { us })
    }

    /// A span of milliseconds.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self::from_micros(ms.saturating_mul(1_000))
    }

    /// A span of seconds.
    #[must_use]
    pub const fn from_secs(s: i64) -> Self {
        Self::from_micros(s.saturating_mul(1_000_000))
    }

    /// A span of minutes.
    #[must_use]
    pub const fn from_mins(m: i64) -> Self {
        Self::from_secs(m.saturating_mul(60))
    }

    /// The span in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The span in whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0 / 1_000
    }

    /// The span in whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0 / 1_000_000
    }

    /// This span `n` times.
    #[must_use]
    pub const fn times(self, n: i64) -> Self {
        Self::from_micros(self.0.saturating_mul(n))
    }

    /// The standard library's form.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.unsigned_abs())
    }
}

/// A text that is not a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time; write a number with a unit, such as 30s, 5m, 1h30m or 2d")]
pub struct NotASpan(String);

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let fail = || NotASpan(text.chars().take(40).collect());
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let mut rest = text;
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: i64 = rest[..digits].parse().map_err(|_| fail())?;
            let after = &rest[digits..];
            let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = UNITS.iter().find(|(name, _)| *name == &after[..letters]).ok_or_else(fail)?;
            total = number.checked_mul(unit.1).and_then(|us| total.checked_add(us)).ok_or_else(fail)?;
            rest = &after[letters..];
        }
        if text.is_empty() || total > LONGEST_SPAN_US {
            return Err(fail());
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, us) in &UNITS[1..] {
            if left >= *us {
                write!(f, "{}{unit}", left / us)?;
                left %= us;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_read_as_people_write_them() {
        for (text, us) in
            [("5m", 300_000_000), ("1h30m", 5_400_000_000), ("500ms", 500_000), ("2d", 172_800_000_000), ("0", 0), ("1w", 604_800_000_000)]
        {
            assert_eq!(text.parse::<Span>().map(Span::as_micros), Ok(us), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "1.5h", "99999999999w", "５m", "5mm"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for text in ["5m", "1h30m", "500ms", "2d", "7d", "1h1ms"] {
            assert_eq!(text.parse::<Span>().expect("a span").to_string(), text);
        }
    }

    #[test]
    fn an_instant_is_read_with_its_offset_and_not_without() {
        for text in ["2026-05-01T12:30:45.123456Z", "2026-05-01T14:30:45.123456+02:00"] {
            assert_eq!(text.parse(), Ok(Timestamp(1_777_638_645_123_456)), "{text}");
        }
        for text in ["", "2026-05-01", "2026-05-01T12:30:45", "tomorrow"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,40}|[0-9]{1,30}(us|ms|[smhdwTZ:.+-]){0,6}") {
            let (_span, _instant) = (text.parse::<Span>(), text.parse::<Timestamp>());
        }

        #[test]
        fn what_is_written_is_read_back(us in 0..LONGEST_SPAN_US, at in 0_i64..4_000_000_000_000) {
            prop_assert_eq!(Span::from_micros(us).to_string().parse(), Ok(Span::from_micros(us)));
            let at = Timestamp(at * 1_000);
            prop_assert_eq!(at.to_rfc3339_millis().parse(), Ok(at));
        }
    }

    #[test]
    fn instants_are_written_in_each_dialects_form() {
        let at = Timestamp(1_777_638_645_123_456);
        assert_eq!(at.to_rfc3339_seconds(), "2026-05-01T12:30:45Z");
        assert_eq!(at.to_rfc3339_millis(), "2026-05-01T12:30:45.123Z");
    }
}
