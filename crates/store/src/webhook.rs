//! Webhooks: the subscriptions, who sends for them, and how far the feed was read.

use reeve_types::webhook::{Webhook, WebhookFilter, WebhookState};
use reeve_types::{Error, Page, Paged, Result, ServerId, Sort, Timestamp, WebhookId};

use crate::filter::{Where, order_by, page};
use crate::{Row, Topic, Tx, args, dialect};

const COLUMNS: &str = "id, url, subscribed_events, secret_sealed, headers_sealed, previous_secret_sealed, \
    previous_secret_until, state, state_reason, start_position, failing_since, failures, backlog, inserted_at, updated_at";
const SORTABLE: &[(&str, &str)] = &[("url", "url"), ("inserted_at", "inserted_at"), ("updated_at", "updated_at")];

fn read(mut row: Row) -> Result<Webhook> {
    Ok(Webhook {
        id: row.get()?,
        url: row.get()?,
        subscribed_events: texts(row.get()?)?,
        sealed_secret: row.get()?,
        sealed_headers: row.get()?,
        sealed_previous_secret: row.get()?,
        previous_secret_until: row.get()?,
        state: row.get()?,
        state_reason: row.get()?,
        start_position: row.get()?,
        failing_since: row.get()?,
        failures: row.get()?,
        backlog: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
    })
}

fn texts(json: String) -> Result<Vec<String>> {
    serde_json::from_str(&json).map_err(Error::internal)
}

fn json(texts: &[String]) -> Result<String> {
    serde_json::to_string(texts).map_err(Error::internal)
}

/// Stores a new webhook.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, w: &Webhook) -> Result<()> {
    let sql = "INSERT INTO webhooks (id, url, subscribed_events, secret_sealed, headers_sealed, state, start_position,
        inserted_at, updated_at, lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8)";
    let events = json(&w.subscribed_events)?;
    let headers = w.sealed_headers.as_deref();
    let (made, changed) = (w.inserted_at, w.updated_at);
    let args = args![&w.id, &w.url, events, &w.sealed_secret, headers, w.state, w.start_position, made, changed];
    tx.execute(sql, args).await?;
    tx.wake(Topic::Webhooks);
    Ok(())
}

/// Writes the fields that somebody can change.
///
/// # Errors
/// As the store.
pub async fn update(tx: &mut Tx, w: &Webhook) -> Result<()> {
    let sql = "UPDATE webhooks SET url = $2, subscribed_events = $3, secret_sealed = $4, headers_sealed = $5,
          previous_secret_sealed = $6, previous_secret_until = $7, updated_at = $8
        WHERE id = $1";
    let events = json(&w.subscribed_events)?;
    let (headers, previous) = (w.sealed_headers.as_deref(), w.sealed_previous_secret.as_deref());
    let until = w.previous_secret_until;
    let args = args![&w.id, &w.url, events, &w.sealed_secret, headers, previous, until, w.updated_at];
    tx.execute(sql, args).await?;
    tx.wake(Topic::Webhooks);
    Ok(())
}

/// Moves a webhook from one of the states `from` to `to`. False when it is in none of them.
///
/// # Errors
/// As the store.
pub async fn set_state(
    tx: &mut Tx,
    id: &WebhookId,
    from: &[WebhookState],
    to: WebhookState,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let mut w = Where::new();
    let (state, why, at) = (w.arg(to), w.arg(reason), w.arg(now));
    w.eq("id", Some(id));
    w.any_of("state", from.iter().copied());
    let fresh = if to == WebhookState::Active { ", failing_since = NULL, failures = 0" } else { "" };
    let sql = format!("UPDATE webhooks SET state = {state}, state_reason = {why}, updated_at = {at}{fresh}{}", w.sql());
    tx.wake(Topic::Webhooks);
    Ok(tx.execute(&sql, w.args()).await? == 1)
}

/// The webhook with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &WebhookId) -> Result<Option<Webhook>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1"), args![id]).await?.map(read).transpose()
}

/// The webhook with this id, kept from changing until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_id_for_update(tx: &mut Tx, id: &WebhookId) -> Result<Option<Webhook>> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// How many there are.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT count(*) FROM webhooks", &[]).await?.get()
}

/// A page of webhooks.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &WebhookFilter, sorts: &[Sort], at: Page) -> Result<Paged<Webhook>> {
    let mut w = Where::new();
    w.text("url", &filter.url);
    if let Some(kind) = &filter.event_type {
        let kind = w.arg(kind);
        w.raw(format!("{kind} IN ({})", dialect::json_texts(tx, "subscribed_events")));
    }
    w.eq("state", filter.state);
    w.range("inserted_at", &filter.inserted_at);
    w.range("updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "inserted_at", "id");
    let (rows, total) = page(tx, COLUMNS, "webhooks", "webhooks", w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Removes a webhook with its delivery log. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &WebhookId) -> Result<bool> {
    tx.wake(Topic::Webhooks);
    Ok(tx.execute("DELETE FROM webhooks WHERE id = $1", args![id]).await? == 1)
}

/// Who gets what: id, types and start of every webhook that is not disabled.
///
/// # Errors
/// As the store.
pub async fn subscriptions(tx: &mut Tx) -> Result<Vec<(WebhookId, Vec<String>, i64)>> {
    let sql = "SELECT id, subscribed_events, start_position FROM webhooks WHERE state <> 'disabled' ORDER BY id";
    let rows = tx.all(sql, &[]).await?;
    rows.into_iter().map(|mut r| Ok((r.get()?, texts(r.get()?)?, r.get()?))).collect()
}

/// Position up to which the feed was turned into deliveries, and the position of its newest event.
///
/// # Errors
/// As the store.
pub async fn feed_lag(tx: &mut Tx) -> Result<(i64, i64)> {
    let sql = "SELECT position, (SELECT coalesce(max(seq), 0) FROM events) FROM webhook_feed WHERE id = 1";
    let mut row = tx.one(sql, &[]).await?;
    Ok((row.get()?, row.get()?))
}

/// Position up to which the feed was turned into deliveries, kept from others until the transaction ends. None while
/// another server is at it.
///
/// # Errors
/// As the store.
pub async fn feed_position(tx: &mut Tx) -> Result<Option<i64>> {
    let sql = format!("SELECT position FROM webhook_feed WHERE id = 1{}", dialect::skip_locked(tx));
    tx.opt(&sql, &[]).await?.map(|mut r| r.get()).transpose()
}

/// Moves the position.
///
/// # Errors
/// As the store.
pub async fn set_feed_position(tx: &mut Tx, position: i64) -> Result<()> {
    tx.execute("UPDATE webhook_feed SET position = $1 WHERE id = 1", args![position]).await?;
    Ok(())
}

/// Every webhook that events are sent to.
///
/// # Errors
/// As the store.
pub async fn active(tx: &mut Tx) -> Result<Vec<Webhook>> {
    let rows = tx.all(&format!("SELECT {COLUMNS} FROM webhooks WHERE state = 'active' ORDER BY id"), &[]).await?;
    rows.into_iter().map(read).collect()
}

/// As [`active`], those that `owner` holds.
///
/// # Errors
/// As the store.
pub async fn active_of(tx: &mut Tx, owner: &str) -> Result<Vec<Webhook>> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE state = 'active' AND lease_owner = $1 ORDER BY id");
    tx.all(&sql, args![owner]).await?.into_iter().map(read).collect()
}

/// Active webhooks in all, and those of them that `owner` holds.
///
/// # Errors
/// As the store.
pub async fn shares(tx: &mut Tx, owner: &str) -> Result<(i64, i64)> {
    let sql = "SELECT count(*), count(CASE WHEN lease_owner = $1 THEN 1 END) FROM webhooks WHERE state = 'active'";
    let mut row = tx.one(sql, args![owner]).await?;
    Ok((row.get()?, row.get()?))
}

/// Prolongs the leases that `owner` holds. Says how many.
///
/// # Errors
/// As the store.
pub async fn prolong(tx: &mut Tx, owner: &str, until: Timestamp) -> Result<u64> {
    tx.execute("UPDATE webhooks SET lease_until = $2 WHERE lease_owner = $1", args![owner, until]).await
}

/// Leases up to `most` active webhooks that have been free since before `free_before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn claim(tx: &mut Tx, owner: &str, free_before: Timestamp, until: Timestamp, most: i64) -> Result<u64> {
    let free = format!(
        "SELECT id FROM webhooks WHERE state = 'active' AND lease_until < $2 ORDER BY lease_until, id LIMIT $4{}",
        dialect::skip_locked(tx)
    );
    let sql = format!("UPDATE webhooks SET lease_owner = $1, lease_until = $3 WHERE id IN ({free})");
    tx.execute(&sql, args![owner, free_before, until, most]).await
}

/// Gives back up to `most` leases of `owner`, free from `now` on.
///
/// # Errors
/// As the store.
pub async fn release(tx: &mut Tx, owner: &str, now: Timestamp, most: i64) -> Result<u64> {
    let sql = "UPDATE webhooks SET lease_owner = NULL, lease_until = $2
        WHERE id IN (SELECT id FROM webhooks WHERE lease_owner = $1 ORDER BY id LIMIT $3)";
    tx.wake(Topic::Webhooks);
    tx.execute(sql, args![owner, now, most]).await
}

/// Frees what a server that is gone held, at once. An owner is `SERVER/RUN`.
///
/// # Errors
/// As the store.
pub async fn release_of(tx: &mut Tx, server: &ServerId) -> Result<u64> {
    let prefix = format!("{server}/");
    let sql = format!(
        "UPDATE webhooks SET lease_owner = NULL, lease_until = 0 WHERE substr(lease_owner, 1, {}) = $1",
        prefix.chars().count()
    );
    tx.wake(Topic::Webhooks);
    tx.execute(&sql, args![&prefix]).await
}

/// Notes successes: these webhooks (a JSON array of ids) do not fail any more.
///
/// # Errors
/// As the store.
pub async fn recovered(tx: &mut Tx, ids: &str) -> Result<()> {
    let these = dialect::json_texts(tx, "$1");
    let sql = format!("UPDATE webhooks SET failing_since = NULL, failures = 0 WHERE id IN ({these}) AND failures > 0");
    tx.execute(&sql, args![ids]).await?;
    Ok(())
}

/// Notes `failures` failed attempts. Gives back since when and how often it has failed, None when it is gone.
///
/// # Errors
/// As the store.
pub async fn failed(tx: &mut Tx, id: &WebhookId, failures: i64, now: Timestamp) -> Result<Option<(Timestamp, i64)>> {
    let sql = "UPDATE webhooks SET failing_since = coalesce(failing_since, $2), failures = failures + $3
        WHERE id = $1 RETURNING failing_since, failures";
    let row = tx.opt(sql, args![id, now, failures]).await?;
    row.map(|mut r| Ok((r.get()?, r.get()?))).transpose()
}

/// Every webhook with how many of its deliveries wait.
///
/// # Errors
/// As the store.
pub async fn backlogs(tx: &mut Tx) -> Result<Vec<(WebhookId, WebhookState, i64, i64)>> {
    let sql = "SELECT w.id, w.state, w.backlog, coalesce(p.waiting, 0) FROM webhooks w LEFT JOIN
        (SELECT webhook_id, count(*) AS waiting FROM webhook_deliveries WHERE state = 'pending' GROUP BY webhook_id) AS p
        ON p.webhook_id = w.id ORDER BY w.id";
    let rows = tx.all(sql, &[]).await?;
    rows.into_iter().map(|mut r| Ok((r.get()?, r.get()?, r.get()?, r.get()?))).collect()
}

/// Notes how many deliveries wait.
///
/// # Errors
/// As the store.
pub async fn set_backlog(tx: &mut Tx, id: &WebhookId, waiting: i64) -> Result<()> {
    tx.execute("UPDATE webhooks SET backlog = $2 WHERE id = $1", args![id, waiting]).await?;
    Ok(())
}
