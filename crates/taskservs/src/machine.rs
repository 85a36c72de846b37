//! A machine as templates and the graph see it.

use serde::{Deserialize, Serialize};

/// A machine of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Machine {
    /// Its name, one in the workspace.
    pub hostname: String,
    /// Where the others reach it.
    pub address: String,
}
