//! Failed logins slow down the next ones, per name and per address, over restarts and over servers.
//!
//! An attempt counts as failed before the password is looked at and is taken back when it was right: a thousand attempts
//! sent at once are still counted.

use hmac::{Hmac, KeyInit, Mac};
use reeve_store::Tx;
use reeve_store::login_failure::{self as rows, Failures};
use reeve_types::{Error, Result, Timestamp};
use sha2::Sha256;

use crate::App;

/// A subject without failures for this long starts anew.
pub const MEMORY_MS: i64 = 60 * 60 * 1000;
/// Longest wait.
const LONGEST_MS: i64 = 15 * 60 * 1000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A login name, known or not.
    Name,
    /// A peer's address; several people can be behind one.
    Address,
}

impl Kind {
    /// Failures without a wait.
    fn free(self) -> i64 {
        match self {
            Kind::Name => 5,
            Kind::Address => 20,
        }
    }
    fn word(self) -> &'static str {
        match self {
            Kind::Name => "name",
            Kind::Address => "address",
        }
    }
}

/// How long to wait after so many failures: nothing for the free ones, then 1, 2, 4 ... seconds, at most 15 minutes.
fn wait_ms(kind: Kind, failures: i64) -> i64 {
    match failures - kind.free() {
        over if over < 0 => 0,
        over => 1_000_i64.checked_shl(over.min(20) as u32).unwrap_or(LONGEST_MS).min(LONGEST_MS),
    }
}

fn subjects(app: &App, name: &str, address: &str) -> Result<Vec<(Kind, String)>> {
    let mut subjects = vec![(Kind::Name, subject(app, Kind::Name, name)?)];
    if !address.is_empty() {
        subjects.push((Kind::Address, subject(app, Kind::Address, address)?));
    }
    Ok(subjects)
}

fn subject(app: &App, kind: Kind, text: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&*app.seal.derive("login")).map_err(Error::internal)?;
    mac.update(text.as_bytes());
    Ok(format!("{}:{}", kind.word(), hex::encode(&mac.finalize().into_bytes()[..16])))
}

/// Counts an attempt, or refuses it.
///
/// # Errors
/// TooMany, with the time to wait, while the name or the address is blocked.
pub(crate) async fn admit(app: &App, name: &str, address: &str) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let subjects = subjects(app, name, address)?;
    let mut counted = Vec::with_capacity(subjects.len());
    for (kind, subject) in &subjects {
        let before = rows::lock(&mut tx, subject).await?;
        if let Some(f) = before
            && f.blocked_until > now
        {
            let wait_ms = u64::try_from(f.blocked_until.ms_since(now)).unwrap_or(0).max(1);
            return Err(Error::too_many("too many failed logins: wait before the next attempt", wait_ms));
        }
        counted.push((subject, one_more(*kind, before, now)));
    }
    for (subject, failures) in counted {
        rows::put(&mut tx, subject, failures).await?;
    }
    tx.commit().await
}

fn one_more(kind: Kind, before: Option<Failures>, now: Timestamp) -> Failures {
    let remembered = before.filter(|f| now.ms_since(f.last_failed_at) < MEMORY_MS).map_or(0, |f| f.failures);
    let failures = remembered + 1;
    Failures { failures, last_failed_at: now, blocked_until: now.plus_ms(wait_ms(kind, failures)) }
}

/// Takes back the attempt that turned out right: the name starts anew, the address has one less.
pub(crate) async fn succeeded(app: &App, tx: &mut Tx, name: &str, address: &str) -> Result<()> {
    for (kind, subject) in subjects(app, name, address)? {
        match (kind, rows::lock(tx, &subject).await?) {
            (Kind::Address, Some(f)) if f.failures > 1 => {
                let failures = Failures { failures: f.failures - 1, blocked_until: f.last_failed_at, ..f };
                rows::put(tx, &subject, failures).await?;
            }
            (Kind::Name | Kind::Address, _) => rows::delete(tx, &subject).await?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let waits: Vec<i64> = (1..=9).map(|n| wait_ms(Kind::Name, n) / 1000).collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16]);
        assert_eq!(wait_ms(Kind::Name, i64::MAX), LONGEST_MS);
        assert_eq!(wait_ms(Kind::Address, 19), 0);
        assert_eq!(wait_ms(Kind::Address, 20), 1_000);
    }
}
