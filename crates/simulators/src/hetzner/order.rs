//! What the simulated Hetzner accepts as an order for a server, and what it says to the rest.

use std::collections::BTreeMap;

use reeve_types::Timestamp;
use serde_json::Value;

use super::catalogue;
use super::routes::Refusal;
use super::world::{Server, Status, World};

/// Carries an order out, or says why not.
pub fn place(world: &mut World, order: &Value, now: Timestamp) -> Result<u64, Refusal> {
    let name = order.get("name").and_then(Value::as_str).unwrap_or_default();
    if !is_hostname(name) {
        return Err(Refusal::invalid("name", "must be a valid hostname as per RFC 1123"));
    }
    let same = |value: Option<&Value>, id: u64, name: &str| match value {
        Some(Value::Number(number)) => number.as_u64() == Some(id),
        Some(Value::String(text)) => text == name || text.parse() == Ok(id),
        _ => false,
    };
    let server_type = catalogue::TYPES.iter().find(|t| same(order.get("server_type"), t.0, t.1));
    let server_type = server_type.ok_or_else(|| Refusal::new(404, "not_found", "server type not found"))?;
    let fits =
        |image: &&(u64, &str, &str, &str)| same(order.get("image"), image.0, image.1) && image.3 == server_type.5;
    let image = catalogue::IMAGES.iter().find(fits);
    let image = image.ok_or_else(|| Refusal::new(404, "not_found", "image not found"))?;
    let location = match order.get("location") {
        None | Some(Value::Null) => &catalogue::LOCATIONS[0],
        wanted => catalogue::LOCATIONS
            .iter()
            .find(|l| same(wanted, l.0, l.1))
            .ok_or_else(|| Refusal::new(404, "not_found", "location not found"))?,
    };
    if order.get("datacenter").is_some() {
        return Err(Refusal::invalid("datacenter", "is gone; use location"));
    }
    let mut ssh_keys = Vec::new();
    for key in order.get("ssh_keys").and_then(Value::as_array).into_iter().flatten() {
        let known = world.ssh_keys.iter().find(|(id, (name, ..))| same(Some(key), **id, name));
        let (id, _) = known.ok_or_else(|| Refusal::invalid("ssh_keys", "SSH key not found"))?;
        ssh_keys.push(*id);
    }
    let user_data = order.get("user_data").and_then(Value::as_str).unwrap_or_default();
    if user_data.len() > 32 * 1024 {
        return Err(Refusal::invalid("user_data", "must be at most 32 KiB"));
    }
    let labels = labels(order)?;
    if world.servers.values().any(|server| server.name == name) {
        return Err(Refusal::new(409, "uniqueness_error", "server name is already used"));
    }
    if world.servers.len() >= world.switches.server_limit {
        return Err(Refusal::new(403, "resource_limit_exceeded", "server limit exceeded"));
    }
    if !world.switches.capacity {
        return Err(Refusal::new(412, "resource_unavailable", "no hosts available in this location"));
    }
    let id = world.number();
    let server = Server {
        id,
        name: name.to_owned(),
        server_type: server_type.0,
        location: location.0,
        image: image.0,
        status: Status::Initializing,
        next: None,
        created: now,
        labels,
        user_data: user_data.to_owned(),
        ssh_keys,
        protected: false,
    };
    world.servers.insert(id, server);
    Ok(id)
}

/// Labels of an order or a change: keys and values of at most 63 letters, digits, `.`, `_` and `-`.
pub fn labels(order: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let mut labels = BTreeMap::new();
    for (key, value) in order.get("labels").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().ok_or_else(|| Refusal::invalid("labels", "values are strings"))?;
        let framed = |text: &str| {
            let ends = text.chars().next().is_none_or(|c| c.is_ascii_alphanumeric())
                && text.chars().last().is_none_or(|c| c.is_ascii_alphanumeric());
            ends && text.len() <= 63 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
        if name.is_empty() || !framed(name) || prefix.len() > 253 || !framed(value) {
            return Err(Refusal::invalid(
                "labels",
                "label keys and values have at most 63 letters, digits, '.', '_' and '-'",
            ));
        }
        labels.insert(key.clone(), value.to_owned());
    }
    Ok(labels)
}

/// Whether labels pass a selector: `key`, `!key`, `key=value`, `key==value`, `key!=value`, joined by commas.
pub fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    selector.split(',').filter(|part| !part.is_empty()).all(|part| {
        if let Some((key, value)) = part.split_once("!=") {
            labels.get(key).is_none_or(|v| v != value)
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            labels.get(key).is_some_and(|v| v == value)
        } else if let Some(key) = part.strip_prefix('!') {
            !labels.contains_key(key)
        } else {
            labels.contains_key(part)
        }
    })
}

fn is_hostname(name: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
