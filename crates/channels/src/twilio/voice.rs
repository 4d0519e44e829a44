//! Phone calls: what is said, and what the keys do. Facts: <https://www.twilio.com/docs/voice/api/call-resource>,
//! <https://www.twilio.com/docs/voice/twiml/gather>.

use allclear_domain::delivery::{Brief, Message};

use crate::text::xml;

/// The longest name or title that is read out: nobody listens to more, and Twilio takes a document of
/// 4,000 characters.
const LONGEST_SPOKEN: usize = 200;

/// What a call says: the message three times; a key may be pressed at any time. `action` is where Twilio
/// tells us of it; without one no key can be answered, and none is asked for.
pub(crate) fn page(message: &Message, action: Option<&str>) -> String {
    let said = spoken(message, action.is_some());
    match action {
        Some(action) => gather(&said, action),
        None => format!("{HEAD}<Response><Say loop=\"3\">{}</Say><Hangup/></Response>", xml(&said)),
    }
}

/// What is said after a key that means nothing.
#[must_use]
pub fn again(action: &str) -> String {
    gather("That key does nothing. Press 4 to acknowledge, or 6 to resolve.", action)
}

/// What is said at the end of a call.
#[must_use]
pub fn goodbye(text: &str) -> String {
    format!("{HEAD}<Response><Say>{}</Say><Hangup/></Response>", xml(text))
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

fn gather(text: &str, action: &str) -> String {
    let (text, action) = (xml(text), xml(action));
    let ask = format!("<Gather numDigits=\"1\" timeout=\"10\" action=\"{action}\" method=\"POST\"><Say loop=\"3\">{text}</Say></Gather>");
    format!("{HEAD}<Response>{ask}<Say>No key was pressed. Goodbye.</Say></Response>")
}

fn spoken(message: &Message, keys: bool) -> String {
    let repeat = if message.possible_repeat { "This may be a repeat. " } else { "" };
    if let Some(words) = &message.words {
        return format!("This is AllClear. {}", cut(words));
    }
    let what = match message.incidents.as_slice() {
        [one] => format!("Incident {} on {}: {}.", one.number, cut(&one.service), cut(&one.title)),
        many => {
            let first = many.first().map_or("", |one: &Brief| one.title.as_str());
            format!("{} incidents. The first: {}.", many.len() + message.more, cut(first))
        }
    };
    let instruction = if keys { " Press 4 to acknowledge, or 6 to resolve." } else { "" };
    format!("This is AllClear. {repeat}{what}{instruction}")
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_SPOKEN).collect()
}
