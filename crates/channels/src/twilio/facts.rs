//! Twilio's facts. Sources: twilio/twilio-oai, `twilio_api_v2010` (paths, parameters, formats); Twilio's
//! dictionary of errors; its glossary on segments; its article on words like STOP.

use http::Method;

use crate::facts::Operation;

/// Sends a text message.
pub(super) const SEND_MESSAGE: Operation = Operation {
    name: "send_message",
    method: Method::POST,
    path: "/2010-04-01/Accounts/{AccountSid}/Messages.json",
    sends: &["To", "From", "Body", "StatusCallback", "ValidityPeriod"],
};

/// Makes a call.
pub(super) const START_CALL: Operation = Operation {
    name: "start_call",
    method: Method::POST,
    path: "/2010-04-01/Accounts/{AccountSid}/Calls.json",
    sends: &["To", "From", "Twiml", "Timeout", "StatusCallback"],
};

/// Changes a call that was made.
pub(super) const UPDATE_CALL: Operation =
    Operation { name: "update_call", method: Method::POST, path: "/2010-04-01/Accounts/{AccountSid}/Calls/{Sid}.json", sends: &["Status"] };

/// The longest document that a call takes with it, in characters.
#[cfg(test)]
pub(super) const LONGEST_TWIML: usize = 4_000;

/// Characters of a text message in the GSM-7 alphabet: alone, and in each segment of several.
pub(super) const GSM7_SEGMENT: (usize, usize) = (160, 153);

/// UTF-16 units of any other text message: alone, and in each segment of several.
pub(super) const UCS2_SEGMENT: (usize, usize) = (70, 67);

/// The credentials are refused.
pub(super) const CREDENTIALS_REFUSED: &[i64] = &[20003];

/// The sender's number is refused.
pub(super) const SENDER_REFUSED: &[i64] = &[21606];

/// The callback's address is refused.
pub(super) const CALLBACK_REFUSED: &[i64] = &[21609];

/// Too much at once.
pub(super) const RATE_LIMITED: &[i64] = &[20429];

/// The words that Twilio answers by itself: the first ends all messages to that number.
pub(super) const STOP_WORDS: &[&str] = &["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];

/// The words that let messages through again.
pub(super) const START_WORDS: &[&str] = &["START", "YES", "UNSTOP"];

/// The words that ask for help.
pub(super) const HELP_WORDS: &[&str] = &["HELP", "INFO"];

#[cfg(test)]
mod tests {
    use allclear_domain::forms;
    use serde_json::{Value, json};

    use super::*;
    use crate::facts::tests::{agrees, extract, words};

    #[test]
    fn twilios_facts_are_those_of_its_documents() {
        let twilio = extract("twilio");
        for operation in [SEND_MESSAGE, START_CALL, UPDATE_CALL] {
            agrees(&twilio, &operation);
        }
        assert_eq!(twilio["formats"]["account_sid"], forms::TWILIO_ACCOUNT_SID);
        assert_eq!(twilio["formats"]["address"], forms::PHONE_NUMBER);
        let lengths = &twilio["lengths"];
        assert_eq!(lengths["twiml_characters"]["most"], LONGEST_TWIML as u64);
        let segment = |name: &str| (lengths[name]["one"].as_u64(), lengths[name]["each"].as_u64());
        let ours = |(one, each): (usize, usize)| (Some(one as u64), Some(each as u64));
        assert_eq!(segment("segment_gsm7"), ours(GSM7_SEGMENT));
        assert_eq!(segment("segment_ucs2"), ours(UCS2_SEGMENT));
        let codes = |list: &[i64]| Value::from(list.to_vec());
        let errors = &twilio["errors"];
        assert_eq!(errors["credentials"], codes(CREDENTIALS_REFUSED));
        assert_eq!(errors["sender"], codes(SENDER_REFUSED));
        assert_eq!(errors["callback_address"], codes(CALLBACK_REFUSED));
        assert_eq!(errors["rate"], codes(RATE_LIMITED));
        let reserved = &twilio["reserved_words"];
        assert_eq!(words(&reserved["stop"]), STOP_WORDS);
        assert_eq!(words(&reserved["start"]), START_WORDS);
        assert_eq!(words(&reserved["help"]), HELP_WORDS);
        assert_ne!(twilio["answers"]["message"]["statuses"], json!(null));
    }
}
