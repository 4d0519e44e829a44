//! Cutting and escaping texts so that they keep within a provider's bounds.

/// The longest beginning of a text that is at most `longest` characters long after `escape`, with an
/// ellipsis of three points where something was cut off.
pub(crate) fn cut_escaped(text: &str, longest: usize, escape: fn(char) -> Option<&'static str>) -> String {
    let length = |c: char| escape(c).map_or(1, str::len);
    let fits_whole = text.chars().map(length).sum::<usize>() <= longest;
    let room = if fits_whole { longest } else { longest.saturating_sub(CUT.len()) };
    let (mut cut, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += length(c);
        if used > room {
            break;
        }
        match escape(c) {
            Some(escaped) => cut.push_str(escaped),
            None => cut.push(c),
        }
    }
    if !fits_whole {
        cut.push_str(CUT);
    }
    cut
}

/// The longest beginning of a text of at most `longest` characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    cut_escaped(text, longest, |_| None)
}

/// Three points: the ellipsis sign is not in the alphabet of text messages and would make each of them
/// cost more than twice as much.
const CUT: &str = "...";

/// Escapes for XML 1.0 and HTML, text and attributes alike. What XML 1.0 does not allow becomes a space.
pub(crate) fn xml(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if allowed(c) => escaped.push(c),
            _ => escaped.push(' '),
        }
    }
    escaped
}

/// Ends a sentence that does not end by itself; one space behind it. Empty stays empty.
pub(crate) fn sentence(text: &str) -> String {
    match text.trim_end() {
        "" => String::new(),
        ended if ended.ends_with(['.', '!', '?', '…']) => format!("{ended} "),
        open => format!("{open}. "),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slack(c: char) -> Option<&'static str> {
        match c {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_its_bound_after_escaping(text in "[<>&a-zé\u{1f600}]{0,80}", longest in 3_usize..60) {
            let cut = cut_escaped(&text, longest, slack);
            prop_assert!(cut.chars().count() <= longest, "{cut}");
            let whole: String = text.chars().map(|c| slack(c).map_or(c.to_string(), str::to_owned)).collect();
            prop_assert!(cut == whole || cut.ends_with("..."), "{cut}");
        }

        #[test]
        fn what_is_escaped_is_text_of_xml(text in "\\PC{0,40}|[\\x00-\\x1f\u{fffe}<&\"]{0,20}") {
            let escaped = xml(&text);
            prop_assert!(!escaped.contains(['<', '>', '"']) && !escaped.chars().any(char::is_control));
        }
    }
}
