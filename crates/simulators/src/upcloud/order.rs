//! What the simulated UpCloud accepts as an order for a server, and what it says to the rest.

use reeve_types::Timestamp;
use serde_json::Value;

use super::catalogue;
use super::routes::Refusal;
use super::world::{CREATE_MS, Phase, Server, Storage, World};

const KNOWN: &[&str] = &[
    "avoid_host",
    "boot_order",
    "core_number",
    "firewall",
    "host",
    "hostname",
    "interfaces",
    "ip_addresses",
    "labels",
    "login_user",
    "memory_amount",
    "metadata",
    "networking",
    "nic_model",
    "password_delivery",
    "plan",
    "remote_access_enabled",
    "server_group",
    "simple_backup",
    "storage_devices",
    "timezone",
    "title",
    "user_data",
    "video_model",
    "vnc",
    "vnc_password",
    "zone",
];

fn refuse<T>(status: u16, code: &str, message: &str) -> Result<T, Refusal> {
    Err(Refusal::old(status, code, message))
}

fn text<'a>(server: &'a Value, field: &str, code: &str) -> Result<&'a str, Refusal> {
    match server.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None => refuse(400, &format!("{code}_MISSING"), &format!("The attribute {field} is missing.")),
        Some(_) => refuse(400, &format!("{code}_INVALID"), &format!("The attribute {field} is invalid.")),
    }
}

/// Carries an order out, or says why not.
pub fn place(world: &mut World, body: &Value, now: Timestamp) -> Result<Server, Refusal> {
    let Some(order) = body.get("server").filter(|server| server.is_object()) else {
        return refuse(400, "SERVER_MISSING", "The server object is missing.");
    };
    if let Some(unknown) =
        order.as_object().into_iter().flatten().map(|(k, _)| k).find(|k| !KNOWN.contains(&k.as_str()))
    {
        return refuse(400, "UNKNOWN_ATTRIBUTE", &format!("The attribute {unknown} is unknown."));
    }
    let hostname = text(order, "hostname", "HOSTNAME")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if hostname.len() > 128 || !hostname.chars().all(fits) || hostname.starts_with('-') {
        return refuse(400, "HOSTNAME_INVALID", "The hostname is invalid.");
    }
    let title = text(order, "title", "TITLE")?;
    if title.chars().count() > 255 {
        return refuse(400, "TITLE_INVALID", "The title is too long.");
    }
    let zone = text(order, "zone", "ZONE")?;
    if !catalogue::ZONES.iter().any(|known| known.0 == zone) {
        return refuse(404, "ZONE_NOT_FOUND", &format!("The zone {zone} does not exist."));
    }
    let plan = order.get("plan").and_then(Value::as_str).unwrap_or("custom");
    if plan != "custom" && catalogue::plan(plan).is_none() {
        return refuse(400, "PLAN_INVALID", &format!("The plan {plan} does not exist."));
    }
    let labels = labels(order)?;
    let metadata = order.get("metadata").and_then(Value::as_str).unwrap_or("no");
    let disks = disks(order, metadata)?;
    if !world.switches.credit {
        return refuse(402, "INSUFFICIENT_CREDITS", "The account has insufficient credits for this operation.");
    }
    if world.servers.len() >= world.switches.server_limit {
        return refuse(409, "SERVER_CREATING_LIMIT_REACHED", "The account's limit of servers is reached.");
    }
    if !world.switches.capacity {
        return refuse(409, "SERVER_RESOURCES_UNAVAILABLE", "There are not enough resources in the zone.");
    }

    let uuid = world.uuid(0x00);
    let number = world.number();
    let mut storages = Vec::new();
    for (title, size, tier) in disks {
        let storage = world.uuid(0x01);
        let server = Some(uuid.clone());
        world.storages.insert(
            storage.clone(),
            Storage { uuid: storage.clone(), title, size, tier, zone: zone.to_owned(), server },
        );
        storages.push(storage);
    }
    let given = world.free_address();
    let server = Server {
        uuid: uuid.clone(),
        hostname: hostname.to_owned(),
        title: title.to_owned(),
        plan: plan.to_owned(),
        zone: zone.to_owned(),
        phase: Phase::Maintenance { until: now.plus_ms(CREATE_MS) },
        created: now,
        labels,
        interfaces: interfaces(order, number, given),
        storages,
        user_data: order.get("user_data").and_then(Value::as_str).unwrap_or_default().to_owned(),
        metadata: metadata.to_owned(),
        ssh_keys: order
            .pointer("/login_user/ssh_keys/ssh_key")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    };
    world.servers.insert(uuid, server.clone());
    Ok(server)
}

/// Labels of an order or a change: 2 to 32 printable characters as a key that does not begin with an underscore.
pub fn labels(order: &Value) -> Result<Vec<(String, String)>, Refusal> {
    let list = order.get("labels").map(|labels| labels.get("label").unwrap_or(labels));
    let mut labels = Vec::new();
    for label in list.and_then(Value::as_array).into_iter().flatten() {
        let key = label.get("key").and_then(Value::as_str).unwrap_or_default();
        let value = label.get("value").and_then(Value::as_str).unwrap_or_default();
        let printable = key.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !(2..=32).contains(&key.len()) || key.starts_with('_') || !printable {
            return Err(Refusal::problem("labels.key", "must be 2 to 32 printable characters"));
        }
        if value.chars().count() > 255 {
            return Err(Refusal::problem("labels.value", "must be at most 255 characters"));
        }
        labels.push((key.to_owned(), value.to_owned()));
    }
    Ok(labels)
}

fn disks(order: &Value, metadata: &str) -> Result<Vec<(String, u64, String)>, Refusal> {
    let Some(devices) = order.pointer("/storage_devices/storage_device").and_then(Value::as_array) else {
        return refuse(400, "STORAGE_DEVICES_MISSING", "The storage devices are missing.");
    };
    let mut disks = Vec::new();
    for device in devices {
        let get = |field: &str| device.get(field).and_then(Value::as_str);
        let size = device.get("size");
        let size = size.and_then(|s| s.as_u64().or_else(|| s.as_str()?.parse().ok())).unwrap_or(10);
        match get("action") {
            Some("create") => {}
            Some("clone") => {
                let wanted = get("storage").unwrap_or_default();
                let Some(template) = catalogue::TEMPLATES.iter().find(|template| template.0 == wanted) else {
                    return refuse(404, "STORAGE_NOT_FOUND", &format!("The storage {wanted} does not exist."));
                };
                if template.2 == "cloud-init" && metadata != "yes" {
                    let message = "Cloud-init templates need the metadata service.";
                    return refuse(400, "METADATA_DISABLED_ON_CLOUD-INIT", message);
                }
                if size < u64::from(template.3) {
                    return refuse(400, "STORAGE_DEVICE_SIZE_INVALID", "The disk is smaller than its template.");
                }
            }
            _ => return refuse(400, "STORAGE_DEVICE_ACTION_INVALID", "The action of a storage device is invalid."),
        }
        if !(10..=4096).contains(&size) {
            return refuse(400, "STORAGE_DEVICE_SIZE_INVALID", "The size must be between 10 and 4096.");
        }
        let title = get("title").unwrap_or("disk").to_owned();
        disks.push((title, size, get("tier").unwrap_or("hdd").to_owned()));
    }
    Ok(disks)
}

/// What was asked for, else one address of each kind; every server has a utility address. `given` is its public one.
fn interfaces(order: &Value, number: u64, given: Option<String>) -> Vec<(String, String, String)> {
    let asked = order.pointer("/networking/interfaces/interface").and_then(Value::as_array);
    let mut wanted: Vec<(String, String)> = Vec::new();
    for interface in asked.into_iter().flatten() {
        let kind = interface.get("type").and_then(Value::as_str).unwrap_or("public");
        let ips = interface.pointer("/ip_addresses/ip_address").and_then(Value::as_array);
        for ip in ips.into_iter().flatten() {
            let family = ip.get("family").and_then(Value::as_str).unwrap_or("IPv4");
            wanted.push((kind.to_owned(), family.to_owned()));
        }
    }
    if wanted.is_empty() {
        wanted =
            [("public", "IPv4"), ("utility", "IPv4"), ("public", "IPv6")].map(|(a, b)| (a.into(), b.into())).into();
    }
    if !wanted.iter().any(|(kind, _)| kind == "utility") {
        wanted.push(("utility".to_owned(), "IPv4".to_owned()));
    }
    let ip = |kind: &str, family: &str| match (kind, family) {
        (_, "IPv6") => format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff),
        ("public", _) => given.clone().unwrap_or_else(|| format!("203.0.{}.{}", 113 + number / 250, number % 250 + 1)),
        _ => format!("10.{}.{}.{}", 1 + number / 62_500, number / 250 % 250, number % 250 + 1),
    };
    wanted.into_iter().map(|(kind, family)| (kind.clone(), family.clone(), ip(&kind, &family))).collect()
}
