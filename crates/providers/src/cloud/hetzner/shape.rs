//! What Hetzner Cloud's API v1 says, and how it reads in our words.

use std::net::{IpAddr, Ipv6Addr};

use reeve_ports::cloud::{Address, CloudServer, Image, Labels, Plan, Price, ServerState, Zone};
use reeve_ports::{CloudError, CloudErrorKind};
use reeve_types::Timestamp;
use serde::Deserialize;

use crate::cloud::wire::Reply;

/// Who may log in to a machine made from a system image.
pub const LOGIN_USER: &str = "root";

#[derive(Deserialize)]
pub struct ServerAnswer {
    pub server: Server,
}

#[derive(Deserialize)]
pub struct Server {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
    public_net: Option<PublicNet>,
    #[serde(default)]
    private_net: Vec<Ip>,
    server_type: Option<Named>,
    location: Option<Named>,
    #[serde(default)]
    labels: Labels,
    created: Option<String>,
    #[serde(default)]
    pub volumes: Vec<u64>,
}

#[derive(Deserialize)]
struct PublicNet {
    ipv4: Option<Ip>,
    ipv6: Option<Ip>,
}

#[derive(Deserialize)]
struct Ip {
    ip: String,
}

#[derive(Deserialize)]
pub struct Named {
    pub name: String,
}

impl Server {
    pub fn into_noun(self) -> CloudServer {
        let mut addresses = Vec::new();
        if let Some(net) = self.public_net {
            let ips = [net.ipv4.and_then(|ip| ip.ip.parse().ok()), net.ipv6.and_then(|net| first_of(&net.ip))];
            addresses.extend(ips.into_iter().flatten().map(|ip| Address { ip, public: true }));
        }
        let private = self.private_net.into_iter().filter_map(|net| net.ip.parse().ok());
        addresses.extend(private.map(|ip| Address { ip, public: false }));
        CloudServer {
            id: self.id.to_string().as_str().into(),
            hostname: self.name,
            plan: self.server_type.map(|t| t.name).unwrap_or_default(),
            zone: self.location.map(|l| l.name).unwrap_or_default(),
            state: match self.status.as_str() {
                "initializing" => ServerState::Creating,
                "running" => ServerState::Running,
                "off" => ServerState::Stopped,
                "starting" | "stopping" | "migrating" | "rebuilding" => ServerState::Changing,
                "deleting" => ServerState::Deleting,
                _ => ServerState::Unknown,
            },
            addresses: Some(addresses),
            labels: self.labels,
            created_at: self.created.as_deref().and_then(Timestamp::parse),
        }
    }
}

/// A server gets a whole network (`2001:db8::/64`) and takes its first address.
fn first_of(network: &str) -> Option<IpAddr> {
    let base: Ipv6Addr = network.split('/').next()?.parse().ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(u128::from(base) | 1)))
}

#[derive(Deserialize)]
pub struct ServerType {
    pub name: String,
    cores: u32,
    /// In GiB.
    memory: f64,
    pub disk: u64,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    prices: Vec<TypePrice>,
}

#[derive(Deserialize)]
struct TypePrice {
    location: String,
    price_hourly: Amount,
}

#[derive(Deserialize)]
struct Amount {
    net: String,
}

impl ServerType {
    pub fn noun(&self, currency: &str) -> Plan {
        let price = |price: &TypePrice| {
            let micros = price.price_hourly.net.parse::<f64>().ok()? * 1e6;
            (micros.is_finite() && (0.0..1e15).contains(&micros)).then_some(())?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, as just seen
            let per_hour_micros = micros.round() as u64;
            Some(Price { zone: price.location.clone(), per_hour_micros, currency: Some(currency.to_owned()) })
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped to what fits
        let memory_mib = (self.memory * 1024.0).clamp(0.0, 1e12) as u64;
        let zones: Vec<String> = self.prices.iter().map(|price| price.location.clone()).collect();
        Plan {
            name: self.name.clone(),
            cpu_cores: self.cores,
            memory_mib,
            disk_gb: Some(self.disk),
            architecture: architecture(&self.architecture),
            zones: (!zones.is_empty()).then_some(zones),
            prices: self.prices.iter().filter_map(price).collect(),
        }
    }
}

fn architecture(word: &str) -> Option<String> {
    match word {
        "x86" => Some("x86_64".to_owned()),
        "arm" => Some("arm64".to_owned()),
        _ => None,
    }
}

#[derive(Deserialize)]
pub struct PricingAnswer {
    pub pricing: Pricing,
}

#[derive(Deserialize)]
pub struct Pricing {
    pub currency: String,
}

#[derive(Deserialize)]
pub struct Location {
    name: String,
    #[serde(default)]
    description: String,
}

impl Location {
    pub fn into_noun(self) -> Zone {
        Zone { name: self.name, title: self.description, public: true }
    }
}

#[derive(Deserialize)]
pub struct ImageItem {
    id: u64,
    name: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    architecture: String,
}

impl ImageItem {
    pub fn into_noun(self) -> Image {
        Image {
            id: self.id.to_string(),
            name: self.name.unwrap_or_else(|| self.description.clone()),
            title: self.description,
            architecture: architecture(&self.architecture),
            login_user: LOGIN_USER.to_owned(),
        }
    }
}

#[derive(Deserialize)]
pub struct KeyAnswer {
    pub ssh_key: Key,
}

#[derive(Deserialize)]
pub struct Key {
    pub id: u64,
    #[serde(default)]
    pub public_key: String,
}

#[derive(Deserialize)]
pub struct Volume {
    pub id: u64,
    pub server: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: serde_json::Value,
}

/// The refusal in our words.
pub fn refusal(reply: &Reply) -> CloudError {
    let Ok(Refusal { error: RefusalBody { code, mut message, details } }) = serde_json::from_slice(&reply.body) else {
        return CloudError::new(reply.kind_by_status(), format!("Hetzner refused with {}", reply.status));
    };
    let fields = details.get("fields").and_then(serde_json::Value::as_array);
    let mut field = "";
    for item in fields.into_iter().flatten() {
        let name = item.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
        field = if field.is_empty() { our_field(name) } else { field };
        for problem in item.get("messages").and_then(serde_json::Value::as_array).into_iter().flatten() {
            message.push_str(&format!("; {name}: {}", problem.as_str().unwrap_or_default()));
        }
    }
    if message.is_empty() {
        message = format!("Hetzner refused with {}", reply.status);
    }
    use CloudErrorKind::*;
    let kind = match code.as_str() {
        "not_found" => NotFound,
        "unauthorized" | "forbidden" | "token_readonly" => Auth,
        "invalid_input" | "json_error" | "unsupported_error" => Invalid { field },
        "uniqueness_error" => Conflict,
        "locked" | "conflict" => Busy,
        "protected" => State,
        "resource_limit_exceeded" | "limit_reached" => Quota,
        "resource_unavailable" | "placement_error" => Capacity,
        "rate_limit_exceeded" => RateLimited,
        // Said before anything is begun.
        "maintenance" | "unavailable" => Unavailable,
        _ => reply.kind_by_status(),
    };
    CloudError::new(kind, message).with_code(&code)
}

/// Their word for a field of an order, in ours.
pub fn our_field(theirs: &str) -> &'static str {
    let theirs = theirs.to_lowercase();
    let pairs = [
        ("server_type", "plan"),
        ("server type", "plan"),
        ("location", "zone"),
        ("image", "image"),
        ("ssh", "ssh_keys"),
        ("user_data", "user_data"),
        ("label", "labels"),
        ("name", "hostname"),
    ];
    pairs.iter().find(|(word, _)| theirs.contains(word)).map_or("", |(_, ours)| ours)
}
