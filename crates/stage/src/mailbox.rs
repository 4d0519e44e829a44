//! A mail server with everybody's mailbox: SMTP with STARTTLS and AUTH on one side, what arrived on
//! the other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{Message, MessageParser};
use rustls::pki_types::PrivateKeyDer;
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_rustls::TlsAcceptor;

use crate::facts::{self, MAIL};
use crate::faults::Faults;
use crate::house::{House, Violation, no_such_control};
use crate::server::Stage;
use crate::wire::{Player, Reply, Request, Response};

/// A mail that arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Arrived {
    /// Whose mailbox it is in.
    pub to: String,
    /// Who sent it.
    pub from: String,
    /// The subject, decoded.
    pub subject: String,
    /// The plain text, decoded.
    pub text: String,
    /// The same as a page.
    pub html: String,
    /// Its `Message-ID`.
    pub id: String,
    /// The mail that it answers.
    pub in_reply_to: Option<String>,
    /// Its headers as they came, in their order.
    pub headers: Vec<(String, String)>,
    /// Whether it came over an encrypted way.
    pub encrypted: bool,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The mail server.
#[derive(Debug)]
pub struct Mailbox {
    house: House,
    user: String,
    password: String,
    arrived: Vec<Arrived>,
    /// What an address is answered in place of being taken.
    refused: BTreeMap<String, u16>,
    /// Who wrote to whom before, where first contacts are put off.
    seen: BTreeSet<(String, String)>,
}

impl Mailbox {
    /// A server on which this user may send.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            house: House::default(),
            user: user.to_owned(),
            password: password.to_owned(),
            arrived: vec![],
            refused: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Every mail, oldest first.
    #[must_use]
    pub fn arrived(&self) -> &[Arrived] {
        &self.arrived
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.house.faults
    }

    /// Everything that broke a rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    /// Takes an address out of use.
    pub fn forget(&mut self, address: &str) {
        self.answer(address, Some(550));
    }

    /// What an address is answered with, such as 550, 554 or 452; nothing where it takes mail.
    pub fn answer(&mut self, address: &str, code: Option<u16>) {
        match code {
            Some(code) => drop(self.refused.insert(address.to_owned(), code)),
            None => drop(self.refused.remove(address)),
        }
    }

    /// What the server says to a recipient.
    fn recipient(&mut self, from: &str, to: &str) -> Heard {
        if self.house.faults.greylist && self.seen.insert((from.to_owned(), to.to_owned())) {
            return Heard::Say("451 4.7.1 Greylisted, please try again later");
        }
        match self.refused.get(to) {
            None => Heard::Say("250 2.1.5 Ok"),
            Some(550) => Heard::Say("550 5.1.1 No such user here"),
            Some(554) => Heard::Say("554 5.7.1 Rejected by policy"),
            Some(552) => Heard::Say("552 5.2.2 Mailbox full"),
            Some(452) => Heard::Say("452 4.2.2 Mailbox full"),
            Some(451) => Heard::Say("451 4.3.0 Local error, try again later"),
            Some(code) if *code < 500 => Heard::Say("450 4.2.1 Try again later"),
            Some(_) => Heard::Say("550 5.7.1 Rejected"),
        }
    }

    fn knows(&self, login: &[u8]) -> bool {
        let expected = format!("\0{}\0{}", self.user, self.password);
        login == expected.as_bytes()
    }

    /// Takes a mail; whether the server does.
    fn take(&mut self, session: &Session, raw: &[u8], now_ms: u64) -> bool {
        let parsed = MessageParser::default().parse(raw).unwrap_or_default();
        let line = format!("mail to {}", session.to.join(", "));
        let most = facts::most(&MAIL, "line");
        let is_long =
            raw.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end().len() > most);
        for wrong in wrong_with(&parsed, raw, is_long) {
            self.house.note_of(&line, wrong);
        }
        if is_long {
            return false;
        }
        for to in &session.to {
            self.arrived.push(Arrived {
                to: to.clone(),
                from: session.from.clone().unwrap_or_default(),
                subject: parsed.subject().unwrap_or_default().to_owned(),
                text: parsed.body_text(0).unwrap_or_default().into_owned(),
                html: parsed.body_html(0).unwrap_or_default().into_owned(),
                id: parsed.message_id().unwrap_or_default().to_owned(),
                in_reply_to: parsed.in_reply_to().as_text().map(str::to_owned),
                headers: headers(&parsed),
                encrypted: session.secure,
                at_ms: now_ms,
            });
        }
        true
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/mails") => {
                Response::json(200, &json!({ "mails": self.arrived })).into()
            }
            ("POST", "/_stage/address") => {
                let code = body["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                self.answer(body["address"].as_str().unwrap_or_default(), code);
                Response::empty(204).into()
            }
            _ => no_such_control(),
        }
    }
}

/// The headers of a mail as they came.
fn headers(mail: &Message<'_>) -> Vec<(String, String)> {
    mail.headers_raw().map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// What a careful server holds against a mail.
fn wrong_with(mail: &Message<'_>, raw: &[u8], is_long: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if is_long {
        wrong.push("a line is longer than SMTP takes".to_owned());
    }
    let is_bare = |at: usize| raw[at] == b'\n' && (at == 0 || raw[at - 1] != b'\r');
    if (0..raw.len()).any(is_bare) {
        wrong.push("a line does not end with CR LF".to_owned());
    }
    let given = headers(mail);
    let value = |wanted: &str| {
        given
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
    };
    for wanted in facts::words(&MAIL["headers"]["wanted"]).filter(|wanted| value(wanted).is_none())
    {
        wrong.push(format!("there is no {wanted}"));
    }
    let automatic = MAIL["headers"]["Auto-Submitted"].as_str();
    if value("Auto-Submitted") != automatic {
        wrong.push(format!("Auto-Submitted is {:?}", value("Auto-Submitted")));
    }
    wrong
}

impl Player for Mailbox {
    fn handle(&mut self, request: &Request, _now_ms: u64) -> Reply {
        self.house.control(request).unwrap_or_else(|| self.control(request))
    }
}

/// One client's talk.
#[derive(Debug, Default)]
struct Session {
    secure: bool,
    /// Whether a certificate is at hand.
    offers_tls: bool,
    signed_in: bool,
    /// The user's name, while the password is still to come.
    asked: Option<Asked>,
    from: Option<String>,
    to: Vec<String>,
}

#[derive(Debug)]
enum Asked {
    User,
    Password(String),
    Plain,
}

/// What follows from a line.
enum Heard {
    Say(&'static str),
    Offers,
    StartTls,
    Data,
    Bye,
}

impl Session {
    fn hear(&mut self, mailbox: &mut Mailbox, line: &str) -> Heard {
        if let Some(asked) = self.asked.take() {
            return self.credential(mailbox, asked, line);
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => Heard::Offers,
            "STARTTLS" if self.offers_tls && !self.secure => Heard::StartTls,
            "AUTH" => self.auth(mailbox, rest),
            "MAIL" if !self.signed_in => Heard::Say("530 5.7.0 Authentication required"),
            "MAIL" => {
                (self.from, self.to) = (Some(address(rest)), vec![]);
                Heard::Say("250 2.1.0 Ok")
            }
            "RCPT" if self.from.is_none() => Heard::Say("503 5.5.1 Need MAIL command"),
            "RCPT" => {
                let heard =
                    mailbox.recipient(self.from.as_deref().unwrap_or_default(), &address(rest));
                if matches!(heard, Heard::Say(words) if words.starts_with("250")) {
                    self.to.push(address(rest));
                }
                heard
            }
            "DATA" if self.to.is_empty() => Heard::Say("503 5.5.1 Need RCPT command"),
            "DATA" if mailbox.faults().limit > 0 => {
                mailbox.faults().limit -= 1;
                Heard::Say("450 4.2.1 Too many messages, try again later")
            }
            "DATA" => Heard::Data,
            "RSET" => {
                (self.from, self.to) = (None, vec![]);
                Heard::Say("250 2.0.0 Ok")
            }
            "NOOP" => Heard::Say("250 2.0.0 Ok"),
            "QUIT" => Heard::Bye,
            _ => Heard::Say("502 5.5.2 Command not recognized"),
        }
    }

    fn auth(&mut self, mailbox: &Mailbox, rest: &str) -> Heard {
        if self.offers_tls && !self.secure {
            return Heard::Say("538 5.7.11 Encryption required");
        }
        match rest.split_once(' ').unwrap_or((rest, "")) {
            (mechanism, "") if mechanism.eq_ignore_ascii_case("LOGIN") => {
                self.asked = Some(Asked::User);
                Heard::Say("334 VXNlcm5hbWU6")
            }
            (mechanism, "") if mechanism.eq_ignore_ascii_case("PLAIN") => {
                self.asked = Some(Asked::Plain);
                Heard::Say("334 ")
            }
            (mechanism, initial) if mechanism.eq_ignore_ascii_case("PLAIN") => {
                self.credential(mailbox, Asked::Plain, initial)
            }
            _ => Heard::Say("504 5.5.4 Unrecognized authentication type"),
        }
    }

    fn credential(&mut self, mailbox: &Mailbox, asked: Asked, line: &str) -> Heard {
        let given = STANDARD.decode(line.trim()).unwrap_or_default();
        let login = match asked {
            Asked::User => {
                self.asked = Some(Asked::Password(String::from_utf8_lossy(&given).into_owned()));
                return Heard::Say("334 UGFzc3dvcmQ6");
            }
            Asked::Password(user) => [b"\0", user.as_bytes(), b"\0", &given].concat(),
            Asked::Plain => given,
        };
        self.signed_in = mailbox.knows(&login);
        Heard::Say(if self.signed_in {
            "235 2.7.0 Authentication successful"
        } else {
            "535 5.7.8 Authentication failed"
        })
    }
}

/// `FROM:<ada@example.com> SIZE=1` → `ada@example.com`.
fn address(rest: &str) -> String {
    let inner = rest
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or(rest, |(inner, _)| inner);
    inner.trim().to_owned()
}

/// A certificate for `localhost` and `127.0.0.1`, and what serves with it.
pub struct Certificate {
    /// The certificate in PEM form, for those who are to trust it.
    pub pem: String,
    acceptor: TlsAcceptor,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new() -> io::Result<Self> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = builder
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .map_err(io::Error::other)?;
        Ok(Self { pem: made.cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// How the talk passes its time.
pub trait Time: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Lets so many milliseconds pass.
    fn pause(&self, ms: u64) -> impl Future<Output = ()> + Send;
}

/// Any stream.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Talks with one client until it goes away.
///
/// # Errors
/// A connection that broke.
pub async fn talk<T: Time>(
    stage: &Stage<Mailbox>,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    certificate: Option<&Certificate>,
    time: &T,
) -> io::Result<()> {
    let mut io: BufReader<Box<dyn Io>> = BufReader::new(Box::new(io));
    let mut session = Session { offers_tls: certificate.is_some(), ..Session::default() };
    let (refused, delay_ms) = {
        let faults = stage.player().faults().clone();
        stage.player().faults().refuse = faults.refuse.saturating_sub(1);
        (faults.refuse > 0, faults.delay_ms)
    };
    time.pause(delay_ms).await;
    if refused {
        return say(&mut io, "421 4.3.2 Service not available, closing transmission channel").await;
    }
    say(&mut io, "220 mail.example ESMTP").await?;
    loop {
        let Some(line) = read_line(&mut io).await? else { return Ok(()) };
        let heard = session.hear(&mut stage.player(), &line);
        match heard {
            Heard::Say(words) => say(&mut io, words).await?,
            Heard::Offers if session.offers_tls && !session.secure => {
                say(&mut io, "250-mail.example\r\n250-8BITMIME\r\n250 STARTTLS").await?
            }
            Heard::Offers => {
                say(&mut io, "250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN").await?
            }
            Heard::StartTls => {
                let Some(certificate) = certificate else { return Ok(()) };
                say(&mut io, "220 2.0.0 Ready to start TLS").await?;
                io = BufReader::new(Box::new(certificate.acceptor.accept(io.into_inner()).await?));
                session = Session { secure: true, offers_tls: true, ..Session::default() };
            }
            Heard::Data => {
                say(&mut io, "354 End data with <CR><LF>.<CR><LF>").await?;
                let Some(raw) = read_mail(&mut io).await? else { return Ok(()) };
                let (taken, dropped) = {
                    let mut mailbox = stage.player();
                    let taken = mailbox.take(&session, &raw, time.now_ms());
                    let lost = mailbox.faults().drop_answers;
                    mailbox.faults().drop_answers = lost.saturating_sub(1);
                    (taken, lost > 0)
                };
                if dropped {
                    return Ok(());
                }
                let said = if taken { "250 2.0.0 Ok: queued" } else { "554 5.6.0 Line too long" };
                say(&mut io, said).await?;
            }
            Heard::Bye => return say(&mut io, "221 2.0.0 Bye").await,
        }
    }
}

async fn say(io: &mut BufReader<Box<dyn Io>>, words: &str) -> io::Result<()> {
    io.get_mut().write_all(format!("{words}\r\n").as_bytes()).await?;
    io.get_mut().flush().await
}

/// The largest mail that is taken.
const LARGEST_MAIL: usize = 10 << 20;

async fn read_line(io: &mut BufReader<Box<dyn Io>>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = io.read_until(b'\n', &mut line).await?;
    Ok((read > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// Everything up to the line with the single point; nothing where the client goes away before.
async fn read_mail(io: &mut BufReader<Box<dyn Io>>) -> io::Result<Option<Vec<u8>>> {
    let mut raw = Vec::new();
    while raw.len() < LARGEST_MAIL {
        let mut line = Vec::new();
        if io.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line == b".\r\n" {
            return Ok(Some(raw));
        }
        raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
