//! Public keys of SSH usernames.

use reeve_types::ssh_public_key::{ParsedKey, SshPublicKey, SshPublicKeyFilter};
use reeve_types::{Page, Paged, Result, Sort, SshPublicKeyId, SshUsernameId};

use crate::filter::{Where, order_by, page};
use crate::{Row, Tx, Value, args};

const COLUMNS: &str = "k.id, k.ssh_username_id, k.key_name, k.public_key, k.key_type, k.bits, k.fingerprint, k.comment, \
    k.inserted_at, k.updated_at";
const FROM: &str = "ssh_public_keys k";
const WITH_USERNAME: &str = "ssh_public_keys k JOIN ssh_usernames u ON u.id = k.ssh_username_id";
const WITH_CLUSTER: &str = "ssh_public_keys k JOIN ssh_usernames u ON u.id = k.ssh_username_id \
    JOIN nodes n ON n.id = u.node_id JOIN clusters c ON c.id = n.cluster_id";
const SORTABLE: &[(&str, &str)] =
    &[("key_name", "k.key_name"), ("inserted_at", "k.inserted_at"), ("updated_at", "k.updated_at")];

fn read(mut row: Row) -> Result<SshPublicKey> {
    Ok(SshPublicKey {
        id: row.get()?,
        ssh_username_id: row.get()?,
        key_name: row.get()?,
        key: ParsedKey {
            line: row.get()?,
            key_type: row.get()?,
            bits: row.get()?,
            fingerprint: row.get()?,
            comment: row.get()?,
        },
        inserted_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// Stores new keys.
///
/// # Errors
/// Unique violation of `ssh_public_keys_ssh_username_id_key_name`.
pub async fn insert_many(tx: &mut Tx, keys: &[SshPublicKey]) -> Result<()> {
    let values = |k: &SshPublicKey| -> Vec<Value<'static>> {
        vec![
            Value::from(k.id.0.clone()),
            Value::from(k.ssh_username_id.0.clone()),
            Value::from(k.key_name.clone()),
            Value::from(k.key.line.clone()),
            Value::from(k.key.key_type),
            Value::from(k.key.bits),
            Value::from(k.key.fingerprint.clone()),
            Value::from(k.key.comment.clone()),
            Value::from(k.inserted_at),
            Value::from(k.updated_at),
        ]
    };
    let rows: Vec<Vec<Value<'_>>> = keys.iter().map(values).collect();
    let into = "ssh_public_keys (id, ssh_username_id, key_name, public_key, key_type, bits, fingerprint, comment, \
        inserted_at, updated_at)";
    tx.insert_many(into, &rows, "").await?;
    Ok(())
}

/// The key with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &SshPublicKeyId) -> Result<Option<SshPublicKey>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE k.id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// The keys of these usernames, in order of creation.
///
/// # Errors
/// As the store.
pub async fn of_usernames(tx: &mut Tx, usernames: &[SshUsernameId]) -> Result<Vec<SshPublicKey>> {
    if usernames.is_empty() {
        return Ok(Vec::new());
    }
    let mut w = Where::new();
    w.any_of("k.ssh_username_id", usernames);
    let sql = format!("SELECT {COLUMNS} FROM {FROM}{} ORDER BY k.ssh_username_id, k.id", w.sql());
    tx.all(&sql, w.args()).await?.into_iter().map(read).collect()
}

/// How many keys a username has.
///
/// # Errors
/// As the store.
pub async fn count_of(tx: &mut Tx, username: &SshUsernameId) -> Result<i64> {
    tx.one("SELECT count(*) FROM ssh_public_keys WHERE ssh_username_id = $1", args![username]).await?.get()
}

/// Keys of a username with this fingerprint.
///
/// # Errors
/// As the store.
pub async fn with_fingerprint(tx: &mut Tx, username: &str, fingerprint: &str) -> Result<Vec<SshPublicKey>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE k.fingerprint = $1 AND k.ssh_username_id = $2");
    tx.all(&sql, args![fingerprint, username]).await?.into_iter().map(read).collect()
}

/// A page of keys.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &SshPublicKeyFilter, sorts: &[Sort], at: Page) -> Result<Paged<SshPublicKey>> {
    let mut w = Where::new();
    w.text("k.key_name", &filter.key_name);
    w.text("k.public_key", &filter.public_key);
    w.eq("k.fingerprint", filter.fingerprint.as_ref());
    w.any_of("k.ssh_username_id", &filter.ssh_username_ids);
    w.text("u.username", &filter.username);
    w.any_of("u.node_id", &filter.node_ids);
    w.text("c.name", &filter.cluster_name);
    w.range("k.inserted_at", &filter.inserted_at);
    w.range("k.updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "k.inserted_at", "k.id");
    let from = match (&filter.cluster_name, &filter.username, filter.node_ids.is_empty()) {
        (Some(_), _, _) => WITH_CLUSTER,
        (None, None, true) => FROM,
        (None, _, _) => WITH_USERNAME,
    };
    let (rows, total) = page(tx, COLUMNS, from, from, w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Removes a key. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &SshPublicKeyId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM ssh_public_keys WHERE id = $1", args![id]).await? == 1)
}
