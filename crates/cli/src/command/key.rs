//! `reeve key`: enrollment keys, with which machines join a cluster.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{hide, push, push_order, segment};
use crate::api::{EDGE, Query};
use crate::args::uses;
use crate::failure::{Failure, OK, Outcome};
use crate::human::parse_duration;
use crate::names;
use crate::view::{View, age, column, text};
use crate::{Format, Session};

/// Enrollment keys.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Create a key and print the one line that joins a machine
    Create {
        /// The cluster to join; the server's default cluster when absent
        #[arg(short, long)]
        cluster: Option<String>,
        /// A label, for people
        #[arg(long)]
        name: Option<String>,
        /// How many machines may join with it: a number, or `unlimited`
        #[arg(long, default_value = "1", value_parser = one_or_many)]
        uses: Uses,
        /// How long it is good for, e.g. 1h
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expire_in: Option<Duration>,
    },
    /// List keys
    #[command(visible_alias = "ls")]
    List {
        /// Only keys of this cluster (`*` is a wildcard)
        #[arg(short, long)]
        cluster: Option<String>,
        /// Order by a field; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
        /// Leave the keys themselves in JSON and YAML
        #[arg(long)]
        show_secrets: bool,
    },
    /// Show one key, and the line that joins a machine
    #[command(visible_alias = "get")]
    Show {
        /// Its id, the start of it, or its name
        key: String,
    },
    /// Change a key
    Update {
        /// Its id, the start of it, or its name
        key: String,
        /// A label, for people; empty for none
        #[arg(long)]
        name: Option<String>,
        /// How many machines may join with it: a number, or `unlimited`
        #[arg(long, value_parser = one_or_many)]
        uses: Option<Uses>,
        /// How long it is good for, e.g. 1h
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "no_expiry")]
        expire_in: Option<Duration>,
        /// Let it be good for ever
        #[arg(long)]
        no_expiry: bool,
    },
    /// Delete keys
    #[command(visible_alias = "rm")]
    Delete {
        /// Their ids, the starts of them, or their names
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Uses(Option<u32>);

fn one_or_many(text: &str) -> Result<Uses, String> {
    uses(text).map(Uses)
}

static VIEW: View = View {
    plural: "enrollment keys",
    columns: &[
        column("ID", 9, 9, |key, _| text(key, "id")),
        column("NAME", 7, 6, |key, _| text(key, "name")),
        column("CLUSTER", 8, 6, |key, _| text(key, "cluster_name")),
        column("USES LEFT", 6, 5, |key, _| left(key)),
        column("EXPIRES", 5, 6, |key, now| age(key, "expired_at", now)),
        column("LAST USED", 4, 6, |key, now| age(key, "last_used_at", now)),
        column("AGE", 3, 3, |key, now| age(key, "inserted_at", now)),
        column("JOIN", 1, 9, |key, _| join_line(key).unwrap_or_else(|| "-".to_owned())).details(),
    ],
    name: |key| text(key, "id"),
};

fn left(key: &Value) -> String {
    match key.get("uses_remaining") {
        Some(Value::Null) => "unlimited".to_owned(),
        _ => text(key, "uses_remaining"),
    }
}

fn join_line(key: &Value) -> Option<String> {
    Some(format!("reeve agent --enroll {}", key.get("key")?.as_str()?))
}

/// Runs `reeve key`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/enrollment_keys");
    let find = async |which: &str| names::listed_id(&api, "key", &path, "name", which).await;
    match noun.verb {
        Verb::Create { cluster, name, uses: Uses(uses), expire_in } => {
            let expired_at = expire_in.map(|length| session.in_future(length)).transpose()?;
            let cluster = segment(cluster.as_deref().unwrap_or("default"));
            let body = json!({ "name": name, "uses_remaining": uses, "expired_at": expired_at });
            let key = api.post(&format!("{EDGE}/clusters/{cluster}/enrollment_keys"), &body).await?;
            if !session.format().is_table() {
                return session.show(&VIEW, &key);
            }
            let line = join_line(&key).ok_or_else(|| Failure::lacking("key"))?;
            session
                .world
                .out
                .note(&format!("run this on the machine that shall join cluster {}:", text(&key, "cluster_name")))?;
            session.world.out.line(&line)?;
            Ok(OK)
        }
        Verb::List { cluster, sort, limit, show_secrets } => {
            let mut query = Query::new();
            push(&mut query, "cluster_name", cluster);
            push_order(&mut query, sort.as_deref());
            let mut listing = api.list(&path, &query, limit).await?;
            if !show_secrets {
                listing.rows.iter_mut().for_each(|key| hide(key, &["key"]));
            }
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { key } => {
            let id = find(&key).await?;
            let key = api.get(&format!("{path}/{}", segment(&id)), &Query::new()).await?;
            session.show(&VIEW, &key)
        }
        Verb::Update { key: which, name, uses, expire_in, no_expiry } => {
            let mut body = Map::new();
            if let Some(name) = name {
                body.insert("name".into(), if name.is_empty() { Value::Null } else { name.into() });
            }
            if let Some(Uses(uses)) = uses {
                body.insert("uses_remaining".into(), uses.into());
            }
            if let Some(length) = expire_in {
                body.insert("expired_at".into(), session.in_future(length)?.into());
            } else if no_expiry {
                body.insert("expired_at".into(), Value::Null);
            }
            if body.is_empty() {
                return Err(Failure::usage("nothing to change", "give --name, --uses, --expire-in or --no-expiry"));
            }
            let id = find(&which).await?;
            let mut key = api.patch(&format!("{path}/{}", segment(&id)), &Value::Object(body)).await?;
            hide(&mut key, &["key"]);
            if session.format() == Format::Table {
                return session.show(&VIEW, &key);
            }
            session.done(&VIEW, &key, &format!("key {id} changed"))
        }
        Verb::Delete { keys } => {
            for key in keys {
                let id = find(&key).await?;
                api.delete(&format!("{path}/{}", segment(&id))).await?;
                session.said(&id, &format!("key {id} deleted"))?;
            }
            Ok(OK)
        }
    }
}
