//! Enrollment keys: made and shown here, used in [`crate::agent::enroll`].

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use reeve_store::{cluster, enrollment_key as table};
use reeve_types::enrollment_key::{EnrollmentKey, EnrollmentKeyFilter};
use reeve_types::{Actor, EnrollmentKeyId, Error, Page, Paged, Patch, Permission, Result, Secret, Sort, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::seal::Aad;
use crate::{App, audit, authz};

/// A key with its blob in clear.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The row.
    pub row: EnrollmentKey,
    /// What an agent enrolls with.
    pub key: Secret,
}

/// What a new key is made of.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// A label for people.
    pub name: Option<String>,
    /// Uses; None is unlimited.
    pub uses_remaining: Option<i64>,
    /// Refused from this instant on.
    pub expired_at: Option<Timestamp>,
}

/// Changes to a key.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The label.
    pub name: Patch<String>,
    /// The uses left; cleared is unlimited.
    pub uses_remaining: Patch<i64>,
    /// The expiry; cleared is never.
    pub expired_at: Patch<Timestamp>,
}

/// Creates a key for the cluster called `cluster_name`.
///
/// # Errors
/// NotFound for the cluster.
pub async fn create(app: &App, actor: &Actor, cluster_name: &str, input: Create) -> Result<Opened> {
    authz::require(actor, Permission::EnrollmentKeysWrite)?;
    insert(app, actor, cluster_name, input).await
}

/// Creates a key for the configured default cluster.
///
/// # Errors
/// Forbidden when none is configured; NotFound when it does not exist.
pub async fn create_for_default(app: &App, actor: &Actor, input: Create) -> Result<Opened> {
    authz::require(actor, Permission::EnrollmentKeysWrite)?;
    let name = app.config.default_cluster.as_deref();
    let name = name.ok_or_else(|| Error::forbidden("no default cluster is configured; set DEFAULT_CLUSTER_NAME"))?;
    insert(app, actor, name, input).await
}

/// Hands a single-use key for the default cluster to anybody, where that is switched on.
///
/// # Errors
/// Forbidden when it is not; NotFound when the cluster does not exist.
pub async fn create_public(app: &App, actor: &Actor) -> Result<Opened> {
    match &app.config.default_cluster {
        Some(name) if app.config.public_enrollment_keys => {
            let input = Create { uses_remaining: Some(1), ..Create::default() };
            insert(app, actor, name, input).await
        }
        Some(_) | None => Err(Error::forbidden("public enrollment keys are switched off")),
    }
}

async fn insert(app: &App, actor: &Actor, cluster_name: &str, input: Create) -> Result<Opened> {
    let mut tx = app.begin(actor).await?;
    let opened = insert_in(app, &mut tx, actor, cluster_name, input).await?;
    tx.commit().await?;
    Ok(opened)
}

/// Makes a key in the caller's transaction.
///
/// # Errors
/// NotFound for the cluster.
pub(crate) async fn insert_in(
    app: &App,
    tx: &mut reeve_store::Tx,
    actor: &Actor,
    cluster_name: &str,
    input: Create,
) -> Result<Opened> {
    let cluster = cluster::by_name(tx, cluster_name).await?.ok_or_else(|| Error::not_found("cluster"))?;
    let now = app.now();
    let id = EnrollmentKeyId(app.ids.next());
    let (endpoints, urls) = crate::server::of_members(app, tx).await?;
    let blob = new_blob(app, &endpoints, &urls);
    let sealed_key = app.seal.seal(&*app.ids, aad(&id), &blob);
    let row = EnrollmentKey {
        id,
        cluster_id: cluster.id,
        cluster_name: cluster.name,
        sealed_key,
        name: input.name,
        uses_remaining: input.uses_remaining,
        expired_at: input.expired_at,
        last_used_at: None,
        inserted_at: now,
        updated_at: now,
    };
    table::insert(tx, &row, &hash(&blob)).await?;
    let details = json!({"cluster": row.cluster_name, "name": row.name, "uses": row.uses_remaining});
    audit::record(app, tx, actor, "enrollment_key.create", row.id.as_str(), details).await?;
    Ok(Opened { row, key: Secret::new(blob) })
}

/// Standard base64 of a JSON object: where to go, whom to trust there, and 32 unguessable bytes.
fn new_blob(app: &App, endpoints: &[String], urls: &[String]) -> String {
    let mut nonce = [0u8; 32];
    app.ids.fill(&mut nonce);
    let blob = json!({
        "admin_urls": urls,
        "nonce": STANDARD_NO_PAD.encode(nonce),
        "agent_endpoints": endpoints,
        "pin": app.config.agent_pin,
    });
    STANDARD.encode(blob.to_string())
}

/// What a key is looked up by.
pub(crate) fn hash(blob: &str) -> String {
    hex::encode(Sha256::digest(blob.trim().as_bytes()))
}

pub(crate) fn aad(id: &EnrollmentKeyId) -> Aad<'_> {
    Aad { table: "enrollment_keys", column: "sealed_key", id: id.as_str() }
}

fn open(app: &App, row: EnrollmentKey) -> Result<Opened> {
    let key = app.seal.open(aad(&row.id), &row.sealed_key)?;
    Ok(Opened { row, key })
}

/// The key with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &EnrollmentKeyId) -> Result<Opened> {
    authz::require(actor, Permission::EnrollmentKeysRead)?;
    let mut tx = app.store.read().await?;
    let row = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("enrollment key"))?;
    open(app, row)
}

/// A page of keys; `key` filters on one exact blob.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    mut filter: EnrollmentKeyFilter,
    key: Option<&str>,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<Opened>> {
    authz::require(actor, Permission::EnrollmentKeysRead)?;
    filter.key_hash = key.map(hash);
    let mut tx = app.store.read().await?;
    let found = table::list(&mut tx, &filter, app.now(), sorts, page).await?;
    let items = found.items.into_iter().map(|row| open(app, row)).collect::<Result<_>>()?;
    Ok(Paged { items, total: found.total, page: found.page })
}

/// Changes a key.
///
/// # Errors
/// NotFound.
pub async fn update(app: &App, actor: &Actor, id: &EnrollmentKeyId, input: Update) -> Result<Opened> {
    authz::require(actor, Permission::EnrollmentKeysWrite)?;
    let mut tx = app.begin(actor).await?;
    // A use that an agent takes at this moment stays taken.
    let mut row = table::by_id_for_update(&mut tx, id).await?.ok_or_else(|| Error::not_found("enrollment key"))?;
    row.name = input.name.apply(row.name);
    row.uses_remaining = input.uses_remaining.apply(row.uses_remaining);
    row.expired_at = input.expired_at.apply(row.expired_at);
    row.updated_at = app.now();
    table::update(&mut tx, &row).await?;
    let details =
        json!({"name": row.name, "uses": row.uses_remaining, "expires": row.expired_at.map(Timestamp::rfc3339_secs)});
    audit::record(app, &mut tx, actor, "enrollment_key.update", id.as_str(), details).await?;
    tx.commit().await?;
    open(app, row)
}

/// Deletes a key; nodes that used it stay.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, id: &EnrollmentKeyId) -> Result<()> {
    authz::require(actor, Permission::EnrollmentKeysWrite)?;
    let mut tx = app.begin(actor).await?;
    if !table::delete(&mut tx, id).await? {
        return Err(Error::not_found("enrollment key"));
    }
    audit::record(app, &mut tx, actor, "enrollment_key.delete", id.as_str(), json!({})).await?;
    tx.commit().await
}
