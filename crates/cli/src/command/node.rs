//! `reeve node`: the machines.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{hide, node_metrics, push, push_order, push_words, segment};
use crate::Session;
use crate::api::{EDGE, Query};
use crate::args::label_change;
use crate::failure::{OK, Outcome};
use crate::names;
use crate::view::{View, age, column, state_style, text};

/// Machines.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List nodes
    #[command(visible_alias = "ls")]
    List {
        /// Only nodes with these labels, e.g. 'env=prod,tier!=db,zone in (a,b),gpu,!old'
        #[arg(short = 'l', long, value_name = "SELECTOR")]
        selector: Option<String>,
        /// Only nodes of this cluster (`*` is a wildcard)
        #[arg(short, long)]
        cluster: Option<String>,
        /// Only nodes in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["healthy", "unhealthy", "unreachable"])]
        status: Vec<String>,
        /// Only nodes that are connected now (or, with false, that are not)
        #[arg(long, num_args = 0..=1, default_missing_value = "true")]
        connected: Option<bool>,
        /// Only nodes with this agent version (`*` is a wildcard)
        #[arg(long)]
        version: Option<String>,
        /// Order by a field, e.g. last_seen_at; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
        /// Leave the nodes' secrets in JSON and YAML
        #[arg(long)]
        show_secrets: bool,
    },
    /// Show one node
    #[command(visible_alias = "get")]
    Show {
        /// Id, its start, host name or alias
        node: String,
        /// Leave the node's secrets in JSON and YAML
        #[arg(long)]
        show_secrets: bool,
    },
    /// Show what a node measures: load, memory, disk, network, its agent
    Metrics {
        /// Id, its start, host name or alias
        node: String,
        /// As text for Prometheus, from this source
        #[arg(long, value_enum, value_name = "SOURCE")]
        raw: Option<node_metrics::Source>,
    },
    /// Set labels (KEY=VALUE) or remove them (KEY-)
    Label {
        /// Id, its start, host name or alias
        node: String,
        /// KEY=VALUE to set, KEY- to remove
        #[arg(required = true, value_parser = label_change, value_name = "CHANGE")]
        changes: Vec<(String, Option<String>)>,
    },
    /// Move a node to another cluster
    Move {
        /// Id, its start, host name or alias
        node: String,
        /// The cluster to move to
        cluster: String,
    },
    /// Delete nodes
    #[command(visible_alias = "rm")]
    Delete {
        /// Ids, their starts, host names or aliases
        #[arg(required = true)]
        nodes: Vec<String>,
    },
}

const SECRETS: &[&str] = &["api_token", "proxy_password"];

/// How nodes are shown.
pub static VIEW: View = View {
    plural: "nodes",
    columns: &[
        column("NAME", 9, 8, |node, _| names::of_node(node)),
        column("STATUS", 8, 6, |node, _| text(node, "status")).coloured(state_style),
        column("CONNECTED", 5, 4, |node, _| text(node, "connected")),
        column("CLUSTER", 6, 6, |node, _| text(node, "cluster_name")),
        column("SEEN", 7, 4, |node, now| age(node, "last_seen_at", now)),
        column("VERSION", 3, 5, |node, _| text(node, "version")),
        column("ID", 4, 9, |node, _| text(node, "id")),
        column("LABELS", 2, 8, |node, _| text(node, "labels")),
        column("ID TYPE", 1, 6, |node, _| text(node, "id_type")).wide(),
        column("AGE", 1, 3, |node, now| age(node, "inserted_at", now)).wide(),
        column("VPN HOSTNAME", 1, 12, |node, _| text(node, "vpn_hostname")).wide(),
        column("MDNS HOSTNAME", 1, 12, |node, _| text(node, "mdns_hostname")).details(),
        column("ALIASES", 1, 6, |node, _| text(node, "aliases")).details(),
        column("PORTS", 1, 6, |node, _| ports(node)).details(),
        column("SELF UPDATE", 1, 6, |node, _| text(node, "self_update_enabled")).details(),
        column("FACTS", 1, 6, |node, _| facts(node)).details(),
        column("LAST SEEN AT", 1, 6, |node, _| text(node, "last_seen_at")).details(),
        column("ENROLLED AT", 1, 6, |node, _| text(node, "inserted_at")).details(),
    ],
    name: |node| text(node, "id"),
};

fn ports(node: &Value) -> String {
    let kinds = [
        "http_port",
        "ssh_port",
        "http_proxy_port",
        "socks5_proxy_port",
        "host_metrics_port",
        "wireguard_metrics_port",
    ];
    let pairs =
        kinds.iter().filter_map(|kind| Some(format!("{} {}", kind.strip_suffix("_port")?, node.get(kind)?.as_u64()?)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn facts(node: &Value) -> String {
    let Some(facts) = node.get("facts").and_then(Value::as_object) else {
        return "-".to_owned();
    };
    facts
        .keys()
        .map(|key| format!("{key}: {}", text(&Value::Object(facts.clone()), key)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs `reeve node`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List { selector, cluster, status, connected, version, sort, limit, show_secrets } => {
            let mut query = Query::new();
            push(&mut query, "label_selector", selector);
            push(&mut query, "cluster_name", cluster);
            push_words(&mut query, "status", status);
            push(&mut query, "connected", connected);
            push(&mut query, "version", version);
            push_order(&mut query, sort.as_deref());
            let mut listing = api.list(&format!("{EDGE}/nodes"), &query, limit).await?;
            if !show_secrets {
                listing.rows.iter_mut().for_each(|row| hide(row, SECRETS));
            }
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { node, show_secrets } => {
            let id = names::node_id(&api, &node).await?;
            let mut node = api.get(&format!("{EDGE}/nodes/{id}"), &Query::new()).await?;
            if !show_secrets {
                hide(&mut node, SECRETS);
            }
            session.show(&VIEW, &node)
        }
        Verb::Metrics { node, raw } => node_metrics::show(&api, &node, raw, session).await,
        Verb::Label { node, changes } => {
            let id = names::node_id(&api, &node).await?;
            let labels: Map<String, Value> = changes.into_iter().map(|(key, value)| (key, value.into())).collect();
            let mut node = api.patch(&format!("{EDGE}/nodes/{id}/labels"), &json!({ "labels": labels })).await?;
            hide(&mut node, SECRETS);
            let words = format!("node {} now has the labels {}", names::of_node(&node), text(&node, "labels"));
            session.done(&VIEW, &node, &words)
        }
        Verb::Move { node, cluster } => {
            let id = names::node_id(&api, &node).await?;
            let mut node =
                api.patch(&format!("{EDGE}/nodes/{id}/change_cluster"), &json!({ "cluster_name": cluster })).await?;
            hide(&mut node, SECRETS);
            let words = format!("node {} is now in cluster {cluster}", names::of_node(&node));
            session.done(&VIEW, &node, &words)
        }
        Verb::Delete { nodes } => {
            for id in names::node_ids(&api, &nodes).await? {
                api.delete(&format!("{EDGE}/nodes/{}", segment(&id))).await?;
                session.said(&id, &format!("node {id} deleted"))?;
            }
            Ok(OK)
        }
    }
}
