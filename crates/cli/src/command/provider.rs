//! `reeve provider`: who rents out servers, and what they offer.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{push, segment};
use crate::Session;
use crate::api::{PROVISIONING, Query};
use crate::failure::Outcome;
use crate::view::{View, column, text};

/// Providers.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List providers, and whether they can be used
    #[command(visible_alias = "ls")]
    List(Whose),
    /// List sizes with their prices
    Plans(Which),
    /// List places
    Zones(Which),
    /// List systems
    Images(Which),
}

#[derive(Debug, Clone, Args)]
struct Whose {
    /// Ask with this workspace's credentials instead of those of the server's environment
    #[arg(long, short)]
    workspace: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// The provider, e.g. local
    provider: String,
    #[command(flatten)]
    whose: Whose,
}

static VIEW: View = View {
    plural: "providers",
    columns: &[
        column("NAME", 9, 6, |provider, _| text(provider, "name")),
        column("USABLE", 8, 3, |provider, _| text(provider, "configured")),
        column("CREDENTIALS", 7, 6, |provider, _| text(provider, "credentials")),
        column("TITLE", 6, 6, |provider, _| text(provider, "title")),
        column("FIELDS", 5, 6, |provider, _| fields(provider)),
    ],
    name: |provider| text(provider, "name"),
};

static PLANS: View = View {
    plural: "plans",
    columns: &[
        column("NAME", 9, 6, |plan, _| text(plan, "name")),
        column("CPUS", 8, 3, |plan, _| text(plan, "cpu_cores")),
        column("MEMORY MIB", 8, 5, |plan, _| text(plan, "memory_mib")),
        column("DISK GB", 7, 4, |plan, _| text(plan, "disk_gb")),
        column("PRICE AN HOUR", 7, 6, |plan, _| prices(plan)),
        column("ARCHITECTURE", 3, 6, |plan, _| text(plan, "architecture")),
        column("ZONES", 1, 6, |plan, _| text(plan, "zones")).wide(),
    ],
    name: |plan| text(plan, "name"),
};

static ZONES: View = View {
    plural: "zones",
    columns: &[
        column("NAME", 9, 6, |zone, _| text(zone, "name")),
        column("TITLE", 8, 6, |zone, _| text(zone, "title")),
        column("PUBLIC", 7, 3, |zone, _| text(zone, "public")),
    ],
    name: |zone| text(zone, "name"),
};

static IMAGES: View = View {
    plural: "images",
    columns: &[
        column("NAME", 9, 6, |image, _| text(image, "name")),
        column("TITLE", 8, 6, |image, _| text(image, "title")),
        column("LOGIN", 7, 3, |image, _| text(image, "login_user")),
        column("ARCHITECTURE", 6, 6, |image, _| text(image, "architecture")),
        column("ID", 5, 6, |image, _| text(image, "id")),
    ],
    name: |image| text(image, "name"),
};

fn fields(provider: &Value) -> String {
    let names = provider["fields"].as_array().into_iter().flatten().map(|field| text(field, "name"));
    let names: Vec<String> = names.collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

/// What an hour costs: one price, or from the cheapest zone to the dearest.
fn prices(plan: &Value) -> String {
    let prices: Vec<(f64, String)> = plan["prices"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|price| Some((price["per_hour"].as_str()?.parse().ok()?, text(price, "currency"))))
        .collect();
    let by_amount = |a: &&(f64, String), b: &&(f64, String)| a.0.total_cmp(&b.0);
    let (Some(least), Some(most)) = (prices.iter().min_by(by_amount), prices.iter().max_by(by_amount)) else {
        return "-".to_owned();
    };
    let unit = if least.1 == "-" { String::new() } else { format!(" {}", least.1) };
    if least.0 == most.0 { format!("{}{unit}", least.0) } else { format!("{} to {}{unit}", least.0, most.0) }
}

/// Runs `reeve provider`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let (view, path, whose) = match noun.verb {
        Verb::List(whose) => (&VIEW, String::new(), whose),
        Verb::Plans(which) => (&PLANS, format!("/{}/plans", segment(&which.provider)), which.whose),
        Verb::Zones(which) => (&ZONES, format!("/{}/zones", segment(&which.provider)), which.whose),
        Verb::Images(which) => (&IMAGES, format!("/{}/images", segment(&which.provider)), which.whose),
    };
    let mut query = Query::new();
    push(&mut query, "workspace", whose.workspace);
    let listing = api.rows(&format!("{PROVISIONING}/providers{path}"), &query).await?;
    session.show_list(view, &listing)
}
