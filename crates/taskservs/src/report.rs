//! What the scripts of a phase say in lines that begin with `::`.

use std::collections::BTreeMap;

/// Facts are small: what is longer is cut.
const LONGEST_VALUE: usize = 4096;
const MOST: usize = 64;

/// The marked lines of a script's output; everything else is log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `::fact key=value`: what it found or made (`version`, `leader`).
    pub facts: BTreeMap<String, String>,
    /// `::export key=value`: what the other machines of the same installation need from the first.
    pub exports: BTreeMap<String, String>,
    /// `::problem text`: what stands in the way.
    pub problems: Vec<String>,
    /// `::warning text`: what somebody should know.
    pub warnings: Vec<String>,
    /// `::changed text`: what was changed.
    pub changed: Vec<String>,
}

impl Report {
    /// Reads one line of output; unmarked lines are ignored.
    pub fn line(&mut self, line: &str) {
        let Some((word, rest)) = line.strip_prefix("::").and_then(|line| line.split_once(' ')) else { return };
        let rest = cut(rest.trim());
        let list = match word {
            "fact" => return keep(&mut self.facts, rest),
            "export" => return keep(&mut self.exports, rest),
            "problem" => &mut self.problems,
            "warning" => &mut self.warnings,
            "changed" => &mut self.changed,
            _ => return,
        };
        if list.len() < MOST {
            list.push(rest.to_owned());
        }
    }

    /// Reads whole output.
    pub fn parse(output: &str) -> Self {
        let mut report = Self::default();
        output.lines().for_each(|line| report.line(line));
        report
    }
}

fn keep(map: &mut BTreeMap<String, String>, line: &str) {
    let Some((key, value)) = line.split_once('=') else { return };
    let word = !key.is_empty() && key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if word && (map.len() < MOST || map.contains_key(key)) {
        map.insert(key.to_owned(), value.to_owned());
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_are_read_and_others_are_log() {
        let report = Report::parse(
            "hello\n::fact version=3.4.23\n::fact bad key=1\n::export ca=sha256:ab=cd\n::problem port 2379 is taken\n::what else\n::fact\n",
        );
        assert_eq!(report.facts, BTreeMap::from([("version".into(), "3.4.23".into())]));
        assert_eq!(report.exports, BTreeMap::from([("ca".into(), "sha256:ab=cd".into())]));
        assert_eq!(report.problems, ["port 2379 is taken"]);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut report = Report::default();
        for i in 0..1000 {
            report.line(&format!("::fact k{i}={}", "é".repeat(10_000)));
        }
        assert_eq!(report.facts.len(), MOST);
        assert!(report.facts.values().all(|value| value.len() <= LONGEST_VALUE));
    }
}
