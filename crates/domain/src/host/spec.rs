//! What is ordered: a request made whole with the workspace's defaults and held against the provider's catalogue.

use std::collections::BTreeMap;

use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{Labels, OperationTag, ServerSpec, SshKey};
use reeve_types::host::Host;
use reeve_types::workspace::{Defaults, Workspace};
use reeve_types::{Error, Result, Secret};

use super::create::Create;
use crate::credential::{self, Account, account};
use crate::{App, catalogue, workspace};

/// The provider of machines that are only adopted.
pub const ADOPTED: &str = "ssh";
/// Stands for plan and zone of an adopted machine where nobody gives others.
pub(super) const AS_IT_IS: &str = "existing";

/// A request that is whole and was found to be possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Provider.
    pub provider: String,
    /// Size.
    pub plan: String,
    /// Place.
    pub zone: String,
    /// System.
    pub image: String,
}

/// Fills in what a request leaves out. Everything that is missing is named at once.
///
/// # Errors
/// Invalid.
pub fn whole(app: &App, workspace: &Workspace, input: &Create) -> Result<Whole> {
    let defaults = &workspace.defaults;
    let given = |own: &Option<String>, usual: &Option<String>| {
        own.clone().or_else(|| usual.clone()).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let provider = given(&input.provider, &defaults.provider);
    let adopted = provider.as_deref() == Some(ADOPTED);
    // A default of the workspace is a word of its default provider.
    let same = input.provider.is_none() || input.provider == defaults.provider;
    let usual = |word: &Option<String>| word.clone().filter(|_| same);
    let existing = || adopted.then(|| AS_IT_IS.to_owned());
    // A provider without choices to make has its own usual words.
    let own = provider.as_ref().and_then(|name| app.config.provisioning.provider_defaults.get(name));
    let own = |pick: fn(&Defaults) -> &Option<String>| own.and_then(|own| pick(own).clone()).or_else(existing);
    let plan = given(&input.plan, &usual(&defaults.plan)).or_else(|| own(|own| &own.plan));
    let zone = given(&input.zone, &usual(&defaults.zone)).or_else(|| own(|own| &own.zone));
    let image = given(&input.image, &usual(&defaults.image)).or_else(|| own(|own| &own.image));
    let image = image.unwrap_or_else(|| app.config.provisioning.default_image.clone());
    let missing: Vec<&str> = [("provider", &provider), ("plan", &plan), ("zone", &zone)]
        .into_iter()
        .filter_map(|(name, value)| value.is_none().then_some(name))
        .collect();
    let name = provider.clone();
    if let (Some(provider), Some(plan), Some(zone)) = (provider, plan, zone) {
        return Ok(Whole { provider, plan, zone, image });
    }
    if let Some(name) = name {
        // Plans and zones of a provider that does not exist are not what is missing.
        credential::known(app, &name)?;
    }
    let mut error = Error::new(
        reeve_types::ErrorKind::Invalid,
        format!("missing: {}; workspace {} has no default for it", missing.join(", "), workspace.name),
    );
    for name in missing {
        error = error.with_detail(name, format!("is missing, and workspace {} has no default {name}", workspace.name));
    }
    Err(error)
}

/// The order for a host.
///
/// # Errors
/// As the store; Invalid for a hostname or label that no vendor takes.
pub async fn order(app: &App, workspace: &Workspace, host: &Host, more: More) -> Result<ServerSpec> {
    let public_key = workspace::key::public(app, workspace).await?;
    let tag = host.operation_tag.clone().unwrap_or_else(|| host.id.0.clone());
    let labels: Labels = BTreeMap::from([
        ("reeve-workspace".to_owned(), workspace.name.clone()),
        ("reeve-server".to_owned(), host.handle.clone()),
    ]);
    let spec = ServerSpec {
        operation: OperationTag::new(tag)?,
        hostname: host.hostname.clone(),
        plan: host.plan.clone(),
        zone: host.zone.clone(),
        image: host.image.clone(),
        disk_gb: more.disk_gb,
        ssh_keys: vec![SshKey { name: format!("reeve-{}", workspace.name), public_key }],
        user_data: more.user_data,
        labels,
    };
    spec.validate()?;
    Ok(spec)
}

/// What an order has besides the host's row.
#[derive(Clone, Debug, Default)]
pub struct More {
    /// Size of the first disk.
    pub disk_gb: Option<u32>,
    /// For cloud-init.
    pub user_data: Option<Secret>,
}

/// Whether the provider has what is asked for. Words of the catalogue cost no call; others are put to the provider.
///
/// # Errors
/// Invalid for the field that is wrong; Unavailable when the provider does not answer.
pub async fn possible(app: &App, workspace: &Workspace, spec: &ServerSpec, provider: &str) -> Result<Account> {
    let account = account(app, workspace, provider).await?;
    let offered = catalogue::of(app, &account).await?;
    let zone = offered.zones.iter().any(|zone| zone.name == spec.zone);
    let image = offered.images.iter().any(|image| image.name == spec.image || image.id == spec.image);
    let plan = offered.plans.iter().find(|plan| plan.name == spec.plan);
    let here = plan.is_some_and(|plan| plan.zones.as_ref().is_none_or(|zones| zones.contains(&spec.zone)));
    if zone && image && here {
        return Ok(account);
    }
    match account.cloud.check(spec).await {
        Ok(_) => Ok(account),
        Err(error) if matches!(error.kind, CloudErrorKind::Auth) => Err(Error::invalid("provider", error.to_string())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adopting_provider_is_no_vendor() {
        assert_eq!(ADOPTED, "ssh");
    }
}
