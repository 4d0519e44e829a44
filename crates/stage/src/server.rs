//! The HTTP skin: a player on a socket, or on a pipe in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::mailbox::{self, Certificate, Mailbox};
use crate::wire::{Answer, Callback, Player, Request};

/// The largest body that a player reads.
const LARGEST_BODY: usize = 16 << 20;

/// A player that several connections share. Cheap to clone.
pub struct Stage<P> {
    player: Arc<Mutex<P>>,
}

impl<P> Clone for Stage<P> {
    fn clone(&self) -> Self {
        Self { player: Arc::clone(&self.player) }
    }
}

/// A connection that breaks on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the player drops the connection")]
struct Dropped;

impl<P: Player> Stage<P> {
    /// Puts a player on the stage.
    #[must_use]
    pub fn new(player: P) -> Self {
        Self { player: Arc::new(Mutex::new(player)) }
    }

    /// The player itself.
    pub fn player(&self) -> MutexGuard<'_, P> {
        self.player.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves every connection until the task ends.
    #[expect(
        clippy::disallowed_methods,
        reason = "the stage is the outside world: it has tasks of its own"
    )]
    pub async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let stage = self.clone();
            tokio::spawn(async move { stage.serve_connection(stream).await });
        }
    }

    /// Serves one connection with the machine's clock and real waits.
    async fn serve_connection(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request| self.answer(request));
        // A client that goes away, or a connection that breaks on purpose, is no error of the
        // stage.
        let _ended = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(io), service)
            .await;
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the stage is the outside world: it has time and tasks of its own"
    )]
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Dropped> {
        let request = read(request).await?;
        let reply = self.player().handle(&request, now_ms());
        self.send_out(reply.callbacks);
        if reply.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(reply.delay_ms)).await;
        }
        if reply.dropped {
            return Err(Dropped);
        }
        Ok(to_hyper(&reply.response))
    }

    /// Sends callbacks when their time comes, each by itself: one that is not answered holds up no
    /// other.
    #[expect(
        clippy::disallowed_methods,
        reason = "the stage is the outside world: it has tasks of its own"
    )]
    fn send_out(&self, callbacks: Vec<Callback>) {
        for callback in callbacks {
            let stage = self.clone();
            tokio::spawn(async move { stage.call_back(&callback).await });
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the stage is the outside world: it has time of its own"
    )]
    async fn call_back(&self, callback: &Callback) {
        tokio::time::sleep(Duration::from_millis(callback.after_ms)).await;
        let patience = Duration::from_millis(callback.patience_ms());
        let answer = match callback.is_wake() {
            true => Answer::Due,
            false => match tokio::time::timeout(patience, post(callback)).await {
                Ok(Some(given)) => given,
                Ok(None) | Err(_) => Answer::None,
            },
        };
        let next = self.player().answered(callback, &answer, now_ms());
        self.send_out(next);
    }
}

impl Stage<Mailbox> {
    /// Takes mail on every connection until the task ends.
    #[expect(
        clippy::disallowed_methods,
        reason = "the stage is the outside world: it has tasks of its own"
    )]
    pub async fn serve_mail(self, listener: TcpListener, certificate: Option<Certificate>) {
        let certificate = Arc::new(certificate);
        while let Ok((stream, _)) = listener.accept().await {
            let (stage, certificate) = (self.clone(), Arc::clone(&certificate));
            tokio::spawn(async move {
                // A client that goes away is no error of the stage.
                let _ended =
                    mailbox::talk(&stage, stream, Option::as_ref(&certificate), &Machine).await;
            });
        }
    }
}

/// The machine's time.
struct Machine;

impl mailbox::Time for Machine {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the stage is the outside world: it has time of its own"
    )]
    async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// A response in hyper's form.
#[must_use]
pub fn to_hyper(response: &crate::Response) -> hyper::Response<Full<Bytes>> {
    let mut built = hyper::Response::new(Full::new(Bytes::from(response.body.clone())));
    *built.status_mut() = hyper::StatusCode::from_u16(response.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) =
            (hyper::header::HeaderName::try_from(name), hyper::header::HeaderValue::try_from(value))
        {
            built.headers_mut().append(name, value);
        }
    }
    built
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, Dropped> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| Dropped)?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Request::new(
        parts.method.as_str(),
        target,
        parts.headers.iter().map(header).collect(),
        body.to_vec(),
    ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stage is the outside world: it has time of its own"
)]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

/// Posts a callback; nothing where nobody answers.
#[expect(
    clippy::disallowed_methods,
    reason = "the stage is the outside world: it has sockets of its own"
)]
async fn post(callback: &Callback) -> Option<Answer> {
    let uri: hyper::Uri = callback.url.parse().ok()?;
    let stream = TcpStream::connect((uri.host()?, uri.port_u16().unwrap_or(80))).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let mut request = hyper::Request::post(uri.path_and_query()?.as_str())
        .header("host", uri.authority()?.as_str());
    for (name, value) in &callback.headers {
        request = request.header(name, value);
    }
    let response = sender
        .send_request(request.body(Full::new(Bytes::from(callback.body.clone()))).ok()?)
        .await
        .ok()?;
    let status = response.status().as_u16();
    let given = response.headers().get(hyper::header::CONTENT_TYPE);
    let content_type = given.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await.ok()?.to_bytes();
    Some(Answer::Given { status, content_type, body: String::from_utf8_lossy(&body).into_owned() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;
    use crate::wire::{Reply, Response};

    /// Calls back once for each request, and tells what came of it.
    struct Caller {
        url: String,
        heard: mpsc::UnboundedSender<(Answer, usize)>,
    }

    impl Player for Caller {
        fn handle(&mut self, _request: &Request, _now_ms: u64) -> Reply {
            let callback = Callback {
                url: self.url.clone(),
                body: "the same".into(),
                deadline_ms: 5_000,
                repeats_after_ms: vec![1, 1],
                ..Callback::default()
            };
            Reply {
                callbacks: vec![callback, Callback::wake("w", 1)],
                ..Response::empty(204).into()
            }
        }

        fn answered(
            &mut self,
            callback: &Callback,
            answer: &Answer,
            _now_ms: u64,
        ) -> Vec<Callback> {
            self.heard.send((answer.clone(), callback.repeats_after_ms.len())).expect("a listener");
            if *answer == Answer::None { callback.again().into_iter().collect() } else { vec![] }
        }
    }

    /// Reads one request whole.
    async fn request(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("the same") {
            let mut part = [0; 512];
            let read = stream.read(&mut part).await.expect("a request");
            text.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        text
    }

    #[tokio::test]
    async fn a_callback_whose_answer_is_lost_is_sent_again_and_its_answer_is_heard() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (heard, mut hears) = mpsc::unbounded_channel();
        let stage = Stage::new(Caller { url, heard });
        let reply = stage.player().handle(&Request::default(), 0);
        stage.send_out(reply.callbacks);
        let mut texts = Vec::new();
        for answer in
            ["", "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 2\r\n\r\nok"]
        {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            texts.push(request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.expect("an answer");
        }
        assert_eq!(texts[0], texts[1], "the same identifiers and the same body");
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(hears.recv().await.expect("an outcome"));
        }
        assert!(all.contains(&(Answer::None, 2)) && all.contains(&(Answer::Due, 0)), "{all:?}");
        assert!(all.contains(&(Answer::given(200, "text/xml", "ok"), 1)), "{all:?}");
    }
}
