//! Which providers there are, and the way to an account with one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_types::Secret;

use super::{Cloud, CloudError};

/// What a provider knows an account by: its fields by name, as in [`CredentialField::name`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(pub BTreeMap<String, Secret>);

impl Credentials {
    /// A field; None when it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name).filter(|value| !value.expose().is_empty())
    }
}

/// A field of a provider's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialField {
    /// As in requests: `token`.
    pub name: &'static str,
    /// The environment variable that stands in for it.
    pub environment: &'static str,
    /// For people.
    pub title: &'static str,
}

/// A provider as people choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// As in requests: `upcloud`.
    pub name: String,
    /// For people.
    pub title: String,
    /// What its credentials may hold; empty when it needs none.
    pub fields: &'static [CredentialField],
    /// Whether it can be used without credentials of a workspace.
    pub ready: bool,
}

/// The way to accounts. One for each process.
pub trait CloudFactory: Send + Sync + 'static {
    /// All providers, by name.
    fn providers(&self) -> Vec<Provider>;

    /// An account by its credentials, or by those of the environment. The same credentials give the same adapter, so that
    /// its limits and memory are shared. Invalid (`provider`) for an unknown one; Auth when credentials are missing, and
    /// the message says which.
    fn open(&self, provider: &str, credentials: Option<&Credentials>) -> Result<Arc<dyn Cloud>, CloudError>;
}

/// Where no provider was set up.
pub struct NoClouds;

impl CloudFactory for NoClouds {
    fn providers(&self) -> Vec<Provider> {
        Vec::new()
    }
    fn open(&self, provider: &str, _: Option<&Credentials>) -> Result<Arc<dyn Cloud>, CloudError> {
        Err(CloudError::invalid(
            "provider",
            format!("there is no provider `{provider}`: none is set up on this server"),
        ))
    }
}
