//! Hetzner Cloud, API v1.
//!
//! Server names are unique in a project, so an order that raced with itself is refused instead of doubled. A server's
//! own disk goes with it; volumes attached to it would stay, and are marked before the server is deleted so that a
//! crash in between loses none of them.

mod keys;
mod shape;

use std::collections::BTreeSet;

use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use reeve_ports::cloud::{
    Answer, Cloud, CloudError, CloudErrorKind, CloudServer, CloudServerId, Created, Image, Items, LabelFilter, Plan,
    Preview, Removal, ServerSpec, ServerState, Stop, Zone,
};
use reeve_types::Secret;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::remember::Remembered;
use super::systems;
use super::wire::{Call, Reply, Wire, encode, secret_header, segment};
use super::{Endpoint, bearer};
use shape::{
    ImageItem, LOGIN_USER, Location, PricingAnswer, Server, ServerAnswer, ServerType, Volume, our_field, refusal,
};

/// Where the original is.
pub const BASE_URL: &str = "https://api.hetzner.cloud";
/// Marks a volume that goes with its server.
const DOOMED_LABEL: &str = "reeve-doomed-with";
const PER_PAGE: u32 = 50;
/// A list that goes on longer than this is not believed.
const MOST_PAGES: u64 = 2_000;

/// A project at Hetzner.
pub struct Hetzner {
    wire: Wire,
    authorization: HeaderValue,
    plans: Remembered<Vec<Plan>>,
    zones: Remembered<Vec<Zone>>,
    images: Remembered<Vec<Image>>,
    keys: keys::KnownKeys,
}

impl Hetzner {
    /// A project, which the token stands for, at the original's or another address.
    pub fn new(endpoint: Endpoint, token: &Secret) -> Result<Self, CloudError> {
        Ok(Self {
            wire: Wire::new("Hetzner", endpoint)?,
            authorization: secret_header(&bearer(token))?,
            plans: Remembered::default(),
            zones: Remembered::default(),
            images: Remembered::default(),
            keys: keys::KnownKeys::default(),
        })
    }

    async fn send(&self, mut call: Call) -> Result<Reply, CloudError> {
        call.path.insert_str(0, "/v1");
        call.headers.insert(AUTHORIZATION, self.authorization.clone());
        let reply = self.wire.send(call).await?;
        match reply.status {
            200..300 => Ok(reply),
            429 => Err(self.wire.too_many()),
            _ => Err(refusal(&reply)),
        }
    }

    /// A list, page by page while it is read. `path` ends in `?` or `&`.
    fn pages<'a, T: DeserializeOwned + Send + 'a>(&'a self, path: String, key: &'static str) -> Items<'a, T> {
        let next = move |page: Option<u64>| {
            let path = path.clone();
            async move {
                let Some(page) = page else { return Ok(None) };
                let reply = self.send(Call::get(format!("{path}page={page}&per_page={PER_PAGE}"))).await?;
                let mut body: serde_json::Value = reply.json()?;
                let following = body.pointer("/meta/pagination/next_page").and_then(serde_json::Value::as_u64);
                let items: Vec<T> = match body.get_mut(key) {
                    Some(items) => serde_json::from_value(items.take()).map_err(|e| reply.malformed(&e.to_string()))?,
                    None => return Err(reply.malformed(&format!("no {key}"))),
                };
                if following.is_some_and(|f| f <= page || f > MOST_PAGES) {
                    return Err(reply.malformed("pages that go on for ever"));
                }
                Ok(Some((stream::iter(items.into_iter().map(Ok)), following)))
            }
        };
        stream::try_unfold(Some(1), next).try_flatten().boxed()
    }

    async fn all_plans(&self) -> Result<std::sync::Arc<Vec<Plan>>, CloudError> {
        let fetch = async {
            let currency = self.send(Call::get("/pricing")).await?.json::<PricingAnswer>()?.pricing.currency;
            let types: Vec<ServerType> = self.pages("/server_types?".to_owned(), "server_types").try_collect().await?;
            Ok(types.iter().map(|t| t.noun(&currency)).collect())
        };
        self.plans.get(self.wire.now(), fetch).await
    }

    async fn all_zones(&self) -> Result<std::sync::Arc<Vec<Zone>>, CloudError> {
        let fetch = self.pages::<Location>("/locations?".to_owned(), "locations").map_ok(Location::into_noun);
        self.zones.get(self.wire.now(), fetch.try_collect()).await
    }

    async fn all_images(&self) -> Result<std::sync::Arc<Vec<Image>>, CloudError> {
        let path = "/images?status=available&";
        let fetch = self.pages::<ImageItem>(path.to_owned(), "images").map_ok(ImageItem::into_noun);
        self.images.get(self.wire.now(), fetch.try_collect()).await
    }

    async fn plan(&self, spec: &ServerSpec) -> Result<Plan, CloudError> {
        let plans = self.all_plans().await?;
        let plan = plans.iter().find(|plan| plan.name == spec.plan).cloned().ok_or_else(|| {
            let known = systems::some(plans.iter().map(|plan| plan.name.as_str()));
            CloudError::invalid("plan", format!("Hetzner has no server type {}; it has {known}", spec.plan))
        })?;
        if spec.disk_gb.map(u64::from).is_some_and(|gb| Some(gb) > plan.disk_gb) {
            let text = format!("{} comes with {} GB and no other disk", plan.name, plan.disk_gb.unwrap_or_default());
            return Err(CloudError::invalid("disk_gb", text));
        }
        Ok(plan)
    }

    fn listed(&self, filter: &LabelFilter) -> Items<'_, CloudServer> {
        let selector = match filter.value() {
            Some(value) => encode(&format!("{}=={value}", filter.key())),
            None => encode(filter.key()),
        };
        let filter = filter.clone();
        // The filter is the vendor's; a server that it should not have let through must not be taken for ours.
        self.pages::<Server>(format!("/servers?label_selector={selector}&"), "servers")
            .map_ok(Server::into_noun)
            .try_filter(move |server| std::future::ready(filter.matches(&server.labels)))
            .boxed()
    }

    /// What an earlier order with the same operation made.
    async fn earlier(&self, spec: &ServerSpec) -> Result<Option<Created>, CloudError> {
        let filter = LabelFilter::operation(&spec.operation);
        let mut found: Vec<CloudServer> = self.listed(&filter).try_collect().await?;
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let mut found = found.into_iter();
        let Some(server) = found.next() else { return Ok(None) };
        let surplus = found.map(|server| server.id).collect();
        Ok(Some(Created { server, login_user: LOGIN_USER.to_owned(), found: true, surplus }))
    }

    async fn order(&self, spec: &ServerSpec) -> Result<Created, CloudError> {
        spec.validate()?;
        if let Some(created) = self.earlier(spec).await? {
            return Ok(created);
        }
        if spec.disk_gb.is_some() {
            self.plan(spec).await?;
        }
        let refused = match self.post(spec).await {
            // A key that we remembered may have been deleted behind our back.
            Err(error) if error.kind == (CloudErrorKind::Invalid { field: "ssh_keys" }) => {
                self.keys.forget().await;
                self.post(spec).await
            }
            other => other,
        };
        match refused {
            // Names are unique: the one that has it may be ours, from an order whose answer got lost.
            Err(error) if error.kind == CloudErrorKind::Conflict => match self.earlier(spec).await? {
                Some(created) => Ok(created),
                None => {
                    let text = format!("another server of this project is called {}", spec.hostname);
                    Err(CloudError { message: text, ..error })
                }
            },
            other => other,
        }
    }

    async fn post(&self, spec: &ServerSpec) -> Result<Created, CloudError> {
        let mut ssh_keys = BTreeSet::new();
        for key in &spec.ssh_keys {
            ssh_keys.insert(self.key(key).await?);
        }
        let image = spec.image.parse::<u64>().map_or_else(|_| json!(spec.image), |id| json!(id));
        let mut body = json!({
            "name": spec.hostname,
            "server_type": spec.plan,
            "location": spec.zone,
            "image": image,
            "ssh_keys": ssh_keys,
            "labels": spec.all_labels(),
            "start_after_create": true,
            "public_net": {"enable_ipv4": true, "enable_ipv6": true},
        });
        if let Some(user_data) = &spec.user_data {
            body["user_data"] = json!(user_data.expose());
        }
        let reply = self.send(Call::change(Method::POST, "/servers").json(&body)).await.map_err(|error| {
            match error.kind {
                // What is missing is a part of the order, not the server.
                CloudErrorKind::NotFound | CloudErrorKind::Invalid { field: "" } => {
                    CloudError { kind: CloudErrorKind::Invalid { field: our_field(&error.message) }, ..error }
                }
                _ => error,
            }
        })?;
        let server = reply.json::<ServerAnswer>()?.server.into_noun();
        Ok(Created { server, login_user: LOGIN_USER.to_owned(), found: false, surplus: Vec::new() })
    }

    async fn server(&self, id: &CloudServerId) -> Result<Server, CloudError> {
        Ok(self.send(Call::get(path(id, "")?)).await?.json::<ServerAnswer>()?.server)
    }

    async fn act(&self, id: &CloudServerId, action: &str) -> Result<(), CloudError> {
        self.send(Call::change(Method::POST, path(id, &format!("/actions/{action}"))?)).await.map(|_| ())
    }

    async fn remove(&self, id: &CloudServerId) -> Result<Removal, CloudError> {
        let server = match self.server(id).await {
            Ok(server) => server,
            Err(error) if error.kind == CloudErrorKind::NotFound => return self.sweep(id).await,
            Err(error) => return Err(error),
        };
        let volumes = server.volumes.clone();
        if server.into_noun().state == ServerState::Deleting {
            return Ok(Removal::Pending);
        }
        for volume in volumes {
            let body = json!({"labels": {DOOMED_LABEL: id.as_str()}});
            self.send(Call::change(Method::PUT, format!("/volumes/{volume}")).json(&body)).await?;
        }
        match self.send(Call::change(Method::DELETE, path(id, "")?)).await {
            Ok(_) => Ok(Removal::Pending),
            Err(error) if matches!(error.kind, CloudErrorKind::NotFound | CloudErrorKind::Busy) => Ok(Removal::Pending),
            Err(error) => Err(error),
        }
    }

    /// Deletes the volumes that were marked for a server that is gone.
    async fn sweep(&self, id: &CloudServerId) -> Result<Removal, CloudError> {
        let selector = encode(&format!("{DOOMED_LABEL}=={id}"));
        let path = format!("/volumes?label_selector={selector}&");
        let volumes: Vec<Volume> = self.pages(path, "volumes").try_collect().await?;
        let mut removal = Removal::Gone;
        for volume in volumes {
            if volume.server.is_some() {
                removal = Removal::Pending;
                continue;
            }
            match self.send(Call::change(Method::DELETE, format!("/volumes/{}", volume.id))).await {
                Ok(_) => {}
                Err(error) if error.kind == CloudErrorKind::NotFound => {}
                Err(error) if error.kind == CloudErrorKind::Busy => removal = Removal::Pending,
                Err(error) => return Err(error),
            }
        }
        Ok(removal)
    }
}

fn path(id: &CloudServerId, rest: &str) -> Result<String, CloudError> {
    Ok(format!("/servers/{}{rest}", segment(id)?))
}

/// A remembered list as a stream.
fn items<'a, T: Clone + Send + Sync + 'a>(
    fetch: impl Future<Output = Result<std::sync::Arc<Vec<T>>, CloudError>> + Send + 'a,
) -> Items<'a, T> {
    fetch
        .map_ok_or_else(|error| vec![Err(error)], |list| list.iter().cloned().map(Ok).collect())
        .map(stream::iter)
        .flatten_stream()
        .boxed()
}

impl Cloud for Hetzner {
    fn vendor(&self) -> &'static str {
        "hetzner"
    }

    fn settle_ms(&self) -> u64 {
        // A double is refused for its name; this is for reading only.
        5_000
    }

    fn authenticate(&self) -> Answer<'_, ()> {
        async { self.send(Call::get("/servers?per_page=1")).await.map(|_| ()) }.boxed()
    }

    fn zones(&self) -> Items<'_, Zone> {
        items(self.all_zones())
    }

    fn plans(&self) -> Items<'_, Plan> {
        items(self.all_plans())
    }

    fn images(&self) -> Items<'_, Image> {
        items(self.all_images())
    }

    fn check<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Preview> {
        async {
            spec.validate()?;
            let plan = self.plan(spec).await?;
            let zones = self.all_zones().await?;
            let zone = zones.iter().find(|zone| zone.name == spec.zone).cloned().ok_or_else(|| {
                let known = systems::some(zones.iter().map(|zone| zone.name.as_str()));
                CloudError::invalid("zone", format!("Hetzner has no location {}; it has {known}", spec.zone))
            })?;
            if let Some(zones) = plan.zones.as_ref().filter(|zones| !zones.contains(&zone.name)) {
                let known = systems::some(zones.iter().map(String::as_str));
                let text = format!("{} cannot be had in {}, but in {known}", plan.name, zone.name);
                return Err(CloudError::invalid("plan", text));
            }
            let images = self.all_images().await?;
            let fits = |image: &&Image| {
                (image.id == spec.image || image.name == spec.image) && image.architecture == plan.architecture
            };
            let image = images.iter().find(fits).cloned().ok_or_else(|| {
                let known = systems::some(images.iter().map(|image| image.name.as_str()));
                let text = format!("Hetzner has no image {} for {}; it has {known}", spec.image, plan.name);
                CloudError::invalid("image", text)
            })?;
            let existing = self.earlier(spec).await?.map(|created| created.server);
            let (disk_gb, price) = (plan.disk_gb, plan.price(&zone.name).cloned());
            Ok(Preview { plan, zone, image, disk_gb, price, existing })
        }
        .boxed()
    }

    fn create<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Created> {
        self.order(spec).boxed()
    }

    fn get<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, CloudServer> {
        async { Ok(self.server(id).await?.into_noun()) }.boxed()
    }

    fn list<'a>(&'a self, filter: &'a LabelFilter) -> Items<'a, CloudServer> {
        self.listed(filter)
    }

    fn start<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        self.act(id, "poweron").boxed()
    }

    fn stop<'a>(&'a self, id: &'a CloudServerId, how: Stop) -> Answer<'a, ()> {
        let action = match how {
            Stop::Soft { .. } => "shutdown",
            Stop::Hard => "poweroff",
        };
        self.act(id, action).boxed()
    }

    fn reboot<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        async {
            // The vendor accepts it for a server that is off and does nothing.
            match self.server(id).await?.into_noun().state {
                ServerState::Stopped => Err(CloudError::new(CloudErrorKind::State, "the server is off; start it")),
                _ => self.act(id, "reboot").await,
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, Removal> {
        self.remove(id).boxed()
    }
}
