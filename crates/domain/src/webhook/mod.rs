//! Webhooks: subscriptions to events, and the sending.
//!
//! Here are the use cases on subscriptions; [`delivery`] has those on the log, [`fan_out`] turns the feed into deliveries,
//! [`engine`] attempts them, [`upkeep`] keeps it all in bounds.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reeve_ports::Fetch;
use reeve_store::webhook as table;
use reeve_types::webhook::{Webhook, WebhookFilter, WebhookState};
use reeve_types::{Actor, Error, Page, Paged, Patch, Permission, Result, Secret, Sort, Timestamp, WebhookId};
use serde_json::json;
use tokio::sync::Notify;

use crate::seal::Aad;
use crate::{App, audit, authz};

mod attempt;
pub mod delivery;
mod endpoint;
pub mod engine;
pub mod fan_out;
mod payload;
mod record;
mod rules;
mod sign;
pub mod upkeep;

/// What this process remembers for the sending.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) fetch: OnceLock<Arc<dyn Fetch>>,
    /// Webhooks that got deliveries in this process.
    fresh: Mutex<HashSet<WebhookId>>,
    due: Notify,
    payloads: payload::Payloads,
}

impl State {
    fn add_fresh(&self, ids: impl IntoIterator<Item = WebhookId>) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        self.due.notify_one();
    }

    fn take_fresh(&self) -> HashSet<WebhookId> {
        std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a new webhook is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// Where events are posted.
    pub url: String,
    /// What requests are signed with.
    pub secret: Secret,
    /// More headers of each request.
    pub headers: Option<BTreeMap<String, String>>,
    /// Types that are sent.
    pub subscribed_events: Vec<String>,
}

/// Changes to a webhook.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Where events are posted.
    pub url: Option<String>,
    /// What requests are signed with.
    pub secret: Option<Secret>,
    /// How long the secret before signs too; None is the configured time.
    pub secret_overlap_secs: Option<i64>,
    /// More headers of each request, all of them.
    pub headers: Patch<BTreeMap<String, String>>,
    /// Types that are sent from here on.
    pub subscribed_events: Option<Vec<String>>,
}

/// Creates a webhook. Events committed from here on are sent to it.
///
/// # Errors
/// Invalid for a URL that may not be reached, unknown types, an unfit secret or header; Conflict when there are too many.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<Webhook> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let subscribed_events = rules::events(input.subscribed_events)?;
    rules::secret(&input.secret)?;
    let headers = input.headers.filter(|headers| !headers.is_empty());
    headers.as_ref().map_or(Ok(()), rules::headers)?;
    check_url(app, &input.url).await?;

    let mut tx = app.begin(actor).await?;
    let now = app.now();
    let id = WebhookId(app.ids.next());
    let webhook = Webhook {
        sealed_secret: app.seal.seal(&*app.ids, aad("secret_sealed", &id), input.secret.expose()),
        sealed_headers: headers.map(|headers| seal_headers(app, &id, &headers)).transpose()?,
        sealed_previous_secret: None,
        previous_secret_until: None,
        id,
        url: input.url,
        subscribed_events,
        state: WebhookState::Active,
        state_reason: None,
        start_position: reeve_store::event::last_position(&mut tx).await?,
        failing_since: None,
        failures: 0,
        backlog: 0,
        inserted_at: now,
        updated_at: now,
    };
    if table::count(&mut tx).await? >= app.config.webhooks.most {
        let most = app.config.webhooks.most;
        return Err(Error::conflict(format!("there are {most} webhooks already; delete one that is not needed")));
    }
    table::insert(&mut tx, &webhook).await?;
    let details = json!({"host": rules::host_of(&webhook.url), "events": webhook.subscribed_events});
    audit::record(app, &mut tx, actor, "webhook.create", webhook.id.as_str(), details).await?;
    tx.commit().await?;
    Ok(webhook)
}

async fn check_url(app: &App, url: &str) -> Result<()> {
    app.fetch().check(url).await.map_err(|why| Error::invalid("url", why))
}

fn aad<'a>(column: &'static str, id: &'a WebhookId) -> Aad<'a> {
    Aad::new("webhooks", column, id.as_str())
}

fn seal_headers(app: &App, id: &WebhookId, headers: &BTreeMap<String, String>) -> Result<String> {
    let text = Secret::new(serde_json::to_string(headers).map_err(Error::internal)?);
    Ok(app.seal.seal(&*app.ids, aad("headers_sealed", id), text.expose()))
}

fn absent() -> Error {
    Error::not_found("webhook")
}

/// The webhook with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &WebhookId) -> Result<Webhook> {
    authz::require(actor, Permission::WebhooksRead)?;
    table::by_id(&mut app.store.read().await?, id).await?.ok_or_else(absent)
}

/// A page of webhooks.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &WebhookFilter,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<Webhook>> {
    authz::require(actor, Permission::WebhooksRead)?;
    table::list(&mut app.store.read().await?, filter, sorts, page).await
}

/// Changes a webhook. Deliveries that wait go to where it leads from here on.
///
/// # Errors
/// NotFound; Invalid as for [`create`].
pub async fn update(app: &App, actor: &Actor, id: &WebhookId, input: Update) -> Result<Webhook> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let events = input.subscribed_events.map(rules::events).transpose()?;
    input.secret.as_ref().map_or(Ok(()), rules::secret)?;
    if let Patch::Set(headers) = &input.headers {
        rules::headers(headers)?;
    }
    if let Some(url) = &input.url {
        check_url(app, url).await?;
    }
    let mut tx = app.begin(actor).await?;
    let now = app.now();
    let mut webhook = table::by_id_for_update(&mut tx, id).await?.ok_or_else(absent)?;
    let mut changed = Vec::new();
    if let Some(url) = input.url {
        webhook.url = url;
        changed.push("url");
    }
    if let Some(secret) = input.secret {
        let overlap_ms = match input.secret_overlap_secs {
            Some(secs) => secs * 1000,
            None => app.config.webhooks.secret_overlap.as_millis() as i64,
        };
        let before = app.seal.open(aad("secret_sealed", id), &webhook.sealed_secret)?;
        let kept =
            (overlap_ms > 0).then(|| app.seal.seal(&*app.ids, aad("previous_secret_sealed", id), before.expose()));
        webhook.previous_secret_until = kept.as_ref().map(|_| now.plus_ms(overlap_ms));
        webhook.sealed_previous_secret = kept;
        webhook.sealed_secret = app.seal.seal(&*app.ids, aad("secret_sealed", id), secret.expose());
        changed.push("secret");
    }
    match input.headers {
        Patch::Keep => {}
        Patch::Clear => webhook.sealed_headers = None,
        Patch::Set(headers) if headers.is_empty() => webhook.sealed_headers = None,
        Patch::Set(headers) => {
            webhook.sealed_headers = Some(seal_headers(app, id, &headers)?);
            changed.push("headers");
        }
    }
    if let Some(events) = events {
        webhook.subscribed_events = events;
        changed.push("subscribed_events");
    }
    webhook.updated_at = now;
    table::update(&mut tx, &webhook).await?;
    let details =
        json!({"changed": changed, "host": rules::host_of(&webhook.url), "events": webhook.subscribed_events});
    audit::record(app, &mut tx, actor, "webhook.update", id.as_str(), details).await?;
    tx.commit().await?;
    Ok(webhook)
}

/// Deletes a webhook with its delivery log. What waits is not sent any more.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, id: &WebhookId) -> Result<()> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let mut tx = app.begin(actor).await?;
    if !table::delete(&mut tx, id).await? {
        return Err(absent());
    }
    audit::record(app, &mut tx, actor, "webhook.delete", id.as_str(), json!({})).await?;
    tx.commit().await
}

/// Stops the sending; events wait until [`resume`] or until they are too old.
///
/// # Errors
/// NotFound; Conflict when it is disabled.
pub async fn pause(app: &App, actor: &Actor, id: &WebhookId) -> Result<Webhook> {
    authz::require(actor, Permission::WebhooksWrite)?;
    steer(app, actor, id, &[WebhookState::Active], WebhookState::Paused, "webhook.pause").await
}

/// Goes on with a paused or disabled webhook, with a clean slate.
///
/// # Errors
/// NotFound.
pub async fn resume(app: &App, actor: &Actor, id: &WebhookId) -> Result<Webhook> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let from = [WebhookState::Paused, WebhookState::Disabled];
    steer(app, actor, id, &from, WebhookState::Active, "webhook.resume").await
}

/// Asking for what is so already is fine and changes nothing.
async fn steer(
    app: &App,
    actor: &Actor,
    id: &WebhookId,
    from: &[WebhookState],
    to: WebhookState,
    action: &str,
) -> Result<Webhook> {
    let mut tx = app.begin(actor).await?;
    let before = table::by_id_for_update(&mut tx, id).await?.ok_or_else(absent)?;
    if before.state != to && !table::set_state(&mut tx, id, from, to, None, app.now()).await? {
        let state = before.state.word();
        return Err(Error::conflict(format!("cannot pause a webhook that is {state}; resume it first")));
    }
    audit::record(app, &mut tx, actor, action, id.as_str(), json!({"was": before.state.word()})).await?;
    let after = table::by_id(&mut tx, id).await?.ok_or_else(absent)?;
    tx.commit().await?;
    Ok(after)
}

/// Whether the secret before the last change signs too.
pub fn has_previous_secret(webhook: &Webhook, now: Timestamp) -> bool {
    webhook.previous_secret_until.is_some_and(|until| now < until)
}
