//! The commands, a file per noun: arguments, the calls they make, and how the answer is shown.

pub mod admin;
pub mod alias;
pub mod apply;
pub mod audit;
pub mod backup;
mod backup_schedule;
pub mod cluster;
pub mod commands;
pub mod completions;
pub mod contexts;
pub mod doctor;
pub mod events;
pub mod execution;
pub mod export;
pub mod job;
pub mod key;
pub mod login;
pub mod member;
pub mod node;
mod node_metrics;
pub mod operation;
mod operation_watch;
pub mod output;
pub mod plan;
pub mod provider;
mod provisioned;
pub mod run_command;
pub mod seal;
pub mod self_update;
pub mod server;
mod server_ssh;
pub mod ssh_user;
pub mod taskserv;
pub mod token;
pub mod top;
pub mod user;
mod watch;
pub mod webhook;
pub mod whoami;
pub mod workflow;
pub mod workspace;

use serde_json::Value;

use crate::api::Query;

/// Adds a query parameter if it was given.
fn push(query: &mut Query, name: &'static str, value: Option<impl ToString>) {
    query.extend(value.map(|value| (name, value.to_string())));
}

/// Adds a query parameter with the words that were given, if any.
fn push_words(query: &mut Query, name: &'static str, words: Vec<String>) {
    push(query, name, joined(words));
}

/// The words as one parameter of a query.
fn joined(words: Vec<String>) -> Option<String> {
    (!words.is_empty()).then(|| words.join(","))
}

/// Adds the order of a list: `field` or `-field` for descending; newest first by default.
fn push_order(query: &mut Query, sort: Option<&str>) {
    let (field, direction) = match sort {
        None => ("inserted_at", "desc"),
        Some(field) => field.strip_prefix('-').map_or((field, "asc"), |field| (field, "desc")),
    };
    query.push(("order_by", field.to_owned()));
    query.push(("order_directions", direction.to_owned()));
}

/// Takes secrets out of rows that people print into logs.
fn hide(value: &mut Value, secrets: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secrets)),
        Value::Object(map) => secrets.iter().for_each(|secret| drop(map.remove(*secret))),
        _ => {}
    }
}

/// Escapes one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    // A dot segment would climb in the path.
    if matches!(escaped.as_str(), "." | "..") { escaped.replace('.', "%2E") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(segment("a/b?c"), "a%2Fb%3Fc");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("prod-1"), "prod-1");
    }
}
