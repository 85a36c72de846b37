//! Virtual agents.
