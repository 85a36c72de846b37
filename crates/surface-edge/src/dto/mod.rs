//! Requests and answers as the wire has them, and their way from and to the domain.

pub mod admin;
pub mod admin_metrics;
pub mod alias;
pub mod amount;
pub mod cluster;
pub mod command;
pub mod enrollment_key;
pub mod execution;
pub mod node;
pub mod node_exposition;
pub mod node_metrics;
pub mod rollout;
pub mod self_update;
pub mod ssh;
pub mod targeting;
pub mod webhook;

use reeve_types::cluster::network_name;
use reeve_types::{Range, TextMatch, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// An instant.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub Timestamp);

/// The start of a period: the second that an instant lies in, or a day from its start. Rows are shown in whole seconds, so
/// a row is found by the instant it is shown with.
#[derive(Clone, Copy, Debug)]
pub struct Since(Timestamp);

/// The end of a period: the second that an instant lies in, or a day to its end.
#[derive(Clone, Copy, Debug)]
pub struct Until(Timestamp);

fn instant<'de, D: Deserializer<'de>>(d: D, read: fn(&str) -> Option<Timestamp>) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(d)?;
    read(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is neither a date-time nor a date")))
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        instant(d, Timestamp::parse).map(Self)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        instant(d, |text| Timestamp::parse_or_date(text, false)).map(|at| Self(at.start_of_second()))
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        instant(d, |text| Timestamp::parse_or_date(text, true)).map(|at| Self(at.end_of_second()))
    }
}

/// A period from two filters.
pub fn period(since: Option<Since>, until: Option<Until>) -> Range<Timestamp> {
    Range { gte: since.map(|s| s.0), lte: until.map(|u| u.0) }
}

/// A range of numbers from three filters that must all hold.
pub fn numbers(exact: Option<i64>, gte: Option<i64>, lte: Option<i64>) -> Range<i64> {
    let lowest = exact.into_iter().chain(gte).max();
    let highest = exact.into_iter().chain(lte).min();
    Range { gte: lowest, lte: highest }
}

/// A filter on a name: exact, wildcard or list.
pub fn name(text: Option<String>) -> Option<TextMatch> {
    text.map(|text| TextMatch::parse(&text))
}

/// A filter without lists: exact or wildcard.
pub fn prose(text: Option<String>) -> Option<TextMatch> {
    text.map(|text| TextMatch::parse_prose(&text))
}

/// A filter on a label: wildcard, list, or a part of it in whatever case.
pub fn label(text: Option<String>) -> Option<TextMatch> {
    text.map(|text| match TextMatch::parse(&text) {
        TextMatch::Exact(part) => TextMatch::Wildcard(format!("*{part}*")),
        other => other,
    })
}

/// A row's instant.
pub fn shown(at: Timestamp) -> String {
    at.rfc3339_secs()
}

/// A row's instant that may be missing.
pub fn shown_if(at: Option<Timestamp>) -> Option<String> {
    at.map(shown)
}

/// `<host>.<network of the cluster>.<suffix>`.
pub fn host_name(host: &str, cluster: &str, dns_suffix: &str) -> String {
    format!("{host}.{}", domain_name(cluster, dns_suffix))
}

/// `<network of the cluster>.<suffix>`; an empty suffix leaves the network alone.
pub fn domain_name(cluster: &str, dns_suffix: &str) -> String {
    let network = network_name(cluster);
    if dns_suffix.is_empty() { network } else { format!("{network}.{dns_suffix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_suffix() {
        assert_eq!(host_name("node-1", "prod", "nm.internal"), "node-1.cluster-prod.nm.internal");
        assert_eq!(domain_name("prod", ""), "cluster-prod");
    }

    #[test]
    fn three_number_filters_make_one_range() {
        assert_eq!(numbers(Some(5), Some(3), Some(9)), Range { gte: Some(5), lte: Some(5) });
        assert_eq!(numbers(None, Some(3), None), Range { gte: Some(3), lte: None });
        assert_eq!(numbers(Some(5), Some(7), None), Range { gte: Some(7), lte: Some(5) });
    }

    #[test]
    fn seconds_are_whole() {
        let since: Since = serde_json::from_value("2026-03-01T08:00:00.7Z".into()).unwrap();
        let until: Until = serde_json::from_value("2026-03-01T08:00:00Z".into()).unwrap();
        let second = period(Some(since), Some(until));
        assert_eq!(second.lte.unwrap().0 - second.gte.unwrap().0, 999_999);
        assert!(serde_json::from_value::<Until>("9999-12-31".into()).is_ok());
    }

    #[test]
    fn a_label_is_found_by_a_part_of_it() {
        assert_eq!(label(Some("roll".into())), Some(TextMatch::Wildcard("*roll*".into())));
        assert_eq!(label(Some("roll*".into())), Some(TextMatch::Wildcard("roll*".into())));
        assert_eq!(label(Some("a,b".into())), Some(TextMatch::AnyOf(vec!["a".into(), "b".into()])));
        assert_eq!(label(None), None);
    }

    #[test]
    fn days_are_whole() {
        let since: Since = serde_json::from_value("2026-03-01".into()).unwrap();
        let until: Until = serde_json::from_value("2026-03-01".into()).unwrap();
        let day = period(Some(since), Some(until));
        assert_eq!(day.lte.unwrap().0 - day.gte.unwrap().0, 86_400_000_000 - 1);
        assert!(serde_json::from_value::<Moment>("2026-03-01".into()).is_err());
    }
}
