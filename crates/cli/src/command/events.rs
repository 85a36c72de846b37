//! `reeve events`: what happens, as it happens.

use clap::Args;
use serde_json::Value;

use super::{output, push};
use crate::api::{Listing, Query};
use crate::failure::{Failure, INTERRUPTED, Outcome};
use crate::follow::Source;
use crate::out::one_line;
use crate::view::{View, age, column, text};
use crate::{Format, Session};

/// Events.
#[derive(Debug, Clone, Args)]
pub struct Events {
    /// Go on printing events as they happen
    #[arg(short, long)]
    follow: bool,
    /// Only events of this type, e.g. edge.node.registered (`*` is a wildcard)
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events after this sequence number
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// At most this many; 0 for all (without --follow)
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

static VIEW: View = View {
    plural: "events",
    columns: &[
        column("AGE", 7, 3, |event, now| age(event, "time", now)),
        column("TYPE", 9, 12, |event, _| text(event, "type")),
        column("ABOUT", 8, 12, |event, _| about(event)),
        column("DETAIL", 5, 10, |event, _| detail(event)),
        column("TIME", 1, 10, |event, _| text(event, "time")).wide(),
        column("ID", 1, 10, |event, _| text(event, "id")).wide(),
    ],
    name: |event| text(event, "id"),
};

fn about(event: &Value) -> String {
    let data = event.get("data").unwrap_or(&Value::Null);
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    let keys = if kind.contains("command_execution") {
        ["command_execution_id", "node_id", "id"]
    } else if kind.contains("enrollment_key") {
        ["enrollment_key_id", "cluster_name", "id"]
    } else if kind.starts_with("reeve.") {
        ["job_id", "webhook_id", "id"]
    } else {
        ["node_id", "cluster_name", "id"]
    };
    match keys.iter().map(|key| text(data, key)).find(|text| text != "-") {
        Some(about) => about,
        None => text(event, "subject"),
    }
}

fn detail(event: &Value) -> String {
    let data = event.get("data").unwrap_or(&Value::Null);
    let keys = [
        "status",
        "previous_status",
        "exit_code",
        "result",
        "version",
        "cluster_name",
        "command_text",
        "name",
        "place",
        "error",
        "reason",
    ];
    let words = keys.iter().map(|key| (key, text(data, key))).filter(|(_, text)| text != "-");
    let words: Vec<String> = words.map(|(key, text)| format!("{key}={text}")).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

/// Runs `reeve events`.
pub async fn run(args: Events, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let mut query = Query::new();
    push(&mut query, "type", args.kind.clone());
    push(&mut query, "after", args.after);
    if !args.follow {
        let Value::Array(mut rows) = api.get("/api/events", &query).await? else {
            return Err(Failure::lacking("list of events"));
        };
        if args.limit > 0 && rows.len() > args.limit {
            rows = rows.split_off(rows.len() - args.limit);
        }
        return session.show_list(&VIEW, &Listing { rows, total: None });
    }
    let source = Source { query, ..Source::beginning("/api/events".to_owned()) };
    let endless = output::read(session, source, |session, event| {
        if let Ok(event) = serde_json::from_str::<Value>(&event.data) {
            print(session, &event)?;
        }
        Ok(None::<u8>)
    });
    Ok(endless.await?.unwrap_or(INTERRUPTED))
}

/// One event: a line for people, a JSON document a line for programs.
fn print(session: &mut Session<'_>, event: &Value) -> Outcome<()> {
    let out = &mut session.world.out;
    match session.globals.output {
        Format::Json => out.line(&event.to_string()),
        Format::Yaml => {
            out.line("---")?;
            crate::view::document(out, Format::Yaml, event)
        }
        Format::Name => out.line(&text(event, "id")),
        Format::Table | Format::Wide => {
            let line = format!("{}  {}  {}  {}", text(event, "time"), text(event, "type"), about(event), detail(event));
            out.line(&one_line(&line))
        }
    }
}
