//! What the simulated Hetzner offers: names and sizes as the original's, prices of our own.

use serde_json::{Value, json};

/// Types: id, name, cores, memory (GiB), disk (GB), architecture, net price an hour.
pub const TYPES: &[(u64, &str, u32, f64, u32, &str, &str)] = &[
    (22, "cpx11", 2, 2.0, 40, "x86", "0.0066"),
    (45, "cax11", 2, 4.0, 40, "arm", "0.0056"),
    (104, "cx22", 2, 4.0, 40, "x86", "0.0060"),
    (114, "cx23", 2, 4.0, 40, "x86", "0.0056"),
    (96, "ccx13", 2, 8.0, 80, "x86", "0.0200"),
];

/// Locations: id, name, city, country, network zone.
pub const LOCATIONS: &[(u64, &str, &str, &str, &str)] = &[
    (1, "fsn1", "Falkenstein", "DE", "eu-central"),
    (2, "nbg1", "Nuremberg", "DE", "eu-central"),
    (3, "hel1", "Helsinki", "FI", "eu-central"),
    (4, "ash", "Ashburn, VA", "US", "us-east"),
];

/// System images: id, name, description, architecture. A name stands for one image of each architecture.
pub const IMAGES: &[(u64, &str, &str, &str)] = &[
    (114690387, "debian-12", "Debian 12", "x86"),
    (114690389, "debian-12", "Debian 12", "arm"),
    (161547269, "ubuntu-24.04", "Ubuntu 24.04", "x86"),
    (161547270, "ubuntu-24.04", "Ubuntu 24.04", "arm"),
];

pub fn server_type(t: &(u64, &str, u32, f64, u32, &str, &str)) -> Value {
    let amount = |net: &str| json!({"net": net, "gross": net});
    // The arm machines are not in America.
    let here = LOCATIONS.iter().filter(|l| t.5 == "x86" || l.4 == "eu-central");
    let price = |l: &(u64, &str, &str, &str, &str)| {
        json!({"location": l.1, "price_hourly": amount(t.6), "price_monthly": amount("4.00"),
               "included_traffic": 21_990_232_555_520_u64, "price_per_tb_traffic": amount("1.00")})
    };
    json!({"id": t.0, "name": t.1, "description": t.1.to_uppercase(), "cores": t.2, "memory": t.3, "disk": t.4,
           "architecture": t.5, "cpu_type": "shared", "storage_type": "local", "deprecated": false,
           "deprecation": null, "category": "Shared", "prices": here.map(price).collect::<Vec<_>>(), "locations": []})
}

pub fn location(l: &(u64, &str, &str, &str, &str)) -> Value {
    json!({"id": l.0, "name": l.1, "description": format!("{} DC Park 1", l.2), "city": l.2, "country": l.3,
           "latitude": 50.0, "longitude": 12.0, "network_zone": l.4})
}

pub fn image(i: &(u64, &str, &str, &str)) -> Value {
    let flavor = i.1.split('-').next();
    json!({"id": i.0, "name": i.1, "description": i.2, "architecture": i.3, "type": "system", "status": "available",
           "bound_to": null, "created": "2024-01-01T00:00:00Z", "created_from": null, "deleted": null,
           "deprecated": null, "disk_size": 5, "image_size": null, "labels": {}, "os_flavor": flavor,
           "os_version": i.1.split('-').nth(1), "protection": {"delete": false}, "rapid_deploy": true})
}

pub fn pricing() -> Value {
    json!({"pricing": {"currency": "EUR", "vat_rate": "19.00", "server_types": [], "volume": {}, "image": {}}})
}
