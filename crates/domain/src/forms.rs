//! The forms that providers demand of addresses and accounts, as far as a form can be judged without
//! asking the provider. `channels` compares these with the extract of the vendors' documents.

use std::sync::OnceLock;

use regex::Regex;

/// A Twilio account's id (Twilio's `OpenAPI` document, `account_sid`).
pub const TWILIO_ACCOUNT_SID: &str = "^AC[0-9a-fA-F]{32}$";

/// A telephone number with its country code (ITU-T E.164: at most 15 digits, the first not 0).
pub const PHONE_NUMBER: &str = "^\\+[1-9][0-9]{6,14}$";

/// A Slack member's id.
pub const SLACK_USER: &str = "^[UW][A-Z0-9]{2,20}$";

/// A Slack channel's id; a conversation with one person is one, too.
pub const SLACK_CHANNEL: &str = "^[CGD][A-Z0-9]{2,20}$";

/// A Slack channel's name, as `chat.postMessage` takes it.
pub const SLACK_CHANNEL_NAME: &str = "^#[^\\s#@]{1,80}$";

/// Whether a text has one of the forms.
fn matches(text: &str, cell: &'static OnceLock<Option<Regex>>, form: &str) -> bool {
    cell.get_or_init(|| Regex::new(form).ok()).as_ref().is_some_and(|form| form.is_match(text))
}

/// Whether a text is a Twilio account's id.
#[must_use]
pub fn is_twilio_account_sid(text: &str) -> bool {
    static FORM: OnceLock<Option<Regex>> = OnceLock::new();
    matches(text, &FORM, TWILIO_ACCOUNT_SID)
}

/// Whether a text is a telephone number in E.164 form.
#[must_use]
pub fn is_phone_number(text: &str) -> bool {
    static FORM: OnceLock<Option<Regex>> = OnceLock::new();
    matches(text, &FORM, PHONE_NUMBER)
}

/// Whether Slack takes messages to this person: a member's id, or the id of the conversation with them.
#[must_use]
pub fn is_slack_person(text: &str) -> bool {
    static USER: OnceLock<Option<Regex>> = OnceLock::new();
    static CHANNEL: OnceLock<Option<Regex>> = OnceLock::new();
    matches(text, &USER, SLACK_USER) || matches(text, &CHANNEL, SLACK_CHANNEL)
}

/// Whether Slack takes messages to this channel: its name with `#`, or its id.
#[must_use]
pub fn is_slack_room(text: &str) -> bool {
    static NAME: OnceLock<Option<Regex>> = OnceLock::new();
    matches(text, &NAME, SLACK_CHANNEL_NAME) || is_slack_person(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_takes_what_its_provider_takes() {
        assert!(is_twilio_account_sid("AC0123456789abcdef0123456789ABCDEF"));
        for wrong in ["hello", "AC1", "", "SK0123456789abcdef0123456789abcdef", " AC0123456789abcdef0123456789abcdef"] {
            assert!(!is_twilio_account_sid(wrong), "{wrong:?}");
        }
        for right in ["+4520000001", "+15550100001", "+442071838750"] {
            assert!(is_phone_number(right), "{right}");
        }
        for wrong in ["015550100001", "4520000001", "+0520000001", "+45 20 00", "+45200000011223344", "+", "ada@example.com"] {
            assert!(!is_phone_number(wrong), "{wrong:?}");
        }
        for right in ["#incidents", "C024BE91L", "#überwachung", "G01", "U024BE7LH"] {
            assert!(is_slack_room(right), "{right}");
        }
        for wrong in ["@ada", "incidents", "#", "#a b", "ada", ""] {
            assert!(!is_slack_room(wrong) && !is_slack_person(wrong), "{wrong:?}");
        }
        assert!(is_slack_person("W012A3CDE") && !is_slack_person("#ada"));
    }
}
