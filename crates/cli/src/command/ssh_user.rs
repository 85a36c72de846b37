//! `reeve ssh-user`: who may open SSH sessions on which nodes, and their public keys.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use serde_json::{Map, Value, json};

use super::{push, push_order, segment};
use crate::Session;
use crate::api::{Api, EDGE, Query};
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::names::{self, as_id, only};
use crate::view::{View, age, column, text};
use crate::world::World;

/// SSH usernames.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List SSH usernames
    #[command(visible_alias = "ls")]
    List {
        /// Only those of this node, by id, its start, host name or alias
        #[arg(short, long)]
        node: Option<String>,
        /// Only those of nodes in this cluster (`*` is a wildcard)
        #[arg(short, long)]
        cluster: Option<String>,
        /// Only this username (`*` is a wildcard)
        #[arg(long)]
        username: Option<String>,
        /// Only those with a password (or, with false, those without)
        #[arg(long, num_args = 0..=1, default_missing_value = "true")]
        has_password: Option<bool>,
        /// Order by a field, e.g. username; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Let a username in on a node
    Create {
        /// USERNAME@NODE; the node by id, its start, host name or alias
        user: String,
        /// Ask for a password that lets in (from a pipe: the first line)
        #[arg(short, long)]
        password: bool,
        /// A public key that lets in: FILE, or NAME=FILE; `-` is standard input; repeatable
        #[arg(short, long = "key", value_name = "[NAME=]FILE", value_hint = ValueHint::FilePath)]
        keys: Vec<String>,
    },
    /// Show one SSH username with its keys
    #[command(visible_alias = "get")]
    Show {
        /// USERNAME@NODE, or the id
        user: String,
    },
    /// Shut SSH usernames out, with their keys
    #[command(visible_alias = "rm")]
    Delete {
        /// USERNAME@NODE, or ids
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Try whether credentials let in: exit code 0 yes, 1 no
    Verify {
        /// USERNAME@NODE
        user: String,
        /// Try this public key's FILE; without it a password is asked for
        #[arg(short, long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Public keys of SSH usernames
    #[command(subcommand, visible_alias = "keys")]
    Key(KeyVerb),
}

#[derive(Debug, Clone, Subcommand)]
enum KeyVerb {
    /// Give a username more keys
    Add {
        /// USERNAME@NODE, or the id
        user: String,
        /// FILE, or NAME=FILE; `-` is standard input
        #[arg(required = true, value_name = "[NAME=]FILE", value_hint = ValueHint::FilePath)]
        keys: Vec<String>,
    },
    /// List public keys
    #[command(visible_alias = "ls")]
    List {
        /// Only those of USERNAME@NODE, or of this id
        user: Option<String>,
        /// Only those on this node
        #[arg(short, long)]
        node: Option<String>,
        /// Only those on nodes of this cluster (`*` is a wildcard)
        #[arg(short, long)]
        cluster: Option<String>,
        /// Only keys that match, e.g. '*@example.com'
        #[arg(long, value_name = "PATTERN")]
        matching: Option<String>,
        /// Only the key with this fingerprint
        #[arg(long)]
        fingerprint: Option<String>,
        /// Order by a field, e.g. key_name; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Delete public keys
    #[command(visible_alias = "rm")]
    Delete {
        /// Their ids, the starts of them, or fingerprints
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

static VIEW: View = View {
    plural: "SSH usernames",
    columns: &[
        column("USERNAME", 9, 8, |user, _| text(user, "username")),
        column("NODE", 8, 9, |user, _| text(user, "node_id")),
        column("PASSWORD", 6, 5, |user, _| text(user, "has_password")),
        column("KEYS", 5, 4, |user, _| keys_of(user)),
        column("AGE", 4, 3, |user, now| age(user, "inserted_at", now)),
        column("ID", 3, 9, |user, _| text(user, "id")),
        column("FINGERPRINTS", 1, 9, |user, _| fingerprints(user)).details(),
    ],
    name: |user| text(user, "id"),
};

static KEYS: View = View {
    plural: "SSH public keys",
    columns: &[
        column("NAME", 9, 8, |key, _| text(key, "key_name")),
        column("TYPE", 7, 8, |key, _| text(key, "key_type")),
        column("BITS", 6, 4, |key, _| text(key, "bits")),
        column("FINGERPRINT", 8, 12, |key, _| text(key, "fingerprint")),
        column("COMMENT", 5, 6, |key, _| text(key, "comment")),
        column("AGE", 4, 3, |key, now| age(key, "inserted_at", now)),
        column("ID", 3, 9, |key, _| text(key, "id")),
        column("SSH USERNAME", 1, 9, |key, _| text(key, "ssh_username_id")).wide(),
    ],
    name: |key| text(key, "id"),
};

fn keys(user: &Value) -> &[Value] {
    user.get("public_keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn keys_of(user: &Value) -> String {
    let names: Vec<String> = keys(user).iter().map(|key| text(key, "key_name")).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn fingerprints(user: &Value) -> String {
    keys(user).iter().map(|key| text(key, "fingerprint")).collect::<Vec<_>>().join(", ")
}

/// Runs `reeve ssh-user`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/ssh_usernames");
    match noun.verb {
        Verb::List { node, cluster, username, has_password, sort, limit } => {
            let mut query = Query::new();
            if let Some(node) = node {
                query.push(("node_id", names::node_id(&api, &node).await?));
            }
            push(&mut query, "cluster_name", cluster);
            push(&mut query, "username", username);
            push(&mut query, "has_password", has_password);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Create { user, password, keys } => {
            let (username, node) = user_at(&user)?;
            let mut body = Map::new();
            body.insert("username".to_owned(), username.into());
            let public_keys = keys.iter().map(|key| read_key(session.world, key)).collect::<Outcome<Vec<_>>>()?;
            if !public_keys.is_empty() {
                body.insert("public_keys".to_owned(), public_keys.into());
            }
            let node = names::node_id(&api, node).await?;
            if password {
                body.insert("password".to_owned(), session.world.ask("Password", true)?.into());
            }
            let made = api.post(&format!("{EDGE}/nodes/{node}/ssh_usernames"), &Value::Object(body)).await?;
            session.done(&VIEW, &made, &format!("{user} is let in"))
        }
        Verb::Show { user } => {
            let id = find(&api, &user).await?;
            let user = api.get(&format!("{path}/{}", segment(&id)), &Query::new()).await?;
            session.show(&VIEW, &user)
        }
        Verb::Delete { users } => {
            for user in users {
                let id = find(&api, &user).await?;
                api.delete(&format!("{path}/{}", segment(&id))).await?;
                session.said(&id, &format!("{user} is shut out"))?;
            }
            Ok(OK)
        }
        Verb::Verify { user, key } => verify(session, &api, &user, key.as_deref()).await,
        Verb::Key(verb) => run_key(verb, session, &api).await,
    }
}

async fn verify(session: &mut Session<'_>, api: &Api, user: &str, key: Option<&Path>) -> Outcome<u8> {
    let (username, node) = user_at(user)?;
    let id = names::node_id(api, node).await?;
    let body = match key {
        Some(file) => json!({ "username": username, "public_key": read_file(session.world, file)? }),
        None => json!({ "username": username, "password": session.world.ask("Password", true)? }),
    };
    let answer = api.post(&format!("{EDGE}/nodes/{id}/ssh_usernames/verify"), &body).await?;
    let verified = answer.get("verified").and_then(Value::as_bool).unwrap_or(false);
    session.done(&VERIFICATION, &answer, &format!("{user} is {}let in", if verified { "" } else { "not " }))?;
    Ok(if verified { OK } else { FAILED })
}

static VERIFICATION: View = View {
    plural: "answers",
    columns: &[column("VERIFIED", 9, 5, |answer, _| text(answer, "verified"))],
    name: |answer| text(answer, "verified"),
};

async fn run_key(verb: KeyVerb, session: &mut Session<'_>, api: &Api) -> Outcome<u8> {
    let path = format!("{EDGE}/ssh_public_keys");
    match verb {
        KeyVerb::Add { user, keys } => {
            let bodies = keys.iter().map(|key| read_key(session.world, key)).collect::<Outcome<Vec<_>>>()?;
            let id = segment(&find(api, &user).await?);
            for body in bodies {
                let key = api.post(&format!("{EDGE}/ssh_usernames/{id}/ssh_public_keys"), &body).await?;
                let words = format!("key {} lets {user} in: {}", text(&key, "key_name"), text(&key, "fingerprint"));
                session.done(&KEYS, &key, &words)?;
            }
            Ok(OK)
        }
        KeyVerb::List { user, node, cluster, matching, fingerprint, sort, limit } => {
            let mut query = Query::new();
            if let Some(user) = user {
                query.push(("ssh_username_id", find(api, &user).await?));
            }
            if let Some(node) = node {
                query.push(("node_id", names::node_id(api, &node).await?));
            }
            push(&mut query, "cluster_name", cluster);
            push(&mut query, "public_key", matching);
            push(&mut query, "fingerprint", fingerprint);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&KEYS, &listing)
        }
        KeyVerb::Delete { ids } => {
            for id in ids {
                let id = names::listed_id(api, "ssh-user key", &path, "fingerprint", &id).await?;
                api.delete(&format!("{path}/{}", segment(&id))).await?;
                session.said(&id, &format!("key {id} deleted"))?;
            }
            Ok(OK)
        }
    }
}

/// Splits `USERNAME@NODE`.
fn user_at(text: &str) -> Outcome<(&str, &str)> {
    match text.split_once('@') {
        Some((username, node)) if !username.is_empty() && !node.is_empty() => Ok((username, node)),
        _ => Err(Failure::usage(format!("'{text}' names no username on a node"), "write it as deploy@web-1")),
    }
}

/// The id of the username that `USERNAME@NODE` or an id names.
async fn find(api: &Api, reference: &str) -> Outcome<String> {
    if let Some(id) = as_id(reference) {
        return Ok(id);
    }
    let (username, node) = user_at(reference)?;
    let query = vec![("username", username.to_owned()), ("node_id", names::node_id(api, node).await?)];
    let listing = api.list(&format!("{EDGE}/ssh_usernames"), &query, 2).await?;
    let named = listing.rows.iter().filter(|row| text(row, "username") == username);
    let ids = named.filter_map(|row| row.get("id").and_then(Value::as_str)).map(str::to_owned).collect();
    only("ssh-user", reference, ids)
}

/// Reads `[NAME=]FILE`. Without a name the key is called after its file.
fn read_key(world: &mut World, text: &str) -> Outcome<Value> {
    let (name, file) = match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !name.contains('/') => (name.to_owned(), file),
        _ => {
            let stem = Path::new(text).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (stem.filter(|stem| stem != "-").unwrap_or_else(|| "key".to_owned()), text)
        }
    };
    Ok(json!({ "key_name": name, "public_key": read_file(world, Path::new(file))? }))
}

fn read_file(world: &mut World, file: &Path) -> Outcome<String> {
    let line = if file.as_os_str() == "-" {
        world.read_all()?
    } else {
        std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read {}: {error}", file.display()), "give the .pub file of a key pair")
        })?
    };
    // What is private stays on this machine.
    if line.contains("PRIVATE KEY") {
        let what = format!("{} holds a private key, which nobody needs to know", file.display());
        return Err(Failure::usage(what, "give the .pub file next to it"));
    }
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_with_their_node() {
        assert_eq!(user_at("ann@web-1").unwrap(), ("ann", "web-1"));
        assert!(user_at("ann").is_err() && user_at("@web").is_err() && user_at("ann@").is_err());
    }
}
