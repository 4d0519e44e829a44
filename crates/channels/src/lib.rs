//! The providers through which people are told, one folder each: how a message looks there (`payload`), what an
//! answer means (`outcome`), how a callback is verified and read (`inbound`). All pure but the one call here.
//!
//! Nothing retries here: that is `domain::delivery`'s. Secrets are resolved at the call and masked in errors.

mod answer;
pub mod email;
pub mod pagerduty;
pub mod slack;
mod statuspage;
pub mod twilio;
mod webhook;

use std::sync::Arc;

use allclear_base::secret::mask;
use allclear_base::{Secret, Secrets};
use allclear_domain::catalog::{Account, Channel};
use allclear_domain::delivery::{Means, Message, Outcome};
use allclear_domain::{ChannelId, Timestamp};
use allclear_egress::{Client, Guard, Request, Response};

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
    /// The credential of the link with which the reader can answer, if there is one.
    pub link: Option<&'a str>,
    /// What to say.
    pub message: &'a Message,
    /// The provider's reference of the message that this one changes or answers.
    pub root: Option<&'a str>,
}

/// Sends messages. Cheap to clone.
#[derive(Clone)]
pub struct Channels {
    client: Client,
    secrets: Arc<Secrets>,
    public_url: Arc<str>,
}

/// How long a provider may take to answer; the lease of a claim is longer.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// The largest answer of a provider that is read.
const LARGEST_ANSWER: usize = 1 << 20;

impl Channels {
    /// With the address at which providers reach us, without a slash at its end.
    #[must_use]
    pub fn new(client: Client, secrets: Arc<Secrets>, public_url: &str) -> Self {
        Self { client, secrets, public_url: public_url.trim_end_matches('/').into() }
    }

    /// Sends a message: one call, no retry.
    pub async fn send(&self, envelope: &Envelope<'_>) -> Outcome {
        let guard = guard_of(envelope.channel);
        let outcome = match &envelope.channel.account {
            Account::Slack(account) => self.post(slack::request(account, envelope, &self.secrets), &guard, slack::outcome).await,
            Account::SlackWebhook(account) => {
                self.post(slack::webhook::request(account, envelope, &self.secrets), &guard, slack::webhook::outcome).await
            }
            Account::Twilio(account) => {
                self.post(twilio::request(account, envelope, &self.secrets, &self.public_url), &guard, twilio::outcome).await
            }
            Account::Webhook(account) => self.post(webhook::request(account, envelope, &self.secrets), &guard, webhook::outcome).await,
            Account::Pagerduty(account) => {
                self.post(pagerduty::request(account, envelope, &self.secrets), &guard, pagerduty::outcome).await
            }
            Account::Statuspage(account) => {
                self.post(statuspage::request(account, envelope, &self.secrets), &guard, statuspage::outcome).await
            }
            Account::Smtp(account) => {
                let link = envelope.link.map(|link| format!("{}/answer/{link}", self.public_url));
                let envelope = Envelope { link: link.as_deref(), ..envelope.clone() };
                email::send(&self.client, account, &envelope, &self.secrets, &guard).await
            }
        };
        masked(outcome, &self.secrets.values())
    }

    /// Calls an address outside, which is a setting of ours or a secret: all is well here.
    ///
    /// # Errors
    /// Why it did not arrive, in words without secrets.
    pub async fn ping(&self, setting: &str) -> Result<(), String> {
        let url = self.secrets.resolve(setting).map_err(|missing| format!("the secret {missing} is not set"))?;
        let request = Request {
            method: http::Method::GET,
            url: url.expose().to_owned(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            timeout: CALL_TIMEOUT,
            largest_body: LARGEST_ANSWER,
            follow_redirects: false,
        };
        // The operator wrote the address; a watcher often stands in the same network.
        let why = match self.client.send(request, &Guard::with_private()).await {
            Ok(response) if response.status.is_success() => return Ok(()),
            Ok(response) => format!("answered {}", response.status.as_u16()),
            Err(error) => error.to_string(),
        };
        Err(mask(&why, &self.secrets.values()))
    }

    async fn post(&self, request: Result<Request, String>, guard: &Guard, outcome: fn(&Response) -> Outcome) -> Outcome {
        let request = match request {
            Ok(request) => request,
            Err(missing) => return Outcome::Permanent { why: format!("the secret {missing} is not set") },
        };
        match self.client.send(request, guard).await {
            Ok(response) => outcome(&response),
            Err(error) => answer::of_error(&error),
        }
    }

    /// The secret behind a setting of a channel.
    ///
    /// # Errors
    /// The name of a secret that is not set.
    pub fn secret(&self, setting: &str) -> Result<Secret, String> {
        self.secrets.resolve(setting)
    }

    /// The address at which providers reach us.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }
}

/// The request that carries a message: a POST that follows no redirect, bounded in time and answer.
fn post(url: String, headers: http::HeaderMap, body: bytes::Bytes) -> Request {
    Request { method: http::Method::POST, url, headers, body, timeout: CALL_TIMEOUT, largest_body: LARGEST_ANSWER, follow_redirects: false }
}

fn guard_of(channel: &Channel) -> Guard {
    Guard::allowing(channel.allow.iter().filter_map(|range| range.parse().ok()).collect())
}

fn masked(outcome: Outcome, secrets: &[Secret]) -> Outcome {
    match outcome {
        Outcome::Accepted { provider_id } => Outcome::Accepted { provider_id },
        Outcome::Retry { why, after, may_have_worked } => Outcome::Retry { why: mask(&why, secrets), after, may_have_worked },
        Outcome::Permanent { why } => Outcome::Permanent { why: mask(&why, secrets) },
        Outcome::Unknown { why } => Outcome::Unknown { why: mask(&why, secrets) },
    }
}
