//! Webhooks in the file, by URL. The secret and the headers are written and never read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Found, Present, Spec, Step, step_by_fields};
use crate::api::{Api, EDGE};
use crate::command::segment;
use crate::command::webhook::new_secret;
use crate::failure::Outcome;

/// A webhook.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Types of events that are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<BTreeSet<String>>,
    /// Whether events wait instead of being sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// For one that is made; drawn at random when absent. Never exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Further headers of requests. Never exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

/// Fields that cannot be read back.
pub const SECRETS: [&str; 2] = ["secret", "headers"];

pub async fn read(api: &Api) -> Outcome<Found> {
    let order = vec![("order_by", "inserted_at".to_owned()), ("order_directions", "asc".to_owned())];
    let mut found = Found::default();
    for row in api.list(&format!("{EDGE}/webhooks"), &order, 0).await?.rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let (Some(id), Some(url), Some(state)) = (text("id"), text("url"), text("state")) else { continue };
        if found.objects.contains_key(url) {
            found.nameless.push(format!("another webhook that posts to {url} (id {id})"));
            continue;
        }
        let events = row.get("subscribed_events").and_then(Value::as_array).into_iter().flatten();
        let events: BTreeSet<&str> = events.filter_map(Value::as_str).collect();
        let has_headers = row.get("has_headers").and_then(Value::as_bool).unwrap_or(false);
        found.unread.insert(url.to_owned(), secrets_of(url, has_headers));
        let disabled = format!("disabled: {}", text("state_reason").unwrap_or("its endpoint failed"));
        let present = Present {
            spec: Spec::from_iter([
                ("events".to_owned(), json!(events)),
                ("paused".to_owned(), Value::Bool(state == "paused")),
            ]),
            id: id.to_owned(),
            comment: (state == "disabled").then_some(disabled),
            has_secret: has_headers,
            left_out: None,
        };
        found.objects.insert(url.to_owned(), present);
    }
    Ok(found)
}

fn secrets_of(url: &str, has_headers: bool) -> String {
    let headers = if has_headers { " and the headers" } else { "" };
    format!("the secret{headers} of webhook {url}")
}

pub fn step(wanted: &Spec, present: Option<&Present>) -> Step {
    let Some(present) = present else {
        let has_events = wanted.get("events").and_then(Value::as_array).is_some_and(|events| !events.is_empty());
        let why = "it is not there yet and cannot be made without `events`";
        return if has_events { Step::Create } else { Step::Refuse(why.to_owned()) };
    };
    let mut plain = wanted.clone();
    plain.remove("secret");
    // That there are headers is known, which ones is not.
    let headers = plain.remove("headers").and_then(|headers| headers.as_object().map(|headers| !headers.is_empty()));
    let step = step_by_fields(&plain, &present.spec);
    let Some(wants_headers) = headers.filter(|wants| *wants != present.has_secret) else { return step };
    let words = |has: bool| Value::from(if has { "some, not shown" } else { "none" });
    let change = ("headers".to_owned(), words(present.has_secret), words(wants_headers));
    match step {
        Step::Change(mut changes) => {
            changes.push(change);
            Step::Change(changes)
        }
        _ => Step::Change(vec![change]),
    }
}

/// Makes it; the secret that was drawn for it, if one was.
pub async fn create(api: &Api, url: &str, wanted: &Spec) -> Outcome<Option<String>> {
    let given = wanted.get("secret").and_then(Value::as_str).map(str::to_owned);
    let drawn = given.is_none().then(new_secret);
    let secret = given.or_else(|| drawn.clone());
    let mut body = json!({ "url": url, "secret": secret, "subscribed_events": wanted.get("events") });
    if let Some(headers) = wanted.get("headers") {
        body["headers"] = headers.clone();
    }
    let made = api.post(&format!("{EDGE}/webhooks"), &body).await?;
    if wanted.get("paused") == Some(&Value::Bool(true)) {
        let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
        api.post(&format!("{EDGE}/webhooks/{}/pause", segment(id)), &json!({})).await?;
    }
    Ok(drawn)
}

pub async fn change(api: &Api, present: &Present, wanted: &Spec) -> Outcome<()> {
    let path = format!("{EDGE}/webhooks/{}", segment(&present.id));
    let Step::Change(changes) = step(wanted, Some(present)) else { return Ok(()) };
    let mut body = Map::new();
    for (field, _, value) in &changes {
        match field.as_str() {
            "events" => drop(body.insert("subscribed_events".to_owned(), value.clone())),
            "headers" => drop(body.insert("headers".to_owned(), wanted.get("headers").cloned().unwrap_or_default())),
            _ => {}
        }
    }
    if !body.is_empty() {
        api.patch(&path, &Value::Object(body)).await?;
    }
    if let Some((_, _, paused)) = changes.iter().find(|(field, _, _)| field == "paused") {
        let verb = if *paused == Value::Bool(true) { "pause" } else { "resume" };
        api.post(&format!("{path}/{verb}"), &json!({})).await?;
    }
    Ok(())
}

pub async fn delete(api: &Api, present: &Present) -> Outcome<()> {
    api.delete(&format!("{EDGE}/webhooks/{}", segment(&present.id))).await
}
