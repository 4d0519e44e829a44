//! Compressed bodies, bounded: a small body must not become a large one unseen.

use std::io::Write;

use bytes::Bytes;
use flate2::write::{GzDecoder, ZlibDecoder};

use crate::Error;

/// Decodes a body by its `Content-Encoding`; an unknown one is left as it is.
pub(crate) fn decode(encoding: &str, body: Bytes, limit: usize) -> Result<Bytes, Error> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => drain(&body, limit, GzDecoder::new(Bounded::new(limit)), GzDecoder::finish),
        "deflate" => drain(&body, limit, ZlibDecoder::new(Bounded::new(limit)), ZlibDecoder::finish),
        _ => Ok(body),
    }
}

fn drain<D: Write>(body: &[u8], limit: usize, mut decoder: D, finish: impl FnOnce(D) -> std::io::Result<Bounded>) -> Result<Bytes, Error> {
    let fail = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::FileTooLarge => Error::TooLarge { limit },
        _ => Error::BadAnswer { why: "the compressed body is damaged".into(), sent: true },
    };
    decoder.write_all(body).map_err(fail)?;
    finish(decoder).map(|bounded| Bytes::from(bounded.bytes)).map_err(fail)
}

struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Bounded {
    const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > self.limit {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("in memory");
        Bytes::from(encoder.finish().expect("in memory"))
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_bound() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(decode("gzip", bomb, 1 << 20), Err(Error::TooLarge { limit: 1 << 20 }));
    }

    proptest! {
        #[test]
        fn no_body_panics_or_grows_beyond_its_bound(
            encoding in prop::sample::select(vec!["gzip", "x-gzip", "deflate", " GZIP ", "br", ""]), body in prop::collection::vec(any::<u8>(), 0..300),
            limit in 0_usize..200, genuine: bool
        ) {
            let sent = if genuine { gzip(&body) } else { Bytes::from(body.clone()) };
            let unread = !encoding.to_lowercase().contains("gzip") && encoding != "deflate";
            if let Ok(read) = decode(encoding, sent.clone(), limit) {
                let within = if unread { read == sent } else { read.len() <= limit };
                prop_assert!(within);
            }
        }
    }

    #[test]
    fn a_compressed_body_is_read_and_a_damaged_one_refused() {
        assert_eq!(decode("GZIP", gzip(b"hello"), 100), Ok(Bytes::from_static(b"hello")));
        let damaged = gzip(b"hello").slice(..12);
        assert!(matches!(decode("gzip", damaged, 100), Err(Error::BadAnswer { .. })));
        assert_eq!(decode("br", Bytes::from_static(b"x"), 100), Ok(Bytes::from_static(b"x")));
    }
}
