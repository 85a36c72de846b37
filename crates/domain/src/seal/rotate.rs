//! Rotation of the sealing key: put a new key first, run this (the server does so by itself), drop the old key.

use reeve_store::sealed::{self, SealedColumn, replace, stale};
use reeve_store::setting;
use reeve_types::{Actor, Result};
use serde_json::json;

use super::Aad;
use crate::{App, audit, idempotency};

/// Every column with sealed texts. A new one is added here or its texts are lost with the next rotation.
pub const COLUMNS: &[SealedColumn] = &[
    SealedColumn { table: "nodes", column: "api_token_sealed", id: "id" },
    SealedColumn { table: "nodes", column: "proxy_password_sealed", id: "id" },
    SealedColumn { table: "enrollment_keys", column: "sealed_key", id: "id" },
    SealedColumn { table: "settings", column: "value", id: "name" },
    SealedColumn { table: "webhooks", column: "secret_sealed", id: "id" },
    SealedColumn { table: "webhooks", column: "headers_sealed", id: "id" },
    SealedColumn { table: "provider_credentials", column: "sealed", id: "id" },
    SealedColumn { table: "workspace_keys", column: "private_key_sealed", id: "workspace_id" },
    SealedColumn { table: "hosts", column: "ssh_key_sealed", id: "id" },
    SealedColumn { table: "taskservs", column: "secrets_sealed", id: "id" },
    SealedColumn { table: "operations", column: "secrets_sealed", id: "id" },
    SealedColumn { table: "plans", column: "secrets_sealed", id: "id" },
    SealedColumn { table: "webhooks", column: "previous_secret_sealed", id: "id" },
];

/// Rows per transaction, so that others get their turn.
const BATCH: i64 = 200;

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Texts sealed again with the newest key.
    pub resealed: u64,
    /// Texts that do not open with any key here, as `table.column id`; left as they are.
    pub unreadable: Vec<String>,
}

/// The place of a sealed setting.
pub fn setting_place(name: &str) -> Aad<'_> {
    Aad::new("settings", "value", name)
}

/// The setting in which the audit key derived from the sealing key `key_id` outlives it.
pub fn kept_audit_key(key_id: &str) -> String {
    format!("audit.key.{key_id}")
}

/// Seals everything again that an older key sealed. Idempotent; runs beside requests and beside itself on other
/// servers: a text is replaced only where it is unchanged since it was read.
///
/// # Errors
/// As the store. What was done until then stays done.
pub async fn rotate(app: &App) -> Result<Rotated> {
    rotate_telling(app, &mut |_| {}).await
}

/// As [`rotate`], telling after every batch how many texts were sealed again.
pub(crate) async fn rotate_telling(app: &App, tell: &mut (dyn FnMut(u64) + Send)) -> Result<Rotated> {
    keep_audit_keys(app).await?;
    let mut rotated = Rotated::default();
    for column in COLUMNS {
        rotate_column(app, *column, &mut rotated, tell).await?;
    }
    idempotency::reseal(app, &mut rotated, tell).await?;
    if rotated.resealed > 0 {
        let mut tx = app.store.begin().await?;
        let details = json!({ "resealed": rotated.resealed, "unreadable": rotated.unreadable.len() });
        audit::record(app, &mut tx, &Actor::system(), "seal.rotate", &app.seal.newest_id(), details).await?;
        tx.commit().await?;
    }
    Ok(rotated)
}

/// Takes up a new key in front of the ring. Called by its loop, the first time at the start of a server.
///
/// # Errors
/// As the store. What was done until then stays done.
pub async fn by_itself(app: &App) -> Result<()> {
    let rotated = rotate(app).await?;
    for place in &rotated.unreadable {
        tracing::warn!(place, "a sealed text does not open with any key of this server");
    }
    if rotated.resealed > 0 {
        let (resealed, key) = (rotated.resealed, app.seal.newest_id());
        tracing::info!(resealed, key, "secrets were sealed again with the newest key");
    }
    Ok(())
}

async fn rotate_column(
    app: &App,
    place: SealedColumn,
    rotated: &mut Rotated,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let mut after = String::new();
    loop {
        let mut tx = app.store.begin().await?;
        let rows = stale(&mut tx, place, &app.seal.newest_id(), &after, BATCH).await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after.clone_from(last);
        for (id, sealed) in &rows {
            let aad = Aad::new(place.table, place.column, id);
            match app.seal.open(aad, sealed) {
                Ok(plaintext) => {
                    let again = app.seal.seal(&*app.ids, aad, plaintext.expose());
                    rotated.resealed += u64::from(replace(&mut tx, place, id, sealed, &again).await?);
                }
                Err(_) => rotated.unreadable.push(format!("{}.{} {id}", place.table, place.column)),
            }
        }
        tx.commit().await?;
        tell(rotated.resealed);
    }
}

/// How many sealed texts each key has sealed: those of this server, newest first, and how many others there are.
///
/// # Errors
/// As the store.
pub(crate) async fn census(app: &App) -> Result<(Vec<(String, i64)>, i64)> {
    let mut tx = app.store.read().await?;
    let mut counts: Vec<(String, i64)> = app.seal.key_ids().into_iter().map(|id| (id, 0)).collect();
    let mut others = 0;
    for place in COLUMNS.iter().copied().chain([idempotency::REPLIES]) {
        let mut known = 0;
        for (id, count) in &mut counts {
            let found = sealed::count(&mut tx, place, Some(id)).await?;
            *count += found;
            known += found;
        }
        others += sealed::count(&mut tx, place, None).await? - known;
    }
    Ok((counts, others))
}

/// The audit log stays checkable when an old sealing key is gone: its derived key is kept, sealed.
async fn keep_audit_keys(app: &App) -> Result<()> {
    let mut tx = app.store.begin().await?;
    let mut kept = false;
    for key_id in &app.seal.key_ids() {
        let name = kept_audit_key(key_id);
        if setting::get(&mut tx, &name).await?.is_none()
            && let Some(key) = app.seal.derive_from(key_id, "audit")
        {
            let sealed = app.seal.seal(&*app.ids, setting_place(&name), &hex::encode(*key));
            kept |= setting::put_new(&mut tx, &name, &sealed, app.now()).await?;
        }
    }
    if kept { tx.commit().await } else { Ok(()) }
}

/// The setting by which a server finds out that its keys are the wrong ones for this database.
const CHECK: &str = "seal.check";

/// Whether this server's keys are those of the database; the first server to ask writes down that they are.
///
/// # Errors
/// Internal when they are not, saying so in its source.
pub async fn check_keys(app: &App) -> Result<()> {
    let mut tx = app.store.begin().await?;
    if let Some(sealed) = setting::get(&mut tx, CHECK).await? {
        return app.seal.open(setting_place(CHECK), &sealed).map(|_| ());
    }
    let sealed = app.seal.seal(&*app.ids, setting_place(CHECK), "reeve");
    setting::put_new(&mut tx, CHECK, &sealed, app.now()).await?;
    tx.commit().await
}
