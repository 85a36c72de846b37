//! Amazon EC2 in one region, over its Query API: a form goes in, XML comes out, every request is signed.
//!
//! An order carries a client token, so the vendor itself refuses to double it. A terminated instance is still told of
//! for about an hour; here it is gone. Prices are another service's and are not told.

mod cloud;
mod shape;
mod sign;
mod systems;
mod user_data;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use reeve_ports::cloud::{
    Cloud, CloudError, CloudErrorKind, CloudServer, CloudServerId, Created, Image, Items, LabelFilter, Plan, Preview,
    Removal, ServerSpec, ServerState, Zone,
};
use reqwest::Method;
use sha2::{Digest, Sha256};

use self::systems::{SYSTEMS, login_user_of};
use super::Endpoint;
use super::remember::RememberedBy;
use super::wire::{Call, Wire, encode, segment};
use shape::{Instance, InstanceTypes, Instances, MachineImage, MachineImages, Reservation, parse, refusal};
pub use sign::AwsKeys;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// A list that goes on longer than this is not believed.
const MOST_PAGES: usize = 2_000;

/// What an account in a region needs to be told besides its keys.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// `eu-west-1`.
    pub region: String,
    /// Where machines are put; None: the default network of the zone.
    pub subnet_id: Option<String>,
    /// What may reach them; empty: the network's default.
    pub security_group_ids: Vec<String>,
}

impl AwsSettings {
    /// Where the original is.
    pub fn base_url(&self) -> String {
        format!("https://ec2.{}.amazonaws.com", self.region)
    }
}

/// An account with AWS in one region.
pub struct Aws {
    wire: Wire,
    keys: AwsKeys,
    settings: AwsSettings,
    plans: RememberedBy<Plan>,
    images: RememberedBy<MachineImage>,
}

type Form = Vec<(String, String)>;

/// What an order is made of.
struct Parts {
    plan: std::sync::Arc<Plan>,
    machine_image: std::sync::Arc<MachineImage>,
    image: Image,
}

impl Aws {
    /// An account in a region, at the original's or another address.
    pub fn new(endpoint: Endpoint, settings: AwsSettings, keys: AwsKeys) -> Result<Self, CloudError> {
        let plausible = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if settings.region.is_empty() || !settings.region.chars().all(plausible) {
            return Err(CloudError::invalid("region", "a region is a word such as eu-west-1"));
        }
        let wire = Wire::new("AWS", endpoint)?;
        Ok(Self { wire, keys, settings, plans: RememberedBy::default(), images: RememberedBy::default() })
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, action: &str, form: Form) -> Result<T, CloudError> {
        self.send(action, form, false).await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        action: &str,
        form: Form,
        changes: bool,
    ) -> Result<T, CloudError> {
        let fixed = [("Action", action), ("Version", "2016-11-15")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let pairs = fixed.into_iter().chain(form).map(|(key, value)| format!("{}={}", encode(&key), encode(&value)));
        let body = pairs.collect::<Vec<_>>().join("&").into_bytes();
        let host = self.wire.host();
        let at = self.wire.now();
        let region = &self.settings.region;
        let subject = sign::Subject { host: &host, region, service: "ec2", content_type: FORM, body: &body, at };
        let headers = sign::sign(&self.keys, &subject)?;
        let call = Call { method: Method::POST, path: "/".to_owned(), headers, body: Some((FORM, body)), changes };
        let reply = self.wire.send(call).await?;
        if reply.is_success() {
            return parse(&reply);
        }
        let error = refusal(&reply);
        if error.kind == CloudErrorKind::RateLimited {
            // Amazon does not say for how long.
            self.wire.pause(2_000);
            return Err(CloudError { retry_after_ms: Some(2_000), ..error });
        }
        Err(error)
    }

    async fn plan(&self, name: &str) -> Result<std::sync::Arc<Plan>, CloudError> {
        let fetch = async {
            let answer: Result<InstanceTypes, _> =
                self.ask("DescribeInstanceTypes", vec![pair("InstanceType.1", name)]).await;
            let found = match answer {
                Ok(types) => types.instance_type_set.item.into_iter().next(),
                Err(error) if matches!(error.kind, CloudErrorKind::Invalid { .. }) => None,
                Err(error) => return Err(error),
            };
            found.map(shape::InstanceType::into_noun).ok_or_else(|| {
                let text = format!("EC2 has no instance type {name} in {}", self.settings.region);
                CloudError::invalid("plan", text)
            })
        };
        self.plans.get(name, self.wire.now(), fetch).await
    }

    /// An AMI by id, or the publisher's latest by portable name.
    async fn machine_image(&self, name: &str, plan: &Plan) -> Result<std::sync::Arc<MachineImage>, CloudError> {
        let architecture = plan.architecture.as_deref().unwrap_or("x86_64");
        let system = SYSTEMS.iter().find(|system| system.name == name);
        if system.is_none() && !name.starts_with("ami-") {
            let known = super::systems::some(SYSTEMS.iter().map(|system| system.name));
            let text = format!("EC2 has no image {name}; give an AMI's id (ami-…), or one of {known}");
            return Err(CloudError::invalid("image", text));
        }
        let fetch = async {
            let form = match system {
                Some(system) => vec![
                    pair("Owner.1", system.owner),
                    pair("Filter.1.Name", "name"),
                    pair("Filter.1.Value.1", system.pattern_for(architecture)),
                    pair("Filter.2.Name", "state"),
                    pair("Filter.2.Value.1", "available"),
                ],
                None => vec![pair("ImageId.1", name)],
            };
            let answer: Result<MachineImages, _> = self.ask("DescribeImages", form).await;
            let images = match answer {
                Ok(images) => images.images_set.item,
                Err(error) if matches!(error.kind, CloudErrorKind::Invalid { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
            images.into_iter().max_by(|a, b| a.creation_date.cmp(&b.creation_date)).ok_or_else(|| {
                let text = format!("EC2 has no image {name} for {architecture} in {}", self.settings.region);
                CloudError::invalid("image", text)
            })
        };
        let image = self.images.get(&format!("{name} {architecture}"), self.wire.now(), fetch).await?;
        if plan.architecture.is_some() && !image.architecture.is_empty() && image.architecture != architecture {
            let text = format!("{name} is for {}, {} is {architecture}", image.architecture, plan.name);
            return Err(CloudError::invalid("image", text));
        }
        Ok(image)
    }

    async fn parts(&self, spec: &ServerSpec) -> Result<Parts, CloudError> {
        let plan = self.plan(&spec.plan).await?;
        let machine_image = self.machine_image(&spec.image, &plan).await?;
        let image = image_noun(&machine_image);
        if spec.disk_gb.map(u64::from).is_some_and(|gb| machine_image.disk_gb().is_some_and(|least| gb < least)) {
            let least = machine_image.disk_gb().unwrap_or_default();
            return Err(CloudError::invalid("disk_gb", format!("{} needs a disk of at least {least} GB", image.title)));
        }
        Ok(Parts { plan, machine_image, image })
    }

    fn order_form(&self, spec: &ServerSpec, parts: &Parts) -> Result<Form, CloudError> {
        let user_data = user_data::archive(spec);
        if user_data.expose().len() > user_data::LIMIT_BYTES {
            let text = format!(
                "user data and SSH keys make {} bytes together; EC2 takes {}",
                user_data.expose().len(),
                user_data::LIMIT_BYTES
            );
            return Err(CloudError::invalid("user_data", text));
        }
        // One token for one order for ever: the tag may be as long as a token, but not with what we put before it.
        let token = hex::encode(&Sha256::digest(spec.operation.as_str())[..24]);
        let mut form = vec![
            pair("ImageId", &parts.machine_image.image_id),
            pair("InstanceType", &spec.plan),
            pair("MinCount", "1"),
            pair("MaxCount", "1"),
            pair("ClientToken", token),
            pair("UserData", STANDARD.encode(user_data.expose())),
            pair("MetadataOptions.HttpTokens", "required"),
            pair("Placement.AvailabilityZone", &spec.zone),
        ];
        if let Some(subnet) = &self.settings.subnet_id {
            form.push(pair("SubnetId", subnet));
        }
        for (index, group) in self.settings.security_group_ids.iter().enumerate() {
            form.push(pair(format!("SecurityGroupId.{}", index + 1), group));
        }
        let root = parts.machine_image.root_device_name.as_str();
        let mut disks: Vec<(&str, Option<u64>)> = parts.machine_image.disks().collect();
        if !root.is_empty() && !disks.iter().any(|(disk, _)| *disk == root) && spec.disk_gb.is_some() {
            disks.push((root, None));
        }
        for (index, (disk, size)) in disks.iter().enumerate() {
            let at = format!("BlockDeviceMapping.{}", index + 1);
            form.push(pair(format!("{at}.DeviceName"), *disk));
            form.push(pair(format!("{at}.Ebs.DeleteOnTermination"), "true"));
            let asked = spec.disk_gb.map(u64::from).filter(|_| *disk == root);
            if let Some(gb) = asked.or(*size) {
                form.push(pair(format!("{at}.Ebs.VolumeSize"), gb.to_string()));
            }
        }
        for (index, kind) in ["instance", "volume"].iter().enumerate() {
            let at = format!("TagSpecification.{}", index + 1);
            form.push(pair(format!("{at}.ResourceType"), *kind));
            let name = ("Name".to_owned(), spec.hostname.clone());
            for (index, (key, value)) in std::iter::once(name).chain(spec.all_labels()).enumerate() {
                form.push(pair(format!("{at}.Tag.{}.Key", index + 1), key));
                form.push(pair(format!("{at}.Tag.{}.Value", index + 1), value));
            }
        }
        Ok(form)
    }

    fn listed(&self, filter: &LabelFilter) -> Items<'_, CloudServer> {
        let (name, value) = match filter.value() {
            Some(value) => (format!("tag:{}", filter.key()), value.to_owned()),
            None => ("tag-key".to_owned(), filter.key().to_owned()),
        };
        let mut form = vec![pair("Filter.1.Name", name), pair("Filter.1.Value.1", value)];
        form.push(pair("Filter.2.Name", "instance-state-name"));
        for (index, state) in ["pending", "running", "stopping", "stopped", "shutting-down"].iter().enumerate() {
            form.push(pair(format!("Filter.2.Value.{}", index + 1), *state));
        }
        form.push(pair("MaxResults", "1000"));
        let filter = filter.clone();
        let page = |instances: Instances| {
            let servers: Vec<Instance> =
                instances.reservation_set.item.into_iter().flat_map(|r| r.instances_set.item).collect();
            (servers, instances.next_token)
        };
        // The filter is the vendor's; a server that it should not have let through must not be taken for ours.
        self.pages("DescribeInstances", form, page)
            .try_filter(|instance| std::future::ready(!instance.is_terminated()))
            .map_ok(Instance::into_noun)
            .try_filter(move |server| std::future::ready(filter.matches(&server.labels)))
            .boxed()
    }

    /// A list, page by page while it is read.
    fn pages<'a, A, T>(&'a self, action: &'static str, form: Form, page: fn(A) -> (Vec<T>, String)) -> Items<'a, T>
    where
        A: serde::de::DeserializeOwned + Send + 'a,
        T: Send + 'a,
    {
        let next = move |place: Option<(usize, String)>| {
            let mut form = form.clone();
            async move {
                let Some((count, token)) = place else { return Ok(None) };
                if !token.is_empty() {
                    form.push(pair("NextToken", &token));
                }
                let (items, next) = page(self.ask(action, form).await?);
                if count > MOST_PAGES || (!next.is_empty() && next == token) {
                    let text = "AWS answered with pages that go on for ever";
                    return Err(CloudError::new(CloudErrorKind::Unavailable, text).with_code("MALFORMED_ANSWER"));
                }
                let place = (!next.is_empty()).then_some((count + 1, next));
                Ok(Some((stream::iter(items.into_iter().map(Ok)), place)))
            }
        };
        stream::try_unfold(Some((1, String::new())), next).try_flatten().boxed()
    }

    async fn earlier(&self, spec: &ServerSpec) -> Result<Option<Created>, CloudError> {
        let filter = LabelFilter::operation(&spec.operation);
        let mut found: Vec<CloudServer> = self.listed(&filter).try_collect().await?;
        found.retain(|server| server.state != ServerState::Deleting);
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let mut found = found.into_iter();
        let Some(server) = found.next() else { return Ok(None) };
        let parts = self.parts(spec).await?;
        let surplus = found.map(|server| server.id).collect();
        Ok(Some(Created { server, login_user: parts.image.login_user, found: true, surplus }))
    }

    async fn order(&self, spec: &ServerSpec) -> Result<Created, CloudError> {
        spec.validate()?;
        if let Some(created) = self.earlier(spec).await? {
            return Ok(created);
        }
        let parts = self.parts(spec).await?;
        let answer: Reservation = self.send("RunInstances", self.order_form(spec, &parts)?, true).await?;
        let Some(instance) = answer.instances_set.item.into_iter().next() else {
            let text = "AWS accepted the order and named no instance";
            return Err(CloudError::new(CloudErrorKind::Ambiguous, text).with_code("MALFORMED_ANSWER"));
        };
        let login_user = parts.image.login_user;
        Ok(Created { server: instance.into_noun(), login_user, found: false, surplus: Vec::new() })
    }

    async fn instance(&self, id: &CloudServerId) -> Result<Instance, CloudError> {
        let answer: Instances = self.ask("DescribeInstances", vec![pair("InstanceId.1", segment(id)?)]).await?;
        let instances = answer.reservation_set.item.into_iter().flat_map(|r| r.instances_set.item);
        let mut instances = instances.filter(|i| !i.is_terminated() && i.instance_id == id.as_str());
        instances.next().ok_or_else(CloudError::server_not_found)
    }

    async fn act(&self, action: &str, id: &CloudServerId, more: Form) -> Result<(), CloudError> {
        let mut form = vec![pair("InstanceId.1", segment(id)?)];
        form.extend(more);
        self.send::<serde::de::IgnoredAny>(action, form, true).await.map(|_| ())
    }

    /// Switches power, and takes a refusal for a success when the server is what was wanted.
    async fn switch(
        &self,
        action: &str,
        id: &CloudServerId,
        more: Form,
        wanted: ServerState,
    ) -> Result<(), CloudError> {
        match self.act(action, id, more).await {
            Err(refused) if refused.kind == CloudErrorKind::State => match self.instance(id).await?.into_noun().state {
                state if state == wanted => Ok(()),
                ServerState::Changing | ServerState::Creating => {
                    Err(CloudError { kind: CloudErrorKind::Busy, ..refused })
                }
                _ => Err(refused),
            },
            other => other,
        }
    }

    async fn remove(&self, id: &CloudServerId) -> Result<Removal, CloudError> {
        let instance = match self.instance(id).await {
            Ok(instance) => instance,
            Err(error) if error.kind == CloudErrorKind::NotFound => return Ok(Removal::Gone),
            Err(error) => return Err(error),
        };
        let lasting: Vec<String> = instance.lasting_disks().map(str::to_owned).collect();
        if instance.into_noun().state == ServerState::Deleting {
            return Ok(Removal::Pending);
        }
        if !lasting.is_empty() {
            let mut form = vec![pair("InstanceId", id.as_str())];
            for (index, disk) in lasting.iter().enumerate() {
                let at = format!("BlockDeviceMapping.{}", index + 1);
                form.push(pair(format!("{at}.DeviceName"), disk));
                form.push(pair(format!("{at}.Ebs.DeleteOnTermination"), "true"));
            }
            self.send::<serde::de::IgnoredAny>("ModifyInstanceAttribute", form, true).await?;
        }
        match self.act("TerminateInstances", id, Form::new()).await {
            Ok(()) => Ok(Removal::Pending),
            Err(error) if error.kind == CloudErrorKind::NotFound => Ok(Removal::Gone),
            Err(error) => Err(error),
        }
    }

    async fn preview(&self, spec: &ServerSpec) -> Result<Preview, CloudError> {
        spec.validate()?;
        let parts = self.parts(spec).await?;
        let zones: Vec<Zone> = self.zones().try_collect().await?;
        let zone = zones.iter().find(|zone| zone.name == spec.zone).cloned().ok_or_else(|| {
            let known = super::systems::some(zones.iter().map(|zone| zone.name.as_str()));
            let text = format!("{} has no availability zone {}; it has {known}", self.settings.region, spec.zone);
            CloudError::invalid("zone", text)
        })?;
        let existing = self.earlier(spec).await?.map(|created| created.server);
        if existing.is_none() {
            let mut form = self.order_form(spec, &parts)?;
            form.push(pair("DryRun", "true"));
            match self.send::<serde::de::IgnoredAny>("RunInstances", form, false).await {
                // This is how a rehearsal succeeds.
                Err(error) if error.code == "DryRunOperation" => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    let text = "AWS took a rehearsal for an order";
                    return Err(CloudError::new(CloudErrorKind::Ambiguous, text));
                }
            }
        }
        let disk_gb = spec.disk_gb.map(u64::from).or(parts.machine_image.disk_gb());
        Ok(Preview { plan: Plan::clone(&parts.plan), zone, image: parts.image, disk_gb, price: None, existing })
    }
}

fn pair(key: impl Into<String>, value: impl AsRef<str>) -> (String, String) {
    (key.into(), value.as_ref().to_owned())
}

fn image_noun(image: &MachineImage) -> Image {
    Image {
        id: image.image_id.clone(),
        name: image.image_id.clone(),
        title: image.name.clone(),
        architecture: (!image.architecture.is_empty()).then(|| image.architecture.clone()),
        login_user: login_user_of(&image.name).to_owned(),
    }
}
