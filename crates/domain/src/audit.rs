//! The audit log: who changed what, appended in the transaction of the change and chained, so that a changed, missing,
//! reordered or cut-off entry is found.
//!
//! Every entry's mac covers the entry and the mac before it; the head record says where the chain ends, with a mac of its
//! own. What cannot be found from inside is a whole older database put back: keep a note of `verify`'s count elsewhere
//! against that.

use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use reeve_store::dialect::{Log, lock_log};
use reeve_store::{Tx, audit as rows, setting};
use reeve_types::audit::{AuditEntry, AuditFilter};
use reeve_types::{Actor, Error, Page, Paged, Permission, Result};
use sha2::Sha256;

use crate::App;
use crate::authz::require;
use crate::seal::rotate;

/// Entries read at a time while verifying.
const BATCH: i64 = 1_000;

type Macer = Hmac<Sha256>;

/// What this process remembers of the chain, to append with two statements. Wrong memories cost a third.
#[derive(Default)]
pub struct Chain {
    end: Mutex<Option<(i64, String)>>,
    /// The macer of the sealing key with this id.
    key: Mutex<Option<(String, Macer)>>,
}

/// Appends an entry inside the transaction of the change. Call it after the change and before events are appended: both
/// logs are locked on PostgreSQL, always in this order. `action` is `noun.verb`; `details` must not hold secrets.
///
/// # Errors
/// As the store.
pub async fn record(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    subject: &str,
    details: serde_json::Value,
) -> Result<()> {
    lock_log(tx, Log::Audit).await?;
    let mut entry = AuditEntry {
        seq: 0,
        id: app.ids.next(),
        at: app.now(),
        actor: storable(&actor.principal.label()),
        remote: storable(&actor.request.remote),
        request_id: storable(&actor.request.request_id),
        action: action.to_owned(),
        subject: storable(subject),
        details: details.to_string(),
        mac: String::new(),
    };
    let remembered = app.audit.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((seq, mac)) = remembered {
        let head = link(app, &mut entry, seq, &mac)?;
        if rows::move_head(tx, seq, &mac, &head).await? {
            return finish(app, tx, entry).await;
        }
    }
    match rows::head(tx).await? {
        None => {
            let head = link(app, &mut entry, 0, "")?;
            rows::insert_head(tx, &head).await?;
        }
        Some(end) => {
            let head = link(app, &mut entry, end.seq, &end.mac)?;
            if !rows::move_head(tx, end.seq, &end.mac, &head).await? {
                return Err(Error::internal("the head of the audit log moved under its lock"));
            }
        }
    }
    finish(app, tx, entry).await
}

async fn finish(app: &App, tx: &mut Tx, entry: AuditEntry) -> Result<()> {
    rows::insert(tx, &entry).await?;
    *app.audit.end.lock().unwrap_or_else(PoisonError::into_inner) = Some((entry.seq, entry.mac));
    Ok(())
}

/// Makes `entry` the one after `seq` and gives the head that belongs to it.
fn link(app: &App, entry: &mut AuditEntry, seq: i64, before: &str) -> Result<rows::Head> {
    let (key_id, key) = newest_macer(app)?;
    entry.seq = seq + 1;
    entry.mac = mac_of(&key, &key_id, entry, before)?;
    let seal = seal_of(&key, &key_id, entry.seq, &entry.mac)?;
    Ok(rows::Head { seq: entry.seq, mac: entry.mac.clone(), seal })
}

/// The macer of the newest sealing key; derived once per key.
fn newest_macer(app: &App) -> Result<(String, Macer)> {
    let newest = app.seal.newest_id();
    let mut kept = app.audit.key.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some((key_id, key)) if *key_id == newest => Ok((newest, key.clone())),
        _ => {
            let (key_id, key) = app.seal.derive_newest("audit");
            let fresh = (key_id, macer(&*key)?);
            *kept = Some(fresh.clone());
            Ok(fresh)
        }
    }
}

fn macer(key: &[u8]) -> Result<Macer> {
    Macer::new_from_slice(key).map_err(Error::internal)
}

fn mac_of(key: &Macer, key_id: &str, e: &AuditEntry, before: &str) -> Result<String> {
    // A JSON array: no value can flow into the next.
    let covered = serde_json::to_vec(&(
        "entry",
        key_id,
        e.seq,
        &e.id,
        e.at.0,
        &e.actor,
        &e.remote,
        &e.request_id,
        &e.action,
        &e.subject,
        &e.details,
        before,
    ));
    tag(key, key_id, &covered.map_err(Error::internal)?)
}

fn seal_of(key: &Macer, key_id: &str, seq: i64, mac: &str) -> Result<String> {
    tag(key, key_id, &serde_json::to_vec(&("head", key_id, seq, mac)).map_err(Error::internal)?)
}

fn tag(key: &Macer, key_id: &str, covered: &[u8]) -> Result<String> {
    let mut mac = key.clone();
    mac.update(covered);
    Ok(format!("{key_id}.{}", hex::encode(mac.finalize().into_bytes())))
}

/// PostgreSQL text holds no NUL, and what is chained must be what is stored.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// Entries that match, the newest first.
///
/// # Errors
/// Forbidden without `audit.read`.
pub async fn list(app: &App, actor: &Actor, filter: &AuditFilter, page: Page) -> Result<Paged<AuditEntry>> {
    require(actor, Permission::AuditRead)?;
    rows::list(&mut app.store.read().await?, filter, page).await
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whether the whole chain holds.
    pub ok: bool,
    /// Entries that hold, from the first on.
    pub entries: i64,
    /// Position of the first that does not.
    pub first_bad: Option<i64>,
    /// What is wrong there, for people.
    pub problem: Option<String>,
}

impl Verified {
    fn good(entries: i64) -> Self {
        Self { ok: true, entries, first_bad: None, problem: None }
    }
    fn bad(at: i64, problem: impl Into<String>) -> Self {
        Self { ok: false, entries: at - 1, first_bad: Some(at), problem: Some(problem.into()) }
    }
}

/// Checks the chain from the first entry to the head, in batches; entries may be appended meanwhile.
///
/// # Errors
/// Forbidden without `audit.read`.
pub async fn verify(app: &App, actor: &Actor) -> Result<Verified> {
    require(actor, Permission::AuditRead)?;
    let mut keys = Keys { app, known: Vec::new() };
    let mut tx = app.store.read().await?;
    let Some(head) = rows::head(&mut tx).await? else {
        // The first user is made with an entry, so where there are users there is a chain.
        let untouched = rows::after(&mut tx, 0, 1).await?.is_empty() && reeve_store::user::count(&mut tx).await? == 0;
        return Ok(if untouched { Verified::good(0) } else { Verified::bad(1, "the head of the log is missing") });
    };
    drop(tx);
    let mut last = (0_i64, String::new());
    while last.0 < head.seq {
        let batch = rows::after(&mut app.store.read().await?, last.0, BATCH).await?;
        if batch.is_empty() {
            let problem = format!("entries {} to {} are missing at the end", last.0 + 1, head.seq);
            return Ok(Verified::bad(last.0 + 1, problem));
        }
        for entry in batch {
            if let Some(problem) = problem_of(&mut keys, &entry, last.0 + 1, &last.1).await? {
                return Ok(Verified::bad(last.0 + 1, problem));
            }
            last = (entry.seq, entry.mac.clone());
            if entry.seq == head.seq && entry.mac != head.mac {
                return Ok(Verified::bad(entry.seq, format!("the head of the log names another entry {}", entry.seq)));
            }
        }
    }
    if let Some(problem) = head_problem(&mut keys, &head).await? {
        return Ok(Verified::bad(head.seq, problem));
    }
    let mut tx = app.store.read().await?;
    let end = rows::head(&mut tx).await?;
    if end.is_none_or(|end| end.seq < last.0) {
        return Ok(Verified::bad(last.0, "the head of the log went back"));
    }
    drop(tx);
    Ok(Verified::good(last.0))
}

async fn problem_of(keys: &mut Keys<'_>, entry: &AuditEntry, expected: i64, before: &str) -> Result<Option<String>> {
    if entry.seq > expected {
        let last = entry.seq - 1;
        return Ok(Some(if last == expected {
            format!("entry {expected} is missing")
        } else {
            format!("entries {expected} to {last} are missing")
        }));
    }
    let (key_id, _) = entry.mac.split_once('.').unwrap_or_default();
    let Some(key) = keys.get(key_id).await? else {
        return Ok(Some(format!("entry {expected} names the key `{key_id}`, which this server does not have")));
    };
    let expected_mac = mac_of(&key, key_id, entry, before)?;
    Ok((expected_mac != entry.mac).then(|| format!("entry {expected} was changed or is not in its place")))
}

async fn head_problem(keys: &mut Keys<'_>, head: &rows::Head) -> Result<Option<String>> {
    let (key_id, _) = head.seal.split_once('.').unwrap_or_default();
    let Some(key) = keys.get(key_id).await? else {
        return Ok(Some(format!("the head of the log names the key `{key_id}`, which this server does not have")));
    };
    let expected = seal_of(&key, key_id, head.seq, &head.mac)?;
    Ok((expected != head.seal).then(|| "the head of the log was changed: entries after it may be missing".to_owned()))
}

/// Keys of entries by id: from the sealing keys, or as rotation kept them.
struct Keys<'a> {
    app: &'a App,
    known: Vec<(String, Option<Macer>)>,
}

impl Keys<'_> {
    async fn get(&mut self, key_id: &str) -> Result<Option<Macer>> {
        if let Some((_, key)) = self.known.iter().find(|(id, _)| id == key_id) {
            return Ok(key.clone());
        }
        let key = match self.app.seal.derive_from(key_id, "audit") {
            Some(key) => Some(macer(&*key)?),
            None => self.kept(key_id).await?,
        };
        self.known.push((key_id.to_owned(), key.clone()));
        Ok(key)
    }

    async fn kept(&self, key_id: &str) -> Result<Option<Macer>> {
        let name = rotate::kept_audit_key(key_id);
        let Some(sealed) = setting::get(&mut self.app.store.read().await?, &name).await? else { return Ok(None) };
        // A setting that does not open was tampered with, and so the entries cannot be checked.
        let Ok(text) = self.app.seal.open(rotate::setting_place(&name), &sealed) else { return Ok(None) };
        let bytes = hex::decode(text.expose()).map_err(Error::internal)?;
        macer(&bytes).map(Some)
    }
}
