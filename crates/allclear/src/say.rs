//! What a command says on its standard output.

use std::io::{self, ErrorKind, Write};

/// Writes text out. A reader who has gone, as `head` does, wants no more of it: that is no error.
///
/// # Errors
/// An output that cannot be written to.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
