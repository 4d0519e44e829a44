//! A message as a text: what is wrong, where, and what to answer. Read half asleep.
//!
//! A text has at most three segments. Where that is short, the number, the service, the instruction
//! and the link stay; the detail is cut first, then the title.

use allclear_domain::delivery::{Brief, Message, Purpose};

use super::segments::{plain_signs, segments};
use crate::Site;
use crate::text::{cut, sentence};

/// More costs more and says no more.
const MOST_SEGMENTS: usize = 3;

/// How many incidents of a bundle are named.
const NAMED: usize = 3;

/// The longest name of a service in a text.
const LONGEST_SERVICE: usize = 40;

/// The longest title and detail before they are fitted: three segments are not longer.
const LONGEST_PART: usize = 480;

/// The text of a message.
pub(crate) fn text(message: &Message, site: &Site) -> String {
    let repeat = if message.possible_repeat { "(Possible repeat) " } else { "" };
    let parts = match (message.purpose, message.incidents.as_slice()) {
        (Purpose::Notice | Purpose::Reply, _) => Parts { title: message.words.clone().unwrap_or_default(), ..Parts::default() },
        (Purpose::AllClear, [one]) => Parts {
            head: format!("{repeat}All clear: {}", name_of(one)),
            title: sentence(&one.title),
            detail: sentence(&one.remark),
            tail: site.incident(one.incident.as_str()).unwrap_or_default(),
        },
        (Purpose::AllClear, many) => Parts {
            head: format!("{repeat}All clear: {} incidents are over: ", many.len() + message.more),
            title: names(many, message.more),
            ..Parts::default()
        },
        (Purpose::Note, [one]) => Parts {
            head: format!("{repeat}{}", name_of(one)),
            title: sentence(&one.title),
            detail: sentence(one.news.as_ref().map_or(&one.remark, |news| &news.words)),
            tail: site.incident(one.incident.as_str()).unwrap_or_default(),
        },
        (Purpose::Page | Purpose::State | Purpose::Mirror | Purpose::HangUp, [one]) => Parts {
            head: format!("{repeat}{}", name_of(one)),
            title: sentence(&one.title),
            detail: detail(one),
            tail: tail("Reply 4 to take it, 6 if it is over.", site.incident(one.incident.as_str())),
        },
        (Purpose::Page | Purpose::State | Purpose::Note | Purpose::Mirror | Purpose::HangUp, many) => Parts {
            head: format!("{repeat}{} incidents: ", many.len() + message.more),
            title: names(many, message.more),
            detail: String::new(),
            tail: tail("Reply 4 to take them all, 6 if all are over.", site.incidents()),
        },
    };
    parts.fitted()
}

/// What to answer, and where to read more. Without a public address no answer arrives, and none is
/// asked for.
fn tail(instruction: &str, link: Option<String>) -> String {
    link.map_or_else(String::new, |link| format!("{instruction} {link}"))
}

/// `#7 Streams: `.
fn name_of(incident: &Brief) -> String {
    format!("#{} {}: ", incident.number, cut(&plain_signs(&incident.service), LONGEST_SERVICE))
}

/// What is known besides the title.
fn detail(incident: &Brief) -> String {
    let mut text = sentence(&incident.detail);
    if let Some(source) = &incident.source {
        text.push_str(&sentence(&format!("On {source}")));
    }
    for link in incident.links.iter().take(1) {
        text.push_str(&format!("{} ", link.href));
    }
    text
}

fn names(incidents: &[Brief], more: usize) -> String {
    let named = |one: &Brief| format!("{}{}", name_of(one), cut(&plain_signs(&one.title), 60));
    let named: Vec<String> = incidents.iter().take(NAMED).map(named).collect();
    let more = incidents.len().saturating_sub(NAMED) + more;
    if more > 0 { format!("{}, and {more} more. ", named.join(", ")) } else { format!("{}. ", named.join(", ")) }
}

/// The parts of a text, in their order. `head` and `tail` always stay.
#[derive(Default)]
struct Parts {
    head: String,
    title: String,
    detail: String,
    tail: String,
}

impl Parts {
    /// The text with as much of the detail, and then of the title, as fits.
    fn fitted(&self) -> String {
        let title = cut(&plain_signs(&self.title), LONGEST_PART);
        let detail = cut(&plain_signs(&self.detail), LONGEST_PART);
        let (head, tail) = (plain_signs(&self.head), &self.tail);
        let whole = |title: &str, detail: &str| [&head, title, detail, tail].concat().trim_end().to_owned();
        if let Some(fits) = longest_that_fits(&detail, |detail| whole(&title, detail)) {
            return fits;
        }
        longest_that_fits(&title, |title| whole(&spaced(title), "")).unwrap_or_else(|| cut(&whole("", ""), LONGEST_PART))
    }
}

/// What was cut ends without its space.
fn spaced(text: &str) -> String {
    if text.is_empty() || text.ends_with(' ') { text.to_owned() } else { format!("{text} ") }
}

/// The text made with the longest beginning of `part` that keeps within the segments; nothing where
/// even the empty one does not.
fn longest_that_fits(part: &str, text_with: impl Fn(&str) -> String) -> Option<String> {
    let fits = |length: usize| {
        let part = if length >= part.chars().count() { part.to_owned() } else { spaced(&cut(part, length)) };
        Some(text_with(&part)).filter(|text| segments(text) <= MOST_SEGMENTS)
    };
    // A beginning of fewer characters than its own ellipsis says nothing.
    const SHORTEST: usize = 12;
    let (mut best, mut low, mut high) = (None, SHORTEST, part.chars().count());
    if let Some(text) = fits(high) {
        return Some(text);
    }
    while low < high {
        let middle = low.midpoint(high);
        match fits(middle) {
            Some(text) => (best, low) = (Some(text), middle + 1),
            None => high = middle,
        }
    }
    best.or_else(|| Some(text_with("")).filter(|text| segments(text) <= MOST_SEGMENTS))
}
