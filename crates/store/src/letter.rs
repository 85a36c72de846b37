//! What servers say to each other: short texts with an end, each read once.

use reeve_types::{Result, ServerId, Timestamp};

use crate::{Row, Tx, args};

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
    /// Worthless from then on.
    pub expires_at: Timestamp,
}

/// Leaves a letter; its reader is woken by the commit.
///
/// # Errors
/// As the store.
pub async fn send(tx: &mut Tx, letter: &Letter) -> Result<()> {
    let sql = "INSERT INTO letters (to_server, from_server, kind, body, expires_at) VALUES ($1, $2, $3, $4, $5)";
    let l = letter;
    tx.execute(sql, args![&l.to, &l.from, &l.kind, &l.body, l.expires_at]).await?;
    tx.mail(&l.to);
    Ok(())
}

/// Takes up to `most` letters for `server`, oldest first. They are gone with the commit.
///
/// # Errors
/// As the store.
pub async fn take(tx: &mut Tx, server: &ServerId, most: i64) -> Result<Vec<Letter>> {
    let sql = "DELETE FROM letters WHERE seq IN (SELECT seq FROM letters WHERE to_server = $1 ORDER BY seq LIMIT $2)
        RETURNING seq, to_server, from_server, kind, body, expires_at";
    let read = |mut row: Row| {
        let seq: i64 = row.get()?;
        let (to, from, kind, body, expires_at) = (row.get()?, row.get()?, row.get()?, row.get()?, row.get()?);
        Ok((seq, Letter { to, from, kind, body, expires_at }))
    };
    let mut taken: Vec<_> = tx.all(sql, args![server, most]).await?.into_iter().map(read).collect::<Result<_>>()?;
    // What RETURNING gives has no order.
    taken.sort_by_key(|(seq, _)| *seq);
    Ok(taken.into_iter().map(|(_, letter)| letter).collect())
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
