//! Which addresses may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: u128,
    bits: u8,
    v4: bool,
}

/// A text that is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of addresses; write 127.0.0.1/32 or fd00::/8")]
pub struct NotACidr(String);

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let fail = || NotACidr(text.chars().take(60).collect());
        let (addr, bits) = text.split_once('/').map_or((text, None), |(addr, bits)| (addr, Some(bits)));
        let addr: IpAddr = addr.trim().parse().map_err(|_| fail())?;
        let (base, v4, most) = match addr {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), true, 32),
            IpAddr::V6(v6) => (u128::from(v6), false, 128),
        };
        let bits = bits.map_or(Ok(most), |bits| bits.trim().parse().map_err(|_| fail()))?;
        if bits > most {
            return Err(fail());
        }
        Ok(Self { base, bits, v4 })
    }
}

impl Cidr {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        let (value, width) = match (addr, self.v4) {
            (IpAddr::V4(v4), true) => (u128::from(u32::from(v4)), 32),
            (IpAddr::V6(v6), false) => (u128::from(v6), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.bits);
        self.bits == 0 || value.checked_shr(shift) == self.base.checked_shr(shift)
    }
}

/// What a caller may reach. Public addresses always; internal ones only where they were allowed on purpose; the
/// addresses at which clouds hand out credentials never.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    allow: Vec<Cidr>,
    private: bool,
}

impl Guard {
    /// Public addresses and these ranges.
    #[must_use]
    pub const fn allowing(allow: Vec<Cidr>) -> Self {
        Self { allow, private: false }
    }

    /// Public addresses, loopback and private ranges: for a test that a person runs by hand.
    #[must_use]
    pub const fn with_private() -> Self {
        Self { allow: vec![], private: true }
    }

    /// Whether `addr` may be called.
    #[must_use]
    pub fn permits(&self, addr: IpAddr) -> bool {
        let addr = unwrapped(addr);
        if is_metadata(addr) {
            return false;
        }
        !is_internal(addr) || self.private || self.allow.iter().any(|range| range.contains(addr))
    }
}

/// An IPv4 address that an IPv6 address stands for (mapped, or behind NAT64), so that it cannot hide.
fn unwrapped(addr: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = addr else { return addr };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => addr,
    }
}

/// Whether no guard ever permits `addr`: clouds hand out credentials there.
#[must_use]
pub fn is_never_permitted(addr: IpAddr) -> bool {
    is_metadata(unwrapped(addr))
}

/// Where clouds hand out credentials: AWS, GCP, Azure and others; AWS over IPv6; Alibaba.
fn is_metadata(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => [[169, 254, 169, 254], [169, 254, 170, 2], [100, 100, 100, 200]].contains(&v4.octets()),
        IpAddr::V6(v6) => v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    }
}

/// Addresses that are not on the public internet (RFC 6890 and its successors).
fn is_internal(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (b == 18 || b == 19))
                || (a == 192 && b == 0 && c == 0)
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || (first & 0xfe00) == 0xfc00 || (first & 0xffc0) == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn internal_addresses_are_refused_in_every_disguise() {
        let guard = Guard::default();
        for addr in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "::7f00:1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
        ] {
            assert!(!guard.permits(ip(addr)), "{addr}");
        }
        for addr in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(guard.permits(ip(addr)), "{addr}");
        }
    }

    #[test]
    fn a_range_allows_what_it_contains_and_nothing_else() {
        let guard = Guard::allowing(vec!["127.0.0.0/8".parse().expect("a range"), "fd00::/8".parse().expect("a range")]);
        assert!(guard.permits(ip("127.1.2.3")) && guard.permits(ip("::ffff:127.0.0.1")) && guard.permits(ip("fd12::1")));
        assert!(!guard.permits(ip("10.0.0.1")) && !guard.permits(ip("::1")));
    }

    #[test]
    fn metadata_addresses_are_never_allowed() {
        let everything = Guard::allowing(vec!["0.0.0.0/0".parse().expect("a range"), "::/0".parse().expect("a range")]);
        for guard in [everything, Guard::with_private()] {
            for addr in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"] {
                assert!(!guard.permits(ip(addr)), "{addr}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_of_ranges_panic(text in "\\PC{0,40}|[0-9a-f:.]{0,40}(/[0-9]{0,4})?") {
            if let Ok(range) = text.parse::<Cidr>() {
                let guard = Guard::allowing(vec![range]);
                prop_assert!(!guard.permits(ip("169.254.169.254")));
            }
        }

        #[test]
        fn a_range_contains_its_own_addresses(bytes: [u8; 4], bits in 0_u8..=32, host: u32) {
            let base = u32::from_be_bytes(bytes);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let range: Cidr = format!("{}/{bits}", Ipv4Addr::from(base)).parse().expect("a range");
            let inside = (base & mask) | (host & !mask);
            prop_assert!(range.contains(IpAddr::V4(Ipv4Addr::from(inside))));
            let outside = inside ^ (1 << 31);
            prop_assert!(bits == 0 || !range.contains(IpAddr::V4(Ipv4Addr::from(outside))));
        }
    }

    #[test]
    fn a_text_that_is_no_range_is_refused() {
        for text in ["", "127.0.0.1/33", "x/8", "127.0.0.1/-1", "::/129"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
