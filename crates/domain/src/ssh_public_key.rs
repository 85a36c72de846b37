//! Public keys of SSH usernames: which are taken, and what they say.

mod parse;

use reeve_store::{dialect, ssh_public_key as table, ssh_username};
use reeve_types::ssh_public_key::{SshPublicKey, SshPublicKeyFilter};
use reeve_types::{
    Actor, Error, ErrorKind, Page, Paged, Permission, Result, Sort, SshPublicKeyId, SshUsernameId, Timestamp,
};
use serde_json::json;

pub(crate) use parse::material;
pub use parse::parse;

use crate::{App, audit, authz};

/// Most keys of a username: every answer about the username shows them all.
pub const MAX_KEYS: usize = 100;

/// What a new key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// A label for people, 1 to 255 characters.
    pub key_name: String,
    /// One line of an `id_*.pub` file.
    pub public_key: String,
}

/// Gives a username another key.
///
/// # Errors
/// NotFound for the username; Invalid for a key that cannot be used; Conflict when its label is taken or the username has
/// too many keys.
pub async fn create(app: &App, actor: &Actor, username: &SshUsernameId, input: NewKey) -> Result<SshPublicKey> {
    authz::require(actor, Permission::SshWrite)?;
    let now = app.now();
    let mut error = Error::new(ErrorKind::Invalid, "Validation failed");
    let key = read(app, username, &input, "", now, &mut error).ok_or(error)?;
    let mut tx = app.begin(actor).await?;
    let owner = ssh_username::by_id_for_update(&mut tx, username).await?;
    let owner = owner.ok_or_else(|| Error::not_found("SSH username"))?;
    if table::count_of(&mut tx, username).await? >= MAX_KEYS as i64 {
        return Err(Error::conflict(format!("a username has at most {MAX_KEYS} public keys - delete one first")));
    }
    insert(&mut tx, std::slice::from_ref(&key)).await?;
    let details = json!({
        "node": owner.node_id, "username": owner.username, "key_name": key.key_name, "fingerprint": key.key.fingerprint,
    });
    audit::record(app, &mut tx, actor, "ssh_public_key.create", key.id.as_str(), details).await?;
    tx.commit().await?;
    Ok(key)
}

/// A key as it will be stored, or None with what is wrong in `error`, under the path `prefix` + field.
pub(crate) fn read(
    app: &App,
    username: &SshUsernameId,
    input: &NewKey,
    prefix: &str,
    now: Timestamp,
    error: &mut Error,
) -> Option<SshPublicKey> {
    let mut wrong = |field: &str, problem: String| {
        error.details.entry(format!("{prefix}{field}")).or_default().push(problem);
    };
    let label = input.key_name.chars().count();
    let label_is_bad = !(1..=255).contains(&label) || input.key_name.chars().any(char::is_control);
    if label_is_bad {
        wrong("key_name", "must have 1 to 255 characters and be one line".to_owned());
    }
    let key = parse(&input.public_key).map_err(|problem| wrong("public_key", problem)).ok()?;
    (!label_is_bad).then(|| SshPublicKey {
        id: SshPublicKeyId(app.ids.next()),
        ssh_username_id: username.clone(),
        key_name: input.key_name.clone(),
        key,
        inserted_at: now,
        updated_at: now,
    })
}

/// Stores keys; a label that is taken is a Conflict.
pub(crate) async fn insert(tx: &mut reeve_store::Tx, keys: &[SshPublicKey]) -> Result<()> {
    table::insert_many(tx, keys).await.map_err(|error| {
        let taken = dialect::is_unique_violation(&error, "ssh_public_keys_ssh_username_id_key_name");
        if taken { Error::conflict("key_name has already been taken") } else { error }
    })
}

/// The key with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &SshPublicKeyId) -> Result<SshPublicKey> {
    authz::require(actor, Permission::SshRead)?;
    let mut tx = app.store.read().await?;
    table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("SSH public key"))
}

/// A page of keys.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &SshPublicKeyFilter,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<SshPublicKey>> {
    authz::require(actor, Permission::SshRead)?;
    table::list(&mut app.store.read().await?, filter, sorts, page).await
}

/// Deletes a key: it opens no door any more.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, id: &SshPublicKeyId) -> Result<()> {
    authz::require(actor, Permission::SshWrite)?;
    let mut tx = app.begin(actor).await?;
    let key = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("SSH public key"))?;
    if !table::delete(&mut tx, id).await? {
        return Err(Error::not_found("SSH public key"));
    }
    let details = json!({
        "ssh_username": key.ssh_username_id, "key_name": key.key_name, "fingerprint": key.key.fingerprint,
    });
    audit::record(app, &mut tx, actor, "ssh_public_key.delete", id.as_str(), details).await?;
    tx.commit().await
}
