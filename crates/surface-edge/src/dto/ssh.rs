//! SSH usernames and their public keys.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_domain::ssh_public_key::NewKey;
use reeve_domain::ssh_username::{self, Offer};
use reeve_types::Secret;
use reeve_types::ssh_public_key::{SshPublicKey, SshPublicKeyFilter};
use reeve_types::ssh_username::SshUsernameFilter;
use serde::{Deserialize, Serialize};

use super::{Since, Until, name, period, prose, shown};
use crate::ids;

/// POST of a username.
#[derive(Debug, Deserialize)]
pub struct CreateUsername {
    username: String,
    password: Option<Secret>,
    public_keys: Option<Vec<CreateKey>>,
}

impl From<CreateUsername> for ssh_username::Create {
    fn from(c: CreateUsername) -> Self {
        let public_keys = c.public_keys.unwrap_or_default().into_iter().map(NewKey::from).collect();
        Self { username: c.username, password: c.password, public_keys }
    }
}

/// POST of a key.
#[derive(Debug, Deserialize)]
pub struct CreateKey {
    key_name: String,
    public_key: String,
}

impl From<CreateKey> for NewKey {
    fn from(c: CreateKey) -> Self {
        Self { key_name: c.key_name, public_key: c.public_key }
    }
}

/// POST of credentials to try.
#[derive(Debug, Deserialize)]
pub struct Verify {
    /// Who wants in.
    pub username: String,
    password: Option<Secret>,
    public_key: Option<String>,
}

impl Verify {
    /// What is offered.
    pub fn offer(&self) -> Offer {
        Offer::of(self.password.clone(), self.public_key.clone())
    }
}

/// Whether somebody is let in.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// Yes or no.
    pub verified: bool,
}

/// The filters of a list of usernames.
#[derive(Debug, Deserialize)]
pub struct UsernameQuery {
    username: Option<String>,
    node_id: Option<String>,
    cluster_name: Option<String>,
    has_password: Option<bool>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<UsernameQuery> for SshUsernameFilter {
    fn from(q: UsernameQuery) -> Self {
        Self {
            username: name(q.username),
            node_ids: q.node_id.as_deref().map(ids::list).unwrap_or_default(),
            cluster_name: prose(q.cluster_name),
            has_password: q.has_password,
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The filters of a list of keys.
#[derive(Debug, Deserialize)]
pub struct KeyQuery {
    key_name: Option<String>,
    public_key: Option<String>,
    fingerprint: Option<String>,
    ssh_username_id: Option<String>,
    username: Option<String>,
    node_id: Option<String>,
    cluster_name: Option<String>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<KeyQuery> for SshPublicKeyFilter {
    fn from(q: KeyQuery) -> Self {
        Self {
            key_name: name(q.key_name),
            public_key: prose(q.public_key),
            fingerprint: q.fingerprint,
            ssh_username_ids: q.ssh_username_id.as_deref().map(ids::list).unwrap_or_default(),
            username: name(q.username),
            node_ids: q.node_id.as_deref().map(ids::list).unwrap_or_default(),
            cluster_name: prose(q.cluster_name),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// A username in an answer.
#[derive(Debug, Serialize)]
pub struct UsernameView {
    id: String,
    node_id: String,
    username: String,
    has_password: bool,
    public_keys: Vec<KeyView>,
    inserted_at: String,
    updated_at: String,
}

impl From<ssh_username::View> for UsernameView {
    fn from(view: ssh_username::View) -> Self {
        let row = view.row;
        Self {
            id: row.id.0,
            node_id: row.node_id.0,
            username: row.username,
            has_password: row.has_password,
            public_keys: view.public_keys.into_iter().map(KeyView::from).collect(),
            inserted_at: shown(row.inserted_at),
            updated_at: shown(row.updated_at),
        }
    }
}

/// A key in an answer.
#[derive(Debug, Serialize)]
pub struct KeyView {
    id: String,
    ssh_username_id: String,
    key_name: String,
    public_key: String,
    inserted_at: String,
    updated_at: String,
    key_type: &'static str,
    bits: i64,
    fingerprint: String,
    comment: String,
}

impl From<SshPublicKey> for KeyView {
    fn from(row: SshPublicKey) -> Self {
        Self {
            id: row.id.0,
            ssh_username_id: row.ssh_username_id.0,
            key_name: row.key_name,
            public_key: row.key.line,
            inserted_at: shown(row.inserted_at),
            updated_at: shown(row.updated_at),
            key_type: row.key.key_type.word(),
            bits: row.key.bits,
            fingerprint: row.key.fingerprint,
            comment: row.key.comment,
        }
    }
}
