//! Rules on the text of single files: length, module docs, words that belong to another layer.

use super::Finding;

const LONG: usize = 400;
const TOO_LONG: usize = 600;
/// Words of HTTP, which the domain does not speak.
const HTTP_WORDS: [&str; 3] = ["StatusCode", "axum", "http::"];
/// A path that leaves the repository; written in two parts so that this file does not break its own rule.
const OUTSIDE: &str = concat!("..", "/shared");

pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = outside(path, text);
    if path.ends_with(".rs") {
        findings.extend(length(path, text));
        findings.extend(module_docs(path, text));
        findings.extend(ignored_tests(path, text));
        if path.starts_with("crates/domain/src/") {
            findings.extend(http_words(path, text));
        }
    }
    findings
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let finding =
        Finding::new(path, lines, format!("{lines} lines"), format!("split it by noun before it passes {TOO_LONG}"));
    if lines > TOO_LONG { Some(finding) } else { (lines > LONG).then(|| finding.warn()) }
}

fn module_docs(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    if first.starts_with("//!") {
        return None;
    }
    Some(Finding::new(path, 1, "no module docs", "begin the file with `//!`: what it is for and what it must not do"))
}

fn ignored_tests(path: &str, text: &str) -> Vec<Finding> {
    places(text, |code| code.trim_start().starts_with("#[ignore"))
        .map(|line| Finding::new(path, line, "an ignored test", "make it run, or delete it"))
        .collect()
}

fn http_words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in HTTP_WORDS {
        findings.extend(places(text, |code| holds(code, word)).map(|line| {
            Finding::new(
                path,
                line,
                format!("the domain speaks HTTP ({word})"),
                "return a types::Error with a kind; the surface makes the answer",
            )
        }));
    }
    findings
}

fn outside(path: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(OUTSIDE));
    lines
        .map(|(index, _)| {
            Finding::new(path, index + 1, "a path outside the repository", "whoever clones it has no such file")
        })
        .collect()
}

/// Line numbers whose code (the part before `//`) satisfies `test`.
fn places(text: &str, test: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    text.lines().enumerate().filter(move |(_, line)| test(code(line))).map(|(index, _)| index + 1)
}

fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// True when `word` stands in `code` with no letter before it and, unless it ends in `:`, none after it.
fn holds(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && (word.ends_with(':') || !after.is_some_and(part_of_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<(usize, bool)> {
        check(path, text).iter().map(|finding| (finding.line, finding.warning)).collect()
    }

    #[test]
    fn length_warns_then_fails() {
        let file = |lines: usize| format!("//! Docs.\n{}", "x\n".repeat(lines - 1));
        assert_eq!(lines("a.rs", &file(400)), []);
        assert_eq!(lines("a.rs", &file(401)), [(401, true)]);
        assert_eq!(lines("a.rs", &file(600)), [(600, true)]);
        assert_eq!(lines("a.rs", &file(601)), [(601, false)]);
        assert_eq!(lines("a.md", &file(601)), []);
    }

    #[test]
    fn a_module_begins_with_its_docs() {
        assert_eq!(lines("a.rs", "\n//! Docs.\nfn main() {}\n"), []);
        assert_eq!(lines("a.rs", "use std::fs;\n//! Late.\n"), [(1, false)]);
        assert_eq!(lines("a.rs", ""), []);
    }

    #[test]
    fn the_domain_does_not_speak_http() {
        let text = "//! Docs.\nuse axum::Json;\nuse http::Method;\nlet s = StatusCode::OK;\n// StatusCode in a comment\n\
                    let u = \"http://x\";\nlet not_http::fine = 1;\n";
        assert_eq!(lines("crates/domain/src/a.rs", text), [(4, false), (2, false), (3, false)]);
        assert_eq!(lines("crates/http-kit/src/a.rs", text), []);
    }

    #[test]
    fn ignored_tests_and_outside_paths_are_found() {
        assert_eq!(lines("a.rs", &format!("//! Docs.\n#[{}]\nfn t() {{}}\n", "ignore = \"slow\"")), [(2, false)]);
        assert_eq!(lines("a.md", &format!("see {OUTSIDE}/x\n")), [(1, false)]);
    }
}
