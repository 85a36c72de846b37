//! Which addresses requests may go to. Plain functions on values, so that a table can test them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The public internet.
    Public,
    /// This machine or a private network: only where the installation says so. The word names it.
    Private(&'static str),
    /// Never a place of a receiver. The word names it.
    Never(&'static str),
}

/// Where `ip` leads. Addresses that carry an IPv4 address inside are judged by that one at best.
pub fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        // Clouds serve credentials from these; the last is Alibaba's and Oracle's is 192.0.0.192.
        _ if ip == Ipv4Addr::new(100, 100, 100, 200) => Reach::Never("a metadata service"),
        _ if ip == Ipv4Addr::BROADCAST => Reach::Never("the broadcast address"),
        (0, ..) => Reach::Never("this network"),
        (127, ..) => Reach::Private("loopback"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Reach::Private("a private network"),
        (100, 64..=127, _) => Reach::Private("a shared address space"),
        (169, 254, _) => Reach::Never("link-local"),
        (192, 0, 0) => Reach::Never("reserved for protocols"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Reach::Never("reserved for documentation"),
        (192, 88, 99) => Reach::Never("a 6to4 relay"),
        (198, 18..=19, _) => Reach::Never("reserved for benchmarks"),
        (224..=239, ..) => Reach::Never("multicast"),
        (240..=255, ..) => Reach::Never("reserved"),
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let s = ip.segments();
    if let Some(v4) = ip.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private("loopback"),
        // The metadata services of two clouds live inside the private range.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0x0ce, 0, 0, 0, 0, 0, 0x254] => {
            Reach::Never("a metadata service")
        }
        [0xfc00..=0xfdff, ..] => Reach::Private("a private network"),
        [0xfe80..=0xfebf, ..] => Reach::Never("link-local"),
        [0xfec0..=0xfeff, ..] => Reach::Never("site-local"),
        [0xff00..=0xffff, ..] => Reach::Never("multicast"),
        // Each of these reaches an IPv4 address that is written inside.
        [0, 0, 0, 0, 0, 0, ..] => Reach::Never("an IPv4-compatible address"),
        [0, 0, 0, 0, 0xffff, 0, ..] => Reach::Never("an IPv4-translated address"),
        [0x64, 0xff9b, ..] => Reach::Never("a NAT64 address"),
        [0x2002, ..] => Reach::Never("a 6to4 address"),
        [0x2001, 0, ..] => Reach::Never("a Teredo address"),
        [.., 0x0000 | 0x0200, 0x5efe, _, _] => Reach::Never("an ISATAP address"),
        [0x2001, 0x0001..=0x01ff, ..] => Reach::Never("reserved for protocols"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Reach::Never("reserved for documentation"),
        [0x100, 0, 0, 0 | 1, ..] => Reach::Never("a black hole"),
        [0x5f00, ..] => Reach::Never("reserved for protocols"),
        // Only 2000::/3 is handed out.
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_internet_and_the_rest() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(reach(public.parse().unwrap()), Reach::Public, "{public}");
        }
        for private in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
        ] {
            assert!(matches!(reach(private.parse().unwrap()), Reach::Private(_)), "{private}");
        }
        for never in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::7f00:1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "64:ff9b::808:808",
            "2002:7f00:1::",
            "2001:0:4136:e378::1",
            "2001:db8::1",
            "3fff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "2606::5efe:7f00:1",
            "2606::200:5efe:a00:1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(matches!(reach(never.parse().unwrap()), Reach::Never(_)), "{never}");
        }
    }
}
