//! What providers know workspaces by. Sealed.

use reeve_types::workspace::ProviderCredential;
use reeve_types::{Result, WorkspaceId};

use crate::{Row, Tx, args};

const COLUMNS: &str = "id, workspace_id, provider, sealed, inserted_at, updated_at";

fn read(mut r: Row) -> Result<ProviderCredential> {
    Ok(ProviderCredential {
        id: r.get()?,
        workspace_id: r.get()?,
        provider: r.get()?,
        sealed: r.get()?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
    })
}

/// A workspace's credentials for one provider.
///
/// # Errors
/// As the store.
pub async fn of(tx: &mut Tx, workspace: &WorkspaceId, provider: &str) -> Result<Option<ProviderCredential>> {
    let sql = format!("SELECT {COLUMNS} FROM provider_credentials WHERE workspace_id = $1 AND provider = $2");
    tx.opt(&sql, args![workspace, provider]).await?.map(read).transpose()
}

/// All credentials of a workspace, by provider.
///
/// # Errors
/// As the store.
pub async fn all(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Vec<ProviderCredential>> {
    let sql = format!("SELECT {COLUMNS} FROM provider_credentials WHERE workspace_id = $1 ORDER BY provider LIMIT 100");
    tx.all(&sql, args![workspace]).await?.into_iter().map(read).collect()
}

/// Inserts credentials.
///
/// # Errors
/// As the store; a unique violation of `provider_credentials_workspace_id_provider`.
pub async fn insert(tx: &mut Tx, c: &ProviderCredential) -> Result<()> {
    let sql = format!("INSERT INTO provider_credentials ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)");
    let args = args![&c.id, &c.workspace_id, &c.provider, &c.sealed, c.inserted_at, c.updated_at];
    tx.execute(&sql, args).await.map(|_| ())
}

/// Removes credentials. False when there were none.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, workspace: &WorkspaceId, provider: &str) -> Result<bool> {
    let sql = "DELETE FROM provider_credentials WHERE workspace_id = $1 AND provider = $2";
    Ok(tx.execute(sql, args![workspace, provider]).await? == 1)
}
