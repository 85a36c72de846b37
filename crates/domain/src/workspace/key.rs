//! The key pair with which a workspace's hosts are reached: made when it is first needed, its private half sealed.

use reeve_store::workspace_key as table;
use reeve_types::workspace::{Workspace, WorkspaceKey};
use reeve_types::{Error, Result, Secret, WorkspaceId};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData, PrivateKey};
use ssh_key::public::Ed25519PublicKey;

use crate::App;
use crate::seal::Aad;

fn aad(workspace: &WorkspaceId) -> Aad<'_> {
    Aad::new("workspace_keys", "private_key_sealed", workspace.as_str())
}

/// The public half as a line of `authorized_keys`; the pair is made where there is none.
///
/// # Errors
/// As the store.
pub async fn public(app: &App, workspace: &Workspace) -> Result<String> {
    if let Some(key) = table::get(&mut app.store.read().await?, &workspace.id).await? {
        return Ok(key.public_key);
    }
    let (public_key, private) = make(app, &format!("reeve@{}", workspace.name))?;
    let private_key_sealed = app.seal.seal(&*app.ids, aad(&workspace.id), private.expose());
    let row =
        WorkspaceKey { workspace_id: workspace.id.clone(), public_key, private_key_sealed, inserted_at: app.now() };
    let mut tx = app.store.begin().await?;
    table::insert(&mut tx, &row).await?;
    // Of two at once the first stays.
    let kept = table::get(&mut tx, &workspace.id).await?;
    tx.commit().await?;
    kept.map(|key| key.public_key).ok_or_else(|| Error::internal("the key that was just stored is not there"))
}

/// The private half, in OpenSSH's format. None when the pair was never needed.
///
/// # Errors
/// As the store; Internal when it does not open.
pub async fn private(app: &App, workspace: &WorkspaceId) -> Result<Option<Secret>> {
    let row = table::get(&mut app.store.read().await?, workspace).await?;
    row.map(|row| app.seal.open(aad(workspace), &row.private_key_sealed)).transpose()
}

fn make(app: &App, comment: &str) -> Result<(String, Secret)> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    app.ids.fill(&mut *seed);
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|e| Error::internal(e.to_string()))?;
    let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(Error::internal)?;
    let pair = Ed25519Keypair { public: Ed25519PublicKey(public), private: Ed25519PrivateKey::from_bytes(&seed) };
    let private = PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(Error::internal)?;
    let line = private.public_key().to_openssh().map_err(Error::internal)?;
    let text = private.to_openssh(LineEnding::LF).map_err(Error::internal)?;
    Ok((line, Secret::new(text.as_str())))
}
