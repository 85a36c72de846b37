//! Credentials for providers.

use reeve_domain::credential;
use serde::Serialize;

use super::shown;

/// Which fields are set; never what is in them.
#[derive(Debug, Serialize)]
pub struct View {
    provider: String,
    fields: Vec<String>,
    updated_at: String,
}

impl From<credential::View> for View {
    fn from(view: credential::View) -> Self {
        Self { provider: view.provider, fields: view.fields, updated_at: shown(view.updated_at) }
    }
}

/// The answer to a deletion.
#[derive(Debug, Serialize)]
pub struct Deleted {
    /// Always true.
    pub deleted: bool,
}
