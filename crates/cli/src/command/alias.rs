//! `reeve alias`: further names of nodes.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{push, push_order, segment};
use crate::Session;
use crate::api::{Api, EDGE, Query};
use crate::failure::{OK, Outcome};
use crate::names::{self, as_id, only};
use crate::view::{View, age, column, text};

/// Aliases.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List aliases
    #[command(visible_alias = "ls")]
    List {
        /// Only aliases of this node, by id, its start, host name or alias
        #[arg(short, long)]
        node: Option<String>,
        /// Only aliases in this cluster (`*` is a wildcard)
        #[arg(short, long)]
        cluster: Option<String>,
        /// Only aliases of this name (`*` is a wildcard)
        #[arg(long)]
        name: Option<String>,
        /// Order by a field, e.g. name; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Give a node aliases
    Create {
        /// Id, its start, host name or alias
        node: String,
        /// Lower case letters, digits and hyphens; unique in the cluster
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Show one alias
    #[command(visible_alias = "get")]
    Show {
        /// The alias, or its id
        alias: String,
    },
    /// Take aliases away
    #[command(visible_alias = "rm")]
    Delete {
        /// Aliases, or their ids
        #[arg(required = true)]
        aliases: Vec<String>,
    },
}

static VIEW: View = View {
    plural: "aliases",
    columns: &[
        column("NAME", 9, 8, |alias, _| text(alias, "name")),
        column("CLUSTER", 8, 6, |alias, _| text(alias, "cluster_name")),
        column("HOST NAME", 6, 12, |alias, _| text(alias, "vpn_hostname")),
        column("NODE", 5, 9, |alias, _| text(alias, "node_id")),
        column("AGE", 4, 3, |alias, now| age(alias, "inserted_at", now)),
        column("ID", 1, 9, |alias, _| text(alias, "id")).wide(),
    ],
    name: |alias| text(alias, "id"),
};

/// Runs `reeve alias`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/aliases");
    match noun.verb {
        Verb::List { node, cluster, name, sort, limit } => {
            let mut query = Query::new();
            if let Some(node) = node {
                query.push(("node_id", names::node_id(&api, &node).await?));
            }
            push(&mut query, "cluster_name", cluster);
            push(&mut query, "name", name);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Create { node, names } => {
            let id = names::node_id(&api, &node).await?;
            for name in names {
                let alias = api.post(&format!("{EDGE}/nodes/{id}/aliases"), &json!({ "name": name })).await?;
                let words = format!("node {node} is also called {name}: {}", text(&alias, "vpn_hostname"));
                session.done(&VIEW, &alias, &words)?;
            }
            Ok(OK)
        }
        Verb::Show { alias } => {
            let id = find(&api, &alias).await?;
            let alias = api.get(&format!("{path}/{}", segment(&id)), &Query::new()).await?;
            session.show(&VIEW, &alias)
        }
        Verb::Delete { aliases } => {
            for alias in aliases {
                let id = find(&api, &alias).await?;
                api.delete(&format!("{path}/{}", segment(&id))).await?;
                session.said(&id, &format!("alias {alias} deleted"))?;
            }
            Ok(OK)
        }
    }
}

/// The id of the alias with this name or id. The same name in two clusters is not enough.
async fn find(api: &Api, reference: &str) -> Outcome<String> {
    if let Some(id) = as_id(reference) {
        return Ok(id);
    }
    let listing = api.list(&format!("{EDGE}/aliases"), &vec![("name", reference.to_owned())], 2).await?;
    let named = listing.rows.iter().filter(|row| text(row, "name") == reference);
    only("alias", reference, named.filter_map(|row| row.get("id").and_then(Value::as_str)).map(str::to_owned).collect())
}
