//! Manifests and the lock file: one table of versions, a reason for every dependency, no private registry.

use super::Finding;

const TABLE: &str = "[workspace.dependencies]";
const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The root manifest: each foreign dependency says why it is here.
pub fn root(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut inside = false;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == TABLE;
            continue;
        }
        if !inside || line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut entry = line.to_owned();
        while depth(&entry) > 0 {
            let Some((_, more)) = lines.next() else { break };
            entry.push('\n');
            entry.push_str(more.trim());
        }
        let ours = entry.contains("path =");
        if !ours && !entry.lines().any(|line| comment(line).is_some_and(|why| why.trim().len() > 2)) {
            let name = entry.split(['=', ' ', '.']).next().unwrap_or_default();
            findings.push(Finding::new(
                path,
                index + 1,
                format!("dependency {name} does not say why it is here"),
                "end the line with `# why`, in a few words",
            ));
        }
    }
    findings
}

/// A member's manifest takes every version from the root.
pub fn member(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        if inside && line.contains('=') && !line.starts_with('#') && !line.replace(' ', "").contains("workspace=true") {
            findings.push(Finding::new(
                path,
                index + 1,
                "a version outside the root's table",
                "declare it under [workspace.dependencies] and write `name.workspace = true` here",
            ));
        }
    }
    findings
}

/// The lock file names the public index and nothing else, so that it works for whoever clones it.
pub fn lock(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(source) = line.strip_prefix("source = ") else {
            continue;
        };
        if source.trim_matches('"') != INDEX {
            findings.push(Finding::new(
                path,
                index + 1,
                "a package comes from somewhere else than crates.io",
                "take a released version; if a mirror wrote this line, run cargo without it",
            ));
        }
    }
    findings
}

/// Brackets still open at the end of `entry`, strings and comments left out.
fn depth(entry: &str) -> i32 {
    let mut depth = 0;
    for line in entry.lines() {
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                '#' if !quoted => break,
                '[' | '{' if !quoted => depth += 1,
                ']' | '}' if !quoted => depth -= 1,
                _ => {}
            }
        }
    }
    depth
}

/// What stands after `#` outside strings.
fn comment(line: &str) -> Option<&str> {
    let mut quoted = false;
    line.char_indices().find_map(|(at, c)| {
        if c == '"' {
            quoted = !quoted;
        }
        (c == '#' && !quoted).then(|| &line[at + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_foreign_dependency_says_why() {
        let text = r##"
[workspace]
members = ["crates/*"]
[workspace.dependencies]
# --- ours
reeve-types = { path = "crates/types" }
serde = { version = "1", features = ["derive"] } # JSON
bare = "1"
hash = { version = "1", features = ["#not-a-comment"] }
long = { version = "1", features = [
  "one", # a reason
] }
[profile.dev]
debug = 1
"##;
        let lines: Vec<usize> = root("Cargo.toml", text).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [8, 9]);
    }

    #[test]
    fn members_take_versions_from_the_root() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\ninsta = { workspace = true }\nrand = \"0.9\"\n\
                    [dev-dependencies]\ntempfile = \"3\"\n[lints]\nworkspace = true\n";
        let lines: Vec<usize> = member("crates/a/Cargo.toml", text).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [6, 8]);
    }

    #[test]
    fn only_the_public_index_stands_in_the_lock_file() {
        let good = format!("[[package]]\nname = \"a\"\nsource = \"{INDEX}\"\n");
        assert_eq!(lock("Cargo.lock", &good), []);
        let bad = "[[package]]\nname = \"a\"\nsource = \"git+https://example.org/a\"\n";
        let found = lock("Cargo.lock", bad);
        assert_eq!(found.len(), 1);
        assert!(!found[0].to_string().contains("example.org"), "a finding must not repeat an address");
    }
}
