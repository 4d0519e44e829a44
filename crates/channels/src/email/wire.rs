//! The way to a mail server: STARTTLS before the talk begins, so that TLS is `egress`'s and nothing else's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use allclear_egress::{Error, Io};
use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};

/// The longest line of a reply: RFC 5321 allows 512 octets, real servers a little more.
const LONGEST_LINE: u64 = 4 * 1024;

/// Lines of a reply, at most.
const MOST_LINES: usize = 100;

/// Greets a server and asks it for TLS; the stream on which the handshake is to begin, or nothing if it does not offer TLS.
/// What it sends unasked before the handshake is refused: it would be taken for a part of the encrypted talk.
pub(super) async fn ask_for_tls(stream: Box<dyn Io>, domain: &str) -> Result<Option<Box<dyn Io>>, Error> {
    let mut stream = BufReader::new(stream);
    expect(&read_reply(&mut stream).await?, "220")?;
    say(&mut stream, &format!("EHLO {domain}")).await?;
    let offers = read_reply(&mut stream).await?;
    expect(&offers, "250")?;
    if !offers.iter().any(|line| line.get(4..).is_some_and(|offer| offer.trim().eq_ignore_ascii_case("STARTTLS"))) {
        return Ok(None);
    }
    say(&mut stream, "STARTTLS").await?;
    expect(&read_reply(&mut stream).await?, "220")?;
    if !stream.buffer().is_empty() {
        return Err(bad("it said more than it was asked before TLS began".into()));
    }
    Ok(Some(stream.into_inner()))
}

async fn say(stream: &mut BufReader<Box<dyn Io>>, line: &str) -> Result<(), Error> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.map_err(|e| bad(e.to_string()))
}

/// The lines of a reply: all but the last have a hyphen after the code.
async fn read_reply(stream: &mut BufReader<Box<dyn Io>>) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    while lines.len() < MOST_LINES {
        let mut line = Vec::new();
        let read = stream.take(LONGEST_LINE).read_until(b'\n', &mut line).await.map_err(|e| bad(e.to_string()))?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Err(bad("it hung up, or does not speak SMTP".into()));
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let is_last = line.as_bytes().get(3) != Some(&b'-');
        lines.push(line);
        if is_last {
            return Ok(lines);
        }
    }
    Err(bad("its reply does not end".into()))
}

fn expect(reply: &[String], code: &str) -> Result<(), Error> {
    let last = reply.last().map_or("", String::as_str);
    if last.starts_with(code) { Ok(()) } else { Err(bad(format!("it said {:?}", last.chars().take(200).collect::<String>()))) }
}

fn bad(why: String) -> Error {
    Error::BadAnswer { why: format!("the mail server: {why}"), sent: false }
}

/// A stream as one whose server has yet to greet: after STARTTLS it does not greet again, but every talk begins with a
/// greeting.
pub(super) fn after_greeting(stream: Box<dyn Io>) -> Box<dyn Io> {
    let (read, write) = tokio::io::split(stream);
    let greeting: &[u8] = b"220 ready\r\n";
    Box::new(tokio::io::join(greeting.chain(read), write))
}

/// A stream in lettre's form.
pub(super) struct Stream {
    io: Box<dyn Io>,
    /// Bytes that may still come.
    left: usize,
}

/// What a server may say in all: a hundred times what a talk needs.
const MOST_BYTES: usize = 256 * 1024;

impl Stream {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self { io, left: MOST_BYTES }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stream to a mail server")
    }
}

impl AsyncTokioStream for Stream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        if came > self.left {
            return Poll::Ready(Err(io::Error::other("the mail server says more than it is asked")));
        }
        self.left -= came;
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    /// Talks to a server that says `script` whatever it hears.
    fn asked(script: &[u8]) -> Result<bool, String> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        block_on(async {
            theirs.write_all(script).await.map_err(|e| e.to_string())?;
            theirs.shutdown().await.map_err(|e| e.to_string())?;
            ask_for_tls(Box::new(ours), "allclear.example").await.map(|stream| stream.is_some()).map_err(|e| e.to_string())
        })
    }

    #[test]
    fn a_server_that_offers_tls_is_asked_for_it() {
        assert_eq!(asked(b"220 mx\r\n250-mx\r\n250-STARTTLS\r\n250 8BITMIME\r\n220 go\r\n"), Ok(true));
        assert_eq!(asked(b"220 mx\r\n250-mx\r\n250 8BITMIME\r\n"), Ok(false));
    }

    #[test]
    fn words_slipped_in_before_tls_are_refused() {
        let slipped = asked(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n250 all is well\r\n");
        assert!(slipped.as_ref().is_err_and(|why| why.contains("more than it was asked")), "{slipped:?}");
    }

    proptest::proptest! {
        #[test]
        fn no_server_makes_the_greeting_panic_or_go_on_for_ever(
            script in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::Just(b"220 mx\r\n".to_vec()), proptest::prelude::Just(b"250-STARTTLS\r\n".to_vec()),
                proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            ], 0..12)
        ) {
            let _asked = asked(&script.concat());
        }
    }
}
