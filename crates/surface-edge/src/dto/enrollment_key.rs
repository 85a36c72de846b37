//! Enrollment keys.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_domain::enrollment_key::{self, Opened};
use reeve_types::Patch;
use reeve_types::enrollment_key::EnrollmentKeyFilter;
use serde::{Deserialize, Serialize};

use super::{Moment, Since, Until, label, numbers, period, prose, shown, shown_if};

/// POST.
#[derive(Debug, Default, Deserialize)]
pub struct Create {
    name: Option<String>,
    #[serde(default)]
    uses_remaining: Patch<i64>,
    expired_at: Option<Moment>,
}

impl From<Create> for enrollment_key::Create {
    fn from(c: Create) -> Self {
        // Absent is one use, null is unlimited.
        Self { name: c.name, uses_remaining: c.uses_remaining.apply(Some(1)), expired_at: c.expired_at.map(|at| at.0) }
    }
}

/// PATCH.
#[derive(Debug, Deserialize)]
pub struct Update {
    #[serde(default)]
    name: Patch<String>,
    #[serde(default)]
    uses_remaining: Patch<i64>,
    #[serde(default)]
    expired_at: Patch<Moment>,
}

impl From<Update> for enrollment_key::Update {
    fn from(u: Update) -> Self {
        let expired_at = match u.expired_at {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(at) => Patch::Set(at.0),
        };
        Self { name: u.name, uses_remaining: u.uses_remaining, expired_at }
    }
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// A whole key.
    pub key: Option<String>,
    name: Option<String>,
    cluster_name: Option<String>,
    uses_remaining: Option<i64>,
    uses_remaining__gte: Option<i64>,
    uses_remaining__lte: Option<i64>,
    is_unlimited: Option<bool>,
    is_spent: Option<bool>,
    is_expired: Option<bool>,
    is_never_used: Option<bool>,
    has_expiry: Option<bool>,
    has_name: Option<bool>,
    expired_at__gte: Option<Since>,
    expired_at__lte: Option<Until>,
    last_used_at__gte: Option<Since>,
    last_used_at__lte: Option<Until>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<Query> for EnrollmentKeyFilter {
    fn from(q: Query) -> Self {
        Self {
            cluster_name: prose(q.cluster_name),
            // The domain knows how keys are looked up.
            key_hash: None,
            name: label(q.name),
            uses_remaining: numbers(q.uses_remaining, q.uses_remaining__gte, q.uses_remaining__lte),
            is_unlimited: q.is_unlimited,
            is_spent: q.is_spent,
            is_expired: q.is_expired,
            is_never_used: q.is_never_used,
            has_expiry: q.has_expiry,
            has_name: q.has_name,
            expired_at: period(q.expired_at__gte, q.expired_at__lte),
            last_used_at: period(q.last_used_at__gte, q.last_used_at__lte),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The answer. Holds the key in clear: it has no `Debug`.
#[derive(Serialize)]
pub struct View {
    id: String,
    key: String,
    name: Option<String>,
    cluster_name: String,
    uses_remaining: Option<i64>,
    expired_at: Option<String>,
    last_used_at: Option<String>,
    inserted_at: String,
    updated_at: String,
}

impl From<Opened> for View {
    fn from(opened: Opened) -> Self {
        let Opened { row, key } = opened;
        Self {
            id: row.id.0,
            key: key.expose().to_owned(),
            name: row.name,
            cluster_name: row.cluster_name,
            uses_remaining: row.uses_remaining,
            expired_at: shown_if(row.expired_at),
            last_used_at: shown_if(row.last_used_at),
            inserted_at: shown(row.inserted_at),
            updated_at: shown(row.updated_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn uses(body: Value) -> Option<i64> {
        enrollment_key::Create::from(serde_json::from_value::<Create>(body).unwrap()).uses_remaining
    }

    #[test]
    fn absent_uses_are_one_and_null_is_unlimited() {
        assert_eq!(uses(json!({})), Some(1));
        assert_eq!(uses(json!({"uses_remaining": null})), None);
        assert_eq!(uses(json!({"uses_remaining": 4})), Some(4));
    }

    #[test]
    fn absent_fields_of_a_change_are_kept() {
        let update: Update = serde_json::from_value(json!({"expired_at": null})).unwrap();
        let update = enrollment_key::Update::from(update);
        assert_eq!((update.expired_at, update.uses_remaining), (Patch::Clear, Patch::Keep));
    }
}
