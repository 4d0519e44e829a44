//! Phone calls: what is said, and what the keys do. Facts: <https://www.twilio.com/docs/voice/api/call-resource>,
//! <https://www.twilio.com/docs/voice/twiml/gather>.

use allclear_domain::delivery::{Brief, Message};

/// The longest name or title that is read out: nobody listens to more, and Twilio takes a document of 4,000 characters.
const LONGEST_SPOKEN: usize = 200;

/// What a call says: the message three times; a key may be pressed at any time. `action` is where Twilio tells us of it.
pub(crate) fn page(message: &Message, action: &str) -> String {
    gather(&spoken(message), action)
}

/// What is said after a key that means nothing.
#[must_use]
pub fn again(action: &str) -> String {
    gather("That key does nothing. Press 4 to acknowledge, or 6 to resolve.", action)
}

/// What is said at the end of a call.
#[must_use]
pub fn goodbye(text: &str) -> String {
    format!("{HEAD}<Response><Say>{}</Say><Hangup/></Response>", escaped(text))
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

fn gather(text: &str, action: &str) -> String {
    let (text, action) = (escaped(text), escaped(action));
    let ask = format!("<Gather numDigits=\"1\" timeout=\"10\" action=\"{action}\" method=\"POST\"><Say loop=\"3\">{text}</Say></Gather>");
    format!("{HEAD}<Response>{ask}<Say>No key was pressed. Goodbye.</Say></Response>")
}

fn spoken(message: &Message) -> String {
    let repeat = if message.possible_repeat { "This may be a repeat. " } else { "" };
    let what = match message.incidents.as_slice() {
        [one] => format!("Incident {} on {}: {}.", one.number, cut(&one.service), cut(&one.title)),
        many => {
            let first = many.first().map_or("", |one: &Brief| one.title.as_str());
            format!("{} incidents. The first: {}.", many.len(), cut(first))
        }
    };
    format!("This is AllClear. {repeat}{what} Press 4 to acknowledge, or 6 to resolve.")
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_SPOKEN).collect()
}

fn escaped(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
