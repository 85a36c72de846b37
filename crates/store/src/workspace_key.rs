//! The key pairs with which workspaces reach their hosts. The private halves are sealed.

use reeve_types::workspace::WorkspaceKey;
use reeve_types::{Result, WorkspaceId};

use crate::{Tx, args};

/// The key pair of a workspace.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Option<WorkspaceKey>> {
    let sql =
        "SELECT workspace_id, public_key, private_key_sealed, inserted_at FROM workspace_keys WHERE workspace_id = $1";
    let Some(mut r) = tx.opt(sql, args![workspace]).await? else { return Ok(None) };
    Ok(Some(WorkspaceKey {
        workspace_id: r.get()?,
        public_key: r.get()?,
        private_key_sealed: r.get()?,
        inserted_at: r.get()?,
    }))
}

/// Inserts a key pair; of two at once the first stays.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, k: &WorkspaceKey) -> Result<()> {
    let sql = "INSERT INTO workspace_keys (workspace_id, public_key, private_key_sealed, inserted_at)
        VALUES ($1, $2, $3, $4) ON CONFLICT (workspace_id) DO NOTHING";
    tx.execute(sql, args![&k.workspace_id, &k.public_key, &k.private_key_sealed, k.inserted_at]).await.map(|_| ())
}
