//! What a request for taskservs would do: resolved, rendered and asked of the machines; nothing is changed.

use std::collections::BTreeMap;

use futures::StreamExt;
use reeve_store::workspace as workspaces;
use reeve_taskservs::{Because, Change, Facts, Phase, Settings};
use reeve_types::host::Host;
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result};
use serde_json::{Value, json};

use super::machine::{self, Chosen, Ground, Lines, Site, Visit};
use super::request::{Prepared, Work, prepare_with, whole};
use super::{AT_ONCE, layers};
use crate::App;
use crate::operation::begin;
use crate::plan::{Content, Item};

/// What an operation would do.
///
/// # Errors
/// As the request itself.
pub(crate) async fn check_operation(app: &App, operation: &Operation) -> Result<Content> {
    let found = workspaces::by_name(&mut app.store.read().await?, &operation.workspace).await?;
    let workspace = found.ok_or_else(|| Error::not_found("workspace"))?;
    let request: Value = serde_json::from_str(&operation.request).map_err(Error::internal)?;
    let request = whole(request, begin::secrets(app, operation)?)?;
    check(app, &workspace, operation.kind, request, &[]).await
}

/// What a request would do; `coming` are hosts that the same workflow makes before.
///
/// # Errors
/// As the request itself.
pub(crate) async fn check(
    app: &App,
    workspace: &Workspace,
    kind: OperationKind,
    request: Value,
    coming: &[String],
) -> Result<Content> {
    // In a workflow an earlier step may bring what this one requires: then its own part is all that it adds.
    let prepared = prepare_with(app, workspace, kind, request, coming).await?;
    let mut content = Content::default();
    let Prepared { known, work, request, .. } = prepared;
    let others = machine::placed(app, &workspace.id).await?;
    let described = |hostname: &str| known.hosts.get(hostname).filter(|host| host.address.is_some()).cloned();
    match work {
        Work::Install { resolution } => {
            // Where something else is installed first, a look at the machine would miss it.
            let alone =
                resolution.steps.iter().all(|step| step.because == Because::Asked || step.settings.name == "os");
            for step in resolution.steps {
                if step.because != Because::Asked && !coming.is_empty() {
                    continue;
                }
                let mut item = item("install", &step.settings, step.machines.iter().map(|m| m.hostname.as_str()))?;
                if let Because::RequiredBy(by) = &step.because {
                    item.details["required_by"] = json!(by);
                }
                let hosts: Vec<Host> = step.machines.iter().filter_map(|m| described(&m.hostname)).collect();
                let whole = hosts.len() == step.machines.len();
                let mut settings = step.settings;
                super::enter::make_up(app, &mut settings)?;
                if whole && (alone || step.because != Because::Asked) {
                    let ground = Ground::of(settings, hosts, others.clone())?;
                    look(app, &mut content, &mut item, &ground, &step.chosen).await?;
                }
                content.items.push(item);
            }
        }
        Work::Upgrade { placed, settings } => {
            let mut item = item("upgrade", &settings, placed.hosts.iter().map(|(_, name)| name.as_str()))?;
            item.details["from"] = json!(placed.taskserv.version);
            let hosts: Vec<Host> = placed.hosts.iter().filter_map(|(_, name)| described(name)).collect();
            let ground = Ground::of(*settings, hosts, others)?;
            look(app, &mut content, &mut item, &ground, &ground.chosen()).await?;
            content.items.push(item);
        }
        Work::Remove { placed } => {
            let servers: Vec<&str> = placed.hosts.iter().map(|(_, name)| name.as_str()).collect();
            let mut item = Item::new("remove", "taskserv", &format!("{} on {}", request.name, servers.join(", ")));
            item.details = json!({"taskserv_id": placed.taskserv.handle, "data": request.remove_data});
            content.items.push(item);
        }
    }
    Ok(content)
}

fn item<'a>(action: &'static str, settings: &Settings, servers: impl Iterator<Item = &'a str>) -> Result<Item> {
    let servers: Vec<&str> = servers.collect();
    let mut item = Item::new(action, "taskserv", &format!("{} on {}", settings.name, servers.join(", ")));
    let mut config = layers::public(settings)?;
    if let Some(map) = config.as_object_mut() {
        map.retain(|name, _| !matches!(name.as_str(), "verify_secs" | "version"));
    }
    item.details = json!({
        "version": settings.version, "source": settings.source.word(), "servers": servers, "config": config,
    });
    if !settings.layers.is_empty() {
        item.details["definition"] = json!("the workspace's own");
    }
    Ok(item)
}

/// Renders for each machine and lets it look whether it can take it.
async fn look(app: &App, content: &mut Content, item: &mut Item, ground: &Ground, chosen: &Chosen) -> Result<()> {
    let exports = BTreeMap::new();
    let site = Site { ground, chosen, exports: &exports, purge: false, change: Change::None };
    let Ground { settings, hosts, .. } = ground;
    if let Some(first) = (!hosts.is_empty()).then(|| site.bundle(0, &Facts::default())) {
        let files: Vec<String> = first?.files.iter().map(|file| file.path.clone()).collect();
        item.details["files"] = json!(files);
    }
    let ask = async |index: usize| {
        let asked = async {
            let visit = Visit::begin(app, &hosts[index]).await?;
            let bundle = site.bundle(index, &visit.facts().await?)?;
            visit.run(&bundle, Phase::Preflight, true, Lines::clean(ground.redactor())).await
        };
        (index, asked.await)
    };
    let mut answers: Vec<_> = futures::stream::iter((0..hosts.len()).map(|index| Box::pin(ask(index))))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by_key(|(index, _)| *index);
    for (index, answer) in answers {
        let hostname = &hosts[index].hostname;
        match answer {
            Ok(report) => {
                content
                    .warnings
                    .extend(report.warnings.iter().map(|text| format!("{hostname}: {}: {text}", settings.name)));
            }
            Err(error) => content.warnings.push(format!("{}: {error}", settings.name)),
        }
    }
    Ok(())
}
