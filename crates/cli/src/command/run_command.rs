//! `reeve run`: a shell command on many nodes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::segment;
use super::watch::{self, WatchOptions};
use crate::api::{Api, EDGE, Query};
use crate::args::batch;
use crate::failure::{Failure, OK, Outcome};
use crate::human::parse_duration;
use crate::names;
use crate::world::World;
use crate::{Format, Session};

/// Run a command.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 succeeded everywhere, 1 failed somewhere (or no node matched), 2 wrong command line, \
3 no server answered, 130 interrupted while the command goes on.\n\nExamples:\n  reeve run 'uptime' --all\n  \
reeve run 'systemctl restart app' -l 'env=prod,tier!=db' --canary 1 --batch 10% --max-failures 2\n  \
reeve run --script deploy.sh --cluster prod --timeout 5m"
)]
pub struct Run {
    /// The command, for `bash -l -c`; several words are joined by blanks
    #[arg(required_unless_present = "script", conflicts_with = "script", value_name = "CMD")]
    words: Vec<String>,
    /// Run the text of this file instead (`-`: standard input)
    #[arg(short = 'f', long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Kill it on a node after this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Do not begin on nodes that come back only after this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expire_in: Option<Duration>,
    /// Print the command's id and return at once
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    rollout: RolloutArgs,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Which nodes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub(super) struct TargetArgs {
    /// All nodes
    #[arg(short, long, conflicts_with_all = ["cluster", "node"])]
    all: bool,
    /// Nodes with these labels, e.g. 'env=prod,tier!=db,zone in (a,b),gpu,!old'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Nodes of these clusters; repeatable, or several after a comma
    #[arg(short, long, value_name = "CLUSTER", value_delimiter = ',', conflicts_with = "node")]
    cluster: Vec<String>,
    /// These nodes, by id, its start, host name or alias; repeatable, or several after a comma
    #[arg(short, long, value_name = "NODE", value_delimiter = ',')]
    node: Vec<String>,
    /// Only nodes that are healthy at present
    #[arg(long)]
    healthy: bool,
}

/// In which batches.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rollout")]
pub(super) struct RolloutArgs {
    /// First run it on this many nodes alone
    #[arg(long, value_name = "COUNT")]
    canary: Option<u32>,
    /// Then on so many at a time: a number, or a share such as 10%
    #[arg(long, value_name = "SIZE", value_parser = batch)]
    batch: Option<Value>,
    /// Stop when more than this many nodes have failed
    #[arg(long, value_name = "COUNT")]
    max_failures: Option<u32>,
}

impl RolloutArgs {
    pub(super) fn body(&self) -> Option<Value> {
        let mut body = Map::new();
        body.extend(self.canary.map(|canary| ("canary".to_owned(), canary.into())));
        body.extend(self.batch.clone().map(|batch| ("batch_size".to_owned(), batch)));
        body.extend(self.max_failures.map(|most| ("max_failures".to_owned(), most.into())));
        (!body.is_empty()).then_some(Value::Object(body))
    }
}

impl TargetArgs {
    pub(super) async fn body(&self, api: &Api) -> Outcome<Value> {
        let mut body = if !self.node.is_empty() {
            json!({ "type": "nodes", "node_ids": names::node_ids(api, &self.node).await? })
        } else if !self.cluster.is_empty() {
            for name in &self.cluster {
                // A misspelt cluster has no nodes, and the command would go nowhere. Who may not look is not stopped.
                let found = api.get(&format!("{EDGE}/clusters/{}", segment(name)), &Query::new()).await;
                if let Err(failure) = found
                    && failure.is_not_found()
                {
                    return Err(failure);
                }
            }
            json!({ "type": "clusters", "cluster_names": self.cluster })
        } else {
            json!({ "type": "all" })
        };
        if let Some(map) = body.as_object_mut() {
            map.extend(self.selector.clone().map(|selector| ("label_selector".to_owned(), selector.into())));
            if self.healthy {
                map.insert("node_filters".to_owned(), json!({ "status": "healthy" }));
            }
        }
        Ok(body)
    }

    pub(super) fn is_given(&self) -> bool {
        self.all || self.selector.is_some() || !self.cluster.is_empty() || !self.node.is_empty()
    }
}

/// Runs `reeve run`.
pub async fn run(args: Run, session: &mut Session<'_>) -> Outcome<u8> {
    if !args.target.is_given() {
        return Err(Failure::usage(
            "no target: on which nodes?",
            "add --all, -l SELECTOR, --cluster NAME or --node NAME",
        ));
    }
    let text = text_of(&args, session.world)?;
    let api = session.api()?;
    let mut body = json!({ "command_text": text, "targeting": args.target.body(&api).await? });
    if let Some(map) = body.as_object_mut() {
        if let Some(timeout) = args.timeout {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            map.insert("timeout".to_owned(), ms.into());
        }
        if let Some(length) = args.expire_in {
            map.insert("expired_at".to_owned(), session.in_future(length)?.into());
        }
        map.extend(args.rollout.body().map(|rollout| ("rollout".to_owned(), rollout)));
    }
    let command = api.post(&format!("{EDGE}/commands"), &body).await?;
    if !args.detach {
        return watch::command(session, &api, &command, &args.watch).await;
    }
    let id = command.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match session.format() {
        Format::Table | Format::Wide | Format::Name => session.world.out.line(&id)?,
        format @ (Format::Json | Format::Yaml) => crate::view::document(&mut session.world.out, format, &command)?,
    }
    session.world.out.note(&format!("next:  reeve command watch {id}"))?;
    Ok(OK)
}

fn text_of(args: &Run, world: &mut World) -> Outcome<String> {
    let text = match &args.script {
        None => args.words.join(" "),
        Some(file) if file.as_os_str() == "-" => world.read_all()?,
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read {}: {error}", file.display()), "give --script a readable file")
        })?,
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the command is empty", "write for example: reeve run 'uptime' --all"));
    }
    Ok(text)
}
