//! What providers know workspaces by: stored sealed, never shown again, used to open accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_ports::cloud::{Cloud, Credentials, Provider};
use reeve_store::{provider_credential as table, workspace};
use reeve_types::workspace::{ProviderCredential, Workspace};
use reeve_types::{Actor, Error, Permission, Result, Secret, Timestamp};
use serde_json::json;

use crate::seal::Aad;
use crate::{App, audit, authz};

/// Longest value, in bytes.
const LONGEST: usize = 8 * 1024;

/// Credentials as shown: which fields there are, not what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// For which provider.
    pub provider: String,
    /// Names of the fields that are set.
    pub fields: Vec<String>,
    /// Last change.
    pub updated_at: Timestamp,
}

/// An account with a provider, and a word by which this process remembers things about it.
#[derive(Clone)]
pub struct Account {
    /// The provider.
    pub cloud: Arc<dyn Cloud>,
    /// Provider and row of the credentials, or `environment`.
    pub key: String,
}

fn aad(id: &str) -> Aad<'_> {
    Aad::new("provider_credentials", "sealed", id)
}

/// Which providers a workspace has credentials for.
///
/// # Errors
/// NotFound for the workspace.
pub async fn list(app: &App, actor: &Actor, name: &str) -> Result<Vec<View>> {
    authz::require(actor, Permission::WorkspacesRead)?;
    let mut tx = app.store.read().await?;
    let found = workspace::by_name(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    table::all(&mut tx, &found.id).await?.into_iter().map(|row| view(app, row)).collect()
}

/// The providers that a workspace has credentials for, by name.
pub(crate) async fn providers_of(app: &App, name: &str) -> Result<Vec<String>> {
    let mut tx = app.store.read().await?;
    let found = workspace::by_name(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    Ok(table::all(&mut tx, &found.id).await?.into_iter().map(|row| row.provider).collect())
}

fn view(app: &App, row: ProviderCredential) -> Result<View> {
    let fields = open_row(app, &row)?.0.into_keys().collect();
    Ok(View { provider: row.provider, fields, updated_at: row.updated_at })
}

fn open_row(app: &App, row: &ProviderCredential) -> Result<Credentials> {
    let text = app.seal.open(aad(&row.id), &row.sealed)?;
    let fields: BTreeMap<String, Secret> = serde_json::from_str(text.expose()).map_err(Error::internal)?;
    Ok(Credentials(fields))
}

/// What is known of a provider.
///
/// # Errors
/// Invalid; says which there are.
pub(crate) fn known(app: &App, provider: &str) -> Result<Provider> {
    let all = app.clouds.factory().providers();
    let names: Vec<&str> = all.iter().map(|known| &*known.name).collect();
    let none = format!("there is no provider `{provider}`; there are {}", names.join(", "));
    all.into_iter().find(|known| known.name == provider).ok_or_else(|| Error::invalid("provider", none))
}

/// Gives a workspace credentials for a provider, in place of those it had.
///
/// # Errors
/// NotFound for the workspace; Invalid for an unknown provider, an unknown field, or fields that do not suffice.
pub async fn put(
    app: &App,
    actor: &Actor,
    name: &str,
    provider: &str,
    fields: BTreeMap<String, Secret>,
) -> Result<View> {
    authz::require(actor, Permission::WorkspacesCreate)?;
    let known = known(app, provider)?;
    for (field, value) in &fields {
        if !known.fields.iter().any(|f| f.name == field) {
            let names: Vec<&str> = known.fields.iter().map(|f| f.name).collect();
            let problem = format!("is no field of {provider}; it has {}", names.join(", "));
            return Err(Error::invalid(field, problem));
        }
        if value.expose().is_empty() || value.expose().len() > LONGEST {
            return Err(Error::invalid(field, format!("must be 1 to {LONGEST} bytes")));
        }
    }
    // An adapter that can be made has what it needs; whether the provider agrees is seen at the first call.
    if let Err(error) = app.clouds.factory().open(provider, Some(&Credentials(fields.clone()))) {
        return Err(Error::invalid("credentials", error.message));
    }
    let text: BTreeMap<&String, &str> = fields.iter().map(|(name, value)| (name, value.expose())).collect();
    let text = Secret::new(serde_json::to_string(&text).map_err(Error::internal)?);
    let now = app.now();
    let id = app.ids.next();
    let mut tx = app.begin(actor).await?;
    let found = workspace::lock(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    table::delete(&mut tx, &found.id, provider).await?;
    let row = ProviderCredential {
        sealed: app.seal.seal(&*app.ids, aad(&id), text.expose()),
        id,
        workspace_id: found.id,
        provider: provider.to_owned(),
        inserted_at: now,
        updated_at: now,
    };
    table::insert(&mut tx, &row).await?;
    let details = json!({"provider": provider, "fields": fields.keys().collect::<Vec<_>>()});
    audit::record(app, &mut tx, actor, "credential.put", name, details).await?;
    tx.commit().await?;
    Ok(View { provider: row.provider, fields: fields.into_keys().collect(), updated_at: now })
}

/// Takes a workspace's credentials for a provider away.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, name: &str, provider: &str) -> Result<()> {
    authz::require(actor, Permission::WorkspacesCreate)?;
    let mut tx = app.begin(actor).await?;
    let found = workspace::lock(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    if !table::delete(&mut tx, &found.id, provider).await? {
        return Err(Error::not_found("credentials"));
    }
    audit::record(app, &mut tx, actor, "credential.delete", name, json!({"provider": provider})).await?;
    tx.commit().await
}

/// The account of a workspace with a provider: by its own credentials, else by those of the environment.
///
/// # Errors
/// Invalid for an unknown provider or one that is not configured.
pub(crate) async fn account(app: &App, workspace: &Workspace, provider: &str) -> Result<Account> {
    let row = table::of(&mut app.store.read().await?, &workspace.id, provider).await?;
    let credentials = row.as_ref().map(|row| open_row(app, row)).transpose()?;
    let opened = app.clouds.factory().open(provider, credentials.as_ref());
    let cloud = opened.map_err(|error| match error.kind {
        reeve_ports::CloudErrorKind::Auth => Error::invalid("provider", error.message),
        _ => Error::from(error),
    })?;
    let key = format!("{provider}/{}", row.map_or_else(|| "environment".to_owned(), |row| row.id));
    Ok(Account { cloud, key })
}

/// Any account with a provider: of this workspace, or of the environment.
///
/// # Errors
/// As [`account`]; NotFound for the workspace.
pub(crate) async fn any_account(app: &App, workspace_name: Option<&str>, provider: &str) -> Result<Account> {
    if let Some(name) = workspace_name {
        let found = workspace::by_name(&mut app.store.read().await?, name).await?;
        return account(app, &found.ok_or_else(|| Error::not_found("workspace"))?, provider).await;
    }
    let cloud = app.clouds.factory().open(provider, None).map_err(|error| match error.kind {
        reeve_ports::CloudErrorKind::Auth => Error::conflict(error.message),
        _ => Error::from(error),
    })?;
    Ok(Account { cloud, key: format!("{provider}/environment") })
}
