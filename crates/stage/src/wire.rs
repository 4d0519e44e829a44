//! Requests and replies without any transport.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The method, upper case.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// The query's parameters.
    pub query: Vec<(String, String)>,
    /// The headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request from its parts; the query is cut off the address.
    #[must_use]
    pub fn new(method: &str, target: &str, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { method: method.to_owned(), path: decode(path), query: pairs(query), headers, body }
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the form.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The request line, without the version.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether the `Content-Type` is this one, whatever its parameters.
    #[must_use]
    pub fn is_of_type(&self, wanted: &str) -> bool {
        let given = self.header("content-type").unwrap_or_default();
        let of =
            |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        of(given) == of(wanted)
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as a form.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body))
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
    };
    text.split('&').filter(|p| !p.is_empty()).map(pair).collect()
}

/// A response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    /// The same with a header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// No body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: vec![], body: vec![] }
    }
}

/// A request that a player makes in its turn, or a note to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    /// Where to. Without an address nothing is posted: the player only wakes.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// What the player makes of the answer.
    pub note: String,
    /// How long after the request that led to it, in milliseconds.
    pub after_ms: u64,
    /// How long the player waits for the answer; 0 is [`PATIENCE_MS`].
    pub deadline_ms: u64,
    /// After how long it is sent again, each time that no answer comes in time; the next one first.
    pub repeats_after_ms: Vec<u64>,
}

/// How long a player waits for an answer where its provider names no deadline.
pub const PATIENCE_MS: u64 = 30_000;

impl Callback {
    /// A note to the player itself: it hears of it when the time has come.
    #[must_use]
    pub fn wake(note: impl Into<String>, after_ms: u64) -> Self {
        Self { note: note.into(), after_ms, ..Self::default() }
    }

    /// Whether nothing is posted.
    #[must_use]
    pub const fn is_wake(&self) -> bool {
        self.url.is_empty()
    }

    /// How long the player waits for the answer.
    #[must_use]
    pub const fn patience_ms(&self) -> u64 {
        if self.deadline_ms == 0 { PATIENCE_MS } else { self.deadline_ms }
    }

    /// The same once more: the same identifiers, the same body. Nothing when it was sent often
    /// enough.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        let (next, later) = self.repeats_after_ms.split_first()?;
        Some(Self { after_ms: *next, repeats_after_ms: later.to_vec(), ..self.clone() })
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as a form.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&self.body)
    }
}

/// What became of a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was answered in time.
    Given {
        /// The status.
        status: u16,
        /// The `Content-Type`; empty where there is none.
        content_type: String,
        /// The body.
        body: String,
    },
    /// No answer came in time: nobody listened, the answer was lost, or it was late.
    None,
    /// It was a note to the player itself, and its time has come.
    Due,
}

impl Answer {
    /// An answer with a body of this type.
    #[must_use]
    pub fn given(status: u16, content_type: &str, body: &str) -> Self {
        Self::Given { status, content_type: content_type.to_owned(), body: body.to_owned() }
    }
}

/// What a player does on a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The response.
    pub response: Response,
    /// How long it takes, in milliseconds.
    pub delay_ms: u64,
    /// Whether the connection breaks in place of a response. The request had its effect all the
    /// same.
    pub dropped: bool,
    /// What the player sends out afterwards.
    pub callbacks: Vec<Callback>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self { response, ..Self::default() }
    }
}

/// Somebody on the stage.
pub trait Player: Send + 'static {
    /// Answers a request; `now_ms` is the time since 1970 in milliseconds.
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply;

    /// Hears what became of a callback; what it sends out next is returned, a repeat for one.
    fn answered(&mut self, callback: &Callback, answer: &Answer, _now_ms: u64) -> Vec<Callback> {
        match answer {
            Answer::None => callback.again().into_iter().collect(),
            Answer::Given { .. } | Answer::Due => vec![],
        }
    }
}
