//! Errors that end the agent, each with what to do next.

use std::fmt;

/// Why the agent gave up.
#[derive(Debug)]
pub struct AgentError {
    message: String,
    next_step: String,
}

impl AgentError {
    /// What happened, and what the operator can do about it.
    pub fn new(message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { message: message.into(), next_step: next_step.into() }
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn next_step(&self) -> &str {
        &self.next_step
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  next step: {}", self.message, self.next_step)
    }
}

impl std::error::Error for AgentError {}
