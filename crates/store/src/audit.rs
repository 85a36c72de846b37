//! The audit log and where its chain ends. What makes it a chain is computed above.

use reeve_types::audit::{AuditEntry, AuditFilter};
use reeve_types::{Page, Paged, Result};

use crate::filter::{self, Order, Where};
use crate::{Row, Tx, args};

/// The end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the newest entry.
    pub seq: i64,
    /// Its mac.
    pub mac: String,
    /// A mac over both.
    pub seal: String,
}

const HEAD: &str = "entries";
const COLUMNS: &str = "seq, id, at, actor, remote, request_id, action, subject, details, mac";

fn read(mut r: Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        seq: r.get()?,
        id: r.get()?,
        at: r.get()?,
        actor: r.get()?,
        remote: r.get()?,
        request_id: r.get()?,
        action: r.get()?,
        subject: r.get()?,
        details: r.get()?,
        mac: r.get()?,
    })
}

/// The end of the chain; None before the first entry.
///
/// # Errors
/// As the store.
pub async fn head(tx: &mut Tx) -> Result<Option<Head>> {
    let row = tx.opt("SELECT seq, mac, seal FROM audit_heads WHERE name = $1", args![HEAD]).await?;
    row.map(|mut r| Ok(Head { seq: r.get()?, mac: r.get()?, seal: r.get()? })).transpose()
}

/// Moves the end of the chain, if it is at `seq` with `mac`. Says whether it was.
///
/// # Errors
/// As the store.
pub async fn move_head(tx: &mut Tx, seq: i64, mac: &str, to: &Head) -> Result<bool> {
    let sql = "UPDATE audit_heads SET seq = $1, mac = $2, seal = $3 WHERE name = $4 AND seq = $5 AND mac = $6";
    Ok(tx.execute(sql, args![to.seq, &to.mac, &to.seal, HEAD, seq, mac]).await? == 1)
}

/// Writes down the first end of the chain.
///
/// # Errors
/// As the store; Conflict when there is one.
pub async fn insert_head(tx: &mut Tx, head: &Head) -> Result<()> {
    let sql = "INSERT INTO audit_heads (name, seq, mac, seal) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, args![HEAD, head.seq, &head.mac, &head.seal]).await?;
    Ok(())
}

/// Appends an entry.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, e: &AuditEntry) -> Result<()> {
    let sql = "INSERT INTO audit_entries (seq, id, at, actor, remote, request_id, action, subject, details, mac)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let args = args![e.seq, &e.id, e.at, &e.actor, &e.remote, &e.request_id, &e.action, &e.subject, &e.details, &e.mac];
    tx.execute(sql, args).await?;
    Ok(())
}

/// Entries after position `after`, in order, at most `most`.
///
/// # Errors
/// As the store.
pub async fn after(tx: &mut Tx, after: i64, most: i64) -> Result<Vec<AuditEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM audit_entries WHERE seq > $1 ORDER BY seq LIMIT $2");
    tx.all(&sql, args![after, most]).await?.into_iter().map(read).collect()
}

/// Entries that match, the newest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &AuditFilter, page: Page) -> Result<Paged<AuditEntry>> {
    let mut w = Where::new();
    w.text("action", &filter.action);
    w.text("actor", &filter.actor);
    w.text("subject", &filter.subject);
    w.range("at", &filter.at);
    let (from, order) = ("audit_entries", Order::by("seq", true));
    let (rows, total) = filter::page(tx, COLUMNS, from, from, w, &order, page).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page })
}
