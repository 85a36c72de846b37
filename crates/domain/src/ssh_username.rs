//! SSH usernames: who may open a session on a node. Whether somebody is who they say is decided in [`verify`].

mod verify;

use std::collections::HashMap;

use reeve_store::{dialect, node, ssh_public_key as keys, ssh_username as table};
use reeve_types::ssh_public_key::SshPublicKey;
use reeve_types::ssh_username::{SshUsername, SshUsernameFilter, is_username};
use reeve_types::{Actor, Error, ErrorKind, NodeId, Page, Paged, Permission, Result, Secret, Sort, SshUsernameId};
use serde_json::json;

pub use verify::{Offer, try_credentials, verify};

use crate::ssh_public_key::{self, MAX_KEYS, NewKey};
use crate::{App, audit, authz};

/// Shortest and longest password, in characters.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=128;

/// A username with its keys.
#[derive(Clone, Debug)]
pub struct View {
    /// The username.
    pub row: SshUsername,
    /// Its keys, in order of creation.
    pub public_keys: Vec<SshPublicKey>,
}

/// What a new username is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// The name.
    pub username: String,
    /// A password that lets in; None for keys alone.
    pub password: Option<Secret>,
    /// Its first keys.
    pub public_keys: Vec<NewKey>,
}

/// Lets a username in on a node, with all of its first keys or not at all.
///
/// # Errors
/// NotFound for the node; Invalid for what cannot be a username, password or key; Conflict when the node knows the username
/// or two keys have the same label.
pub async fn create(app: &App, actor: &Actor, node_id: &NodeId, input: Create) -> Result<View> {
    authz::require(actor, Permission::SshWrite)?;
    let now = app.now();
    let id = SshUsernameId(app.ids.next());
    let mut error = Error::new(ErrorKind::Invalid, "Validation failed");
    check(&input, &mut error);
    let mut public_keys = Vec::with_capacity(input.public_keys.len().min(MAX_KEYS));
    for (index, key) in input.public_keys.iter().take(MAX_KEYS).enumerate() {
        let prefix = format!("public_keys/{index}/");
        public_keys.extend(ssh_public_key::read(app, &id, key, &prefix, now, &mut error));
    }
    if !error.details.is_empty() {
        return Err(error);
    }
    // Hashing takes its time: for nobody who names a node that is not there, and outside of the transaction.
    node_must_exist(app, node_id).await?;
    let password_hash = match &input.password {
        Some(password) => Some(app.ssh_passwords.hash(&*app.ids, password).await?),
        None => None,
    };
    let row = SshUsername {
        id,
        node_id: node_id.clone(),
        username: input.username,
        has_password: password_hash.is_some(),
        inserted_at: now,
        updated_at: now,
    };
    let mut tx = app.begin(actor).await?;
    table::insert(&mut tx, &row, password_hash.as_deref()).await.map_err(|error| {
        if dialect::is_unique_violation(&error, "ssh_usernames_node_id_username") {
            Error::conflict("username has already been taken")
        } else if dialect::is_foreign_key_violation(&error) {
            Error::not_found("node")
        } else {
            error
        }
    })?;
    ssh_public_key::insert(&mut tx, &public_keys).await?;
    let fingerprints: Vec<&str> = public_keys.iter().map(|k| &*k.key.fingerprint).collect();
    let details = json!({
        "node": row.node_id, "username": row.username, "has_password": row.has_password, "fingerprints": fingerprints,
    });
    audit::record(app, &mut tx, actor, "ssh_username.create", row.id.as_str(), details).await?;
    tx.commit().await?;
    Ok(View { row, public_keys })
}

async fn node_must_exist(app: &App, id: &NodeId) -> Result<()> {
    let found = node::by_id(&mut app.store.read().await?, id).await?;
    found.map(drop).ok_or_else(|| Error::not_found("node"))
}

fn check(input: &Create, error: &mut Error) {
    let mut wrong = |field: &str, problem: String| error.details.entry(field.to_owned()).or_default().push(problem);
    if !is_username(&input.username) {
        wrong("username", "must be 3 to 32 of a-z, 0-9, _ and -, with a letter or _ first".to_owned());
    }
    if let Some(password) = &input.password {
        let (shortest, longest) = (PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end());
        if !PASSWORD_LENGTH.contains(&password.expose().chars().count()) {
            wrong("password", format!("must have {shortest} to {longest} characters"));
        }
        if password.expose().eq_ignore_ascii_case(&input.username) {
            wrong("password", "must not be the username".to_owned());
        }
    }
    if input.public_keys.len() > MAX_KEYS {
        wrong("public_keys", format!("a username has at most {MAX_KEYS} public keys"));
    }
}

/// The username with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &SshUsernameId) -> Result<View> {
    authz::require(actor, Permission::SshRead)?;
    let mut tx = app.store.read().await?;
    let row = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("SSH username"))?;
    let public_keys = keys::of_usernames(&mut tx, std::slice::from_ref(id)).await?;
    Ok(View { row, public_keys })
}

/// A page of usernames.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &SshUsernameFilter,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<View>> {
    authz::require(actor, Permission::SshRead)?;
    let mut tx = app.store.read().await?;
    let found = table::list(&mut tx, filter, sorts, page).await?;
    let ids: Vec<SshUsernameId> = found.items.iter().map(|u| u.id.clone()).collect();
    let mut by_owner: HashMap<SshUsernameId, Vec<SshPublicKey>> = HashMap::new();
    for key in keys::of_usernames(&mut tx, &ids).await? {
        by_owner.entry(key.ssh_username_id.clone()).or_default().push(key);
    }
    Ok(found.map(|row| View { public_keys: by_owner.remove(&row.id).unwrap_or_default(), row }))
}

/// Shuts a username out, with its password and its keys.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, id: &SshUsernameId) -> Result<()> {
    authz::require(actor, Permission::SshWrite)?;
    let mut tx = app.begin(actor).await?;
    let row = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("SSH username"))?;
    if !table::delete(&mut tx, id).await? {
        return Err(Error::not_found("SSH username"));
    }
    let details = json!({"node": row.node_id, "username": row.username});
    audit::record(app, &mut tx, actor, "ssh_username.delete", id.as_str(), details).await?;
    tx.commit().await
}
