//! A way to a PostgreSQL server that can be shut after any statement: a transaction stands still between two of its
//! statements for as long as the gate is shut, with everything that it has locked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};

/// The way. Each connection through it is counted alike; there is one at a time that matters.
pub(super) struct Gate {
    addr: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    /// Statements that have passed since the gate was last set.
    passed: usize,
    /// How many may pass; more wait.
    may_pass: Option<usize>,
    /// Whether one waits.
    holds: bool,
}

impl Gate {
    /// A gate before `server`; open at first.
    #[expect(clippy::disallowed_methods, reason = "the harness stands between the product and its database")]
    pub(super) fn before(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (addr, state) = (listener.local_addr()?, Arc::<(Mutex<State>, Condvar)>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (Ok(server), state) = (TcpStream::connect(server), Arc::clone(&shared)) else { continue };
                let (Ok(from), Ok(to)) = (server.try_clone(), client.try_clone()) else { continue };
                std::thread::spawn(move || back(from, to));
                // A connection that ends is an end like any other.
                std::thread::spawn(move || forth(client, server, &state).ok());
            }
        });
        Ok(Self { addr, state })
    }

    /// Where it listens.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `statements` pass and holds the next one.
    pub(super) fn shut_after(&self, statements: usize) {
        *self.lock() = State { passed: 0, may_pass: Some(statements), holds: false };
    }

    /// Lets everything pass.
    pub(super) fn open(&self) {
        self.lock().may_pass = None;
        self.state.1.notify_all();
    }

    /// Whether a statement waits.
    pub(super) fn holds(&self) -> bool {
        self.lock().holds
    }

    /// How many statements have passed since the gate was set.
    pub(super) fn passed(&self) -> usize {
        self.lock().passed
    }
}

/// The server's answers pass as they come.
fn back(mut from: TcpStream, mut to: TcpStream) {
    // When one side is gone, so is the other.
    let _ended = std::io::copy(&mut from, &mut to);
    let _gone = to.shutdown(Shutdown::Both);
}

/// Messages of the client, one by one (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
fn forth(mut client: TcpStream, mut server: TcpStream, state: &(Mutex<State>, Condvar)) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // The first message has no type.
    let first = message(&mut client, 0)?;
    server.write_all(&first)?;
    loop {
        let next = message(&mut client, 1)?;
        // A statement is an `Execute` or a simple `Query`; what prepares it counts as part of it.
        if matches!(next[0], b'E' | b'Q') {
            pass(state);
        }
        server.write_all(&next)?;
    }
}

fn message(from: &mut TcpStream, type_bytes: usize) -> anyhow::Result<Vec<u8>> {
    const LONGEST: usize = 16 << 20;
    let mut whole = vec![0; type_bytes + 4];
    from.read_exact(&mut whole)?;
    let length = whole[type_bytes..].try_into().map(u32::from_be_bytes).context("a length has four bytes")?;
    let rest = usize::try_from(length)?.saturating_sub(4);
    if rest > LONGEST {
        bail!("a message of {rest} bytes");
    }
    let begun = whole.len();
    whole.resize(begun + rest, 0);
    from.read_exact(&mut whole[begun..])?;
    Ok(whole)
}

fn pass((state, changed): &(Mutex<State>, Condvar)) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    while state.may_pass.is_some_and(|most| state.passed >= most) {
        state.holds = true;
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.holds = false;
    state.passed += 1;
}
