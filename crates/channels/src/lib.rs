//! The providers through which people are told, one folder each: its facts with their sources
//! (`facts`), how a message looks there (`payload`), what an answer means (`outcome`), how a callback
//! is verified and read (`inbound`). All pure but the one call here.
//!
//! Nothing retries here: that is `domain::delivery`'s. The one exception is a form that the provider
//! refuses: it had no effect, and goes once more in its plainest form within the same attempt.
//! Secrets are resolved at the call and masked in errors.

mod answer;
pub mod email;
mod facts;
pub mod pagerduty;
pub mod slack;
mod statuspage;
mod text;
pub mod twilio;
pub mod webhook;

use std::sync::Arc;

use allclear_base::secret::mask;
use allclear_base::{Secret, Secrets};
use allclear_domain::catalog::{Account, Channel};
use allclear_domain::delivery::{Means, Message, Outcome};
use allclear_domain::{ChannelId, Timestamp};
use allclear_egress::{Client, Guard, Request, Response};
use http::header::{HeaderValue, USER_AGENT};

/// A message with everything that its call needs.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// The channel's id; it stands in callback addresses.
    pub channel_id: &'a ChannelId,
    /// The channel.
    pub channel: &'a Channel,
    /// The address on it.
    pub address: &'a str,
    /// By what means.
    pub by: Means,
    /// The attempt; it stands in callback addresses.
    pub attempt: &'a str,
    /// What stays the same over all attempts, for receivers that drop repeats.
    pub key: &'a str,
    /// When the attempt begins.
    pub now: Timestamp,
    /// When the message was written; it stays the same over all attempts.
    pub written_at: Timestamp,
    /// The credential of the link with which the reader can answer, if there is one.
    pub link: Option<&'a str>,
    /// What to say.
    pub message: &'a Message,
    /// The provider's reference of the message that this one changes or answers.
    pub root: Option<&'a str>,
}

/// Where people and providers reach this AllClear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The address at which AllClear answers here, without a slash at its end.
    own: String,
    /// The address at which the outside reaches it, if it can.
    public: Option<String>,
}

impl Site {
    /// A site that is reached from outside at `public`, and here at `own`. Without a public address no
    /// callback can arrive: then nothing asks for one, and no message carries a link or a button.
    #[must_use]
    pub fn new(own: &str, public: Option<&str>) -> Self {
        let trim = |url: &str| url.trim_end_matches('/').to_owned();
        Self { own: trim(own), public: public.map(trim) }
    }

    /// The address for people and programs who ask AllClear itself where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.public.as_deref().unwrap_or(&self.own)
    }

    /// The address at which the outside reaches AllClear, if it can.
    #[must_use]
    pub fn public(&self) -> Option<&str> {
        self.public.as_deref()
    }

    /// The page of an incident, where a reader can open it.
    pub(crate) fn incident(&self, id: &str) -> Option<String> {
        self.public.as_ref().map(|public| format!("{public}/incidents/{id}"))
    }

    /// The page that lists the open incidents.
    pub(crate) fn incidents(&self) -> Option<String> {
        self.public.as_ref().map(|public| format!("{public}/incidents"))
    }

    /// Names the program and where it can be found, as RFC 9110 §10.1.5 has it.
    fn user_agent(&self) -> HeaderValue {
        const PRODUCT: &str = concat!("AllClear/", env!("CARGO_PKG_VERSION"));
        let with_site = self.public.as_ref().map(|public| format!("{PRODUCT} (+{public})"));
        with_site.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or(HeaderValue::from_static(PRODUCT))
    }
}

/// Sends messages. Cheap to clone.
#[derive(Clone)]
pub struct Channels {
    client: Client,
    secrets: Arc<Secrets>,
    site: Arc<Site>,
}

/// How long a provider may take to answer; the lease of a claim is longer.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// The largest answer of a provider that is read.
const LARGEST_ANSWER: usize = 1 << 20;

/// The fewest characters of a key that signs callbacks: whoever guesses it acts in others' names.
pub const SHORTEST_SIGNING_KEY: usize = 8;

/// A form of a message that a provider may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With everything that the provider can show.
    Full,
    /// What no provider refuses: text alone, without callbacks.
    Plainest,
}

impl Channels {
    /// With the site that messages lead to.
    #[must_use]
    pub fn new(client: Client, secrets: Arc<Secrets>, site: Site) -> Self {
        Self { client, secrets, site: Arc::new(site) }
    }

    /// Sends a message: one call, no retry, but for a refused form.
    pub async fn send(&self, envelope: &Envelope<'_>) -> Outcome {
        let guard = guard_of(envelope.channel);
        let (secrets, site) = (&*self.secrets, &*self.site);
        let now = envelope.now;
        let outcome = match &envelope.channel.account {
            Account::Slack(account) => {
                let request = |form| slack::request(account, envelope, secrets, site, form);
                let is_form = slack::is_form_refused;
                self.post_in_form(request, &guard, is_form, |r| slack::outcome(r, now)).await
            }
            Account::SlackWebhook(account) => {
                let request = |form| slack::webhook::request(account, envelope, secrets, site, form);
                let is_form = slack::webhook::is_form_refused;
                self.post_in_form(request, &guard, is_form, |r| slack::webhook::outcome(r, now)).await
            }
            Account::Twilio(account) => {
                let request = |form| twilio::request(account, envelope, secrets, site, form);
                let is_form = twilio::is_form_refused;
                self.post_in_form(request, &guard, is_form, |r| twilio::outcome(r, now)).await
            }
            Account::Webhook(account) => {
                let request = webhook::request(account, envelope, secrets, site);
                self.post(request, &guard, |r| webhook::outcome(r, now)).await
            }
            Account::Pagerduty(account) => {
                let request = pagerduty::request(account, envelope, secrets, site);
                self.post(request, &guard, |r| pagerduty::outcome(r, now)).await
            }
            Account::Statuspage(account) => {
                let request = statuspage::request(account, envelope, secrets);
                self.post(request, &guard, |r| statuspage::outcome(r, now)).await
            }
            Account::Smtp(account) => email::send(&self.client, account, envelope, secrets, site, &guard).await,
        };
        let values = secrets.values();
        outcome.map_why(|why| mask(why, &values))
    }

    /// Calls an address outside, which is a setting of ours or a secret: all is well here.
    ///
    /// # Errors
    /// Why it did not arrive, in words without secrets.
    pub async fn ping(&self, setting: &str) -> Result<(), String> {
        let url = self.secrets.resolve(setting).map_err(|missing| missing_secret(&missing))?;
        let mut headers = http::HeaderMap::new();
        headers.insert(USER_AGENT, self.site.user_agent());
        let request = Request {
            method: http::Method::GET,
            url: url.expose().trim().to_owned(),
            headers,
            body: bytes::Bytes::new(),
            timeout: CALL_TIMEOUT,
            largest_body: LARGEST_ANSWER,
            follow_redirects: false,
        };
        // The operator wrote the address; a watcher often stands in the same network.
        let why = match self.client.send(request, &Guard::with_private()).await {
            Ok(response) if response.status.is_success() => return Ok(()),
            Ok(response) => format!("answered {}", response.status.as_u16()),
            Err(allclear_egress::Error::BadUrl(_)) => "its address is not one that can be called".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(mask(&why, &self.secrets.values()))
    }

    /// Sends a message in its full form, and in its plainest one if that form is refused.
    async fn post_in_form(
        &self,
        request: impl Fn(Form) -> Result<Request, String>,
        guard: &Guard,
        is_form_refused: fn(&Response) -> bool,
        outcome: impl Fn(&Response) -> Outcome,
    ) -> Outcome {
        let mut refused = false;
        let first = self
            .post(request(Form::Full), guard, |response| {
                refused = is_form_refused(response);
                outcome(response)
            })
            .await;
        if refused {
            tracing::warn!(why = first.why(), "a form was refused; the message goes as plain text");
            return self.post(request(Form::Plainest), guard, outcome).await;
        }
        first
    }

    async fn post(&self, request: Result<Request, String>, guard: &Guard, outcome: impl FnOnce(&Response) -> Outcome) -> Outcome {
        let mut request = match request {
            Ok(request) => request,
            Err(why) => return Outcome::ChannelBroken { why },
        };
        request.headers.insert(USER_AGENT, self.site.user_agent());
        match self.client.send(request, guard).await {
            Ok(response) => outcome(&response),
            Err(error) => answer::of_error(&error),
        }
    }

    /// The key with which a provider signs its callbacks.
    ///
    /// # Errors
    /// Why there is none that could prove anything: it is missing, or so short that it can be guessed.
    pub fn signing_key(&self, setting: &str) -> Result<Secret, String> {
        let key = self.secrets.resolve(setting).map_err(|missing| missing_secret(&missing))?;
        if key.expose().trim().len() < SHORTEST_SIGNING_KEY {
            return Err(format!("the signing key has fewer than {SHORTEST_SIGNING_KEY} characters"));
        }
        Ok(key)
    }

    /// Where people and providers reach AllClear.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }
}

/// Says that a secret has no value.
fn missing_secret(name: &str) -> String {
    format!("the secret {name} is not set or is empty")
}

/// The request that carries a message: a POST that follows no redirect, bounded in time and answer.
fn post(url: String, headers: http::HeaderMap, body: bytes::Bytes) -> Request {
    Request { method: http::Method::POST, url, headers, body, timeout: CALL_TIMEOUT, largest_body: LARGEST_ANSWER, follow_redirects: false }
}

/// A header's value that no log shows.
fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "the credential has characters that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn guard_of(channel: &Channel) -> Guard {
    Guard::allowing(channel.allow.iter().filter_map(|range| range.parse().ok()).collect())
}
