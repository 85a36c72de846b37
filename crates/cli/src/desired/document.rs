//! Reading files of desired state. They are written by people and by programs nobody knows: size, depth and repetition
//! are bounded, doubled and unknown words are refused, and every refusal says where.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::alias::Alias;
use super::cluster::Cluster;
use super::key::EnrollmentKey;
use super::node::Node;
use super::ssh_username::SshUsername;
use super::webhook::Webhook;
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
    #[serde(default)]
    aliases: Option<BTreeMap<AliasName, Alias>>,
    #[serde(default)]
    ssh_usernames: Option<BTreeMap<UserName, SshUsername>>,
    #[serde(default)]
    webhooks: Option<BTreeMap<HookUrl, Webhook>>,
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
        /// A name of the file that was checked.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);
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
names!(
    ClusterName cluster_problem, KeyName key_problem, NodeId node_problem, AliasName alias_problem, UserName user_problem,
    HookUrl url_problem
);

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

fn alias_problem(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = |name: &str| {
        (1..=63).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('-') && !name.ends_with('-')
    };
    let fits = text.split_once('/').is_some_and(|(cluster, name)| cluster_problem(cluster).is_none() && fits(name));
    (!fits).then(|| {
        format!(
            "`{text}` is not the name of an alias: write it as CLUSTER/NAME, in lower-case letters, digits and hyphens"
        )
    })
}

fn user_problem(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let fits = |name: &str| {
        (3..=32).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(plain)
    };
    let fits = text.rsplit_once('@').is_some_and(|(name, node)| fits(name) && node_problem(node).is_none());
    (!fits).then(|| {
        format!(
            "`{text}` is not an SSH username: write it as USERNAME@NODE-ID; `reeve node list -o name` prints the ids"
        )
    })
}

fn url_problem(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= 2_048 && !text.chars().any(char::is_control);
    (!fits).then(|| format!("`{}` is not the URL of a webhook: http:// or https://, at most 2048 bytes", short(text)))
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
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
    insert(&mut sections, Kind::Alias, document.aliases)?;
    insert(&mut sections, Kind::SshUsername, document.ssh_usernames)?;
    insert(&mut sections, Kind::Webhook, document.webhooks)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        read("f.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_gives_its_sections_and_no_others() {
        let text = "version: 1\nclusters:\n  prod: {node_limit: null}\n  lab: {ipv4_range: 100.64.0.0/16}\nnodes: {}\n";
        let sections = read("f.yaml", text).unwrap();
        assert_eq!(sections.keys().copied().collect::<Vec<_>>(), [Kind::Cluster, Kind::Node]);
        let clusters = &sections[&Kind::Cluster];
        assert_eq!(Value::Object(clusters["prod"].clone()), serde_json::json!({"node_limit": null}));
        assert_eq!(Value::Object(clusters["lab"].clone()), serde_json::json!({"ipv4_range": "100.64.0.0/16"}));
        assert!(read("f.yaml", "{\"version\": 1, \"clusters\": {}}").is_ok(), "JSON is YAML");
    }

    #[test]
    fn every_refusal_says_where_and_what_is_right() {
        for (text, at, words) in [
            ("clusters: {}", "", "version"),
            ("version: 2", "1:10", "reads version 1"),
            ("version: 1\nclustres: {}", "2:1", "clustres"),
            ("version: 1\nclusters:\n  prod: {limit: 3}", "3:10", "limit"),
            ("version: 1\nclusters:\n  prod: {node_limit: many}", "3:22", "u32"),
            ("version: 1\nclusters:\n  prod: {node_limit: -1}", "3:22", "u32"),
            ("version: 1\nclusters:\n  prod: {}\n  prod: {}", "4:3", "duplicate"),
            ("version: 1\nclusters:\n  Prod: {}", "3:3", "lower-case letters"),
            ("version: 1\nclusters: [prod]", "2:11", "mapping"),
            ("version: 1\nenrollment_keys:\n  rack: {}", "3:3", "CLUSTER/NAME"),
            ("version: 1\nenrollment_keys:\n  p/rack: {uses: 0}", "3:18", "a number above 0"),
            ("version: 1\nenrollment_keys:\n  p/rack: {uses: lots}", "3:18", "`unlimited`"),
            ("version: 1\nenrollment_keys:\n  p/rack: {expires_at: tomorrow}", "3:24", "2026-01-31T08:00:00Z"),
            ("version: 1\nnodes:\n  web-1: {}", "3:3", "reeve node list -o name"),
            ("version: 1\naliases:\n  db: {}", "3:3", "CLUSTER/NAME"),
            ("version: 1\naliases:\n  prod/DB: {}", "3:3", "CLUSTER/NAME"),
            ("version: 1\naliases:\n  prod/db: {}", "3", "node"),
            ("version: 1\naliases:\n  prod/db: {node: web-1}", "3:19", "reeve node list -o name"),
            ("version: 1\nssh_usernames:\n  ann: {}", "3:3", "USERNAME@NODE-ID"),
            ("version: 1\nssh_usernames:\n  Ann@0193c0de-89ab-4def-8123-456789abcdef: {}", "3:3", "USERNAME@NODE-ID"),
            (
                "version: 1\nssh_usernames:\n  ann@0193c0de-89ab-4def-8123-456789abcdef: {public_keys: {a: nonsense}}",
                "3",
                "public_keys.a is no public key",
            ),
            (
                "version: 1\nssh_usernames:\n  ann@0193c0de-89ab-4def-8123-456789abcdef: {public_keys: {a: 'BEGIN PRIVATE KEY'}}",
                "3",
                "public_keys.a is a private key",
            ),
            (
                "version: 1\nssh_usernames:\n  ann@0193c0de-89ab-4def-8123-456789abcdef: {public_keys: [x]}",
                "3",
                "mapping",
            ),
            ("version: 1\nssh_usernames:\n  ann@0193c0de-89ab-4def-8123-456789abcdef: {shell: sh}", "3", "shell"),
            ("version: 1\nwebhooks:\n  example.com: {}", "3:3", "http:// or https://"),
            ("version: 1\nwebhooks:\n  https://x/: {events: all}", "3", "sequence"),
            ("version: 1\nwebhooks:\n  https://x/: {paused: maybe}", "3", "bool"),
            ("version: 1\nwebhooks:\n  https://x/: {secrets: x}", "3", "secrets"),
            ("version: 1\nclusters: {a: {", "2", ""),
            ("version: 1\n\tclusters: {}", "1:10", "a tab"),
        ] {
            let problem = problem(text);
            assert!(problem.starts_with(&format!("f.yaml:{at}")), "{text:?} gives {problem:?}, not at {at}");
            assert!(problem.contains(words), "{text:?} gives {problem:?} without {words:?}");
            assert!(!problem.contains('\n'), "{problem:?}");
        }
    }

    #[test]
    fn bombs_are_refused_soon() {
        let mut laughs = "version: 1\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for n in 1..12 {
            let all = vec![format!("*a{}", n - 1); 9].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{all}]\n"));
        }
        problem(&laughs);
        let labels: String = (0..5000).map(|n| format!("k{n}: *l, ")).collect();
        problem(&format!("version: 1\nclusters: {{x: {{ipv4_range: &l x}}}}\nnodes: {{{labels}}}"));
        problem(&format!("version: 1\nclusters: {}{}", "[".repeat(100_000), "]".repeat(100_000)));
        problem(&format!("version: 1\nclusters: {}", "{a: ".repeat(100_000)));
        problem("version: 1\nversion: 1");
        problem("version: 1\n---\nversion: 1");
        problem("");
        problem("\0\u{1}\u{2}");
    }
}
