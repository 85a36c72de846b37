//! `reeve plan`: what dry runs found, to be looked at and done.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::operation::{self, Wait};
use super::provisioned::{Called, Kind};
use crate::Session;
use crate::api::Query;
use crate::failure::{OK, Outcome};
use crate::view::{View, age, column, text};

/// Plans.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    plan: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List plans, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only plans of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Show what one plan would do
    #[command(visible_alias = "get")]
    Show(Which),
    /// Do what a plan says, unless the world has changed since
    Apply {
        #[command(flatten)]
        which: Which,
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

static KIND: Kind = Kind {
    noun: "plan",
    lines: &VIEW,
    view: &VIEW,
    whole: "",
    called: Called::Recent {
        newest_first: true,
        first: "make one with --check, e.g. `reeve server create NAME --check`",
    },
};

/// Runs `reeve plan`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List { workspace } => KIND.list(session, &api, [("workspace", workspace)], 0).await,
        Verb::Show(Which { plan }) => {
            let plan = api.get(&KIND.path(&api, &plan).await?, &Query::new()).await?;
            let readable = plan.pointer("/plan/text").and_then(Value::as_str);
            match readable.filter(|_| session.format().is_table()) {
                Some(readable) => {
                    session.world.out.raw(readable)?;
                    Ok(OK)
                }
                None => session.show(&VIEW, &plan),
            }
        }
        Verb::Apply { which, wait } => {
            let id = KIND.find(&api, &which.plan).await?;
            let begun = api.post(&format!("{}/apply", KIND.at(&id)), &json!({})).await?;
            operation::begun(session, &api, vec![(format!("applying {id}"), begun)], &wait).await
        }
    }
}
