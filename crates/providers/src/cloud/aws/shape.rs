//! What EC2's Query API (2016-11-15) says in XML, and how it reads in our words.

use reeve_ports::cloud::{Address, CloudServer, Labels, Plan, ServerState, Zone};
use reeve_ports::{CloudError, CloudErrorKind};
use reeve_types::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cloud::wire::Reply;

/// EC2 wraps every list in `<item>`s.
#[derive(Deserialize)]
pub struct List<T> {
    #[serde(default = "Vec::new")]
    pub item: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// An answer of a known shape.
pub fn parse<T: DeserializeOwned>(reply: &Reply) -> Result<T, CloudError> {
    let text = std::str::from_utf8(&reply.body).map_err(|_| reply.malformed("not UTF-8"))?;
    quick_xml::de::from_str(text).map_err(|error| reply.malformed(&error.to_string()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instances {
    #[serde(default)]
    pub reservation_set: List<Reservation>,
    #[serde(default)]
    pub next_token: String,
}

/// A reservation, which is also the answer to an order.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    #[serde(default)]
    pub instances_set: List<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub instance_id: String,
    instance_state: InstanceState,
    #[serde(default)]
    instance_type: String,
    #[serde(default)]
    launch_time: String,
    placement: Option<Placement>,
    #[serde(default)]
    ip_address: String,
    #[serde(default)]
    private_ip_address: String,
    #[serde(default)]
    network_interface_set: List<Interface>,
    #[serde(default)]
    tag_set: List<Tag>,
    #[serde(default)]
    block_device_mapping: List<BlockDevice>,
}

#[derive(Deserialize)]
struct InstanceState {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Placement {
    #[serde(default)]
    availability_zone: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    #[serde(default)]
    ipv6_addresses_set: List<Ipv6>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ipv6 {
    #[serde(default)]
    ipv6_address: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockDevice {
    #[serde(default)]
    pub device_name: String,
    ebs: Option<Ebs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ebs {
    #[serde(default)]
    delete_on_termination: String,
}

impl Instance {
    /// Still shown for about an hour after its end.
    pub fn is_terminated(&self) -> bool {
        self.instance_state.name == "terminated"
    }

    /// Disks that would outlive the instance.
    pub fn lasting_disks(&self) -> impl Iterator<Item = &str> {
        let lasts = |disk: &&BlockDevice| disk.ebs.as_ref().is_some_and(|ebs| ebs.delete_on_termination == "false");
        self.block_device_mapping.item.iter().filter(lasts).map(|disk| disk.device_name.as_str())
    }

    pub fn into_noun(self) -> CloudServer {
        let ipv6 = self.network_interface_set.item.iter().flat_map(|i| &i.ipv6_addresses_set.item);
        let public = std::iter::once(self.ip_address.as_str()).chain(ipv6.map(|ip| ip.ipv6_address.as_str()));
        let public = public.filter_map(|ip| ip.parse().ok()).map(|ip| Address { ip, public: true });
        let private = self.private_ip_address.parse().ok().map(|ip| Address { ip, public: false });
        let addresses = public.chain(private).collect();
        let mut labels: Labels = self.tag_set.item.into_iter().map(|tag| (tag.key, tag.value)).collect();
        CloudServer {
            id: self.instance_id.as_str().into(),
            hostname: labels.remove("Name").unwrap_or_default(),
            plan: self.instance_type,
            zone: self.placement.map(|p| p.availability_zone).unwrap_or_default(),
            state: match self.instance_state.name.as_str() {
                "pending" => ServerState::Creating,
                "running" => ServerState::Running,
                "stopping" => ServerState::Changing,
                "stopped" => ServerState::Stopped,
                "shutting-down" | "terminated" => ServerState::Deleting,
                _ => ServerState::Unknown,
            },
            addresses: Some(addresses),
            labels,
            created_at: Timestamp::parse(&self.launch_time),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zones {
    #[serde(default)]
    pub availability_zone_info: List<ZoneItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZoneItem {
    zone_name: String,
    #[serde(default)]
    zone_id: String,
}

impl ZoneItem {
    pub fn into_noun(self) -> Zone {
        Zone { title: format!("{} ({})", self.zone_name, self.zone_id), name: self.zone_name, public: true }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceTypes {
    #[serde(default)]
    pub instance_type_set: List<InstanceType>,
    #[serde(default)]
    pub next_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceType {
    instance_type: String,
    v_cpu_info: Option<VCpus>,
    memory_info: Option<Memory>,
    processor_info: Option<Processor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VCpus {
    #[serde(default)]
    default_v_cpus: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    #[serde(default)]
    size_in_mi_b: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Processor {
    #[serde(default)]
    supported_architectures: List<String>,
}

impl InstanceType {
    pub fn into_noun(self) -> Plan {
        // Some old types run i386 too.
        let known = |name: &String| matches!(name.as_str(), "x86_64" | "arm64");
        let architectures = self.processor_info.map(|p| p.supported_architectures.item).unwrap_or_default();
        Plan {
            name: self.instance_type,
            cpu_cores: self.v_cpu_info.map(|v| v.default_v_cpus).unwrap_or_default(),
            memory_mib: self.memory_info.map(|m| m.size_in_mi_b).unwrap_or_default(),
            disk_gb: None,
            architecture: architectures.into_iter().find(known),
            zones: None,
            prices: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineImages {
    #[serde(default)]
    pub images_set: List<MachineImage>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MachineImage {
    pub image_id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub root_device_name: String,
    #[serde(default)]
    pub creation_date: String,
    #[serde(default)]
    block_device_mapping: BlockDevices,
}

#[derive(Deserialize, Clone, Default)]
struct BlockDevices {
    #[serde(default)]
    item: Vec<ImageDisk>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct ImageDisk {
    #[serde(default)]
    device_name: String,
    ebs: Option<ImageEbs>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct ImageEbs {
    volume_size: Option<u64>,
}

impl MachineImage {
    /// Disks that a machine from this image starts with, and their sizes in GB where told.
    pub fn disks(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let size = |disk: &'_ ImageDisk| disk.ebs.as_ref().map(|ebs| ebs.volume_size);
        self.block_device_mapping.item.iter().filter_map(move |d| Some((d.device_name.as_str(), size(d)?)))
    }
    pub fn disk_gb(&self) -> Option<u64> {
        let disks = self.block_device_mapping.item.iter();
        disks.filter(|d| d.device_name == self.root_device_name).find_map(|d| d.ebs.as_ref()?.volume_size)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    errors: Errors,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Errors {
    error: Vec<ErrorItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The refusal in our words.
pub fn refusal(reply: &Reply) -> CloudError {
    let first = parse::<Refusal>(reply).ok().and_then(|refusal| refusal.errors.error.into_iter().next());
    let Some(ErrorItem { code, message }) = first else {
        return CloudError::new(reply.kind_by_status(), format!("AWS refused with {}", reply.status));
    };
    let message = if message.is_empty() { format!("AWS refused with {}", reply.status) } else { message };
    CloudError::new(kind(&code, &message, reply), message).with_code(&code)
}

fn kind(code: &str, message: &str, reply: &Reply) -> CloudErrorKind {
    use CloudErrorKind::*;
    match code {
        "InvalidInstanceID.NotFound" => NotFound,
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => RateLimited,
        "UnauthorizedOperation" | "AuthFailure" | "InvalidClientTokenId" | "SignatureDoesNotMatch" => Auth,
        "RequestExpired" | "ExpiredToken" | "OptInRequired" | "MissingAuthenticationToken" => Auth,
        "PendingVerification" | "Blocked" => Quota,
        "OperationNotPermitted" | "IncorrectInstanceState" | "IncorrectState" | "UnsupportedOperation" => State,
        "IdempotentParameterMismatch" | "IdempotentInstanceTerminated" => Conflict,
        "InvalidInstanceType" | "Unsupported" => Invalid { field: "plan" },
        // Said before anything is begun.
        "ServiceUnavailable" | "Unavailable" => Unavailable,
        _ if code.starts_with("InvalidAMIID") => Invalid { field: "image" },
        _ if code.starts_with("Insufficient") && code.ends_with("Capacity") => Capacity,
        _ if code.ends_with("LimitExceeded") => Quota,
        _ if reply.status == 400 => Invalid { field: field(&format!("{code} {message}").to_lowercase()) },
        _ => reply.kind_by_status(),
    }
}

/// Which field of an order a complaint is about, as far as its words tell.
fn field(complaint: &str) -> &'static str {
    let pairs = [
        ("zone", "zone"),
        ("instance type", "plan"),
        ("instancetype", "plan"),
        ("user data", "user_data"),
        ("userdata", "user_data"),
        ("image", "image"),
        ("volume", "disk_gb"),
        ("snapshot", "disk_gb"),
        ("tag", "labels"),
    ];
    pairs.iter().find(|(word, _)| complaint.contains(word)).map_or("", |(_, field)| field)
}
