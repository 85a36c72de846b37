//! Aliases.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_types::alias::{Alias, AliasFilter};
use serde::{Deserialize, Serialize};

use super::{Since, Until, host_name, name, period, prose, shown};
use crate::ids;

/// POST.
#[derive(Debug, Deserialize)]
pub struct Create {
    /// The name.
    pub name: String,
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    name: Option<String>,
    node_id: Option<String>,
    cluster_name: Option<String>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<Query> for AliasFilter {
    fn from(q: Query) -> Self {
        Self {
            name: name(q.name),
            node_ids: q.node_id.as_deref().map(ids::list).unwrap_or_default(),
            cluster_name: prose(q.cluster_name),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    name: String,
    node_id: String,
    cluster_name: String,
    vpn_hostname: String,
    inserted_at: String,
    updated_at: String,
}

impl View {
    /// The answer for an alias.
    pub fn of(alias: Alias, dns_suffix: &str) -> Self {
        Self {
            vpn_hostname: host_name(&alias.host(), &alias.cluster_name, dns_suffix),
            id: alias.id.0,
            name: alias.name,
            node_id: alias.node_id.0,
            cluster_name: alias.cluster_name,
            inserted_at: shown(alias.inserted_at),
            updated_at: shown(alias.updated_at),
        }
    }
}
