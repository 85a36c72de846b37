//! Address ranges of clusters: which are allowed, and the next free one of the pools. Rules on values only.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use reeve_types::{Error, Result};

/// First octets that a range may not start with.
const FORBIDDEN_FIRST: [u8; 9] = [0, 10, 127, 169, 172, 192, 224, 240, 255];
/// Addresses of a range that nodes do not get: two reservations of ten.
const RESERVED: i64 = 20;

/// Reads a range given by a user.
///
/// # Errors
/// Invalid on `ipv4_range`, with the rule that it breaks.
pub fn parse(text: &str) -> Result<Ipv4Net> {
    parse_as(text, "ipv4_range")
}

/// As [`parse`], for a range that stands in `field`.
///
/// # Errors
/// Invalid on `field`, with the rule that it breaks.
pub fn parse_as(text: &str, field: &str) -> Result<Ipv4Net> {
    let wrong = |problem: String| Err(Error::invalid(field, problem));
    let Ok(net) = text.parse::<Ipv4Net>() else {
        return wrong("is not an IPv4 range in CIDR notation, as 100.64.1.0/24".into());
    };
    if FORBIDDEN_FIRST.contains(&net.addr().octets()[0]) {
        return wrong(format!("must not start with {}; take one from 100.64.0.0/10", net.addr().octets()[0]));
    }
    if net.prefix_len() > 30 {
        return wrong("prefix must be at most 30".into());
    }
    if net.addr() != net.network() {
        return wrong(format!("has host bits set; the range is {}", net.trunc()));
    }
    Ok(net)
}

/// First and last address as numbers.
pub fn bounds(net: &Ipv4Net) -> (i64, i64) {
    (i64::from(u32::from(net.network())), i64::from(u32::from(net.broadcast())))
}

/// Most nodes in a range.
pub fn capacity(net: &Ipv4Net) -> i64 {
    (1i64 << (32 - u32::from(net.prefix_len()))) - RESERVED
}

/// The prefix length of the smallest range that holds so many nodes; 32 when nothing is said.
pub fn prefix_for(limit: Option<i64>) -> u8 {
    let Some(limit) = limit else { return 32 };
    (0..=32u8).rev().find(|prefix| (1i64 << (32 - prefix)) - RESERVED >= limit).unwrap_or(0)
}

/// Checks a node limit against the range.
///
/// # Errors
/// Invalid on `node_limit`.
pub fn check_limit(net: &Ipv4Net, limit: Option<i64>) -> Result<()> {
    match limit {
        Some(limit) if limit > capacity(net) => {
            Err(Error::invalid("node_limit", format!("must be at most {} in the range {net}", capacity(net).max(0))))
        }
        Some(_) | None => Ok(()),
    }
}

/// The first block of `prefix` in `pool` that shares no address with `taken` (ascending, as numbers).
pub fn next_free(pool: &Ipv4Net, prefix: u8, taken: &[(i64, i64)]) -> Option<Ipv4Net> {
    if prefix < pool.prefix_len() || prefix > 30 {
        return None;
    }
    let size = 1i64 << (32 - u32::from(prefix));
    let (mut start, end) = bounds(pool);
    for (first, last) in taken {
        if *last < start {
            continue;
        }
        if *first > start + size - 1 {
            break;
        }
        // The first block boundary after this range.
        start = (last + 1 + size - 1).div_euclid(size) * size;
    }
    if start + size - 1 > end {
        return None;
    }
    let address = Ipv4Addr::from(u32::try_from(start).ok()?);
    Ipv4Net::new(address, prefix).ok()
}

/// The last block of `prefix` in `pool` that shares no address with `taken`, which is sorted on the way.
pub fn last_free(pool: &Ipv4Net, prefix: u8, taken: &mut [(i64, i64)]) -> Option<Ipv4Net> {
    if prefix < pool.prefix_len() || prefix > 30 {
        return None;
    }
    let size = 1i64 << (32 - u32::from(prefix));
    let (lowest, end) = bounds(pool);
    let mut start = end + 1 - size;
    taken.sort_unstable_by_key(|(_, last)| std::cmp::Reverse(*last));
    for (first, last) in taken.iter() {
        if *last < start {
            break;
        }
        if *first < start + size {
            // The last block boundary that leaves this range above it.
            start = (first - size).div_euclid(size) * size;
        }
    }
    let address = u32::try_from(start).ok().filter(|_| start >= lowest)?;
    Ipv4Net::new(Ipv4Addr::from(address), prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_free_block_skips_what_is_taken() {
        let pool = net("100.64.0.0/10");
        let taken: Vec<_> = ["100.64.0.0/24", "100.64.1.128/25", "100.64.3.0/24"].map(|t| bounds(&net(t))).to_vec();
        assert_eq!(next_free(&pool, 24, &[]), Some(net("100.64.0.0/24")));
        assert_eq!(next_free(&pool, 24, &taken), Some(net("100.64.2.0/24")));
        assert_eq!(next_free(&pool, 23, &taken), Some(net("100.64.4.0/23")));
    }

    #[test]
    fn the_last_free_block_skips_what_is_taken() {
        let pool = net("100.64.0.0/22");
        let last =
            |taken: &[&str]| last_free(&pool, 24, &mut taken.iter().map(|t| bounds(&net(t))).collect::<Vec<_>>());
        assert_eq!(last(&[]), Some(net("100.64.3.0/24")));
        assert_eq!(last(&["100.64.0.0/24"]), Some(net("100.64.3.0/24")));
        assert_eq!(last(&["100.64.3.128/30"]), Some(net("100.64.2.0/24")));
        assert_eq!(last(&["100.64.1.0/24", "100.64.2.7/32", "100.64.3.0/24"]), Some(net("100.64.0.0/24")));
        assert_eq!(last(&["100.64.0.0/24", "100.64.1.0/24", "100.64.2.0/23"]), None);
        assert_eq!(last(&["100.64.0.0/10"]), None);
    }

    #[test]
    fn a_limit_has_its_smallest_range() {
        for (limit, prefix) in
            [(Some(1), 27), (Some(12), 27), (Some(13), 26), (Some(236), 24), (Some(237), 23), (None, 32)]
        {
            assert_eq!(prefix_for(limit), prefix, "{limit:?}");
        }
        assert_eq!(prefix_for(Some(i64::MAX)), 0);
    }

    #[test]
    fn an_exhausted_pool_has_none() {
        assert_eq!(next_free(&net("100.64.0.0/24"), 24, &[bounds(&net("100.64.0.0/24"))]), None);
        assert_eq!(next_free(&net("100.64.0.0/24"), 16, &[]), None);
    }

    #[test]
    fn forbidden_ranges_say_why() {
        for (text, problem) in [
            ("10.0.0.0/24", "must not start with 10"),
            ("100.64.0.0/31", "at most 30"),
            ("100.64.0.5/24", "the range is 100.64.0.0/24"),
            ("300.1.1.0/24", "not an IPv4 range"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.details["ipv4_range"][0].contains(problem), "{text}: {error}");
        }
        assert!(check_limit(&net("100.64.0.0/24"), Some(237)).is_err());
        assert!(check_limit(&net("100.64.0.0/24"), Some(236)).is_ok());
    }
}
