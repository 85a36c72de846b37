//! What UpCloud's API 1.3 says, and how it reads in our words.
//!
//! Its lists are wrapped twice (`servers.server`), its booleans are "yes" and "no", and its numbers are now and then
//! strings; all of that ends here.

use std::collections::BTreeMap;

use reeve_ports::cloud::{Address, CloudServer, Image, Labels, Plan, Price, ServerState, Zone};
use reeve_ports::{CloudError, CloudErrorKind};
use reeve_types::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::cloud::systems;
use crate::cloud::wire::Reply;

/// Who may log in to a machine made from a template.
pub const LOGIN_USER: &str = "root";

#[derive(Deserialize)]
pub struct ServerAnswer {
    pub server: Server,
}

#[derive(Deserialize)]
pub struct ServersAnswer {
    pub servers: Servers,
}

#[derive(Deserialize)]
pub struct Servers {
    #[serde(default)]
    pub server: Vec<Server>,
}

/// A server, whole or as in lists, where the addresses are missing.
#[derive(Deserialize)]
pub struct Server {
    uuid: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    plan: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    created: Option<i64>,
    #[serde(default)]
    labels: LabelList,
    ip_addresses: Option<IpAddresses>,
}

#[derive(Deserialize, Default)]
struct LabelList {
    #[serde(default)]
    label: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct IpAddresses {
    #[serde(default)]
    ip_address: Vec<IpAddress>,
}

#[derive(Deserialize)]
struct IpAddress {
    #[serde(default)]
    access: String,
    address: String,
}

impl Server {
    pub fn into_noun(self) -> CloudServer {
        let address = |ip: IpAddress| Some(Address { ip: ip.address.parse().ok()?, public: ip.access == "public" });
        CloudServer {
            id: self.uuid.as_str().into(),
            hostname: self.hostname,
            plan: self.plan,
            zone: self.zone,
            state: match self.state.as_str() {
                "started" => ServerState::Running,
                "stopped" => ServerState::Stopped,
                // The word for being made as well as for starting and stopping.
                "maintenance" => ServerState::Changing,
                "error" => ServerState::Failed,
                _ => ServerState::Unknown,
            },
            addresses: self.ip_addresses.map(|list| list.ip_address.into_iter().filter_map(address).collect()),
            labels: self.labels.label.into_iter().map(|l| (l.key, l.value)).collect::<Labels>(),
            created_at: self.created.filter(|s| *s > 0).map(|s| Timestamp(s.saturating_mul(1_000_000))),
        }
    }
}

#[derive(Deserialize)]
pub struct ZonesAnswer {
    pub zones: Zones,
}

#[derive(Deserialize)]
pub struct Zones {
    #[serde(default)]
    pub zone: Vec<ZoneItem>,
}

#[derive(Deserialize)]
pub struct ZoneItem {
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    public: String,
}

impl ZoneItem {
    pub fn into_noun(self) -> Zone {
        Zone { name: self.id, title: self.description, public: self.public != "no" }
    }
}

#[derive(Deserialize)]
pub struct PlansAnswer {
    pub plans: Plans,
}

#[derive(Deserialize)]
pub struct Plans {
    #[serde(default)]
    pub plan: Vec<PlanItem>,
}

#[derive(Deserialize)]
pub struct PlanItem {
    pub name: String,
    #[serde(deserialize_with = "number")]
    core_number: u64,
    #[serde(deserialize_with = "number")]
    memory_amount: u64,
    #[serde(default, deserialize_with = "number")]
    pub storage_size: u64,
    #[serde(default)]
    pub storage_tier: String,
}

impl PlanItem {
    pub fn noun(&self, prices: &[ZonePrices]) -> Plan {
        let key = format!("server_plan_{}", self.name);
        let price = |zone: &ZonePrices| {
            let PriceItem { amount, price } = zone.items.get(&key).and_then(PriceItem::read)?;
            // In hundredths of the account's currency for an hour.
            let micros = price / amount * 10_000.0;
            (micros.is_finite() && (0.0..1e15).contains(&micros)).then_some(())?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, as just seen
            let per_hour_micros = micros.round() as u64;
            Some(Price { zone: zone.name.clone(), per_hour_micros, currency: None })
        };
        Plan {
            name: self.name.clone(),
            cpu_cores: u32::try_from(self.core_number).unwrap_or(u32::MAX),
            memory_mib: self.memory_amount,
            disk_gb: (self.storage_size > 0).then_some(self.storage_size),
            architecture: Some("x86_64".to_owned()),
            zones: None,
            prices: prices.iter().filter_map(price).collect(),
        }
    }
}

#[derive(Deserialize)]
pub struct PricesAnswer {
    pub prices: Prices,
}

#[derive(Deserialize)]
pub struct Prices {
    #[serde(default)]
    pub zone: Vec<ZonePrices>,
}

/// A zone's prices; everything but its name is an item, of shapes that come and go.
#[derive(Deserialize)]
pub struct ZonePrices {
    name: String,
    #[serde(flatten)]
    items: BTreeMap<String, serde_json::Value>,
}

struct PriceItem {
    amount: f64,
    price: f64,
}

impl PriceItem {
    fn read(value: &serde_json::Value) -> Option<Self> {
        let (amount, price) = (value.get("amount")?.as_f64()?, value.get("price")?.as_f64()?);
        (amount > 0.0).then_some(Self { amount, price })
    }
}

#[derive(Deserialize)]
pub struct StoragesAnswer {
    pub storages: Storages,
}

#[derive(Deserialize)]
pub struct Storages {
    #[serde(default)]
    pub storage: Vec<Template>,
}

#[derive(Deserialize, Clone)]
pub struct Template {
    pub uuid: String,
    pub title: String,
    #[serde(default)]
    template_type: String,
    #[serde(default, deserialize_with = "number")]
    pub size: u64,
}

impl Template {
    /// Such a template gets its keys and user data from the metadata service, and nowhere else.
    pub fn is_cloud_init(&self) -> bool {
        self.template_type != "native"
    }
    pub fn noun(&self) -> Image {
        Image {
            id: self.uuid.clone(),
            name: systems::name_of(&self.title).unwrap_or_else(|| self.title.clone()),
            title: self.title.clone(),
            architecture: Some("x86_64".to_owned()),
            login_user: LOGIN_USER.to_owned(),
        }
    }
}

/// A number, or a string that holds one.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.trim().parse().map_err(serde::de::Error::custom),
    }
}

/// An error answer: of the older services, or `application/problem+json` of the others.
#[derive(Deserialize)]
struct Refusal {
    error: Option<OldError>,
    #[serde(rename = "type")]
    kind: Option<String>,
    title: Option<String>,
    #[serde(default)]
    invalid_params: Vec<InvalidParam>,
}

#[derive(Deserialize)]
struct OldError {
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    error_message: String,
}

#[derive(Deserialize)]
struct InvalidParam {
    #[serde(default)]
    name: String,
    #[serde(default)]
    reason: String,
}

/// The refusal in our words.
pub fn refusal(reply: &Reply) -> CloudError {
    let (mut code, mut message) = (String::new(), String::new());
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(&reply.body) {
        if let Some(error) = refusal.error {
            (code, message) = (error.error_code, error.error_message);
        } else {
            let fragment = refusal.kind.as_deref().and_then(|url| url.rsplit_once("ERROR_")).map(|(_, code)| code);
            code = fragment.unwrap_or_default().to_owned();
            message = refusal.title.unwrap_or_default();
            for param in refusal.invalid_params {
                message.push_str(&format!("; {}: {}", param.name, param.reason));
                if let Some(last) = param.name.rsplit('.').next() {
                    // The parameter says more than VALIDATION_ERROR.
                    code = if code == "VALIDATION_ERROR" { last.to_uppercase() + "_INVALID" } else { code };
                }
            }
        }
    }
    if message.is_empty() {
        message = format!("UpCloud refused with {}", reply.status);
    }
    CloudError::new(kind(&code, reply), message).with_code(&code)
}

fn kind(code: &str, reply: &Reply) -> CloudErrorKind {
    use CloudErrorKind::*;
    let field = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));
    match code {
        "SERVER_NOT_FOUND" => NotFound,
        "AUTHENTICATION_FAILED" => Auth,
        "INSUFFICIENT_CREDITS" | "TRIAL_PLAN" => Quota,
        "SERVER_STATE_ILLEGAL" => State,
        "STORAGE_STATE_ILLEGAL" => Busy,
        _ if code.ends_with("_RESOURCES_UNAVAILABLE") => Capacity,
        _ if code.ends_with("_LIMIT_REACHED") => Quota,
        _ if code.ends_with("_FORBIDDEN") => Auth,
        _ if !matches!(reply.status, 400 | 404 | 409) => reply.kind_by_status(),
        _ if field(&["HOSTNAME_", "TITLE_"]) => Invalid { field: "hostname" },
        _ if field(&["ZONE_"]) => Invalid { field: "zone" },
        _ if field(&["PLAN_", "CORE_", "MEMORY_"]) => Invalid { field: "plan" },
        _ if field(&["STORAGE_DEVICE_SIZE", "SIZE_"]) => Invalid { field: "disk_gb" },
        _ if field(&["STORAGE_", "METADATA_"]) => Invalid { field: "image" },
        _ if field(&["SSH_", "LOGIN_USER"]) => Invalid { field: "ssh_keys" },
        _ if field(&["USER_DATA_"]) => Invalid { field: "user_data" },
        _ if field(&["LABEL"]) => Invalid { field: "labels" },
        _ => reply.kind_by_status(),
    }
}
