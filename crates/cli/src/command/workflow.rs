//! `reeve workflow`: operations that consist of operations.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::operation::{self, Extent, Wait};
use super::provisioned::{Called, Kind};
use super::{joined, workspace};
use crate::Session;
use crate::api::Query;
use crate::failure::{Failure, Outcome};
use crate::view::{View, age, column, state_style, text};
use crate::world::World;

/// Workflows.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    workflow: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List workflows, newest last
    #[command(visible_alias = "ls")]
    List {
        /// Only workflows in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["pending", "running", "completed", "failed", "cancelled"])]
        status: Vec<String>,
        /// Only workflows of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Submit a workflow
    Submit(Submit),
    /// Show one workflow
    #[command(visible_alias = "get")]
    Show(Which),
    /// List the steps of a workflow
    Steps(Which),
    /// Watch a workflow until it ends; exit code 1 when it did not complete
    Watch(Which),
    /// Cancel a workflow; what it did is taken back
    Cancel(Which),
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  reeve workflow submit cluster_create --set cluster_name=k8s --set node_count=3 --check\n  \
reeve workflow submit batch -f batch.yaml --wait"
)]
struct Submit {
    /// What it does; `batch` takes its steps from the parameters
    #[arg(value_name = "TYPE", value_parser = TYPES)]
    workflow_type: String,
    /// A YAML or JSON file with the parameters (`-`: standard input)
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A parameter; JSON where it is that, else text. Goes before what the file says
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The workspace; the active one when absent
    #[arg(long, short)]
    workspace: Option<String>,
    /// Keep what was made when something fails
    #[arg(long)]
    preserve_on_failure: bool,
    #[command(flatten)]
    extent: Extent,
}

const TYPES: [&str; 7] = [
    "server_create",
    "server_delete",
    "taskserv_create",
    "taskserv_delete",
    "cluster_create",
    "cluster_delete",
    "batch",
];

static VIEW: View = View {
    plural: "workflows",
    columns: &[
        column("ID", 9, 9, |workflow, _| text(workflow, "id")),
        column("TYPE", 8, 6, |workflow, _| text(workflow, "workflow_type")),
        column("STATUS", 8, 6, |workflow, _| text(workflow, "status")).coloured(state_style),
        column("AGE", 7, 3, |workflow, now| age(workflow, "created_at", now)),
        column("CHANGED", 6, 3, |workflow, now| age(workflow, "updated_at", now)),
    ],
    name: |workflow| text(workflow, "id"),
};

static STEPS: View = View {
    plural: "steps",
    columns: &[
        column("STEP", 9, 6, |step, _| text(step, "name")),
        column("TYPE", 8, 6, |step, _| text(step, "type")),
        column("STATUS", 8, 6, |step, _| text(step, "status")).coloured(state_style),
        column("NEEDS", 5, 5, |step, _| text(step, "needs")),
        column("TRIES", 4, 3, |step, _| text(step, "tries")),
        column("OPERATION", 7, 9, |step, _| text(step, "operation_id")),
        column("ERROR", 6, 6, |step, _| text(step, "error")),
    ],
    name: |step| text(step, "name"),
};

static KIND: Kind = Kind {
    noun: "workflow",
    lines: &VIEW,
    view: &VIEW,
    whole: "",
    called: Called::Recent {
        newest_first: false,
        first: "submit one, e.g. with `reeve workflow submit batch -f FILE`",
    },
};

/// Reads parameters: those of a file, and over them those of the command line.
pub(super) fn parameters(world: &mut World, file: Option<&PathBuf>, set: &[String]) -> Outcome<Map<String, Value>> {
    let mut all = match file {
        None => Map::new(),
        Some(file) => {
            let text = match file.as_os_str() == "-" {
                true => world.read_all()?,
                false => std::fs::read_to_string(file).map_err(|error| {
                    Failure::usage(format!("cannot read {}: {error}", file.display()), "give -f a readable file")
                })?,
            };
            let value: Value = serde_saphyr::from_str(&text).map_err(|error| {
                Failure::usage(format!("{} is neither YAML nor JSON: {error}", file.display()), "mend the file")
            })?;
            match value {
                Value::Object(map) => map,
                _ => return Err(Failure::usage("the file holds no mapping of parameters", "write NAME: VALUE lines")),
            }
        }
    };
    for pair in set {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Failure::usage(
                format!("--set takes NAME=VALUE; '{pair}' is not that"),
                "write for example --set node_count=3",
            )
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

/// Runs `reeve workflow`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List { status, workspace } => {
            KIND.list(session, &api, [("status", joined(status)), ("workspace", workspace)], 0).await
        }
        Verb::Submit(submit) => {
            let workspace = workspace::chosen(&api, submit.workspace.clone()).await?;
            let parameters = parameters(session.world, submit.file.as_ref(), &submit.set)?;
            let body = json!({
                "workspace": workspace, "workflow_type": submit.workflow_type, "parameters": parameters,
                "check_mode": submit.extent.check, "preserve_on_failure": submit.preserve_on_failure,
            });
            let begun = api.post(&format!("{}/submit", KIND.base()), &body).await?;
            operation::begun(session, &api, vec![(submit.workflow_type, begun)], &submit.extent.wait()).await
        }
        Verb::Show(which) => KIND.show(session, &api, &which.workflow).await,
        Verb::Steps(which) => {
            let path = KIND.path(&api, &which.workflow).await?;
            let listing = api.rows(&format!("{path}/steps"), &Query::new()).await?;
            session.show_list(&STEPS, &listing)
        }
        Verb::Watch(which) => {
            let workflow = api.get(&KIND.path(&api, &which.workflow).await?, &Query::new()).await?;
            let what = text(&workflow, "workflow_type");
            operation::begun(session, &api, vec![(what, workflow)], &Wait { wait: true }).await
        }
        Verb::Cancel(which) => {
            let id = KIND.find(&api, &which.workflow).await?;
            let operation = api.post(&format!("{}/cancel", KIND.at(&id)), &json!({})).await?;
            let words = format!("workflow {id} is cancelled; what it did is taken back");
            session.done(&operation::VIEW, &operation, &words)
        }
    }
}
