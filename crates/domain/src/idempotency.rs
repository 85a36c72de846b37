//! `Idempotency-Key`: the key is taken in the transaction of the effect, the answer is kept afterwards, a retry gets it.
//!
//! A request whose transaction is rolled back leaves nothing, so that it can be tried again with the same key. Answers
//! are sealed: some hold secrets that exist nowhere else in clear.

use reeve_store::sealed::SealedColumn;
use reeve_store::{Tx, idempotency as rows};
use reeve_types::access::{IdempotencyKey, Lookup, StoredReply};
use reeve_types::{Actor, Error, Principal, Result, Timestamp};

use crate::App;
use crate::seal::Aad;
use crate::seal::rotate::Rotated;

/// `reason` of the Conflict when a key is taken.
pub const TAKEN: &str = "idempotency_key_taken";
/// An answer that is not there after this long never comes: no request takes that long.
const ANSWER_MS: i64 = 60_000;
/// Keys dropped per transaction.
const BATCH: i64 = 1_000;
/// Answers sealed again per transaction.
const RESEALED: i64 = 200;

/// Takes the request's key, when it has one. The same request may come again, for a second transaction.
///
/// # Errors
/// Conflict with the reason [`TAKEN`] when another request took it.
pub async fn take(app: &App, tx: &mut Tx, actor: &Actor) -> Result<()> {
    let Some(IdempotencyKey { key, fingerprint }) = &actor.request.idempotency else { return Ok(()) };
    let (principal, request_id, now) = (holder(actor), &actor.request.request_id, app.now());
    if rows::insert(tx, &principal, key, fingerprint, request_id, now, expired_before(app, now)).await? {
        return Ok(());
    }
    match rows::get(tx, &principal, key).await? {
        Some(row) if !request_id.is_empty() && row.request_id == *request_id => Ok(()),
        _ => {
            Err(Error::conflict("a request with this idempotency key is being worked on or was applied")
                .with_reason(TAKEN))
        }
    }
}

/// What is known of the request's key. Asked before the request is run.
///
/// # Errors
/// As the store.
pub async fn lookup(app: &App, actor: &Actor) -> Result<Lookup> {
    let Some(IdempotencyKey { key, fingerprint }) = &actor.request.idempotency else { return Ok(Lookup::Fresh) };
    let principal = holder(actor);
    let row = rows::get(&mut app.store.read().await?, &principal, key).await?;
    let Some(row) = row.filter(|row| row.inserted_at >= expired_before(app, app.now())) else {
        return Ok(Lookup::Fresh);
    };
    if row.fingerprint != *fingerprint {
        return Ok(Lookup::Mismatch);
    }
    let Some(sealed) = row.reply else {
        let young = app.now().ms_since(row.inserted_at) < ANSWER_MS;
        return Ok(if young { Lookup::InProgress } else { Lookup::Unanswered });
    };
    // After a rotation that dropped the older key at once, an answer does not open: its effect stands all the same.
    let Ok(text) = app.seal.open(place(&place_id(&principal, key)), &sealed) else {
        return Ok(Lookup::Unanswered);
    };
    Ok(Lookup::Replay(serde_json::from_str(text.expose()).map_err(Error::internal)?))
}

/// Keeps the answer of the request that took its key; nothing happens when it took none.
///
/// # Errors
/// As the store.
pub async fn complete(app: &App, actor: &Actor, reply: &StoredReply) -> Result<()> {
    let Some(IdempotencyKey { key, .. }) = &actor.request.idempotency else { return Ok(()) };
    let principal = holder(actor);
    let text = serde_json::to_string(reply).map_err(Error::internal)?;
    let sealed = app.seal.seal(&*app.ids, place(&place_id(&principal, key)), &text);
    let mut tx = app.store.begin().await?;
    if rows::set_reply(&mut tx, &principal, key, &actor.request.request_id, &sealed).await? {
        tx.commit().await?;
    }
    Ok(())
}

/// The column of sealed answers, for counting; their place is made of two columns, so [`reseal`] walks them.
pub(crate) const REPLIES: SealedColumn = SealedColumn { table: "idempotency_keys", column: "reply", id: "key" };

/// Seals every kept answer again that an older key sealed. One that does not open stays: it is told as lost.
pub(crate) async fn reseal(app: &App, rotated: &mut Rotated, tell: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
    let mut after = (String::new(), String::new());
    loop {
        let mut tx = app.store.begin().await?;
        let stale = rows::stale_replies(&mut tx, &app.seal.newest_id(), (&after.0, &after.1), RESEALED).await?;
        let Some(last) = stale.last() else { return Ok(()) };
        after = (last.principal.clone(), last.key.clone());
        for row in &stale {
            let id = place_id(&row.principal, &row.key);
            match app.seal.open(place(&id), &row.reply) {
                Ok(text) => {
                    let sealed = app.seal.seal(&*app.ids, place(&id), text.expose());
                    rotated.resealed += u64::from(rows::reseal(&mut tx, row, &sealed).await?);
                }
                Err(_) => rotated.unreadable.push(format!("idempotency_keys.reply {}", row.key)),
            }
        }
        tx.commit().await?;
        tell(rotated.resealed);
    }
}

/// Drops keys past their life. Called by its schedule.
///
/// # Errors
/// As the store.
pub async fn prune(app: &App) -> Result<()> {
    drop_expired(app).await.map(|_| ())
}

/// Drops keys past their life, in batches. Says how many.
///
/// # Errors
/// As the store.
pub async fn drop_expired(app: &App) -> Result<u64> {
    let mut dropped = 0;
    loop {
        let mut tx = app.store.begin().await?;
        let batch = rows::delete_before(&mut tx, expired_before(app, app.now()), BATCH).await?;
        tx.commit().await?;
        dropped += batch;
        if batch < BATCH as u64 {
            return Ok(dropped);
        }
    }
}

fn expired_before(app: &App, now: Timestamp) -> Timestamp {
    let life_ms = i64::try_from(app.config.idempotency_life.as_millis()).unwrap_or(i64::MAX);
    now.plus_ms(life_ms.saturating_neg())
}

/// Whose key it is. Ids, not names: a name can be given to somebody else. Strangers are told apart by address.
fn holder(actor: &Actor) -> String {
    match &actor.principal {
        Principal::User { id, .. } => format!("user:{id}"),
        Principal::ApiToken { id, .. } => format!("token:{id}"),
        Principal::Key(_) | Principal::System => actor.principal.label(),
        Principal::Anonymous => format!("anonymous@{}", actor.request.remote),
    }
}

fn place_id(principal: &str, key: &str) -> String {
    format!("{principal}\0{key}")
}

fn place(id: &str) -> Aad<'_> {
    Aad::new("idempotency_keys", "reply", id)
}
