//! What is said to a telephone, as Twilio reads it: XML with verbs that it knows.

use roxmltree::{Document, Node};

use crate::facts::{self, TWILIO};

/// What a document wants done, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    /// Speaks.
    Say(String),
    /// Speaks, and waits for a key.
    Gather(Gather),
    /// Answers by text.
    Message(String),
    /// Goes on at another address.
    Redirect(String),
    /// Ends the call.
    Hangup,
    /// Waits, or plays something: nothing that the stage shows.
    Other,
}

/// How keys are waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Gather {
    /// Where they are reported; without it, where the document came from.
    pub(super) action: Option<String>,
    /// How many are reported at most.
    pub(super) most_digits: Option<usize>,
    /// The key that ends it.
    pub(super) finish_on: String,
    /// What is spoken meanwhile.
    pub(super) says: String,
}

/// Reads a document.
///
/// # Errors
/// Why Twilio would not do what it says.
pub(super) fn read(text: &str) -> Result<Vec<Verb>, String> {
    let longest = facts::most(&TWILIO, "twiml_characters");
    if text.chars().count() > longest {
        return Err(format!("longer than {longest} characters"));
    }
    let document = Document::parse(text).map_err(|error| format!("not XML: {error}"))?;
    let root = document.root_element();
    if root.tag_name().name() != "Response" {
        return Err(format!("the root is <{}>, not <Response>", root.tag_name().name()));
    }
    check(root)?;
    root.children().filter(Node::is_element).map(verb).collect()
}

/// Whether every element and attribute below is one that Twilio knows, where it stands.
fn check(node: Node<'_, '_>) -> Result<(), String> {
    let vocabulary = &TWILIO["twiml"];
    let name = node.tag_name().name();
    for attribute in node.attributes() {
        let spoken = match attribute.namespace() {
            Some(_) => format!("xml:{}", attribute.name()),
            None => attribute.name().to_owned(),
        };
        if !facts::has(&vocabulary["verbs"][name], &spoken) {
            return Err(format!("<{name}> has no attribute {spoken}"));
        }
    }
    let speech = &vocabulary["within"]["Say"];
    let within = match vocabulary["within"].get(name) {
        Some(within) => within,
        None if facts::has(speech, name) => speech,
        None => &serde_json::Value::Null,
    };
    for child in node.children() {
        let word = child.tag_name().name();
        if child.is_element() {
            if !facts::has(within, word) {
                return Err(format!("<{name}> takes no <{word}>"));
            }
            check(child)?;
        } else if child.is_text() && matches!(name, "Response" | "Gather") {
            let words = child.text().unwrap_or_default().trim();
            if !words.is_empty() {
                return Err(format!("<{name}> takes no text: {words:?}"));
            }
        }
    }
    Ok(())
}

fn verb(node: Node<'_, '_>) -> Result<Verb, String> {
    Ok(match node.tag_name().name() {
        "Say" => Verb::Say(words(node)),
        "Message" => Verb::Message(message(node)),
        "Redirect" => Verb::Redirect(words(node)),
        "Hangup" | "Reject" => Verb::Hangup,
        "Gather" => Verb::Gather(gather(node)?),
        _ => Verb::Other,
    })
}

fn gather(node: Node<'_, '_>) -> Result<Gather, String> {
    if let Some(method) = node.attribute("method").filter(|method| *method != "POST") {
        return Err(format!("the stage plays no <Gather> with the method {method}"));
    }
    if let Some(action) = node.attribute("action").filter(|action| !facts::is_address(action)) {
        return Err(format!("<Gather> has the action {action:?}, which is no absolute address"));
    }
    let number = |name: &str| match node.attribute(name).map(str::parse::<usize>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(format!("<Gather> has a {name} that is no number")),
    };
    number("timeout")?;
    let says = node.children().filter(|child| child.tag_name().name() == "Say").map(words);
    Ok(Gather {
        action: node.attribute("action").map(str::to_owned),
        most_digits: number("numDigits")?,
        finish_on: node.attribute("finishOnKey").unwrap_or("#").to_owned(),
        says: says.collect::<Vec<_>>().join(" "),
    })
}

/// Everything that is written below a node.
fn words(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect()
}

fn message(node: Node<'_, '_>) -> String {
    let body = node.children().find(|child| child.tag_name().name() == "Body");
    words(body.unwrap_or(node)).trim().to_owned()
}

/// What a document speaks, first to last.
pub(super) fn said(verbs: &[Verb]) -> Vec<String> {
    let words = verbs.iter().filter_map(|verb| match verb {
        Verb::Say(words) => Some(words.clone()),
        Verb::Gather(gather) => Some(gather.says.clone()),
        Verb::Message(_) | Verb::Redirect(_) | Verb::Hangup | Verb::Other => None,
    });
    words.filter(|words| !words.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_is_spoken_and_where_keys_go() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Gather action=\"http://a.example/x?y=1&amp;z=2\" numDigits=\"1\" timeout=\"10\"><Say language=\"en-US\">Press 4 &lt;now&gt;</Say></Gather><Say>Bye</Say><Hangup/></Response>";
        let verbs = read(text).expect("a document");
        assert_eq!(said(&verbs), ["Press 4 <now>", "Bye"]);
        let Verb::Gather(gather) = &verbs[0] else { panic!("{verbs:?}") };
        assert_eq!(gather.action.as_deref(), Some("http://a.example/x?y=1&z=2"));
        assert_eq!((gather.most_digits, gather.finish_on.as_str()), (Some(1), "#"));
        assert_eq!(verbs[2], Verb::Hangup);
    }

    #[test]
    fn what_twilio_would_not_read_is_refused() {
        let long = format!("<Response><Say>{}</Say></Response>", "a".repeat(4_000));
        for (text, why) in [
            ("", "not XML"),
            ("<Response><Say>a & b</Say></Response>", "not XML"),
            ("<Response><Say>\u{1}</Say></Response>", "not XML"),
            ("<Response><Say>&#1;</Say></Response>", "not XML"),
            ("<Response><Say>a</Response>", "not XML"),
            ("<!DOCTYPE a><Response/>", "not XML"),
            ("<Say>a</Say>", "the root is"),
            ("<Response><Shout>a</Shout></Response>", "takes no <Shout>"),
            ("<Response><Say volume=\"9\">a</Say></Response>", "no attribute volume"),
            ("<Response>hello</Response>", "takes no text"),
            ("<Response><Gather action=\"/x\"/></Response>", "no absolute address"),
            ("<Response><Gather numDigits=\"one\"/></Response>", "no number"),
            ("<Response><Say><Gather/></Say></Response>", "takes no <Gather>"),
            (long.as_str(), "longer than 4000"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn a_message_may_have_a_body_of_its_own() {
        let verbs = read("<Response><Message><Body> a </Body></Message></Response>");
        assert_eq!(verbs, Ok(vec![Verb::Message("a".into())]));
        assert_eq!(read("<Response/>"), Ok(vec![]));
    }
}
