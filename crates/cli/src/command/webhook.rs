//! `reeve webhook`: URLs that events are posted to, and what came of it.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{push, push_order, push_words, segment};
use crate::Session;
use crate::api::{EDGE, Query};
use crate::args::header;
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::human::{parse_duration, parse_since};
use crate::names;
use crate::view::{View, age, column, state_style, text};

/// Webhooks.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Subscribe a URL to events; without a secret one is made and printed once
    Create {
        /// Where events are posted
        // Not called `url`: that is the server's, for every command.
        #[arg(value_name = "URL")]
        target: String,
        /// An event type to send, e.g. edge.node.registered; repeatable, or several after a comma
        #[arg(short, long = "event", value_name = "TYPE", required = true, value_delimiter = ',')]
        events: Vec<String>,
        /// A header of each request, as 'Authorization: Bearer x'; repeatable
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
        headers: Vec<(String, String)>,
        /// Ask for the secret, or read it from standard input
        #[arg(long)]
        secret_stdin: bool,
    },
    /// List webhooks
    #[command(visible_alias = "ls")]
    List {
        /// Only those that lead to this URL (`*` is a wildcard)
        #[arg(long, value_name = "URL")]
        target: Option<String>,
        /// Only those that get this event type
        #[arg(long, value_name = "TYPE")]
        event: Option<String>,
        /// Only those in this state
        #[arg(long, value_parser = ["active", "paused", "disabled"])]
        state: Option<String>,
        /// Order by a field, e.g. url; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Show one webhook
    #[command(visible_alias = "get")]
    Show {
        /// The webhook: id, the start of it, or its URL
        webhook: String,
    },
    /// Change a webhook
    Update {
        /// The webhook: id, the start of it, or its URL
        webhook: String,
        /// Where events are posted
        #[arg(long, value_name = "URL")]
        target: Option<String>,
        /// The event types to send, all of them; repeatable, or several after a comma
        #[arg(short, long = "event", value_name = "TYPE", value_delimiter = ',')]
        events: Vec<String>,
        /// The headers of each request, all of them; repeatable
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, conflicts_with = "no_headers")]
        headers: Vec<(String, String)>,
        /// Send no headers of your own
        #[arg(long)]
        no_headers: bool,
        /// Make a new secret and print it once; the one before signs too for a while
        #[arg(long, conflicts_with = "secret_stdin")]
        new_secret: bool,
        /// Ask for a new secret, or read it from standard input
        #[arg(long)]
        secret_stdin: bool,
        /// How long the secret before signs too
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        overlap: Option<Duration>,
    },
    /// Delete webhooks with their delivery logs
    #[command(visible_alias = "rm")]
    Delete {
        /// The webhooks: ids, the starts of them, or URLs
        #[arg(required = true)]
        webhooks: Vec<String>,
    },
    /// Stop sending; events wait
    Pause {
        /// The webhook: id, the start of it, or its URL
        webhook: String,
    },
    /// Go on with a paused or disabled webhook
    Resume {
        /// The webhook: id, the start of it, or its URL
        webhook: String,
    },
    /// Send a test event and say what the receiver answered
    Test {
        /// The webhook: id, the start of it, or its URL
        webhook: String,
        /// How long to wait for the answer
        #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse_duration)]
        wait: Duration,
    },
    /// List deliveries, newest first
    #[command(visible_alias = "log")]
    Deliveries {
        /// The webhook's id; all webhooks when absent
        id: Option<String>,
        /// Only deliveries in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["pending", "delivered", "failed", "dropped"])]
        state: Vec<String>,
        /// Only events of this type (`*` is a wildcard)
        #[arg(long, value_name = "TYPE")]
        event: Option<String>,
        /// Only with this HTTP status
        #[arg(long, value_name = "CODE")]
        status: Option<u16>,
        /// Only what went wrong like this (`*` is a wildcard)
        #[arg(long)]
        error: Option<String>,
        /// Only since then: a time, a date, or how long ago (2h)
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send one delivery again, or with --since everything that a webhook did not get
    Redeliver {
        /// The delivery's id; with --since the webhook's
        id: String,
        /// Everything since then that failed, was dropped, or was never noted: a time, a date, or how long ago (2h)
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
    },
}

static VIEW: View = View {
    plural: "webhooks",
    columns: &[
        column("ID", 9, 9, |hook, _| text(hook, "id")),
        column("URL", 8, 12, |hook, _| text(hook, "url")),
        column("STATE", 7, 6, |hook, _| text(hook, "state")).coloured(state_style),
        column("EVENTS", 4, 8, |hook, _| text(hook, "subscribed_events")),
        column("WAITING", 5, 3, |hook, _| text(hook, "waiting_deliveries")),
        column("FAILING", 6, 4, |hook, now| age(hook, "failing_since", now)),
        column("AGE", 3, 3, |hook, now| age(hook, "inserted_at", now)),
        column("REASON", 2, 8, |hook, _| text(hook, "state_reason")).wide(),
        column("HEADERS", 1, 3, |hook, _| text(hook, "has_headers")).details(),
        column("OLD SECRET UNTIL", 1, 8, |hook, _| text(hook, "previous_secret_until")).details(),
    ],
    name: |hook| text(hook, "id"),
};

static LOG: View = View {
    plural: "deliveries",
    columns: &[
        column("ID", 9, 9, |row, _| text(row, "id")),
        column("EVENT", 8, 10, |row, _| text(row, "event_type")),
        column("STATE", 9, 6, |row, _| text(row, "state")).coloured(delivery_style),
        column("ATTEMPTS", 4, 3, |row, _| text(row, "attempts")),
        column("HTTP", 6, 3, |row, _| text(row, "http_status")),
        column("MS", 3, 3, |row, _| text(row, "duration_ms")),
        column("NEXT", 5, 4, |row, now| age(row, "next_attempt_at", now)),
        column("AGE", 7, 3, |row, now| age(row, "event_time", now)),
        column("ERROR", 6, 8, |row, _| text(row, "error")),
        column("WEBHOOK", 2, 9, |row, _| text(row, "webhook_id")).wide(),
        column("EVENT ID", 1, 9, |row, _| text(row, "event_id")).details(),
        column("ANSWER", 1, 9, |row, _| text(row, "answer")).details(),
    ],
    name: |row| text(row, "id"),
};

fn delivery_style(word: &str) -> Option<console::Style> {
    state_style(match word {
        "delivered" => "completed",
        "dropped" => "failed",
        other => other,
    })
}

/// Runs `reeve webhook`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/webhooks");
    let of = |id: &str| format!("{path}/{}", segment(id));
    let find = async |which: &str| names::listed_id(&api, "webhook", &path, "url", which).await;
    match noun.verb {
        Verb::Create { target, events, headers, secret_stdin } => {
            let secret = if secret_stdin { session.world.ask("Secret", true)? } else { new_secret() };
            let mut body = json!({ "url": target, "secret": secret, "subscribed_events": events });
            if !headers.is_empty() {
                body["headers"] = object(headers);
            }
            let hook = api.post(&path, &body).await?;
            let id = text(&hook, "id");
            session.done(&VIEW, &hook, &format!("webhook {id} created\nnext:  reeve webhook test {id}"))?;
            show_secret(session, (!secret_stdin).then_some(secret))
        }
        Verb::List { target, event, state, sort, limit } => {
            let mut query = Query::new();
            push(&mut query, "url", target);
            push(&mut query, "event_type", event);
            push(&mut query, "state", state);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { webhook } => {
            let id = find(&webhook).await?;
            let hook = api.get(&of(&id), &Query::new()).await?;
            session.show(&VIEW, &hook)
        }
        Verb::Update { webhook, target, events, headers, no_headers, new_secret: fresh, secret_stdin, overlap } => {
            let mut body = Map::new();
            body.extend(target.map(|target| ("url".to_owned(), target.into())));
            if !events.is_empty() {
                body.insert("subscribed_events".to_owned(), events.into());
            }
            if no_headers {
                body.insert("headers".to_owned(), Value::Null);
            } else if !headers.is_empty() {
                body.insert("headers".to_owned(), object(headers));
            }
            let secret = match (fresh, secret_stdin) {
                (true, _) => Some(new_secret()),
                (false, true) => Some(session.world.ask("Secret", true)?),
                (false, false) => None,
            };
            body.extend(secret.clone().map(|secret| ("secret".to_owned(), secret.into())));
            body.extend(overlap.map(|length| ("secret_overlap_seconds".to_owned(), length.as_secs().into())));
            if body.is_empty() {
                let next = "give --target, --event, --header, --no-headers, --new-secret or --secret-stdin";
                return Err(Failure::usage("nothing to change", next));
            }
            let id = find(&webhook).await?;
            let hook = api.patch(&of(&id), &Value::Object(body)).await?;
            session.done(&VIEW, &hook, &format!("webhook {id} changed"))?;
            show_secret(session, secret.filter(|_| fresh))
        }
        Verb::Delete { webhooks } => {
            for webhook in webhooks {
                let id = find(&webhook).await?;
                api.delete(&of(&id)).await?;
                session.said(&id, &format!("webhook {id} deleted"))?;
            }
            Ok(OK)
        }
        Verb::Pause { webhook } => {
            let id = find(&webhook).await?;
            let hook = api.post(&format!("{}/pause", of(&id)), &json!({})).await?;
            session.done(&VIEW, &hook, &format!("webhook {id} is paused; events wait for it"))
        }
        Verb::Resume { webhook } => {
            let id = find(&webhook).await?;
            let hook = api.post(&format!("{}/resume", of(&id)), &json!({})).await?;
            session.done(&VIEW, &hook, &format!("webhook {id} is active"))
        }
        Verb::Test { webhook, wait } => {
            let id = find(&webhook).await?;
            let sent = api.post(&format!("{}/test", of(&id)), &json!({})).await?;
            let path = format!("{EDGE}/webhook_deliveries/{}", segment(&text(&sent, "id")));
            let ended = tokio::time::timeout(wait, first_attempt(&api, &path)).await;
            let row = match ended {
                Ok(row) => row?,
                Err(_) => api.get(&path, &Query::new()).await?,
            };
            if !session.format().is_table() {
                session.show(&LOG, &row)?;
            }
            let delivered = text(&row, "state") == "delivered";
            let words = if delivered {
                format!(
                    "delivered: the receiver answered {} after {} ms",
                    text(&row, "http_status"),
                    text(&row, "duration_ms")
                )
            } else if text(&row, "attempts") == "0" {
                format!("not attempted within {}", crate::human::duration(wait))
            } else {
                format!("not delivered: {}", text(&row, "error"))
            };
            session.world.out.note(&words)?;
            Ok(if delivered { OK } else { FAILED })
        }
        Verb::Deliveries { id, state, event, status, error, since, limit } => {
            let mut query = Query::new();
            push_words(&mut query, "state", state);
            push(&mut query, "event_type", event);
            push(&mut query, "http_status", status);
            push(&mut query, "error", error);
            push(&mut query, "inserted_at__gte", when(session, since.as_deref())?);
            let path = match id {
                Some(webhook) => format!("{}/deliveries", of(&find(&webhook).await?)),
                None => format!("{EDGE}/webhook_deliveries"),
            };
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&LOG, &listing)
        }
        Verb::Redeliver { id, since: None } => {
            let row = api.post(&format!("{EDGE}/webhook_deliveries/{}/redeliver", segment(&id)), &json!({})).await?;
            session.done(&LOG, &row, &format!("delivery {id} is sent again"))
        }
        Verb::Redeliver { id: webhook, since: Some(since) } => {
            let id = find(&webhook).await?;
            let mut from = when(session, Some(&since))?;
            let (mut requeued, mut added) = (0, 0);
            while let Some(at) = from.take() {
                let done = api.post(&format!("{}/redeliver", of(&id)), &json!({ "since": at })).await?;
                let count = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or(0);
                (requeued, added) = (requeued + count("requeued"), added + count("added"));
                // The same instant once more would be a loop.
                from = done.get("continue_from").and_then(Value::as_str).map(str::to_owned).filter(|next| *next != at);
            }
            let words = format!("{requeued} deliveries are sent again, {added} events were added");
            session.told(&id, &json!({ "requeued": requeued, "added": added }), &words)
        }
    }
}

fn when(session: &Session<'_>, text: Option<&str>) -> Outcome<Option<String>> {
    let see = "see `reeve webhook --help`";
    let parsed = text.map(|text| parse_since(text, session.now()).map_err(|what| Failure::usage(what, see)));
    Ok(parsed.transpose()?.map(|at| at.to_string()))
}

fn object(headers: Vec<(String, String)>) -> Value {
    headers.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>().into()
}

/// The only moment at which it can be seen.
fn show_secret(session: &mut Session<'_>, secret: Option<String>) -> Outcome<u8> {
    if let Some(secret) = secret {
        session.world.out.note(&format!("the secret, which is not shown again:  {secret}"))?;
    }
    Ok(OK)
}

/// 32 bytes in the form that libraries of Standard Webhooks read.
#[allow(clippy::disallowed_methods)] // A secret has to be random.
pub(crate) fn new_secret() -> String {
    use base64::Engine as _;
    let (one, two, three) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    // A random UUID has six bits that are not; three of them have more than enough that are.
    let bytes: Vec<u8> = [one, two, three].iter().flat_map(|uuid| uuid.as_bytes()[..].to_vec()).collect();
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

async fn first_attempt(api: &crate::api::Api, path: &str) -> Outcome<Value> {
    loop {
        let row = api.get(path, &Query::new()).await?;
        if row.get("attempts").and_then(Value::as_u64) != Some(0) || text(&row, "state") != "pending" {
            return Ok(row);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
