//! What servers say to each other: short texts with an end, each read once.

use reeve_types::{Result, ServerId, Timestamp};

use crate::{Row, Tx, Value, args, dialect};

/// A letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who is to read it.
    pub to: ServerId,
    /// Who wrote it.
    pub from: ServerId,
    /// What it is.
    pub kind: String,
    /// What it says.
    pub body: String,
    /// Worthless after so long. The database's clock counts it: those of two servers may differ by more.
    pub life_ms: i64,
}

/// Leaves letters; their readers are woken by the commit. `here` is the time at this server.
///
/// # Errors
/// As the store.
pub async fn send(tx: &mut Tx, letters: &[Letter], here: Timestamp) -> Result<()> {
    let now = dialect::database_now(tx, here).await?;
    let row = |l: &Letter| {
        let texts = [&l.to.0, &l.from.0, &l.kind, &l.body];
        texts.map(|text| Value::from(text.clone())).into_iter().chain([now.plus_ms(l.life_ms).into()]).collect()
    };
    let rows: Vec<Vec<Value<'_>>> = letters.iter().map(row).collect();
    tx.insert_many("letters (to_server, from_server, kind, body, expires_at)", &rows, "").await?;
    for letter in letters {
        tx.mail(&letter.to);
    }
    Ok(())
}

/// Takes up to `most` letters for `server`, oldest first. They are gone with the commit; those that came too late are
/// left out. `here` is the time at this server.
///
/// # Errors
/// As the store.
pub async fn take(tx: &mut Tx, server: &ServerId, most: i64, here: Timestamp) -> Result<Vec<Letter>> {
    let now = dialect::database_now(tx, here).await?;
    let sql = "DELETE FROM letters WHERE seq IN (SELECT seq FROM letters WHERE to_server = $1 ORDER BY seq LIMIT $2)
        RETURNING seq, to_server, from_server, kind, body, expires_at";
    let read = |mut row: Row| {
        let seq: i64 = row.get()?;
        let (to, from, kind, body) = (row.get()?, row.get()?, row.get()?, row.get()?);
        let expires_at: Timestamp = row.get()?;
        Ok((seq, Letter { to, from, kind, body, life_ms: expires_at.ms_since(now) }))
    };
    let mut taken: Vec<_> = tx.all(sql, args![server, most]).await?.into_iter().map(read).collect::<Result<_>>()?;
    // What RETURNING gives has no order.
    taken.sort_by_key(|(seq, _)| *seq);
    Ok(taken.into_iter().map(|(_, letter)| letter).filter(|letter| letter.life_ms >= 0).collect())
}

/// Whether a letter waits for `server`.
///
/// # Errors
/// As the store.
pub async fn any(tx: &mut Tx, server: &ServerId) -> Result<bool> {
    Ok(tx.opt("SELECT 1 FROM letters WHERE to_server = $1 LIMIT 1", args![server]).await?.is_some())
}

/// Throws away what nobody read in time. Says how many.
///
/// # Errors
/// As the store.
pub async fn drop_expired(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    tx.execute("DELETE FROM letters WHERE expires_at < $1", args![now]).await
}
