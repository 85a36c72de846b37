//! `reeve export`: the desired state of the fleet as a file.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use crate::Session;
use crate::desired::fleet::Fleet;
use crate::desired::{Kind, write};
use crate::failure::{Failure, OK, Outcome};
use crate::view::Format;

/// What to export.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// Only these sections: clusters, enrollment_keys, nodes, aliases, ssh_usernames, webhooks
    #[arg(long, value_name = "SECTION", value_delimiter = ',', value_parser = section)]
    pub only: Vec<Kind>,
}

fn section(text: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::section);
    let found = Kind::ALL.into_iter().find(|kind| kind.section() == text);
    found.ok_or_else(|| format!("there is no section '{text}'; there are {}", names.join(", ")))
}

/// Runs `reeve export`.
pub async fn run(args: Export, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let now = session.now();
    let mut sections = BTreeMap::new();
    let mut notes = Vec::new();
    let mut fleet = Fleet::default();
    for kind in Kind::ALL.into_iter().filter(|kind| args.only.is_empty() || args.only.contains(kind)) {
        let mut found = kind.read(&api, now, &mut fleet).await?;
        notes.append(&mut found.nameless);
        notes.extend(found.unread.into_values());
        found.objects.retain(|_, present| match &present.left_out {
            Some(why) => {
                notes.push(why.clone());
                false
            }
            None => true,
        });
        sections.insert(kind, found.objects);
    }
    match session.format() {
        Format::Json => {
            let mut document =
                serde_json::Map::from_iter([("version".to_owned(), crate::desired::document::VERSION.into())]);
            for (kind, objects) in sections {
                let objects = objects.into_iter().map(|(name, present)| (name, Value::Object(present.spec)));
                document.insert(kind.section().to_owned(), Value::Object(objects.collect()));
            }
            let text = serde_json::to_string_pretty(&Value::Object(document));
            session.world.out.line(&text.map_err(|error| Failure::local(error.to_string()))?)?;
        }
        Format::Table | Format::Wide | Format::Yaml | Format::Name => {
            session.world.out.raw(&write::text(&sections)?)?
        }
    }
    for note in notes {
        session.world.out.note(&format!("left out: {note}"))?;
    }
    Ok(OK)
}
