//! What providers offer, and what of ours they are seen to run: asked together and remembered for a while, so that many
//! operations on one account cost few calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::TryStreamExt;
use reeve_ports::CloudError;
use reeve_ports::cloud::{CloudFactory, CloudServer, LabelFilter, NoClouds};
pub use reeve_ports::cloud::{Image, Plan, Price, Provider, Zone};
use reeve_types::{Actor, Permission, Result, Timestamp};

use crate::credential::{Account, any_account};
use crate::{App, authz};

/// Accounts remembered; then all are forgotten.
const MOST: usize = 1_000;
/// Rows of one catalogue that are looked at.
const LONGEST: usize = 50_000;

/// What a provider offers to an account.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Sizes.
    pub plans: Vec<Plan>,
    /// Places.
    pub zones: Vec<Zone>,
    /// Systems.
    pub images: Vec<Image>,
}

type Slot<T> = Arc<tokio::sync::Mutex<Option<(Timestamp, Arc<T>)>>>;

/// What this process remembers of accounts.
#[derive(Default)]
pub struct Clouds {
    factory: OnceLock<Arc<dyn CloudFactory>>,
    catalogues: Mutex<HashMap<String, Slot<Catalogue>>>,
    sightings: Mutex<HashMap<String, Slot<Vec<CloudServer>>>>,
}

impl Clouds {
    /// The way to accounts.
    pub fn factory(&self) -> &dyn CloudFactory {
        match self.factory.get() {
            Some(factory) => &**factory,
            None => &NoClouds,
        }
    }

    pub(crate) fn set(&self, factory: Arc<dyn CloudFactory>) {
        if self.factory.set(factory).is_err() {
            tracing::error!("the way to clouds was set twice; the first one stays");
        }
    }
}

fn slot<T>(all: &Mutex<HashMap<String, Slot<T>>>, key: &str) -> Slot<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MOST && !all.contains_key(key) {
        all.clear();
    }
    all.entry(key.to_owned()).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(None))).clone()
}

/// The account's catalogue, at most so old as configured. Who asks meanwhile waits for the same answer.
pub(crate) async fn of(app: &App, account: &Account) -> Result<Arc<Catalogue>, CloudError> {
    let slot = slot(&app.clouds.catalogues, &account.key);
    let mut kept = slot.lock().await;
    let life_ms = i64::try_from(app.config.provisioning.catalogue_life.as_millis()).unwrap_or(i64::MAX);
    if let Some((at, catalogue)) = &*kept
        && app.now().ms_since(*at) < life_ms
    {
        return Ok(catalogue.clone());
    }
    let cloud = &account.cloud;
    let (plans, zones, images) =
        futures::future::try_join3(some(cloud.plans()), some(cloud.zones()), some(cloud.images())).await?;
    let catalogue = Arc::new(Catalogue { plans, zones, images });
    *kept = Some((app.now(), catalogue.clone()));
    Ok(catalogue)
}

/// Every machine that we ordered with this account, as one list told not longer than `max_age_ms` ago.
pub(crate) async fn sighted(
    app: &App,
    account: &Account,
    max_age_ms: i64,
) -> Result<(Timestamp, Arc<Vec<CloudServer>>), CloudError> {
    let slot = slot(&app.clouds.sightings, &account.key);
    let mut kept = slot.lock().await;
    if let Some((at, servers)) = &*kept
        && app.now().ms_since(*at) < max_age_ms
    {
        return Ok((*at, servers.clone()));
    }
    let at = app.now();
    let servers = Arc::new(some(account.cloud.list(&LabelFilter::ours())).await?);
    *kept = Some((at, servers.clone()));
    Ok((at, servers))
}

async fn some<T>(items: reeve_ports::cloud::Items<'_, T>) -> Result<Vec<T>, CloudError> {
    futures::StreamExt::take(items, LONGEST).try_collect().await
}

/// A provider, and whether somebody has credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The provider.
    pub provider: Provider,
    /// Whether the workspace that was asked about has credentials for it.
    pub in_workspace: bool,
}

/// All providers, as they are for a workspace or for the environment.
///
/// # Errors
/// NotFound for the workspace.
pub async fn providers(app: &App, actor: &Actor, workspace: Option<&str>) -> Result<Vec<Known>> {
    authz::require(actor, Permission::HostsRead)?;
    let own = match workspace {
        Some(name) => crate::credential::providers_of(app, name).await?,
        None => Vec::new(),
    };
    let known = app.clouds.factory().providers().into_iter();
    Ok(known.map(|provider| Known { in_workspace: own.contains(&provider.name), provider }).collect())
}

/// What a provider offers, to a workspace or to the credentials of the environment.
///
/// # Errors
/// NotFound for the provider and the workspace; Conflict when it is not configured; Unavailable when it does not answer.
pub async fn get(app: &App, actor: &Actor, provider: &str, workspace: Option<&str>) -> Result<Arc<Catalogue>> {
    authz::require(actor, Permission::HostsRead)?;
    if !app.clouds.factory().providers().iter().any(|known| known.name == provider) {
        return Err(reeve_types::Error::not_found("provider"));
    }
    let account = any_account(app, workspace, provider).await?;
    Ok(of(app, &account).await?)
}
