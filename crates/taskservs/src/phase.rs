//! The steps of an installation on one machine.

use serde::{Deserialize, Serialize};

use crate::turn;

/// A step. The first three need no script of the taskserv: they are the server's own work, with one question to the
/// machine (`resolve`) and one upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asks what the machine is, and settles versions and order.
    Resolve,
    /// Makes the bundle for the machine.
    Render,
    /// Carries it there, checked by its digest.
    Upload,
    /// Looks whether the machine can take it; changes nothing.
    Preflight,
    /// Puts the programs there.
    Install,
    /// Puts the configuration there.
    Configure,
    /// Starts it, or restarts what runs with an older configuration.
    Start,
    /// Waits until its own health check holds.
    Verify,
    /// Writes down what is installed, and wipes the bundle.
    Record,
    /// Takes away what the phases above made.
    Remove,
    /// Asks once whether it is well.
    Health,
}

impl Phase {
    /// An installation, in order.
    pub const INSTALLATION: [Phase; 9] = [
        Phase::Resolve,
        Phase::Render,
        Phase::Upload,
        Phase::Preflight,
        Phase::Install,
        Phase::Configure,
        Phase::Start,
        Phase::Verify,
        Phase::Record,
    ];

    /// The phases that run a script of the bundle.
    pub const SCRIPTED: [Phase; 8] = [
        Phase::Preflight,
        Phase::Install,
        Phase::Configure,
        Phase::Start,
        Phase::Verify,
        Phase::Record,
        Phase::Remove,
        Phase::Health,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Render => "render",
            Phase::Upload => "upload",
            Phase::Preflight => "preflight",
            Phase::Install => "install",
            Phase::Configure => "configure",
            Phase::Start => "start",
            Phase::Verify => "verify",
            Phase::Record => "record",
            Phase::Remove => "remove",
            Phase::Health => "health",
        }
    }

    /// Whether it changes the machine, so that one command at a time may do it there.
    pub fn changes(self) -> bool {
        use Phase::{Configure, Install, Record, Remove, Start, Upload};
        matches!(self, Upload | Install | Configure | Start | Record | Remove)
    }

    /// How long it may take on one machine (seconds), with the wait for its turn, before it counts as failed.
    pub fn limit_secs(self) -> u64 {
        let work = match self {
            Phase::Resolve | Phase::Render | Phase::Health => 30,
            Phase::Upload | Phase::Preflight | Phase::Record => 60,
            Phase::Configure | Phase::Start => 300,
            Phase::Install | Phase::Verify | Phase::Remove => 900,
        };
        if self.changes() { work + turn::WAIT_SECS } else { work }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
