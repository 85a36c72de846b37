//! `reeve cluster`: groups of machines with an address range.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{push, push_order, segment};
use crate::Session;
use crate::api::{EDGE, Query};
use crate::failure::{OK, Outcome};
use crate::view::{View, age, column, text};

/// Clusters.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List clusters
    #[command(visible_alias = "ls")]
    List {
        /// Only clusters with this name (`*` is a wildcard)
        #[arg(long)]
        name: Option<String>,
        /// Order by a field, e.g. name; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Create a cluster
    Create {
        /// Lower-case letters, digits and hyphens, at most 24
        name: String,
        /// IPv4 range such as 100.64.1.0/24; chosen from the pool when absent
        #[arg(long, value_name = "CIDR")]
        range: Option<String>,
        /// Most nodes that may join
        #[arg(long)]
        node_limit: Option<u32>,
    },
    /// Show one cluster
    #[command(visible_alias = "get")]
    Show {
        /// The cluster's name
        name: String,
    },
    /// Change a cluster's node limit
    Update {
        /// The cluster's name
        name: String,
        /// Most nodes that may join, or `none`
        #[arg(long, value_parser = limit)]
        node_limit: Limit,
    },
    /// Delete empty clusters
    #[command(visible_alias = "rm")]
    Delete {
        /// The clusters' names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Limit(Option<u32>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        _ => {
            text.parse().map(|limit| Limit(Some(limit))).map_err(|_| format!("'{text}' is neither a number nor 'none'"))
        }
    }
}

static VIEW: View = View {
    plural: "clusters",
    columns: &[
        column("NAME", 9, 6, |cluster, _| text(cluster, "name")),
        column("NODES", 8, 5, |cluster, _| text(cluster, "node_count")),
        column("LIMIT", 6, 5, |cluster, _| text(cluster, "node_limit")),
        column("RANGE", 7, 10, |cluster, _| text(cluster, "ipv4_range")),
        column("AGE", 5, 3, |cluster, now| age(cluster, "inserted_at", now)),
        column("NETWORK", 1, 8, |cluster, _| text(cluster, "network_name")).wide(),
        column("VPN DOMAIN", 1, 8, |cluster, _| text(cluster, "vpn_domain")).wide(),
        column("ID", 1, 36, |cluster, _| text(cluster, "id")).wide(),
        column("MEMBERS", 1, 8, |cluster, _| members(cluster)).details(),
        column("CREATED AT", 1, 8, |cluster, _| text(cluster, "inserted_at")).details(),
    ],
    name: |cluster| text(cluster, "name"),
};

fn members(cluster: &Value) -> String {
    let nodes = cluster.get("nodes").and_then(Value::as_array);
    let lines: Vec<String> =
        nodes.into_iter().flatten().map(|node| format!("{} {}", text(node, "id"), text(node, "status"))).collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

/// Runs `reeve cluster`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/clusters");
    match noun.verb {
        Verb::List { name, sort, limit } => {
            let mut query = Query::new();
            push(&mut query, "name", name);
            push_order(&mut query, Some(sort.as_deref().unwrap_or("name")));
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Create { name, range, node_limit } => {
            let cluster =
                api.post(&path, &json!({ "name": name, "ipv4_range": range, "node_limit": node_limit })).await?;
            let words = format!(
                "cluster {name} created with the range {}\nnext:  reeve key create --cluster {name}",
                text(&cluster, "ipv4_range")
            );
            session.done(&VIEW, &cluster, &words)
        }
        Verb::Show { name } => {
            let cluster = api.get(&format!("{path}/{}", segment(&name)), &Query::new()).await?;
            session.show(&VIEW, &cluster)
        }
        Verb::Update { name, node_limit: Limit(limit) } => {
            let cluster = api.patch(&format!("{path}/{}", segment(&name)), &json!({ "node_limit": limit })).await?;
            let words = format!("cluster {name} now has the node limit {}", text(&cluster, "node_limit"));
            session.done(&VIEW, &cluster, &words)
        }
        Verb::Delete { names } => {
            for name in names {
                api.delete(&format!("{path}/{}", segment(&name))).await?;
                session.said(&name, &format!("cluster {name} deleted"))?;
            }
            Ok(OK)
        }
    }
}
