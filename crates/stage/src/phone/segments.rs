//! Into how many parts a text is cut.

use crate::facts::{self, TWILIO};

/// The characters of GSM 03.38 that take one septet.
const GSM7: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                    ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// Those that take two.
const GSM7_EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// How many segments a text takes.
pub(super) fn count(body: &str) -> usize {
    let septets = |c: char| match c {
        c if GSM7.contains(c) => Some(1),
        c if GSM7_EXTENDED.contains(c) => Some(2),
        _ => None,
    };
    let all: Option<usize> = body.chars().map(septets).sum();
    let (units, form) = match all {
        Some(septets) => (septets, &TWILIO["lengths"]["segment_gsm7"]),
        None => (body.encode_utf16().count(), &TWILIO["lengths"]["segment_ucs2"]),
    };
    if units <= facts::count(&form["one"]) {
        1
    } else {
        units.div_ceil(facts::count(&form["each"]).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_curly_quote_makes_a_text_more_than_twice_as_long() {
        assert_eq!(count(&"a".repeat(160)), 1);
        assert_eq!(count(&"a".repeat(161)), 2);
        assert_eq!(count(&"a".repeat(306)), 2);
        assert_eq!(count(&"€".repeat(81)), 2);
        assert_eq!(count(&format!("{}’", "a".repeat(69))), 1);
        assert_eq!(count(&format!("{}’", "a".repeat(70))), 2);
        assert_eq!(count("…"), 1);
    }
}
