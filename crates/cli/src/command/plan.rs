//! `reeve plan`: what dry runs found, to be looked at and done.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::operation::{self, Wait};
use super::{push, segment};
use crate::Session;
use crate::api::{Api, PROVISIONING, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::names::{as_id, only};
use crate::view::{View, age, column, text};

/// Plans.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List stored plans, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only plans of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Show what a plan would do
    #[command(visible_alias = "get")]
    Show {
        /// Id, a part of it, or `last`
        plan: String,
    },
    /// Do what a plan says, unless the world has changed since
    Apply {
        /// Id, a part of it, or `last`
        plan: String,
        #[command(flatten)]
        wait: Wait,
    },
}

static VIEW: View = View {
    plural: "plans",
    columns: &[
        column("ID", 9, 9, |plan, _| text(plan, "id")),
        column("TYPE", 8, 6, |plan, _| text(plan, "type")),
        column("WORKSPACE", 6, 6, |plan, _| text(plan, "workspace")),
        column("SUMMARY", 8, 10, |plan, _| text(&plan["plan"], "summary")),
        column("APPLIED BY", 5, 9, |plan, _| text(plan, "applied_by")),
        column("AGE", 7, 3, |plan, now| age(plan, "created_at", now)),
    ],
    name: |plan| text(plan, "id"),
};

async fn find(api: &Api, reference: &str) -> Outcome<String> {
    if let Some(id) = as_id(reference) {
        return Ok(id);
    }
    let plans = api.rows(&format!("{PROVISIONING}/plans"), &Query::new()).await?.rows;
    let mut ids = plans.iter().map(|plan| text(plan, "id"));
    if reference == "last" {
        return ids.next().ok_or_else(|| Failure::local_with("there is no plan yet", "make one with --check"));
    }
    let part = reference.to_lowercase();
    only("plan", reference, ids.filter(|id| id.starts_with(&part) || id.ends_with(&part)).collect())
}

/// Runs `reeve plan`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let base = format!("{PROVISIONING}/plans");
    match noun.verb {
        Verb::List { workspace } => {
            let mut query = Query::new();
            push(&mut query, "workspace", workspace);
            let listing = api.rows(&base, &query).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { plan } => {
            let plan = api.get(&format!("{base}/{}", segment(&find(&api, &plan).await?)), &Query::new()).await?;
            let readable = plan.pointer("/plan/text").and_then(Value::as_str);
            match readable.filter(|_| session.format().is_table()) {
                Some(readable) => {
                    session.world.out.raw(readable)?;
                    Ok(OK)
                }
                None => session.show(&VIEW, &plan),
            }
        }
        Verb::Apply { plan, wait } => {
            let id = find(&api, &plan).await?;
            let begun = api.post(&format!("{base}/{}/apply", segment(&id)), &json!({})).await?;
            operation::begun(session, &api, vec![(format!("applying {id}"), begun)], &wait).await
        }
    }
}
