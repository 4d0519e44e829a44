//! How many segments a text message has, as carriers count and Twilio bills them.
//!
//! A message whose characters all stand in the GSM-7 alphabet (3GPP TS 23.038) is counted in its
//! septets; the characters of the extension table count twice. Any other is counted in UTF-16 units.

use super::facts::{GSM7_SEGMENT, UCS2_SEGMENT};

/// The GSM-7 alphabet, letters and digits aside.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";

/// Its extension table.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// The segments of a text. No character is split over two of them (3GPP TS 23.040).
pub(super) fn segments(text: &str) -> usize {
    let septets: Option<Vec<usize>> = text.chars().map(septets).collect();
    let (units, (one, each)) = match septets {
        Some(septets) => (septets, GSM7_SEGMENT),
        None => (text.chars().map(char::len_utf16).collect(), UCS2_SEGMENT),
    };
    if units.iter().sum::<usize>() <= one {
        return 1;
    }
    let (mut count, mut used) = (1, 0);
    for length in units {
        if used + length > each {
            (count, used) = (count + 1, 0);
        }
        used += length;
    }
    count
}

/// The septets of a character that stands in the alphabet.
fn septets(c: char) -> Option<usize> {
    match c {
        c if c.is_ascii_alphanumeric() || BASIC.contains(c) => Some(1),
        c if EXTENSION.contains(c) => Some(2),
        _ => None,
    }
}

/// What comes close in the alphabet for signs that do not stand in it, so that a quote or a dash does
/// not make a message cost more than twice as much.
pub(super) fn plain_signs(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '…' => plain.push_str("..."),
            '‘' | '’' | '‚' | '‛' | '`' | '´' => plain.push('\''),
            '“' | '”' | '„' | '«' | '»' => plain.push('"'),
            '–' | '—' | '‐' | '‑' | '−' => plain.push('-'),
            '→' => plain.push_str("->"),
            '·' | '•' => plain.push('*'),
            '\u{a0}' | '\u{2009}' | '\u{202f}' | '\t' => plain.push(' '),
            '\u{200b}' | '\u{feff}' => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_as_carriers_count_them() {
        for (text, count) in [
            (String::new(), 1),
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            ("é".repeat(160), 1),
            ("ё".repeat(70), 1),
            ("ё".repeat(71), 2),
            ("ё".repeat(135), 3),
            (format!("{}…", "a".repeat(70)), 2),
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
            ("😀".repeat(99), 3),
            ("😀".repeat(100), 4),
            ("€".repeat(228), 3),
            ("€".repeat(229), 4),
            (format!("{}`", "a".repeat(80)), 2),
        ] {
            assert_eq!(segments(&text), count, "{text}");
        }
    }

    #[test]
    fn a_quote_and_an_ellipsis_do_not_change_the_alphabet() {
        let text = plain_signs("“It’s down” – see `x`…\u{a0}→");
        assert_eq!(text, "\"It's down\" - see 'x'... ->");
        assert!(text.chars().all(|c| septets(c).is_some()));
    }
}
