//! Enrollment keys.

use reeve_types::enrollment_key::{EnrollmentKey, EnrollmentKeyFilter};
use reeve_types::{EnrollmentKeyId, Page, Paged, Result, Sort, Timestamp};

use crate::filter::{Where, order_by, page};
use crate::{Row, Tx, args, dialect};

const COLUMNS: &str = "k.id, k.cluster_id, c.name, k.sealed_key, k.name, k.uses_remaining, k.expired_at, k.last_used_at, \
    k.inserted_at, k.updated_at";
const FROM: &str = "enrollment_keys k JOIN clusters c ON c.id = k.cluster_id";
const SORTABLE: &[(&str, &str)] = &[
    ("name", "k.name"),
    ("uses_remaining", "k.uses_remaining"),
    ("expired_at", "k.expired_at"),
    ("last_used_at", "k.last_used_at"),
    ("inserted_at", "k.inserted_at"),
    ("updated_at", "k.updated_at"),
];

fn read(mut row: Row) -> Result<EnrollmentKey> {
    Ok(EnrollmentKey {
        id: row.get()?,
        cluster_id: row.get()?,
        cluster_name: row.get()?,
        sealed_key: row.get()?,
        name: row.get()?,
        uses_remaining: row.get()?,
        expired_at: row.get()?,
        last_used_at: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// Stores a new key with the hash it is looked up by.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, key: &EnrollmentKey, key_hash: &str) -> Result<()> {
    let sql = "INSERT INTO enrollment_keys
        (id, cluster_id, key_hash, sealed_key, name, uses_remaining, expired_at, last_used_at, inserted_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let k = key;
    tx.execute(
        sql,
        args![
            &k.id,
            &k.cluster_id,
            key_hash,
            &k.sealed_key,
            k.name.as_deref(),
            k.uses_remaining,
            k.expired_at,
            k.last_used_at,
            k.inserted_at,
            k.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// The key with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &EnrollmentKeyId) -> Result<Option<EnrollmentKey>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE k.id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// As [`by_id`], and nobody else may change the row until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_id_for_update(tx: &mut Tx, id: &EnrollmentKeyId) -> Result<Option<EnrollmentKey>> {
    let lock = if dialect::for_update(tx).is_empty() { "" } else { " FOR UPDATE OF k" };
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE k.id = $1{lock}");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// The key with this hash, locked until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_hash_for_update(tx: &mut Tx, key_hash: &str) -> Result<Option<EnrollmentKey>> {
    let lock = if dialect::for_update(tx).is_empty() { "" } else { " FOR UPDATE OF k" };
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE k.key_hash = $1{lock}");
    tx.opt(&sql, args![key_hash]).await?.map(read).transpose()
}

/// A page of keys; `now` decides what is expired.
///
/// # Errors
/// As the store.
pub async fn list(
    tx: &mut Tx,
    filter: &EnrollmentKeyFilter,
    now: Timestamp,
    sorts: &[Sort],
    at: Page,
) -> Result<Paged<EnrollmentKey>> {
    let mut w = Where::new();
    w.text("c.name", &filter.cluster_name);
    w.eq("k.key_hash", filter.key_hash.as_ref());
    w.text("k.name", &filter.name);
    w.range("k.uses_remaining", &filter.uses_remaining);
    w.present("k.uses_remaining", filter.is_unlimited.map(|unlimited| !unlimited));
    w.present("k.last_used_at", filter.is_never_used.map(|never| !never));
    w.present("k.expired_at", filter.has_expiry);
    w.present("k.name", filter.has_name);
    match filter.is_spent {
        Some(true) => w.raw("k.uses_remaining = 0"),
        Some(false) => w.raw("(k.uses_remaining IS NULL OR k.uses_remaining > 0)"),
        None => {}
    }
    if let Some(expired) = filter.is_expired {
        let now = w.arg(now);
        w.raw(if expired {
            format!("k.expired_at < {now}")
        } else {
            format!("(k.expired_at IS NULL OR k.expired_at >= {now})")
        });
    }
    w.range("k.expired_at", &filter.expired_at);
    w.range("k.last_used_at", &filter.last_used_at);
    w.range("k.inserted_at", &filter.inserted_at);
    w.range("k.updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "k.inserted_at", "k.id");
    let count_from = if filter.cluster_name.is_some() { FROM } else { "enrollment_keys k" };
    let (rows, total) = page(tx, COLUMNS, FROM, count_from, w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Writes the changeable fields of a key.
///
/// # Errors
/// As the store.
pub async fn update(tx: &mut Tx, key: &EnrollmentKey) -> Result<bool> {
    let sql =
        "UPDATE enrollment_keys SET name = $2, uses_remaining = $3, expired_at = $4, updated_at = $5 WHERE id = $1";
    let args = args![&key.id, key.name.as_deref(), key.uses_remaining, key.expired_at, key.updated_at];
    Ok(tx.execute(sql, args).await? == 1)
}

/// Takes one use. False when none is left.
///
/// # Errors
/// As the store.
pub async fn consume(tx: &mut Tx, id: &EnrollmentKeyId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE enrollment_keys SET uses_remaining = uses_remaining - 1, last_used_at = $2
        WHERE id = $1 AND (uses_remaining IS NULL OR uses_remaining > 0)";
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Removes a key. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &EnrollmentKeyId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM enrollment_keys WHERE id = $1", args![id]).await? == 1)
}
