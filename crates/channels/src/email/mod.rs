//! Mail by SMTP, over a stream of `egress`. Facts: RFC 5321 (replies: §4.2.1), RFC 3207 (STARTTLS), RFC 3834
//! (automatic messages).

mod payload;
mod wire;

use allclear_base::Secrets;
use allclear_domain::catalog::{SmtpAccount, SmtpTls};
use allclear_domain::delivery::Outcome;
use allclear_egress::{Client, Error, Guard, Io, Target};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;

use crate::{CALL_TIMEOUT, Envelope, Site, answer, missing_secret};

/// How far a talk came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of the message was said yet: the way there, the greeting, the sign-in, the sender.
    Channel,
    /// The recipient was named.
    Recipient,
    /// The message's last byte may have left: from then on only an answer says whether it was taken.
    HandedOver,
}

/// Sends a mail: one connection, no retry.
pub(crate) async fn send(
    client: &Client,
    account: &SmtpAccount,
    envelope: &Envelope<'_>,
    secrets: &Secrets,
    site: &Site,
    guard: &Guard,
) -> Outcome {
    let message = match payload::message(account, envelope, site) {
        Ok(message) => message,
        Err(why) => return Outcome::Permanent { why },
    };
    let credentials = match credentials(account, secrets) {
        Ok(credentials) => credentials,
        Err(why) => return Outcome::ChannelBroken { why },
    };
    let mut stage = Stage::Channel;
    let talk = talk(client, account, guard, credentials, &message, &mut stage);
    let ended = client.within(CALL_TIMEOUT, talk).await;
    match ended {
        Some(Ok(())) => Outcome::Accepted { provider_id: message.id },
        Some(Err(Failed::Egress(error))) => answer::of_error(&error),
        Some(Err(Failed::NoTls)) => {
            Outcome::ChannelBroken { why: "the mail server does not offer STARTTLS; tls: none would send in the clear".into() }
        }
        Some(Err(Failed::Smtp(error))) => outcome(&error, stage),
        None if stage == Stage::HandedOver => Outcome::Unknown { why: timed_out() },
        None => Outcome::Retry { why: timed_out(), after: None, may_have_worked: false },
    }
}

fn timed_out() -> String {
    format!("timed out after {} s while talking to the mail server", CALL_TIMEOUT.as_secs())
}

fn credentials(account: &SmtpAccount, secrets: &Secrets) -> Result<Option<Credentials>, String> {
    let Some(user) = &account.user else { return Ok(None) };
    let setting = account.password.as_deref().unwrap_or_default();
    let password = secrets.resolve(setting).map_err(|name| missing_secret(&name))?;
    Ok(Some(Credentials::new(user.clone(), password.expose().to_owned())))
}

/// What went wrong in a talk.
enum Failed {
    Egress(Error),
    NoTls,
    Smtp(lettre::transport::smtp::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Egress(error)
    }
}

impl From<lettre::transport::smtp::Error> for Failed {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        Self::Smtp(error)
    }
}

async fn talk(
    client: &Client,
    account: &SmtpAccount,
    guard: &Guard,
    credentials: Option<Credentials>,
    message: &payload::Mail,
    stage: &mut Stage,
) -> Result<(), Failed> {
    let target = Target { host: account.host.clone(), port: account.port(), tls: false };
    let authority = account.authority.as_deref();
    let plain = client.open(&target, guard, CALL_TIMEOUT).await?;
    let hello = ClientId::Domain(message.domain.clone());
    let stream: Box<dyn Io> = match account.tls {
        SmtpTls::None => plain,
        SmtpTls::Implicit => client.start_tls(plain, &account.host, authority).await?,
        SmtpTls::Starttls => {
            let ready = wire::ask_for_tls(plain, &message.domain).await?.ok_or(Failed::NoTls)?;
            wire::after_greeting(client.start_tls(ready, &account.host, authority).await?)
        }
    };
    let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(wire::Stream::new(stream)), &hello).await?;
    if let Some(credentials) = credentials {
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    }
    connection.command(Mail::new(Some(message.from.clone()), vec![])).await?;
    *stage = Stage::Recipient;
    connection.command(Rcpt::new(message.to.clone(), vec![])).await?;
    connection.command(Data).await?;
    *stage = Stage::HandedOver;
    connection.message(&message.bytes).await?;
    // It is taken; whether the server hears the farewell changes nothing.
    let _farewell = connection.quit().await;
    Ok(())
}

/// What an error means: 4yz may work later, 5yz lasts (RFC 5321 §4.2.1), for the channel where the
/// recipient was not named yet. A connection that breaks after the message left says nothing.
fn outcome(error: &lettre::transport::smtp::Error, stage: Stage) -> Outcome {
    let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
    let why: String = format!("the mail server answered with a {error}{cause}").chars().take(300).collect();
    match error {
        error if error.is_permanent() && stage == Stage::Channel => Outcome::ChannelBroken { why },
        error if error.is_permanent() || error.is_client() => Outcome::Permanent { why },
        // Greylisting, a full mailbox: it concerns this recipient, and says nothing against the server.
        error if error.is_transient() && stage != Stage::Channel => Outcome::Deferred { why, after: None },
        error if error.is_transient() || stage != Stage::HandedOver => Outcome::Retry { why, after: None, may_have_worked: false },
        _ => Outcome::Unknown { why },
    }
}
