//! What the simulated UpCloud offers: names and sizes as the original's, prices of our own.

use serde_json::{Value, json};

/// Plans: name, cores, memory (MiB), disk (GB), tier, hundredths of the currency an hour.
pub const PLANS: &[(&str, u32, u32, u32, &str, f64)] = &[
    ("1xCPU-1GB", 1, 1024, 25, "maxiops", 0.75),
    ("1xCPU-2GB", 1, 2048, 50, "maxiops", 1.5),
    ("2xCPU-4GB", 2, 4096, 80, "maxiops", 3.0),
    ("4xCPU-8GB", 4, 8192, 160, "maxiops", 6.0),
    ("6xCPU-16GB", 6, 16384, 320, "maxiops", 12.0),
    ("8xCPU-32GB", 8, 32768, 640, "maxiops", 24.0),
    ("DEV-1xCPU-1GB-10GB", 1, 1024, 10, "standard", 0.45),
    ("CLOUDNATIVE-2xCPU-4GB", 2, 4096, 0, "", 2.1),
];

/// Zones: id, description, public.
pub const ZONES: &[(&str, &str, &str)] = &[
    ("de-fra1", "Frankfurt #1", "yes"),
    ("fi-hel1", "Helsinki #1", "yes"),
    ("fi-hel2", "Helsinki #2", "yes"),
    ("nl-ams1", "Amsterdam #1", "yes"),
    ("sg-sin1", "Singapore #1", "yes"),
    ("uk-lon1", "London #1", "yes"),
    ("us-nyc1", "New York #1", "yes"),
    ("xx-test1", "A private zone", "no"),
];

/// Templates: uuid, title, type, size (GB).
pub const TEMPLATES: &[(&str, &str, &str, u32)] = &[
    ("01000000-0000-4000-8000-000020060100", "Debian GNU/Linux 11 (Bullseye)", "native", 3),
    ("01000000-0000-4000-8000-000020070100", "Debian GNU/Linux 12 (Bookworm)", "cloud-init", 3),
    ("01000000-0000-4000-8000-000030220200", "Ubuntu Server 22.04 LTS (Jammy Jellyfish)", "cloud-init", 4),
    ("01000000-0000-4000-8000-000030240200", "Ubuntu Server 24.04 LTS (Noble Numbat)", "cloud-init", 4),
];

pub fn plan(name: &str) -> Option<&'static (&'static str, u32, u32, u32, &'static str, f64)> {
    PLANS.iter().find(|plan| plan.0 == name)
}

/// In `/plan` every number is a number.
pub fn plans() -> Value {
    let plan = |p: &(&str, u32, u32, u32, &str, f64)| {
        json!({"name": p.0, "core_number": p.1, "memory_amount": p.2, "storage_size": p.3, "storage_tier": p.4,
               "public_traffic_out": 1024, "gpu_amount": 0, "gpu_model": ""})
    };
    json!({"plans": {"plan": PLANS.iter().map(plan).collect::<Vec<_>>()}})
}

pub fn zones() -> Value {
    let zone = |z: &(&str, &str, &str)| json!({"id": z.0, "description": z.1, "public": z.2});
    json!({"zones": {"zone": ZONES.iter().map(zone).collect::<Vec<_>>()}})
}

/// An object for each zone, with the items beside the zone's name.
pub fn prices() -> Value {
    let zone = |z: &(&str, &str, &str)| {
        let mut zone = json!({"name": z.0, "server_core": {"amount": 1, "price": 1.3},
                              "storage_maxiops": {"amount": 1, "price": 0.031}});
        for plan in PLANS {
            zone[format!("server_plan_{}", plan.0)] = json!({"amount": 1, "price": plan.5});
        }
        zone
    };
    json!({"prices": {"zone": ZONES.iter().map(zone).collect::<Vec<_>>()}})
}

pub fn templates() -> Value {
    let template = |t: &(&str, &str, &str, u32)| {
        json!({"access": "public", "encrypted": "no", "labels": [], "license": 0, "size": t.3, "state": "online",
               "template_type": t.2, "tier": "maxiops", "title": t.1, "type": "template", "uuid": t.0})
    };
    json!({"storages": {"storage": TEMPLATES.iter().map(template).collect::<Vec<_>>()}})
}

/// Here the numbers are strings.
pub fn server_sizes() -> Value {
    let size =
        |(cores, memory): (u32, u32)| json!({"core_number": cores.to_string(), "memory_amount": memory.to_string()});
    let sizes = [(1, 512), (1, 1024), (2, 2048), (2, 4096), (4, 8192)].map(size);
    json!({"server_sizes": {"server_size": sizes}})
}
