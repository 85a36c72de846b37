//! Whether somebody is let in: one answer, in the same time for usernames that exist and for those that do not.

use reeve_store::{event as feed, node, ssh_public_key as keys, ssh_username as table};
use reeve_types::ssh_username::{AuthMethod, SshUsername};
use reeve_types::{Actor, Error, NodeId, Permission, Result, Secret};
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::ssh_public_key::{self, material};
use crate::{App, audit, authz, event};

/// What somebody shows to be let in.
#[derive(Clone, Debug)]
pub enum Offer {
    /// A password.
    Password(Secret),
    /// A public key, `algorithm base64`; whoever asks has seen the private key used.
    PublicKey(String),
    /// Neither of them, or both: nobody is let in with that.
    Unclear,
}

impl Offer {
    /// Of what a request may hold.
    pub fn of(password: Option<Secret>, public_key: Option<String>) -> Self {
        match (password, public_key) {
            (Some(password), None) => Self::Password(password),
            (None, Some(key)) => Self::PublicKey(key),
            (Some(_), Some(_)) | (None, None) => Self::Unclear,
        }
    }

    fn method(&self) -> AuthMethod {
        match self {
            Self::Password(_) => AuthMethod::Password,
            Self::PublicKey(_) => AuthMethod::PublicKey,
            Self::Unclear => AuthMethod::Unknown,
        }
    }
}

/// Whether a node lets `username` in with what is offered. The name must be exactly a username's; every answer leaves an
/// event. Called for the node's own SSH server.
///
/// # Errors
/// NotFound when the node was deleted; TooMany when too many passwords are being checked: nobody is let in then.
pub async fn verify(app: &App, node_id: &NodeId, username: &str, offer: &Offer) -> Result<bool> {
    decide(app, node_id, username, offer, None).await
}

/// As [`verify`], for a person who wants to know whether credentials work.
///
/// # Errors
/// As [`verify`]; Invalid unless exactly one credential is offered.
pub async fn try_credentials(
    app: &App,
    actor: &Actor,
    node_id: &NodeId,
    username: &str,
    offer: &Offer,
) -> Result<bool> {
    authz::require(actor, Permission::SshWrite)?;
    if matches!(offer, Offer::Unclear) {
        return Err(Error::invalid("base", "exactly one of password and public_key is needed"));
    }
    decide(app, node_id, username, offer, Some(actor)).await
}

async fn decide(app: &App, node_id: &NodeId, username: &str, offer: &Offer, asked: Option<&Actor>) -> Result<bool> {
    let (node, known) = {
        let mut tx = app.store.read().await?;
        let node = node::by_id(&mut tx, node_id).await?.ok_or_else(|| Error::not_found("node"))?;
        (node, table::by_name(&mut tx, node_id, username).await?)
    };
    let (row, hash) = known.map_or((None, None), |(row, hash)| (Some(row), hash));
    let verified = match offer {
        Offer::Password(password) => app.ssh_passwords.verify(password, hash).await? && row.is_some(),
        Offer::PublicKey(key) => holds_key(app, row.as_ref(), key).await?,
        Offer::Unclear => false,
    };
    let now = app.now();
    let happened = event::of_ssh_attempt(row.as_ref(), &node, username, offer.method(), verified, now);
    let mut tx = match asked {
        Some(actor) => app.begin(actor).await?,
        None => app.store.begin().await?,
    };
    if let Some(actor) = asked {
        let details = json!({"node": node_id, "auth_method": offer.method().word(), "verified": verified});
        let subject = row.as_ref().map_or("", |row| row.id.as_str());
        audit::record(app, &mut tx, actor, "ssh_username.verify", subject, details).await?;
    }
    feed::append(&mut tx, &*app.ids, now, &[happened]).await?;
    tx.commit().await?;
    app.counters.ssh_verifications.add(1);
    app.counters.ssh_refusals.add(u64::from(!verified));
    let (method, result) = (offer.method().word(), if verified { "success" } else { "failure" });
    metrics::counter!("reeve_ssh_verifications_total", "method" => method, "result" => result).increment(1);
    Ok(verified)
}

async fn holds_key(app: &App, row: Option<&SshUsername>, offered: &str) -> Result<bool> {
    let Ok(offered) = ssh_public_key::parse(offered) else { return Ok(false) };
    // The same question is asked for nobody, so that the answer takes as long.
    let owner = row.map_or("", |row| row.id.as_str());
    let candidates = keys::with_fingerprint(&mut app.store.read().await?, owner, &offered.fingerprint).await?;
    let offered = material(&offered.line).as_bytes();
    Ok(candidates.iter().any(|key| material(&key.key.line).as_bytes().ct_eq(offered).into()))
}
