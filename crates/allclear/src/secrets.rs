//! Secrets from the environment: `ALLCLEAR_SECRET_NAME` is `{{secret.NAME}}`.

use allclear_base::{Secret, Secrets};
use allclear_channels::{SHORTEST_SIGNING_KEY, webhook};
use allclear_domain::catalog::{Account, Channel};

const PREFIX: &str = "ALLCLEAR_SECRET_";

/// The secrets that this process was given.
#[expect(clippy::disallowed_methods, reason = "the environment is read in the binary")]
pub(crate) fn from_environment() -> Secrets {
    let named = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str()?.strip_prefix(PREFIX)?.to_owned();
        Some((name, Secret::new(value.into_string().ok()?)))
    });
    Secrets::new(named)
}

/// Why a channel's secrets cannot be used, as far as they are known here: a webhook's secret that no
/// library would decode, a key so short that callbacks signed with it prove nothing.
pub(crate) fn unusable(channel: &Channel, secrets: &Secrets) -> Option<String> {
    let too_short = |setting: &str| {
        let key = secrets.resolve(setting).ok()?;
        let is_short = key.expose().trim().len() < SHORTEST_SIGNING_KEY;
        is_short.then(|| format!("{setting} has fewer than {SHORTEST_SIGNING_KEY} characters: anybody could guess it"))
    };
    match &channel.account {
        Account::Webhook(account) => {
            let secret = secrets.resolve(&account.secret).ok()?;
            webhook::signing_key(secret.expose()).err().map(|why| format!("{}: {why}", account.secret))
        }
        Account::Slack(account) => too_short(&account.signing_secret),
        Account::Twilio(account) => too_short(&account.auth_token),
        Account::Pagerduty(account) => account.webhook_secret.as_deref().and_then(too_short),
        Account::Smtp(_) | Account::SlackWebhook(_) | Account::Statuspage(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(account: &serde_json::Value) -> Channel {
        serde_json::from_value(account.clone()).expect("a channel")
    }

    #[test]
    fn a_secret_that_proves_nothing_is_named_and_never_shown() {
        let secrets = Secrets::new([
            ("SHORT".to_owned(), Secret::new("abc")),
            ("LONG".to_owned(), Secret::new("0123456789abcdef")),
            ("WHSEC".to_owned(), Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
        ]);
        let webhook = |name: &str| {
            channel(
                &serde_json::json!({ "name": "W", "webhook": { "url": "https://x.example", "secret": format!("{{{{secret.{name}}}}}") } }),
            )
        };
        assert_eq!(unusable(&webhook("WHSEC"), &secrets), None);
        assert_eq!(unusable(&webhook("MISSING"), &secrets), None, "what is missing is said elsewhere");
        let why = unusable(&webhook("LONG"), &secrets).expect("refused");
        assert!(why.contains("{{secret.LONG}}") && !why.contains("0123456789abcdef"), "{why}");
        let slack = |name: &str| {
            let account = serde_json::json!({ "token": "{{secret.T}}", "signing_secret": format!("{{{{secret.{name}}}}}") });
            channel(&serde_json::json!({ "name": "S", "slack": account }))
        };
        assert_eq!(unusable(&slack("LONG"), &secrets), None);
        let why = unusable(&slack("SHORT"), &secrets).expect("refused");
        assert!(why.contains("{{secret.SHORT}}") && !why.contains("abc"), "{why}");
    }
}
