//! A message as a text: what is wrong, where, and what to press. Read half asleep.

use allclear_domain::delivery::{Brief, Message, Purpose};

/// Three segments of 160 characters; more costs more and says no more.
const LONGEST: usize = 480;

/// How many incidents of a bundle are named.
const NAMED: usize = 3;

/// The text of a message.
pub(crate) fn text(message: &Message) -> String {
    let repeat = if message.possible_repeat { "(Possible repeat) " } else { "" };
    let body = match (message.purpose, message.incidents.as_slice()) {
        (Purpose::AllClear, [one]) => format!("All clear: [#{}] {} on {}: {}.", one.number, one.title, one.service, one.remark),
        (Purpose::AllClear, many) => format!("All clear: {} incidents are over: {}", many.len(), names(many)),
        (Purpose::Note, [one]) => format!("[#{}] {}: {}.", one.number, one.title, one.remark),
        (Purpose::Page | Purpose::State | Purpose::Mirror | Purpose::HangUp, [one]) => {
            // A monitoring tool says one thing only: once is enough.
            let detail = if one.detail == one.title { String::new() } else { sentence(&shorten(&one.detail, 200)) };
            format!("ALERT [#{}] {} on {}. {detail}Reply 4: acknowledge, 6: resolve.", one.number, one.title, one.service)
        }
        (Purpose::Page | Purpose::State | Purpose::Note | Purpose::Mirror | Purpose::HangUp, many) => {
            format!("ALERT {} incidents: {} Reply 4: acknowledge all, 6: resolve all.", many.len(), names(many))
        }
    };
    shorten(&format!("{repeat}{body}"), LONGEST)
}

/// Ends it, where it does not end by itself.
fn sentence(text: &str) -> String {
    match text.trim_end() {
        "" => String::new(),
        ended if ended.ends_with(['.', '!', '?', '…']) => format!("{ended} "),
        open => format!("{open}. "),
    }
}

fn names(incidents: &[Brief]) -> String {
    let named: Vec<String> = incidents.iter().take(NAMED).map(|one| format!("[#{}] {}", one.number, shorten(&one.title, 60))).collect();
    let more = incidents.len().saturating_sub(NAMED);
    if more > 0 { format!("{}, and {more} more.", named.join(", ")) } else { format!("{}.", named.join(", ")) }
}

fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain("…".chars()).collect()
}
