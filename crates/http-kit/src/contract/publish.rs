//! The document as clients see it: what only the server needs is left out.

use serde_json::{Value, json};

const PRIVATE: [&str; 2] = ["x-reeve", "x-reeve-list"];

pub(super) fn render(document: &Value, prefix: &str) -> bytes::Bytes {
    let mut public = document.clone();
    public["servers"] = json!([{"url": if prefix.is_empty() { "/" } else { prefix }}]);
    strip(&mut public);
    // Serialising a `Value` cannot fail; an empty document would be noticed by the first reader.
    serde_json::to_vec(&public).unwrap_or_default().into()
}

fn strip(node: &mut Value) {
    match node {
        Value::Object(map) => {
            map.retain(|key, _| !PRIVATE.contains(&key.as_str()));
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
