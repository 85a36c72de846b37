//! SSH usernames in the file, as `USERNAME@NODE-ID`, with their public keys. A password is written and never read: it is
//! given when a username is made.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::fleet::Fleet;
use super::{Found, Present, Spec, Step, step_by_fields, waits_for};
use crate::api::{Api, EDGE, Query};
use crate::command::segment;
use crate::failure::{Failure, Outcome};
use crate::names;

/// Public keys of one username, and bytes of one key.
const MOST_KEYS: usize = 100;
const MOST_KEY: usize = 16_384;

/// An SSH username.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshUsername {
    /// All its public keys, by name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "keys")]
    pub public_keys: Option<BTreeMap<String, String>>,
    /// For one that is made; never exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let keys = BTreeMap::<String, String>::deserialize(deserializer)?;
    if keys.len() > MOST_KEYS {
        return Err(D::Error::custom(format!(
            "public_keys has {} keys; a username has at most {MOST_KEYS}",
            keys.len()
        )));
    }
    let mut clean = BTreeMap::new();
    for (name, key) in keys {
        if let Some(problem) = problem(&name, &key) {
            return Err(D::Error::custom(format!("public_keys.{name} {problem}")));
        }
        clean.insert(name, one_line(&key));
    }
    Ok(Some(clean))
}

fn problem(name: &str, key: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 255 {
        return Some("has no name, or one longer than 255 bytes");
    }
    // What is private stays where it is: the text is not repeated either.
    if key.contains("PRIVATE KEY") {
        return Some("is a private key, which nobody needs to know; give what stands in the .pub file");
    }
    if key.len() > MOST_KEY {
        return Some("is longer than 16 KiB");
    }
    let is_key = key.trim().lines().count() == 1 && key.split_whitespace().count() >= 2;
    (!is_key).then_some("is no public key: one line, `ssh-ed25519 AAAA... comment`")
}

/// As the server writes keys.
fn one_line(key: &str) -> String {
    let mut words = key.trim().splitn(3, char::is_whitespace).map(str::trim);
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match words.next().unwrap_or_default() {
        "" => format!("{kind} {body}"),
        comment => format!("{kind} {body} {comment}"),
    }
}

pub async fn read(api: &Api, fleet: &mut Fleet) -> Outcome<Found> {
    let order = vec![("order_by", "username".to_owned()), ("order_directions", "asc".to_owned())];
    let mut found = Found::default();
    let nodes = fleet.nodes(api).await?;
    for row in api.list(&format!("{EDGE}/ssh_usernames"), &order, 0).await?.rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let (Some(id), Some(username), Some(node)) = (text("id"), text("username"), text("node_id")) else { continue };
        let keys = row.get("public_keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let of = |key: &Value| {
            Some((key.get("key_name")?.as_str()?.to_owned(), one_line(key.get("public_key")?.as_str()?).into()))
        };
        let keys: Map<String, Value> = keys.iter().filter_map(of).collect();
        let has_password = row.get("has_password").and_then(Value::as_bool).unwrap_or(false);
        let node_name = nodes.get(node).map(names::of_node).unwrap_or_default();
        let present = Present {
            spec: Spec::from_iter([("public_keys".to_owned(), Value::Object(keys))]),
            id: id.to_owned(),
            comment: Some(if has_password { format!("{node_name}, with a password") } else { node_name }),
            has_secret: has_password,
            left_out: None,
        };
        let full = format!("{username}@{node}");
        if has_password {
            found.unread.insert(full.clone(), format!("the password of {full}"));
        }
        found.objects.insert(full, present);
    }
    found.nodes = nodes.keys().cloned().collect();
    Ok(found)
}

pub fn step(name: &str, wanted: &Spec, present: Option<&Present>, found: &Found) -> Step {
    let Some(present) = present else {
        let node = name.rsplit_once('@').map_or("", |(_, node)| node);
        return waits_for(node, found).unwrap_or(Step::Create);
    };
    let mut wanted = wanted.clone();
    if wanted.remove("password").is_some() && !present.has_secret {
        let why = "it has no password, and one can only be given when it is made: delete it and apply again";
        return Step::Refuse(why.to_owned());
    }
    step_by_fields(&wanted, &present.spec)
}

pub async fn create(api: &Api, full: &str, wanted: &Spec) -> Outcome<()> {
    let Some((username, node)) = full.rsplit_once('@') else {
        return Err(Failure::local(format!("'{full}' is not USERNAME@NODE-ID")));
    };
    let keys: Vec<Value> =
        keys_of(wanted).iter().map(|(name, key)| json!({"key_name": name, "public_key": key})).collect();
    let mut body = json!({ "username": username, "public_keys": keys });
    if let Some(password) = wanted.get("password") {
        body["password"] = password.clone();
    }
    api.post(&format!("{EDGE}/nodes/{}/ssh_usernames", segment(node)), &body).await.map(drop)
}

fn keys_of(spec: &Spec) -> Map<String, Value> {
    spec.get("public_keys").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Fresh keys come before others go, so that nobody is shut out in between for longer than it takes.
pub async fn change(api: &Api, present: &Present, wanted: &Spec) -> Outcome<()> {
    if !wanted.contains_key("public_keys") {
        return Ok(());
    }
    let path = format!("{EDGE}/ssh_usernames/{}/ssh_public_keys", segment(&present.id));
    let query: Query = vec![("ssh_username_id", present.id.clone())];
    let rows = api.list(&format!("{EDGE}/ssh_public_keys"), &query, 0).await?.rows;
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let there: BTreeMap<String, (String, String)> =
        rows.iter().map(|row| (text(row, "key_name"), (text(row, "id"), one_line(&text(row, "public_key"))))).collect();
    let wanted = keys_of(wanted);
    let add = |name: String, key: Value| {
        let path = path.clone();
        async move { api.post(&path, &json!({ "key_name": name, "public_key": key })).await.map(drop) }
    };
    for (name, key) in wanted.iter().filter(|(name, _)| !there.contains_key(*name)) {
        add(name.clone(), key.clone()).await?;
    }
    for (name, (id, now)) in &there {
        let next = wanted.get(name);
        if next.and_then(Value::as_str) == Some(now.as_str()) {
            continue;
        }
        api.delete(&format!("{EDGE}/ssh_public_keys/{}", segment(id))).await?;
        if let Some(key) = next {
            add(name.clone(), key.clone()).await?;
        }
    }
    Ok(())
}

pub async fn delete(api: &Api, present: &Present) -> Outcome<()> {
    api.delete(&format!("{EDGE}/ssh_usernames/{}", segment(&present.id))).await
}
