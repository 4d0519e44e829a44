//! Failed attempts at passwords, so that nobody guesses for long. They are forgotten with the process, and bound nothing but
//! passwords: paging goes its own ways.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use allclear_domain::{Span, Timestamp};
use sha2::{Digest, Sha256};

/// Failed attempts at one account from one place within [`WINDOW`], after which even the right password has to wait there.
/// Whoever knows the address of somebody else locks nobody out but themselves.
const MOST_AT_AN_ACCOUNT: usize = 10;

/// Failed attempts from one place at whatever accounts.
const MOST_FROM_A_PLACE: usize = 100;

const WINDOW: Span = Span::from_mins(15);

/// Pairs of a place and an account that are remembered; the one that was quiet for longest is forgotten first.
const MOST_REMEMBERED: usize = 10_000;

type Key = [u8; 32];

/// The attempts of the last quarter of an hour.
#[derive(Clone, Default)]
pub(crate) struct Attempts(Arc<Mutex<BTreeMap<Key, Vec<Timestamp>>>>);

impl Attempts {
    /// Counts a failed attempt. `place` is nothing where it is not known, or does not matter.
    pub(super) fn failed(&self, place: Option<IpAddr>, account: &str, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, times| times.last().is_some_and(|last| last.plus(WINDOW) > now));
        for key in keys(place, account).into_iter().flatten() {
            if all.len() >= MOST_REMEMBERED && !all.contains_key(&key) {
                let quietest = all.iter().min_by_key(|(_, times)| times.last().copied()).map(|(key, _)| *key);
                quietest.map(|key| all.remove(&key));
            }
            let times = all.entry(key).or_default();
            times.retain(|at| at.plus(WINDOW) > now);
            // What is over the bound needs no counting: that it is, is known.
            if times.len() > MOST_FROM_A_PLACE {
                times.remove(0);
            }
            times.push(now);
        }
    }

    pub(super) fn too_many(&self, place: Option<IpAddr>, account: &str, now: Timestamp) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |key: &Key| all.get(key).map_or(0, |times| times.iter().filter(|at| at.plus(WINDOW) > now).count());
        let [at_account, from_place] = keys(place, account);
        at_account.is_some_and(|key| recent(&key) >= MOST_AT_AN_ACCOUNT) || from_place.is_some_and(|key| recent(&key) >= MOST_FROM_A_PLACE)
    }
}

/// The account as it is tried from a place, and the place.
fn keys(place: Option<IpAddr>, account: &str) -> [Option<Key>; 2] {
    let place = place.map(network);
    let digest = |what: &str, account: &str| {
        let mut digest = Sha256::new();
        digest.update(format!("{what}\0{place:?}\0"));
        digest.update(account.to_lowercase());
        digest.finalize().into()
    };
    [Some(digest("account", account)), place.map(|_| digest("place", ""))]
}

/// Whoever has an address of IPv6 has the half of all addresses that begin like it.
fn network(addr: IpAddr) -> IpAddr {
    const FIRST_HALF: u128 = !0 << 64;
    match addr.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & FIRST_HALF).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Timestamp = Timestamp(1_774_699_200_000_000);

    fn place(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn ten_failures_close_an_account_to_their_place_for_a_quarter_of_an_hour_and_to_no_other() {
        let (attempts, here) = (Attempts::default(), place("198.51.100.1"));
        for _ in 0..MOST_AT_AN_ACCOUNT {
            assert!(!attempts.too_many(here, "ada@synq.example", NOW));
            attempts.failed(here, "Ada@synq.example", NOW);
        }
        assert!(attempts.too_many(here, "ada@synq.example", NOW));
        assert!(!attempts.too_many(here, "ben@synq.example", NOW));
        assert!(!attempts.too_many(place("198.51.100.2"), "ada@synq.example", NOW), "Ada herself is elsewhere");
        assert!(!attempts.too_many(here, "ada@synq.example", NOW.plus(WINDOW)));
    }

    #[test]
    fn whoever_tries_many_accounts_is_stopped_and_so_is_the_network_that_they_have() {
        let attempts = Attempts::default();
        for n in 0..MOST_FROM_A_PLACE {
            attempts.failed(place(&format!("2001:db8::{n:x}")), &format!("{n}@synq.example"), NOW);
        }
        assert!(attempts.too_many(place("2001:db8::ffff"), "ada@synq.example", NOW));
        assert!(!attempts.too_many(place("2001:db8:0:1::1"), "ada@synq.example", NOW));
    }

    #[test]
    fn a_flood_of_attempts_is_bounded_in_memory_and_locks_nobody_out() {
        let attempts = Attempts::default();
        for n in 0..6_000_u32 {
            attempts.failed(Some(IpAddr::V4(Ipv4Addr::from(n))), "ada@synq.example", Timestamp(NOW.0 + i64::from(n)));
        }
        for _ in 0..1_000 {
            attempts.failed(place("203.0.113.9"), "ada@synq.example", NOW.plus(Span::from_secs(1)));
        }
        let all = attempts.0.lock().expect("a lock");
        assert!(all.len() <= MOST_REMEMBERED && all.values().all(|times| times.len() <= MOST_FROM_A_PLACE + 1));
        drop(all);
        assert!(!attempts.too_many(place("198.51.100.1"), "ada@synq.example", NOW.plus(Span::from_secs(2))));
    }
}
