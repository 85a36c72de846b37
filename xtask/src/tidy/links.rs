//! Links of the documents lead to files that exist.

use super::Finding;

/// Checks each `](target)` of a Markdown file; `exists` is asked for paths from the repository's root.
pub fn check(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for link in line.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !resolve(path, target).is_some_and(|file| exists(&file)) {
                let fix = "links are relative to the file they stand in; correct it or write the file";
                findings.push(Finding::new(path, index + 1, format!("no file {target}"), fix));
            }
        }
    }
    findings
}

/// `target` as a path from the root, seen from the file `path`; none when it leaves the repository.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found() {
        let text =
            "[a](b.md) and [c](../README.md#top)\n[d](https://example.org) [e](#here) [f](gone.md)\n[g](../../x)\n";
        let found = check("docs/a.md", text, |file| ["docs/b.md", "README.md"].contains(&file));
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 3]);
    }
}
