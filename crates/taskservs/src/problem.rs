//! What is wrong with a request: which field, why, and what would be right.

use serde::Serialize;

/// What sort of "no" a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The input breaks a rule.
    Invalid,
    /// The input is well-formed; what is on the machines forbids it.
    Conflict,
    /// The catalogue itself is wrong.
    Catalogue,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What sort of problem it is.
    pub reason: Reason,
    /// Path of the field, as `config.peers[2].port`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

/// Everything that was found wrong; never empty when it stands in an `Err`.
pub type Problems = Vec<Problem>;

impl Problem {
    /// A broken rule.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>, right: impl Into<String>) -> Self {
        Self { reason: Reason::Invalid, field: field.into(), problem: problem.into(), right: right.into() }
    }

    /// A clash with what is there.
    pub fn conflict(field: impl Into<String>, problem: impl Into<String>, right: impl Into<String>) -> Self {
        Self { reason: Reason::Conflict, ..Self::invalid(field, problem, right) }
    }

    /// A mistake in a definition or a template.
    pub fn catalogue(field: impl Into<String>, problem: impl Into<String>, right: impl Into<String>) -> Self {
        Self { reason: Reason::Catalogue, ..Self::invalid(field, problem, right) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.right)
    }
}

/// The word of `known` that was probably meant by `word`.
pub(crate) fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.min(candidate.len().saturating_sub(1)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two short words; long ones are not compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_meant() {
        let known = ["etcd", "redis", "postgres"];
        assert_eq!(meant("etdc", known.into_iter()), Some("etcd"));
        assert_eq!(meant("postgress", known.into_iter()), Some("postgres"));
        assert_eq!(meant("mysql", known.into_iter()), None);
        assert_eq!(meant(&"x".repeat(100_000), known.into_iter()), None);
    }
}
