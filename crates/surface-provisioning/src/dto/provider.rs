//! Providers and what they offer.

use reeve_domain::catalogue::{Image, Known, Plan, Price, Zone};
use serde::{Deserialize, Serialize};

/// Whose credentials to ask with.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// A workspace; None is the environment.
    pub workspace: Option<String>,
}

/// A provider.
#[derive(Debug, Serialize)]
pub struct View {
    name: String,
    title: String,
    configured: bool,
    credentials: &'static str,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: &'static str,
    environment: Option<&'static str>,
}

impl From<Known> for View {
    fn from(known: Known) -> Self {
        let fields = known.provider.fields.iter();
        let environment = |name: &'static str| (!name.is_empty()).then_some(name);
        Self {
            fields: fields.map(|f| Field { name: f.name, environment: environment(f.environment) }).collect(),
            configured: known.in_workspace || known.provider.ready,
            credentials: match (known.in_workspace, known.provider.ready) {
                (true, _) => "workspace",
                (false, true) => "environment",
                (false, false) => "none",
            },
            name: known.provider.name,
            title: known.provider.title,
        }
    }
}

/// A size.
#[derive(Debug, Serialize)]
pub struct PlanView {
    name: String,
    cpu_cores: u32,
    memory_mib: u64,
    disk_gb: Option<u64>,
    architecture: Option<String>,
    zones: Option<Vec<String>>,
    prices: Vec<PriceView>,
}

#[derive(Debug, Serialize)]
struct PriceView {
    zone: String,
    per_hour: String,
    currency: Option<String>,
}

impl From<&Plan> for PlanView {
    fn from(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            cpu_cores: plan.cpu_cores,
            memory_mib: plan.memory_mib,
            disk_gb: plan.disk_gb,
            architecture: plan.architecture.clone(),
            zones: plan.zones.clone(),
            prices: plan.prices.iter().map(PriceView::from).collect(),
        }
    }
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        let micros = price.per_hour_micros;
        let per_hour = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        Self { zone: price.zone.clone(), per_hour, currency: price.currency.clone() }
    }
}

/// A place.
#[derive(Debug, Serialize)]
pub struct ZoneView {
    name: String,
    title: String,
    public: bool,
}

impl From<&Zone> for ZoneView {
    fn from(zone: &Zone) -> Self {
        Self { name: zone.name.clone(), title: zone.title.clone(), public: zone.public }
    }
}

/// A system.
#[derive(Debug, Serialize)]
pub struct ImageView {
    id: String,
    name: String,
    title: String,
    architecture: Option<String>,
    login_user: String,
}

impl From<&Image> for ImageView {
    fn from(image: &Image) -> Self {
        Self {
            id: image.id.clone(),
            name: image.name.clone(),
            title: image.title.clone(),
            architecture: image.architecture.clone(),
            login_user: image.login_user.clone(),
        }
    }
}
