//! Whether this machine's resolver answers: a question over UDP that no cache can answer, to the servers that the system
//! names (RFC 1035).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use allclear_base::{Clock, OsRng, Rng, clock};
use tokio::net::UdpSocket;

/// Where the system names its resolvers.
const SETTINGS: &str = "/etc/resolv.conf";

/// Servers that the system itself asks; see resolv.conf(5).
const MOST_SERVERS: usize = 3;

/// Whether any of the system's resolvers answers within `timeout`; nothing where the system names none.
pub(crate) async fn answers(clock: &dyn Clock, timeout: Duration) -> Option<bool> {
    let settings = std::fs::read_to_string(SETTINGS).unwrap_or_default();
    let servers = servers(&settings);
    if servers.is_empty() {
        return None;
    }
    let deadline = clock.now_us().saturating_add(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX));
    let asked = servers.into_iter().map(|server| Box::pin(asked(server)));
    let any = futures::future::select_ok(asked);
    Some(matches!(clock::timeout_at(clock, deadline, any).await, Ok(Ok(_))))
}

/// Asks one server; an error where it says that it cannot find out.
async fn asked(server: SocketAddr) -> std::io::Result<()> {
    let ours: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(ours, 0)).await?;
    socket.connect(server).await?;
    let number = OsRng.next_u64();
    socket.send(&question(number)).await?;
    let mut buffer = [0; 512];
    loop {
        let n = socket.recv(&mut buffer).await?;
        match found_out(number, &buffer[..n]) {
            Some(true) => return Ok(()),
            Some(false) => return Err(std::io::Error::other("the resolver cannot find out")),
            None => {}
        }
    }
}

/// The servers of `resolv.conf`.
fn servers(settings: &str) -> Vec<SocketAddr> {
    let named = settings.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = named.filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    addresses.take(MOST_SERVERS).map(|addr| SocketAddr::new(addr, 53)).collect()
}

/// A question for the address of a name below `example.com` (reserved by RFC 2606) that nobody asked for before.
fn question(number: u64) -> Vec<u8> {
    let mut message = number.to_be_bytes()[..2].to_vec();
    // A standard query, recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [format!("{number:016x}").as_str(), "example", "com"] {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.as_bytes());
    }
    // The root; type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// Whether an answer says that the resolver reached others: that the name exists, or that it does not. Nothing where it is
/// no answer to our question.
fn found_out(number: u64, answer: &[u8]) -> Option<bool> {
    let (id, flags) = (answer.get(..2)?, answer.get(2..4)?);
    if id != &number.to_be_bytes()[..2] || flags[0] & 0x80 == 0 {
        return None;
    }
    Some(matches!(flags[1] & 0x0f, 0 | 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_systems_resolvers_are_read_as_the_system_reads_them() {
        let settings = "# a comment\nnameserver 10.0.0.2\n  nameserver\tfd00::1  # ours\nsearch example.com\nnameserver nonsense\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n";
        let found: Vec<String> = servers(settings).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2:53", "[fd00::1]:53", "1.1.1.1:53"]);
    }

    #[test]
    fn an_answer_counts_where_the_resolver_found_out() {
        let answer = |flags: [u8; 2]| [&7_u64.rotate_right(16).to_be_bytes()[..2], &flags, &[0; 8]].concat();
        let number = 7_u64.rotate_right(16);
        assert_eq!(found_out(number, &answer([0x81, 0x80])), Some(true), "it exists");
        assert_eq!(found_out(number, &answer([0x81, 0x83])), Some(true), "it does not exist");
        assert_eq!(found_out(number, &answer([0x81, 0x82])), Some(false), "a failure upstream");
        assert_eq!(found_out(number, &answer([0x01, 0x80])), None, "a question");
        assert_eq!(found_out(1, &answer([0x81, 0x80])), None, "an answer to somebody else");
    }

    proptest! {
        #[test]
        fn no_settings_and_no_answer_make_the_reader_panic(text in "(nameserver )?\\PC{0,60}", number: u64, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _servers = servers(&text);
            let _found = found_out(number, &bytes);
        }
    }
}
