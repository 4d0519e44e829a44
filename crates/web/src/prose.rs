//! Text that people write for customers: markdown of a few kinds, and nothing else. What it does not know is shown as it was
//! typed; no HTML gets through.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// Emphasis, lists, code, quotations and links to `https:`, `http:` and `mailto:` addresses, as HTML that is safe to show.
#[must_use]
pub(crate) fn prose(text: &str) -> String {
    let mut hidden_links = 0_usize;
    let events = Parser::new_ext(text, Options::ENABLE_STRIKETHROUGH).filter_map(|event| allowed(event, &mut hidden_links));
    let mut safe = String::new();
    html::push_html(&mut safe, events);
    safe
}

fn allowed<'a>(event: Event<'a>, hidden_links: &mut usize) -> Option<Event<'a>> {
    Some(match event {
        // As it was typed.
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        // One line a line: who writes for customers knows no trailing blanks.
        Event::SoftBreak => Event::HardBreak,
        Event::Start(Tag::Link { dest_url, .. }) => match safe_address(&dest_url) {
            Some(dest_url) => {
                Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, title: CowStr::Borrowed(""), id: CowStr::Borrowed("") })
            }
            None => {
                *hidden_links += 1;
                return None;
            }
        },
        // Links do not stand within each other: the next end is that of the link whose beginning was left out.
        Event::End(TagEnd::Link) if *hidden_links > 0 => {
            *hidden_links -= 1;
            return None;
        }
        // A heading of theirs would upset ours.
        Event::Start(Tag::Heading { .. }) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::Heading(_)) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        other => other,
    })
}

fn safe_address(address: &str) -> Option<CowStr<'static>> {
    let lower = address.to_ascii_lowercase();
    let known = ["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme));
    known.then(|| CowStr::from(address.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_known_becomes_markup_and_the_rest_stays_as_typed() {
        for (text, html) in [
            ("We look *into* it.", "<p>We look <em>into</em> it.</p>\n"),
            ("One\ntwo", "<p>One<br />\ntwo</p>\n"),
            ("See [the post](https://synq.example/post).", "<p>See <a href=\"https://synq.example/post\">the post</a>.</p>\n"),
            ("[press](javascript:alert(1)) here", "<p>press here</p>\n"),
            ("[press](JaVaScRiPt:alert(1))", "<p>press</p>\n"),
            ("[a](data:text/html;base64,x)", "<p>a</p>\n"),
            ("![x](https://evil.example/pixel.gif)", "<p>x</p>\n"),
            ("# Big", "<p>Big</p>\n"),
            ("a < b & c", "<p>a &lt; b &amp; c</p>\n"),
        ] {
            assert_eq!(prose(text), html, "{text}");
        }
        assert!(prose("<script>alert(1)</script>").contains("&lt;script&gt;"));
        assert!(prose("x <img src=x onerror=alert(1)>").contains("&lt;img"));
    }

    proptest! {
        #[test]
        fn no_tag_that_is_not_ours_comes_out(text in "[-<>a-z\"'=&\\[\\]()!#*_`:/ \n]{0,120}") {
            const OURS: &[&str] = &["p", "em", "strong", "del", "br", "a", "ul", "ol", "li", "code", "pre", "blockquote", "hr"];
            let html = prose(&text);
            for tag in html.split('<').skip(1) {
                let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                prop_assert!(OURS.contains(&name.as_str()), "{name} in {html}");
            }
            prop_assert!(!html.contains("javascript:") || !html.contains("href=\"javascript:"));
        }
    }
}
