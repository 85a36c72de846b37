//! The names that the node asks for at its start. Best effort: what came of each is logged.

use std::sync::atomic::{AtomicBool, Ordering};

use reeve_agent_proto::message::{AliasesRegistered, RegisterAliases};

/// The names to ask for, until the server has answered once.
pub struct Aliases {
    names: Vec<String>,
    answered: AtomicBool,
}

impl Aliases {
    /// Asks for these, each once.
    pub fn new(names: &[String]) -> Self {
        let mut once: Vec<String> = Vec::with_capacity(names.len());
        for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            if !once.iter().any(|known| known == name) {
                once.push(name.to_owned());
            }
        }
        Self { names: once, answered: AtomicBool::new(false) }
    }

    /// What to ask the server when a session opens, if anything.
    pub fn question(&self) -> Option<RegisterAliases> {
        let open = !self.names.is_empty() && !self.answered.load(Ordering::Relaxed);
        open.then(|| RegisterAliases { names: self.names.clone() })
    }

    /// Logs the answer. Who deletes an alias later shall not find it back after the next hiccup of the network.
    pub fn answered(&self, answer: &AliasesRegistered) {
        self.answered.store(true, Ordering::Relaxed);
        for outcome in &answer.outcomes {
            if outcome.problem.is_empty() {
                tracing::info!(alias = %outcome.name, "the node has its alias");
            } else {
                tracing::warn!(alias = %outcome.name, reason = %outcome.problem, "the node does not get this alias");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_once() {
        let aliases = Aliases::new(&["web".into(), " web ".into(), String::new(), "api".into()]);
        assert_eq!(aliases.question().unwrap().names, ["web", "api"]);
        assert!(aliases.question().is_some(), "a question that was lost is asked again");
        aliases.answered(&AliasesRegistered::default());
        assert!(aliases.question().is_none());
        assert!(Aliases::new(&[]).question().is_none());
    }
}
