//! Crates are walls: who may know whom, and who may hold a heavy dependency. Only what a manifest declares counts;
//! what comes along transitively cannot be named in code.

use super::Finding;

/// A workspace crate: its manifest's path and text, and what it declares.
pub struct Member {
    pub name: String,
    pub manifest: String,
    pub text: String,
    pub dependencies: Vec<Dependency>,
}

pub struct Dependency {
    pub name: String,
    pub dev: bool,
}

const PREFIX: &str = "reeve-";
/// These stand above the walls: they wire, test or build the whole.
const SEE_EVERYTHING: [&str; 3] = ["reeve-server", "reeve-testkit", "xtask"];

/// The crates of ours that `name` may declare, by pattern (`*` at the end). None: the crate is not in the picture yet.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "types" | "agent-proto" => &[],
        "ports" | "store" | "simulators" => &["types"],
        "jobs" => &["types", "store"],
        "manifests" | "taskservs" => &["types"],
        "domain" => &["types", "store", "jobs", "ports", "manifests", "taskservs"],
        "http-kit" => &["types", "domain"],
        "agent" => &["agent-proto"],
        "agent-gateway" => &["types", "ports", "domain", "agent-proto"],
        "cli" | "lab" => &[],
        _ if name.starts_with("surface-") => &["types", "domain", "http-kit"],
        _ if name.starts_with("provider") => &["types", "ports"],
        _ => return None,
    })
}

/// A dependency that only some crates may hold.
struct Wall {
    dependency: &'static str,
    holders: &'static [&'static str],
    /// Tests of other crates may hold it too.
    tests: bool,
}

const WALLS: &[Wall] = &[
    Wall { dependency: "rusqlite", holders: &["reeve-store"], tests: false },
    Wall { dependency: "tokio-postgres", holders: &["reeve-store"], tests: false },
    Wall { dependency: "tokio-postgres-rustls", holders: &["reeve-store"], tests: false },
    Wall {
        dependency: "axum",
        holders: &["reeve-http-kit", "reeve-surface-*", "reeve-server", "reeve-testkit", "reeve-simulators", "xtask"],
        tests: true,
    },
    Wall { dependency: "kube", holders: &["reeve-provider-kube"], tests: false },
    Wall { dependency: "russh", holders: &["reeve-provider-ssh"], tests: false },
];

pub fn check(members: &[Member]) -> Vec<Finding> {
    members.iter().flat_map(check_member).collect()
}

fn check_member(member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sees_everything = SEE_EVERYTHING.contains(&member.name.as_str());
    let short = member.name.strip_prefix(PREFIX).unwrap_or(&member.name);
    let allowed = allowed(short);
    if allowed.is_none() && !sees_everything {
        findings.push(Finding::new(
            &member.manifest,
            1,
            format!("crate {} has no place in the picture of crates", member.name),
            "decide whom it may know in xtask/src/tidy/graph.rs, and draw it in docs/ARCHITECTURE.md",
        ));
    }
    for dependency in &member.dependencies {
        let line = line_of(&member.text, &dependency.name);
        if let Some(other) = dependency.name.strip_prefix(PREFIX) {
            // Tests may hold what stands on the other side (agents, clouds, the way to log in on hosts), and await it.
            let testing =
                dependency.dev && matches!(other, "testkit" | "agent" | "simulators" | "provider-ssh" | "lab");
            if let Some(list) = allowed
                && !sees_everything
                && !testing
                && !list.contains(&other)
            {
                let may = if list.is_empty() { "no crate of ours".to_owned() } else { list.join(", ") };
                findings.push(Finding::new(
                    &member.manifest,
                    line,
                    format!("{short} must not know {other}"),
                    format!("it may know {may}; move the code to the crate that may, or put a trait in ports"),
                ));
            }
        }
        for wall in WALLS.iter().filter(|wall| wall.dependency == dependency.name) {
            let holds =
                wall.holders.iter().any(|holder| matches(holder, &member.name)) || (wall.tests && dependency.dev);
            if !holds {
                findings.push(Finding::new(
                    &member.manifest,
                    line,
                    format!("{} must not depend on {}", member.name, wall.dependency),
                    format!("only {} may; go through it", wall.holders.join(", ")),
                ));
            }
        }
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// The manifest's line that declares `dependency`, or the first.
fn line_of(manifest: &str, dependency: &str) -> usize {
    let declares =
        |line: &str| line.trim_start().strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    manifest.lines().position(declares).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            manifest: format!("crates/{name}/Cargo.toml"),
            text: dependencies.iter().map(|d| format!("{}.workspace = true\n", d.trim_start_matches("dev:"))).collect(),
            dependencies: dependencies
                .iter()
                .map(|d| Dependency { name: d.trim_start_matches("dev:").to_owned(), dev: d.starts_with("dev:") })
                .collect(),
        }
    }

    fn findings(name: &str, dependencies: &[&str]) -> Vec<String> {
        check(&[member(name, dependencies)]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_allowed_directions_are_quiet() {
        for (name, dependencies) in [
            ("reeve-types", &["serde"][..]),
            ("reeve-store", &["reeve-types", "rusqlite", "tokio-postgres"]),
            ("reeve-jobs", &["reeve-types", "reeve-store", "dev:reeve-testkit"]),
            ("reeve-domain", &["reeve-types", "reeve-store", "reeve-jobs", "reeve-ports"]),
            ("reeve-surface-edge", &["reeve-types", "reeve-domain", "reeve-http-kit", "axum"]),
            ("reeve-agent", &["reeve-agent-proto"]),
            ("reeve-agent-gateway", &["reeve-types", "reeve-ports", "reeve-domain", "reeve-agent-proto"]),
            ("reeve-provider-kube", &["reeve-types", "reeve-ports", "kube"]),
            ("reeve-providers", &["reeve-types", "reeve-ports", "dev:reeve-simulators"]),
            ("reeve-provider-ssh", &["reeve-types", "reeve-ports", "russh"]),
            ("reeve-provider-local", &["reeve-types", "reeve-ports", "dev:reeve-provider-ssh"]),
            ("reeve-simulators", &["reeve-types", "axum"]),
            ("reeve-cli", &["reqwest", "dev:axum"]),
            ("reeve-server", &["reeve-store", "reeve-surface-edge", "axum"]),
            ("reeve-testkit", &["reeve-store", "reeve-agent"]),
        ] {
            assert_eq!(findings(name, dependencies), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_wrong_direction_is_found_with_its_line() {
        assert_eq!(
            findings("reeve-surface-edge", &["reeve-types", "reeve-store"]),
            [
                "crates/reeve-surface-edge/Cargo.toml:2: surface-edge must not know store: it may know types, domain, http-kit; \
              move the code to the crate that may, or put a trait in ports"
            ]
        );
        for (name, dependency) in [
            ("reeve-types", "reeve-ports"),
            ("reeve-ports", "reeve-store"),
            ("reeve-store", "reeve-jobs"),
            ("reeve-jobs", "reeve-domain"),
            ("reeve-domain", "reeve-http-kit"),
            ("reeve-domain", "reeve-agent-proto"),
            ("reeve-http-kit", "reeve-store"),
            ("reeve-surface-edge", "reeve-surface-console"),
            ("reeve-surface-console", "reeve-jobs"),
            ("reeve-surface-edge", "reeve-provider-ssh"),
            ("reeve-agent", "reeve-types"),
            ("reeve-agent-proto", "reeve-types"),
            ("reeve-agent-gateway", "reeve-store"),
            ("reeve-cli", "reeve-domain"),
            ("reeve-store", "dev:reeve-jobs"),
            ("reeve-providers", "reeve-simulators"),
            ("reeve-simulators", "reeve-ports"),
        ] {
            assert_eq!(findings(name, &[dependency]).len(), 1, "{name} -> {dependency}");
        }
    }

    #[test]
    fn heavy_dependencies_stay_behind_their_wall() {
        for (name, dependency) in [
            ("reeve-domain", "rusqlite"),
            ("reeve-testkit", "tokio-postgres"),
            ("reeve-jobs", "dev:rusqlite"),
            ("reeve-agent-gateway", "axum"),
            ("reeve-domain", "kube"),
            ("reeve-domain", "russh"),
            ("reeve-provider-local", "dev:russh"),
        ] {
            assert_eq!(findings(name, &[dependency]).len(), 1, "{name} -> {dependency}");
        }
    }

    #[test]
    fn a_crate_outside_the_picture_is_found() {
        assert_eq!(findings("reeve-misc", &[]).len(), 1);
    }
}
