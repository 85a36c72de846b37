//! UpCloud, API 1.3.
//!
//! It has no idempotency key: an order is found again by its label, so a retry that comes before an earlier order is
//! visible makes a double (see `settle_ms`). Its lists carry no addresses, `stop` answers before anything stopped, and
//! a server can only be deleted when it is off; `storages=1` takes its disks with it in the same call.

mod shape;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{FutureExt, StreamExt, stream};
use reeve_ports::cloud::{
    Answer, Cloud, CloudError, CloudErrorKind, CloudServer, CloudServerId, Created, Image, Items, LabelFilter, Plan,
    Preview, Removal, ServerSpec, ServerState, Stop, Zone,
};
use reeve_types::Secret;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;

use super::remember::Remembered;
use super::systems;
use super::wire::{Call, Reply, Wire, encode, secret_header, segment};
use super::{Endpoint, bearer};
use shape::{
    LOGIN_USER, PlanItem, PlansAnswer, PricesAnswer, ServerAnswer, ServersAnswer, StoragesAnswer, Template, ZonePrices,
    ZonesAnswer, refusal,
};

/// Where the original is.
pub const BASE_URL: &str = "https://api.upcloud.com";

/// What UpCloud knows a caller by; one of the two.
pub enum UpCloudKeys {
    /// An API token.
    Token(Secret),
    /// An API user.
    User {
        /// Its name.
        username: String,
        /// Its password.
        password: Secret,
    },
}

/// An account with UpCloud.
pub struct UpCloud {
    wire: Wire,
    authorization: HeaderValue,
    plans: Remembered<Vec<PlanItem>>,
    templates: Remembered<Vec<Template>>,
    prices: Remembered<Vec<ZonePrices>>,
    zones: Remembered<Vec<Zone>>,
}

/// What an order is made of.
struct Parts {
    plan: PlanItemRef,
    template: Template,
    disk_gb: u64,
}

struct PlanItemRef {
    all: Arc<Vec<PlanItem>>,
    index: usize,
}

impl PlanItemRef {
    fn get(&self) -> &PlanItem {
        &self.all[self.index]
    }
}

impl UpCloud {
    /// An account at the original's or another address.
    pub fn new(endpoint: Endpoint, keys: &UpCloudKeys) -> Result<Self, CloudError> {
        let authorization = match keys {
            UpCloudKeys::Token(token) => bearer(token),
            UpCloudKeys::User { username, password } => {
                Secret::new(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
            }
        };
        Ok(Self {
            wire: Wire::new("UpCloud", endpoint)?,
            authorization: secret_header(&authorization)?,
            plans: Remembered::default(),
            templates: Remembered::default(),
            prices: Remembered::default(),
            zones: Remembered::default(),
        })
    }

    async fn send(&self, mut call: Call) -> Result<Reply, CloudError> {
        call.path.insert_str(0, "/1.3");
        call.headers.insert(AUTHORIZATION, self.authorization.clone());
        let reply = self.wire.send(call).await?;
        match reply.status {
            200..300 => Ok(reply),
            429 => Err(self.wire.too_many()),
            _ => Err(refusal(&reply)),
        }
    }

    async fn all_plans(&self) -> Result<Arc<Vec<PlanItem>>, CloudError> {
        let fetch = async { Ok(self.send(Call::get("/plan")).await?.json::<PlansAnswer>()?.plans.plan) };
        self.plans.get(self.wire.now(), fetch).await
    }

    async fn all_templates(&self) -> Result<Arc<Vec<Template>>, CloudError> {
        let fetch =
            async { Ok(self.send(Call::get("/storage/template")).await?.json::<StoragesAnswer>()?.storages.storage) };
        self.templates.get(self.wire.now(), fetch).await
    }

    async fn all_prices(&self) -> Result<Arc<Vec<ZonePrices>>, CloudError> {
        let fetch = async { Ok(self.send(Call::get("/price")).await?.json::<PricesAnswer>()?.prices.zone) };
        self.prices.get(self.wire.now(), fetch).await
    }

    async fn all_zones(&self) -> Result<Arc<Vec<Zone>>, CloudError> {
        let fetch = async {
            let zones = self.send(Call::get("/zone")).await?.json::<ZonesAnswer>()?.zones.zone;
            Ok(zones.into_iter().map(shape::ZoneItem::into_noun).collect())
        };
        self.zones.get(self.wire.now(), fetch).await
    }

    async fn parts(&self, spec: &ServerSpec) -> Result<Parts, CloudError> {
        let all = self.all_plans().await?;
        let index = all.iter().position(|plan| plan.name == spec.plan).ok_or_else(|| {
            let known = systems::some(all.iter().map(|plan| plan.name.as_str()));
            CloudError::invalid("plan", format!("UpCloud has no plan {}; it has {known}", spec.plan))
        })?;
        let plan = PlanItemRef { all, index };
        let templates = self.all_templates().await?;
        let wanted = |t: &&Template| t.uuid == spec.image || t.title == spec.image || t.noun().name == spec.image;
        let template = templates.iter().find(wanted).cloned().ok_or_else(|| {
            let names: Vec<String> = templates.iter().map(|t| t.noun().name).collect();
            let known = systems::some(names.iter().map(String::as_str));
            CloudError::invalid("image", format!("UpCloud has no template {}; it has {known}", spec.image))
        })?;
        let size = spec.disk_gb.map_or(plan.get().storage_size, u64::from);
        if size == 0 {
            let text = format!("plan {} comes without a disk: say how large it should be", spec.plan);
            return Err(CloudError::invalid("disk_gb", text));
        }
        if size < template.size {
            let text = format!("{} needs a disk of at least {} GB", template.title, template.size);
            return Err(CloudError::invalid("disk_gb", text));
        }
        Ok(Parts { plan, template, disk_gb: size })
    }

    async fn listed(&self, filter: &LabelFilter) -> Result<Vec<CloudServer>, CloudError> {
        let label = match filter.value() {
            Some(value) => encode(&format!("{}={value}", filter.key())),
            None => encode(filter.key()),
        };
        let answer: ServersAnswer = self.send(Call::get(format!("/server?label={label}"))).await?.json()?;
        // The filter is the vendor's; a server that it should not have let through must not be taken for ours.
        let servers = answer.servers.server.into_iter().map(shape::Server::into_noun);
        Ok(servers.filter(|server| filter.matches(&server.labels)).collect())
    }

    /// The machines of one order, oldest first.
    async fn ordered(&self, spec: &ServerSpec) -> Result<Vec<CloudServer>, CloudError> {
        let mut found = self.listed(&LabelFilter::operation(&spec.operation)).await?;
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(found)
    }

    async fn server(&self, id: &CloudServerId) -> Result<CloudServer, CloudError> {
        let answer: ServerAnswer = self.send(Call::get(path(id, "")?)).await?.json()?;
        Ok(answer.server.into_noun())
    }

    async fn order(&self, spec: &ServerSpec) -> Result<Created, CloudError> {
        spec.validate()?;
        let mut earlier = self.ordered(spec).await?.into_iter();
        if let Some(first) = earlier.next() {
            let surplus = earlier.map(|server| server.id).collect();
            let server = self.server(&first.id).await?;
            return Ok(Created { server, login_user: LOGIN_USER.to_owned(), found: true, surplus });
        }
        let parts = self.parts(spec).await?;
        let call = Call::change(Method::POST, "/server").json(&order_body(spec, &parts));
        let answer: ServerAnswer = self.send(call).await?.json()?;
        let server = answer.server.into_noun();
        Ok(Created { server, login_user: LOGIN_USER.to_owned(), found: false, surplus: Vec::new() })
    }

    /// Switches power, and takes a refusal for a success when the server is (or is becoming) what was wanted.
    async fn switch(&self, id: &CloudServerId, call: Call, wanted: ServerState) -> Result<(), CloudError> {
        match self.send(call).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.kind == CloudErrorKind::State => match self.server(id).await?.state {
                state if state == wanted => Ok(()),
                ServerState::Changing => Err(CloudError { kind: CloudErrorKind::Busy, ..refused }),
                _ => Err(refused),
            },
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, id: &CloudServerId) -> Result<Removal, CloudError> {
        let state = match self.server(id).await {
            Ok(server) => server.state,
            Err(error) if error.kind == CloudErrorKind::NotFound => return Ok(Removal::Gone),
            Err(error) => return Err(error),
        };
        let step = match state {
            ServerState::Stopped => self.send(Call::change(Method::DELETE, path(id, "/?storages=1")?)).await,
            ServerState::Running => self.send(stop_call(id, Stop::Hard)?).await,
            _ => return Ok(Removal::Pending),
        };
        match step {
            Ok(_) if state == ServerState::Stopped => Ok(Removal::Gone),
            Ok(_) => Ok(Removal::Pending),
            Err(error) => match error.kind {
                CloudErrorKind::NotFound => Ok(Removal::Gone),
                // The server or a disk of it is between two states: the next step sees what became of it.
                CloudErrorKind::State | CloudErrorKind::Busy => Ok(Removal::Pending),
                _ => Err(error),
            },
        }
    }
}

fn path(id: &CloudServerId, rest: &str) -> Result<String, CloudError> {
    Ok(format!("/server/{}{rest}", segment(id)?))
}

fn stop_call(id: &CloudServerId, how: Stop) -> Result<Call, CloudError> {
    let (kind, timeout) = match how {
        Stop::Soft { timeout_s } => ("soft", timeout_s.clamp(1, 600)),
        Stop::Hard => ("hard", 1),
    };
    let body = json!({"stop_server": {"stop_type": kind, "timeout": timeout.to_string()}});
    Ok(Call::change(Method::POST, path(id, "/stop")?).json(&body))
}

fn order_body(spec: &ServerSpec, parts: &Parts) -> serde_json::Value {
    let interface =
        |kind: &str, family: &str| json!({"type": kind, "ip_addresses": {"ip_address": [{"family": family}]}});
    let labels: Vec<_> =
        spec.all_labels().into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let keys: Vec<&str> = spec.ssh_keys.iter().map(|key| key.public_key.as_str()).collect();
    let tier = &parts.plan.get().storage_tier;
    let mut server = json!({
        "zone": spec.zone,
        "title": spec.hostname,
        "hostname": spec.hostname,
        "plan": spec.plan,
        "metadata": if parts.template.is_cloud_init() || spec.user_data.is_some() { "yes" } else { "no" },
        "password_delivery": "none",
        "login_user": {"username": LOGIN_USER, "create_password": "no", "ssh_keys": {"ssh_key": keys}},
        "labels": {"label": labels},
        "storage_devices": {"storage_device": [{
            "action": "clone",
            "storage": parts.template.uuid,
            "title": format!("{} disk", spec.hostname),
            "size": parts.disk_gb,
            "tier": if tier.is_empty() { "maxiops" } else { tier },
        }]},
        "networking": {"interfaces": {"interface": [
            interface("public", "IPv4"), interface("utility", "IPv4"), interface("public", "IPv6"),
        ]}},
    });
    if let Some(user_data) = &spec.user_data {
        server["user_data"] = json!(user_data.expose());
    }
    json!({"server": server})
}

/// One fetched list as a stream.
fn items<'a, T: Send + 'a>(fetch: impl Future<Output = Result<Vec<T>, CloudError>> + Send + 'a) -> Items<'a, T> {
    let flat = |fetched: Result<Vec<T>, CloudError>| match fetched {
        Ok(list) => stream::iter(list.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(error)]),
    };
    stream::once(fetch).flat_map(flat).boxed()
}

impl Cloud for UpCloud {
    fn vendor(&self) -> &'static str {
        "upcloud"
    }

    fn settle_ms(&self) -> u64 {
        60_000
    }

    fn authenticate(&self) -> Answer<'_, ()> {
        async { self.send(Call::get("/account")).await.map(|_| ()) }.boxed()
    }

    fn zones(&self) -> Items<'_, Zone> {
        items(async { Ok(self.all_zones().await?.to_vec()) })
    }

    fn plans(&self) -> Items<'_, Plan> {
        items(async {
            let prices = self.all_prices().await?;
            Ok(self.all_plans().await?.iter().map(|plan| plan.noun(&prices)).collect())
        })
    }

    fn images(&self) -> Items<'_, Image> {
        items(async { Ok(self.all_templates().await?.iter().map(Template::noun).collect()) })
    }

    fn check<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Preview> {
        async {
            spec.validate()?;
            let parts = self.parts(spec).await?;
            let zones = self.all_zones().await?;
            let zone = zones.iter().find(|zone| zone.name == spec.zone).cloned().ok_or_else(|| {
                let known = systems::some(zones.iter().map(|zone| zone.name.as_str()));
                CloudError::invalid("zone", format!("UpCloud has no zone {}; it has {known}", spec.zone))
            })?;
            let plan = parts.plan.get().noun(&self.all_prices().await?);
            let price = plan.price(&zone.name).cloned();
            let existing = self.ordered(spec).await?.into_iter().next();
            Ok(Preview { plan, zone, image: parts.template.noun(), disk_gb: Some(parts.disk_gb), price, existing })
        }
        .boxed()
    }

    fn create<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Created> {
        self.order(spec).boxed()
    }

    fn get<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, CloudServer> {
        self.server(id).boxed()
    }

    fn list<'a>(&'a self, filter: &'a LabelFilter) -> Items<'a, CloudServer> {
        items(self.listed(filter))
    }

    fn start<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        async { self.switch(id, Call::change(Method::POST, path(id, "/start")?), ServerState::Running).await }.boxed()
    }

    fn stop<'a>(&'a self, id: &'a CloudServerId, how: Stop) -> Answer<'a, ()> {
        async move { self.switch(id, stop_call(id, how)?, ServerState::Stopped).await }.boxed()
    }

    fn reboot<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        let body = json!({"restart_server": {"stop_type": "soft", "timeout": "60", "timeout_action": "destroy"}});
        async move { self.send(Call::change(Method::POST, path(id, "/restart")?).json(&body)).await.map(|_| ()) }
            .boxed()
    }

    fn delete<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, Removal> {
        self.remove(id).boxed()
    }
}
