//! What `up` says once it is up: where things are, and what is still missing.

use std::collections::BTreeSet;

use allclear_base::Secrets;
use allclear_domain::catalog::{Account, Catalog, Document, Kind};

/// A line for each address that somebody needs, and for each thing that will not work yet.
pub(crate) fn lines(catalog: &Catalog, secrets: &Secrets, own: &str, public: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("AllClear is up at {own}")];
    for page in catalog.of_kind(Kind::Page).filter_map(|resource| resource.document.as_page()) {
        lines.push(format!("  {}: {own}/status/{}", page.name, page.slug));
    }
    let base = public.unwrap_or_default();
    let mut any_callback = false;
    for resource in catalog.of_kind(Kind::Channel) {
        let Document::Channel(channel) = &resource.document else { continue };
        let (what, path) = match channel.account {
            Account::Slack(_) => ("interactivity address", format!("slack/{}", resource.id)),
            Account::Twilio(_) => ("messaging webhook", format!("twilio/{}/sms", resource.id)),
            Account::Pagerduty(_) => ("webhook subscription", format!("pagerduty/{}", resource.id)),
            Account::Smtp(_) | Account::Webhook(_) | Account::SlackWebhook(_) | Account::Statuspage(_) => continue,
        };
        any_callback = true;
        if public.is_some() {
            lines.push(format!("  {}: {what} {base}/hooks/{path}", channel.name));
        }
    }
    if any_callback && public.is_none() {
        lines.push(
            "  without --public-url messages carry no links, buttons or keys: no answer could reach AllClear from outside".to_owned(),
        );
    }
    for channel in catalog.of_kind(Kind::Channel).filter_map(|resource| resource.document.as_channel()) {
        if let Some(why) = crate::secrets::unusable(channel, secrets) {
            lines.push(format!("  unusable: {}: {why}", channel.name));
        }
    }
    for name in missing_secrets(catalog, secrets) {
        lines.push(format!("  missing: the secret {name} is not set or is empty; set ALLCLEAR_SECRET_{name} and start again"));
    }
    lines
}

/// Secrets that documents name and that have no value, or an empty one.
fn missing_secrets(catalog: &Catalog, secrets: &Secrets) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    for kind in [Kind::Test, Kind::Channel, Kind::Settings] {
        for resource in catalog.of_kind(kind) {
            let text = resource.document.to_json().map(|json| json.to_string()).unwrap_or_default();
            let braces = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
            let named = braces.filter_map(|inner| inner.trim().strip_prefix("secret.").map(str::to_owned));
            missing.extend(named.filter(|name| secrets.get(name).is_none()));
        }
    }
    missing
}
