//! `reeve seal`: the key that seals secrets in the store.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::job;
use crate::Session;
use crate::api::Query;
use crate::failure::{Failure, Outcome};
use crate::view::{View, column, text};

/// The sealing key.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Show the keys and how many secrets each has sealed
    #[command(visible_aliases = ["get", "status"])]
    Show,
    /// Make a new key, seal every secret again and drop the older keys; follows it to its end
    Rotate {
        /// Start it and leave
        #[arg(long)]
        detach: bool,
    },
}

static VIEW: View = View {
    plural: "keys",
    columns: &[
        column("KEYS", 9, 6, |seal, _| keys(seal)),
        column("SEALED BY OTHERS", 5, 6, |seal, _| text(seal, "others")),
        column("LAST ROTATION", 5, 6, |seal, _| rotation(seal)),
    ],
    name: |seal| seal.pointer("/keys/0").map_or_else(|| "-".to_owned(), |key| text(key, "id")),
};

fn keys(seal: &Value) -> String {
    let keys = seal.get("keys").and_then(Value::as_array).into_iter().flatten();
    let newest = |key: &Value| if key["newest"] == true { ", seals what is written" } else { "" };
    let lines = keys.map(|key| format!("{}: {} secrets{}", text(key, "id"), text(key, "sealed"), newest(key)));
    lines.collect::<Vec<_>>().join("\n")
}

fn rotation(seal: &Value) -> String {
    match seal.get("rotation").filter(|job| job.is_object()) {
        Some(job) => format!("{} {}", text(job, "id"), text(job, "state")),
        None => "-".to_owned(),
    }
}

/// Runs `reeve seal`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::Show => {
            let seal = api.get("/api/seal", &Query::new()).await?;
            session.show(&VIEW, &seal)
        }
        Verb::Rotate { detach } => {
            let started = api.post("/api/seal/rotations", &json!({})).await?;
            let id = started.get("id").and_then(Value::as_str);
            let id = id.ok_or_else(|| Failure::lacking("job id"))?;
            if detach {
                return session.told(id, &started, &format!("the rotation goes on\nnext:  reeve job logs -f {id}"));
            }
            job::tail(session, id, 0).await
        }
    }
}
