//! Reading files of desired state. They are written by people and by programs nobody knows: size, depth and repetition
//! are bounded, doubled and unknown words are refused, and every refusal says where.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::cluster::Cluster;
use super::key::EnrollmentKey;
use super::node::Node;
use super::{Kind, Section, Spec};
use crate::failure::{Failure, Outcome};

/// The form of the file that this version reads and writes.
pub const VERSION: u32 = 1;
/// Largest file, in bytes.
pub const MOST_BYTES: u64 = 64 << 20;

/// A file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Checked while it is read.
    #[serde(rename = "version")]
    _version: Version,
    #[serde(default)]
    clusters: Option<BTreeMap<ClusterName, Cluster>>,
    #[serde(default)]
    enrollment_keys: Option<BTreeMap<KeyName, EnrollmentKey>>,
    #[serde(default)]
    nodes: Option<BTreeMap<NodeId, Node>>,
}

#[derive(Debug, Default)]
struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            other => {
                Err(D::Error::custom(format!("version is {other}; this version of reeve reads version {VERSION}")))
            }
        }
    }
}

macro_rules! names {
    ($($name:ident $check:ident),*) => {$(
        #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
        struct $name(String);
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                match $check(&text) {
                    None => Ok(Self(text)),
                    Some(problem) => Err(D::Error::custom(problem)),
                }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
names!(ClusterName cluster_problem, KeyName key_problem, NodeId node_problem);

fn cluster_problem(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits =
        (1..=24).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-');
    (!fits).then(|| {
        format!(
            "`{text}` is not the name of a cluster: lower-case letters, digits and hyphens, at most 24, not at the ends"
        )
    })
}

fn key_problem(text: &str) -> Option<String> {
    let fits =
        text.split_once('/').is_some_and(|(cluster, name)| cluster_problem(cluster).is_none() && !name.is_empty());
    (!fits).then(|| format!("`{text}` is not the name of an enrollment key: write it as CLUSTER/NAME"))
}

fn node_problem(text: &str) -> Option<String> {
    let fits = text.len() == 36 && text.parse::<uuid::Uuid>().is_ok() && text == text.to_ascii_lowercase();
    (!fits).then(|| format!("`{text}` is not the id of a node; `reeve node list -o name` prints them"))
}

/// A field that was given, maybe as null.
pub(super) fn given<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The sections of a file that are there.
pub fn read(origin: &str, text: &str) -> Outcome<BTreeMap<Kind, Section>> {
    if text.len() as u64 > MOST_BYTES {
        return Err(Failure::usage(
            format!("{origin} is larger than {} MiB", MOST_BYTES >> 20),
            "split it into several files",
        ));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 10_000,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
    };
    let document: Document =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| refused(origin, &error))?;
    let mut sections = BTreeMap::new();
    insert(&mut sections, Kind::Cluster, document.clusters)?;
    insert(&mut sections, Kind::EnrollmentKey, document.enrollment_keys)?;
    insert(&mut sections, Kind::Node, document.nodes)?;
    Ok(sections)
}

fn insert<N: fmt::Display, T: Serialize>(
    sections: &mut BTreeMap<Kind, Section>,
    kind: Kind,
    objects: Option<BTreeMap<N, T>>,
) -> Outcome<()> {
    let Some(objects) = objects else { return Ok(()) };
    let mut section = Section::new();
    for (name, object) in objects {
        let spec: Spec = match serde_json::to_value(object) {
            Ok(Value::Object(spec)) => spec,
            Ok(_) | Err(_) => return Err(Failure::local(format!("{} {name} cannot be read", kind.noun()))),
        };
        section.insert(name.to_string(), spec);
    }
    sections.insert(kind, section);
    Ok(())
}

/// `FILE:LINE:COLUMN: what is wrong`
fn refused(origin: &str, error: &serde_saphyr::Error) -> Failure {
    let plain = error.without_snippet();
    let text = plain.to_string();
    let first = text.lines().next().unwrap_or_default();
    let what = match plain.location() {
        Some(at) if at.line() > 0 => {
            // The place stands in front, where editors look for it.
            let said = format!(" at line {}, column {}", at.line(), at.column());
            let head = format!("line {} column {}: ", at.line(), at.column());
            let problem = first.replace(&said, "").replacen(&head, "", 1);
            format!("{origin}:{}:{}: {problem}", at.line(), at.column())
        }
        Some(_) | None => format!("{origin}: {first}"),
    };
    Failure::usage(what, "correct the file; docs/export-format.md describes it")
}

/// Puts the sections of several files together.
pub fn merge(
    into: &mut BTreeMap<Kind, Section>,
    origins: &mut BTreeMap<(Kind, String), String>,
    origin: &str,
    more: BTreeMap<Kind, Section>,
) -> Outcome<()> {
    for (kind, section) in more {
        let all = into.entry(kind).or_default();
        for (name, spec) in section {
            if let Some(other) = origins.insert((kind, name.clone()), origin.to_owned()) {
                let what = format!("{} {name} stands in {other} and in {origin}", kind.noun());
                return Err(Failure::usage(what, "let one file name it"));
            }
            all.insert(name, spec);
        }
    }
    Ok(())
}
