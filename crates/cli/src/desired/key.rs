//! Enrollment keys in the file, as `CLUSTER/NAME`. The keys themselves never stand there: on another server a key of the
//! same name is another key.

use std::fmt;

use jiff::Timestamp;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::document::given;
use super::{Found, Present, Spec, Step, step_by_fields};
use crate::api::{Api, EDGE};
use crate::command::segment;
use crate::failure::{Failure, Outcome};

const UNLIMITED: &str = "unlimited";

/// An enrollment key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentKey {
    /// How many machines may join with it when it is made. Uses that were spent are not given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Uses>,
    /// RFC 3339; null for never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub expires_at: Option<Option<Instant>>,
}

/// A number above 0, or `unlimited`.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Uses(Value);

impl<'de> Deserialize<'de> for Uses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Uses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number above 0 or `{UNLIMITED}`")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Uses, E> {
                match u32::try_from(number) {
                    Ok(0) | Err(_) => {
                        Err(E::custom(format!("uses is {number}; it is a number above 0 or `{UNLIMITED}`")))
                    }
                    Ok(number) => Ok(Uses(number.into())),
                }
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Uses, E> {
                self.visit_u64(u64::try_from(number).unwrap_or(0))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uses, E> {
                match text {
                    UNLIMITED => Ok(Uses(UNLIMITED.into())),
                    _ => Err(E::custom(format!("uses is `{text}`; it is a number above 0 or `{UNLIMITED}`"))),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// An instant, written alike however it was given.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Instant(String);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: Timestamp = text
            .parse()
            .map_err(|_| D::Error::custom(format!("`{text}` is not a time; write it like 2026-01-31T08:00:00Z")))?;
        Ok(Self(whole_seconds(at)))
    }
}

fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).map_or_else(|_| at.to_string(), |at| at.to_string())
}

pub async fn read(api: &Api, now: Timestamp) -> Outcome<Found> {
    let order = vec![("order_by", "inserted_at".to_owned()), ("order_directions", "desc".to_owned())];
    let mut found = Found::default();
    let mut nameless = 0;
    for row in api.list(&format!("{EDGE}/enrollment_keys"), &order, 0).await?.rows {
        let text = |field: &str| row.get(field).and_then(Value::as_str);
        let (Some(id), Some(cluster)) = (text("id"), text("cluster_name")) else { continue };
        let Some(name) = text("name").filter(|name| !name.is_empty()) else {
            nameless += 1;
            continue;
        };
        let full = format!("{cluster}/{name}");
        let uses = row.get("uses_remaining").cloned().unwrap_or_default();
        let expires: Option<Timestamp> = text("expired_at").and_then(|at| at.parse().ok());
        let left_out = if uses == json!(0) {
            Some(format!("enrollment key {full} is used up"))
        } else if expires.is_some_and(|at| at <= now) {
            Some(format!("enrollment key {full} has expired"))
        } else {
            None
        };
        let mut spec = Spec::new();
        spec.insert("uses".into(), if uses.is_null() { UNLIMITED.into() } else { uses });
        spec.insert("expires_at".into(), expires.map_or(Value::Null, |at| whole_seconds(at).into()));
        let fresh = Present { spec, id: id.to_owned(), left_out, ..Present::default() };
        match found.objects.get(&full) {
            // The newest that can still be used stands for its name.
            Some(kept) if kept.left_out.is_none() || fresh.left_out.is_some() => {
                found.nameless.push(format!("another enrollment key is called {full} (id {id})"));
            }
            Some(_) | None => {
                found.objects.insert(full, fresh);
            }
        }
    }
    if nameless > 0 {
        found.nameless.push(match nameless {
            1 => "an enrollment key without a name".to_owned(),
            n => format!("{n} enrollment keys without names"),
        });
    }
    Ok(found)
}

pub fn step(wanted: &Spec, present: Option<&Present>) -> Step {
    let Some(present) = present else { return Step::Create };
    let mut wanted = wanted.clone();
    // A limited key stays as far used as it is: a file that is applied every hour must not arm it again.
    let is_number = |spec: &Spec| spec.get("uses").is_some_and(Value::is_number);
    if is_number(&wanted) && is_number(&present.spec) {
        wanted.remove("uses");
    }
    step_by_fields(&wanted, &present.spec)
}

pub async fn create(api: &Api, full: &str, wanted: &Spec) -> Outcome<()> {
    let Some((cluster, name)) = full.split_once('/') else {
        return Err(Failure::local(format!("'{full}' is not CLUSTER/NAME")));
    };
    let mut body = body(wanted);
    body.insert("name".into(), name.into());
    // Without this the server makes a key for one use, which the file did not ask for.
    body.entry("uses_remaining").or_insert(1.into());
    let path = format!("{EDGE}/clusters/{}/enrollment_keys", segment(cluster));
    match api.post(&path, &Value::Object(body)).await {
        Err(failure) if failure.is_not_found() => Err(Failure::local(format!("there is no cluster {cluster}"))),
        done => done.map(drop),
    }
}

pub async fn change(api: &Api, present: &Present, wanted: &Spec) -> Outcome<()> {
    let changes: Spec = match step(wanted, Some(present)) {
        Step::Change(changes) => changes.into_iter().map(|(field, _, value)| (field, value)).collect(),
        Step::Same | Step::Create | Step::Wait(_) | Step::Refuse(_) => return Ok(()),
    };
    let path = format!("{EDGE}/enrollment_keys/{}", segment(&present.id));
    api.patch(&path, &Value::Object(body(&changes))).await.map(drop)
}

pub async fn delete(api: &Api, present: &Present) -> Outcome<()> {
    api.delete(&format!("{EDGE}/enrollment_keys/{}", segment(&present.id))).await
}

/// The fields in the API's words.
fn body(spec: &Spec) -> Map<String, Value> {
    let fields = spec.iter().map(|(field, value)| match field.as_str() {
        "uses" if value == UNLIMITED => ("uses_remaining".to_owned(), Value::Null),
        "uses" => ("uses_remaining".to_owned(), value.clone()),
        "expires_at" => ("expired_at".to_owned(), value.clone()),
        other => (other.to_owned(), value.clone()),
    });
    fields.collect()
}
