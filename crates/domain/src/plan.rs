//! Plans: what a dry run found, readable, stored, and applied while the world is as it was.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Body, Failure, NewJob, Running};
use reeve_store::{
    Tx, host as hosts, operation as operations, plan as table, taskserv as taskservs, workspace as workspaces,
};
use reeve_types::host::HostFilter;
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::plan::Plan;
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, OperationId, Permission, PlanId, Result, Secret, WorkspaceId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::seal::Aad;
use crate::{App, audit, authz, host, operation, taskserv, workflow};

/// Plans shown in a list.
pub const MOST: i64 = 1_000;

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// `create`, `adopt`, `install`, `upgrade`, `remove`, `delete`.
    pub action: &'static str,
    /// `server`, `taskserv`.
    pub resource: &'static str,
    /// Its name.
    pub name: String,
    /// What there is to say, an object.
    pub details: Value,
    /// Millionths of a currency for each hour, and that currency where told.
    pub price: Option<(u64, Option<String>)>,
}

impl Item {
    /// Without details and price.
    pub fn new(action: &'static str, resource: &'static str, name: &str) -> Self {
        Self { action, resource, name: name.to_owned(), details: json!({}), price: None }
    }
}

/// Everything that would be done, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// In the order in which it would be done.
    pub items: Vec<Item>,
    /// What a person should know before.
    pub warnings: Vec<String>,
}

impl Content {
    /// And then that.
    pub fn extend(&mut self, other: Content) {
        self.items.extend(other.items);
        for warning in other.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// For programs, with the text for people.
    pub fn to_json(&self, plan: &PlanId, workspace: &str) -> Value {
        let items: Vec<Value> = self.items.iter().enumerate().map(|(n, item)| item_json(n + 1, item)).collect();
        let totals: Vec<Value> = self.totals().into_iter().map(|(currency, micros)| money(micros, &currency)).collect();
        json!({
            "check_mode": true, "plan_id": plan, "workspace": workspace, "summary": self.summary(), "items": items,
            "price_per_hour": totals, "warnings": self.warnings, "text": self.text(),
        })
    }

    fn totals(&self) -> std::collections::BTreeMap<Option<String>, u64> {
        let mut totals = std::collections::BTreeMap::new();
        for (micros, currency) in
            self.items.iter().filter(|item| item.action == "create").filter_map(|i| i.price.clone())
        {
            *totals.entry(currency).or_insert(0_u64) += micros;
        }
        totals
    }

    /// `2 servers to create, 1 taskserv to install`.
    pub fn summary(&self) -> String {
        let mut counts: Vec<((&str, &str), usize)> = Vec::new();
        for item in &self.items {
            let key = (item.action, item.resource);
            match counts.iter_mut().find(|(known, _)| *known == key) {
                Some((_, count)) => *count += 1,
                None => counts.push((key, 1)),
            }
        }
        if counts.is_empty() {
            return "nothing to do".to_owned();
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let parts: Vec<String> =
            counts.iter().map(|((action, what), n)| format!("{n} {what}{} to {action}", plural(*n))).collect();
        parts.join(", ")
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (n, item) in self.items.iter().enumerate() {
            let mut more = Vec::new();
            if let Some(details) = item.details.as_object() {
                for (name, value) in details {
                    match value {
                        Value::Null => {}
                        Value::String(word) if word.is_empty() => {}
                        Value::Array(list) if list.is_empty() => {}
                        Value::String(word) => more.push(format!("{name} {word}")),
                        other => more.push(format!("{name} {other}")),
                    }
                }
            }
            if let Some((micros, currency)) = &item.price {
                more.push(format!("{} an hour", shown(*micros, currency)));
            }
            // Writing to a String cannot fail.
            writeln!(text, "{:>3}. {} {} {}  {}", n + 1, item.action, item.resource, item.name, more.join(", "))
                .unwrap_or_default();
        }
        for (currency, micros) in self.totals() {
            let month = micros.saturating_mul(730);
            writeln!(text, "Price: {} an hour, about {} a month", shown(micros, &currency), shown(month, &currency))
                .unwrap_or_default();
        }
        for warning in &self.warnings {
            writeln!(text, "Warning: {warning}").unwrap_or_default();
        }
        text
    }
}

fn shown(micros: u64, currency: &Option<String>) -> String {
    let amount = amount(micros);
    currency.as_ref().map_or_else(|| format!("{amount} (in the account's currency)"), |word| format!("{amount} {word}"))
}

/// Four decimals at least, more where they say something.
fn amount(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.strip_suffix("00").map_or(text.clone(), str::to_owned)
}

fn money(micros: u64, currency: &Option<String>) -> Value {
    json!({"amount": amount(micros), "currency": currency})
}

fn item_json(order: usize, item: &Item) -> Value {
    let mut value = json!({"order": order, "action": item.action, "resource": item.resource, "name": item.name});
    if let (Some(object), Some(details)) = (value.as_object_mut(), item.details.as_object()) {
        for (name, detail) in details {
            object.entry(name.clone()).or_insert_with(|| detail.clone());
        }
        let price = item.price.as_ref().map(|(micros, currency)| money(*micros, currency));
        object.insert("price_per_hour".to_owned(), json!(price));
    }
    value
}

/// A dry run: fills an operation's result with a plan. A job, because it asks providers.
pub struct CheckOperation;

impl CheckOperation {
    /// The job of a dry run.
    ///
    /// # Errors
    /// Internal when the id cannot be written.
    pub fn job(id: &OperationId, who: &str) -> Result<NewJob> {
        NewJob::new::<App, Self>(id, who)
    }
}

impl Body<App> for CheckOperation {
    const KIND: &'static str = "operation.check";
    const TIMEOUT: Duration = Duration::from_secs(300);
    const MAX_ATTEMPTS: i64 = 5;
    type Payload = OperationId;

    async fn run(app: &Arc<App>, job: &Running, id: OperationId) -> Result<(), Failure> {
        let Some(found) = operations::get(&mut app.store.read().await?, &id).await? else { return Ok(()) };
        if found.status.is_final() {
            return Ok(());
        }
        let mut tx = app.store.begin().await?;
        operation::started(app, &mut tx, &id).await?;
        tx.commit().await?;
        match content(app, &found).await {
            Ok(content) => {
                job.output.append(&content.text());
                keep(app, &found, &content).await
            }
            Err(error) => {
                let failure = Failure::from(error);
                if matches!(failure, Failure::Fail(_)) || job.attempt >= Self::MAX_ATTEMPTS {
                    let why = operation::Why { error: Some(failure.error().to_string()) };
                    let mut tx = app.store.begin().await?;
                    operation::undone(app, &mut tx, &id, &why).await?;
                    tx.commit().await?;
                }
                Err(failure)
            }
        }
    }
}

/// What an operation would do.
pub(crate) async fn content(app: &App, found: &Operation) -> Result<Content> {
    match found.kind {
        OperationKind::ServerCreate if !found.is_workflow => host::check::create(app, found).await,
        OperationKind::ServerDelete if !found.is_workflow => host::check::delete(app, found).await,
        OperationKind::ServerStart | OperationKind::ServerStop | OperationKind::ServerReboot => {
            Err(Error::conflict("switching a server has no dry run"))
        }
        _ if found.is_workflow => workflow::check(app, found).await,
        OperationKind::TaskservCreate | OperationKind::TaskservDelete | OperationKind::TaskservUpgrade => {
            taskserv::check_operation(app, found).await
        }
        kind => Err(Error::conflict(format!("{} has no dry run", kind.word()))),
    }
}

async fn keep(app: &App, found: &Operation, content: &Content) -> Result<(), Failure> {
    let own = own_taskservs(app, &found.workspace).await?;
    let mut tx = app.store.begin().await?;
    // One plan for each dry run, whatever is repeated.
    let id = PlanId(found.id.0.clone());
    let value = content.to_json(&id, &found.workspace);
    if let Some(workspace) = workspaces::by_name(&mut tx, &found.workspace).await? {
        let secrets = operation::begin::secrets(app, found)?;
        let secrets_sealed = secrets.map(|secrets| app.seal.seal(&*app.ids, aad(&id), secrets.expose()));
        let row = Plan {
            id,
            fingerprint: fingerprint(&mut tx, &workspace, own.as_deref()).await?,
            workspace_id: workspace.id,
            operation_id: found.id.clone(),
            kind: found.kind,
            is_workflow: found.is_workflow,
            request: found.request.clone(),
            secrets_sealed,
            content: value.to_string(),
            applied_by: None,
            inserted_at: app.now(),
        };
        table::insert(&mut tx, &row).await?;
    }
    operation::completed(app, &mut tx, &found.id, &value).await?;
    tx.commit().await?;
    Ok(())
}

fn aad(id: &PlanId) -> Aad<'_> {
    Aad::new("plans", "secrets_sealed", id.as_str())
}

/// Stands for what a workspace lays over the catalogue. Files: to be read before a transaction begins.
async fn own_taskservs(app: &App, workspace: &str) -> Result<Option<String>> {
    let found = workspaces::by_name(&mut app.store.read().await?, workspace).await?;
    match found {
        Some(workspace) => Ok(taskserv::layers::digest(&workspace).await),
        None => Ok(None),
    }
}

/// Of everything in a workspace that a plan rests on.
async fn fingerprint(tx: &mut Tx, workspace: &Workspace, own: Option<&str>) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(own.unwrap_or_default());
    digest.update(serde_json::to_string(&workspace.defaults).map_err(Error::internal)?);
    let filter = HostFilter { workspace_id: Some(workspace.id.clone()), ..HostFilter::default() };
    for h in hosts::list(tx, &filter, host::MOST).await? {
        let line = json!([h.handle, h.hostname, h.provider, h.plan, h.zone, h.image, h.state, h.address]);
        digest.update(format!("{line}\n"));
    }
    for p in taskservs::list(tx, Some(&workspace.id), host::MOST).await? {
        let (t, on) = (p.taskserv, p.hosts);
        let line = json!([
            t.handle,
            t.name,
            t.version,
            t.state,
            t.config,
            on.iter().map(|(_, name)| name).collect::<Vec<_>>()
        ]);
        digest.update(format!("{line}\n"));
    }
    Ok(hex::encode(digest.finalize()))
}

/// The newest plans.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor) -> Result<Vec<Plan>> {
    authz::require(actor, Permission::OperationsRead)?;
    table::list(&mut app.store.read().await?, MOST).await
}

/// One plan.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &PlanId) -> Result<Plan> {
    authz::require(actor, Permission::OperationsRead)?;
    table::get(&mut app.store.read().await?, id).await?.ok_or_else(|| Error::not_found("plan"))
}

/// Does what a plan says.
///
/// # Errors
/// NotFound; Conflict when it was applied already or the world has changed since; as the request itself.
pub async fn apply(app: &App, actor: &Actor, id: &PlanId) -> Result<Operation> {
    authz::require(actor, Permission::WorkflowsSubmit)?;
    let plan = reserve(app, id).await?;
    let secrets = match &plan.secrets_sealed {
        Some(sealed) => Some(app.seal.open(aad(id), sealed)?),
        None => None,
    };
    let done = perform(app, actor, &plan, secrets).await;
    let mut tx = app.store.begin().await?;
    match &done {
        Ok(made) => {
            table::set_applied(&mut tx, id, Some(&made.id)).await?;
            let details = json!({"operation": made.id, "kind": plan.kind});
            audit::record(app, &mut tx, actor, "plan.apply", id.as_str(), details).await?;
        }
        Err(_) => table::set_applied(&mut tx, id, None).await?,
    }
    tx.commit().await?;
    done
}

/// Takes the plan, so that of two who apply it one does.
async fn reserve(app: &App, id: &PlanId) -> Result<Plan> {
    let own = {
        let mut tx = app.store.read().await?;
        let plan = table::get(&mut tx, id).await?.ok_or_else(|| Error::not_found("plan"))?;
        let workspace = workspace_of(&mut tx, &plan.workspace_id).await?;
        drop(tx);
        taskserv::layers::digest(&workspace).await
    };
    let mut tx = app.store.begin().await?;
    let plan = table::get(&mut tx, id).await?.ok_or_else(|| Error::not_found("plan"))?;
    if plan.is_being_applied() {
        let text = "the plan is being applied; if no operation comes of that, check again and apply that plan";
        return Err(Error::conflict(text));
    }
    if let Some(by) = &plan.applied_by {
        return Err(Error::conflict(format!("the plan was applied already, by operation {by}")));
    }
    let workspace = workspace_of(&mut tx, &plan.workspace_id).await?;
    if fingerprint(&mut tx, &workspace, own.as_deref()).await? != plan.fingerprint {
        return Err(Error::conflict(format!(
            "workspace {} has changed since the plan was made: check again and apply that one",
            workspace.name
        ))
        .with_reason("plan_stale"));
    }
    // Its own id stands for "being applied" until the operation is known.
    if !table::applied(&mut tx, id, &OperationId(id.0.clone())).await? {
        return Err(Error::conflict("the plan is being applied"));
    }
    tx.commit().await?;
    Ok(plan)
}

async fn workspace_of(tx: &mut Tx, id: &WorkspaceId) -> Result<Workspace> {
    workspaces::get(tx, id).await?.ok_or_else(|| Error::not_found("workspace"))
}

async fn perform(app: &App, actor: &Actor, plan: &Plan, secrets: Option<Secret>) -> Result<Operation> {
    let mut request: Value = serde_json::from_str(&plan.request).map_err(Error::internal)?;
    request["check_mode"] = json!(false);
    let asked =
        operation::retry::Asked { kind: plan.kind, is_workflow: plan.is_workflow, request, secrets, retry_of: None };
    operation::retry::ask(app, actor, asked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_can_be_read() {
        let mut content = Content::default();
        for name in ["web-01", "web-02"] {
            let mut item = Item::new("create", "server", name);
            item.details = json!({"plan": "2xCPU-4GB", "zone": "de-fra1", "tags": []});
            item.price = Some((38_700, Some("EUR".to_owned())));
            content.items.push(item);
        }
        assert_eq!(content.summary(), "2 servers to create");
        let value = content.to_json(&PlanId::from("p"), "w");
        assert_eq!(value["items"][1]["price_per_hour"], json!({"amount": "0.0387", "currency": "EUR"}));
        assert_eq!(value["price_per_hour"], json!([{"amount": "0.0774", "currency": "EUR"}]));
        let text = value["text"].as_str().unwrap();
        assert!(
            text.contains("  1. create server web-01  plan 2xCPU-4GB, zone de-fra1, 0.0387 EUR an hour\n"),
            "{text}"
        );
        assert!(text.contains("Price: 0.0774 EUR an hour, about 56.5020 EUR a month"), "{text}");
        assert_eq!(Content::default().summary(), "nothing to do");
    }
}
