//! `reeve workflow`: operations that consist of operations.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::operation::{self, Wait};
use super::{push, segment, workspace};
use crate::Session;
use crate::api::{PROVISIONING, Query};
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
        /// Only workflows that stand so: pending,running,completed,failed,cancelled
        #[arg(long)]
        status: Option<String>,
        /// Only workflows in this workspace
        #[arg(long, short)]
        workspace: Option<String>,
    },
    /// Submit a workflow
    Submit(Submit),
    /// Show a workflow
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
    /// server_create, server_delete, taskserv_create, taskserv_delete, cluster_create, cluster_delete or batch
    #[arg(value_name = "TYPE")]
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
    /// Say what would be done, and do nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    wait: Wait,
}

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
    let base = format!("{PROVISIONING}/workflows");
    let find = async |which: &Which| operation::find(&api, "workflow", &which.workflow).await;
    match noun.verb {
        Verb::List { status, workspace } => {
            let mut query = Query::new();
            push(&mut query, "status", status);
            push(&mut query, "workspace", workspace);
            let listing = api.rows(&base, &query).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Submit(submit) => {
            let workspace = workspace::chosen(&api, submit.workspace.clone()).await?;
            let parameters = parameters(session.world, submit.file.as_ref(), &submit.set)?;
            let body = json!({
                "workspace": workspace, "workflow_type": submit.workflow_type, "parameters": parameters,
                "check_mode": submit.check, "preserve_on_failure": submit.preserve_on_failure,
            });
            let begun = api.post(&format!("{base}/submit"), &body).await?;
            let what = submit.workflow_type.clone();
            operation::begun(session, &api, vec![(what, begun)], &submit.wait.or_plan(submit.check)).await
        }
        Verb::Show(which) => {
            let workflow = api.get(&format!("{base}/{}", segment(&find(&which).await?)), &Query::new()).await?;
            session.show(&VIEW, &workflow)
        }
        Verb::Steps(which) => {
            let listing = api.rows(&format!("{base}/{}/steps", segment(&find(&which).await?)), &Query::new()).await?;
            session.show_list(&STEPS, &listing)
        }
        Verb::Watch(which) => {
            let id = find(&which).await?;
            let workflow = api.get(&format!("{base}/{}", segment(&id)), &Query::new()).await?;
            let what = text(&workflow, "workflow_type");
            operation::begun(session, &api, vec![(what, workflow)], &Wait { wait: true }).await
        }
        Verb::Cancel(which) => {
            let id = find(&which).await?;
            let operation = api.post(&format!("{base}/{}/cancel", segment(&id)), &json!({})).await?;
            session.done(
                &operation::VIEW,
                &operation,
                &format!("workflow {id} is cancelled; what it did is taken back"),
            )
        }
    }
}
