//! `reeve server`: machines that are made, switched, reached and deleted.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::operation::{self, Extent, Wait};
use super::provisioned::{Called, Kind};
use super::workspace;
use crate::Session;
use crate::api::{Api, Query};
use crate::args::label_change;
use crate::failure::{Failure, Outcome};
use crate::view::{View, age, column, state_style, text};

/// Servers.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List servers
    #[command(visible_alias = "ls")]
    List {
        /// Only servers of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
        /// Only servers in this state
        #[arg(long, value_parser = ["creating", "running", "stopped", "error", "deleting"])]
        status: Option<String>,
        /// Only servers of this provider
        #[arg(long)]
        provider: Option<String>,
    },
    /// Create servers
    Create(Box<Create>),
    /// Take in a machine that is there already, by its address and an SSH key
    Adopt(Box<Adopt>),
    /// Show one server with everything known about it
    #[command(visible_alias = "get")]
    Show(Which),
    /// Ask the provider how a server stands
    Status(Which),
    /// Open a shell on a server, or run a command there
    Ssh(super::server_ssh::Ssh),
    /// Switch servers on
    Start(Switch),
    /// Switch servers off
    Stop(Switch),
    /// Restart servers
    Reboot(Switch),
    /// Delete servers
    #[command(visible_alias = "rm")]
    Delete {
        /// The servers, by hostname or id
        #[arg(required = true)]
        servers: Vec<String>,
        /// Past the delete lock and what others have on it, and even when the provider does not answer
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// The server, by hostname or id
    server: String,
}

#[derive(Debug, Clone, Args)]
struct Switch {
    /// The servers, by hostname or id
    #[arg(required = true)]
    servers: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  reeve server create db --provider local\n  \
reeve server create web --count 3 --provider upcloud --plan 2xCPU-4GB --zone de-fra1 --check\n  \
reeve server create a b c --wait -o json")]
struct Create {
    /// The hostnames
    #[arg(required = true)]
    hostnames: Vec<String>,
    /// This many, called NAME-1, NAME-2, ...
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    count: Option<u32>,
    #[command(flatten)]
    place: Place,
    /// The provider; the workspace's default when absent
    #[arg(long)]
    provider: Option<String>,
    /// The size; the workspace's default when absent
    #[arg(long)]
    plan: Option<String>,
    /// The place; the workspace's default when absent
    #[arg(long)]
    zone: Option<String>,
    /// The system to start from; the workspace's default when absent
    #[arg(long)]
    image: Option<String>,
    /// Size of the first disk in GB
    #[arg(long, value_name = "GB")]
    disk: Option<u32>,
    /// Enroll it as an edge node when it first starts
    #[arg(long)]
    enroll: bool,
    /// Keep what was made when something fails
    #[arg(long)]
    preserve_on_failure: bool,
    #[command(flatten)]
    extent: Extent,
}

#[derive(Debug, Clone, Args)]
struct Place {
    /// The workspace; the active one when absent
    #[arg(long, short)]
    workspace: Option<String>,
    /// A word for it; repeatable, or several after a comma
    #[arg(long, value_delimiter = ',')]
    tag: Vec<String>,
    /// A label KEY=VALUE; repeatable
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = label_change)]
    label: Vec<(String, Option<String>)>,
    /// Refuse to delete it without --force
    #[arg(long)]
    delete_lock: bool,
}

#[derive(Debug, Clone, Args)]
struct Adopt {
    /// What to call it
    hostname: String,
    /// Where it is
    #[arg(long)]
    address: String,
    /// Port of its SSH server
    #[arg(long, default_value_t = 22)]
    port: u16,
    /// Who to log in as
    #[arg(long, default_value = "root")]
    user: String,
    /// An OpenSSH private key that opens it; without it the workspace's own key must (`reeve workspace key` prints it)
    #[arg(long, value_name = "FILE")]
    key: Option<std::path::PathBuf>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wait: Wait,
}

static VIEW: View = View {
    plural: "servers",
    columns: &[
        column("NAME", 9, 6, |server, _| text(server, "hostname")),
        column("STATUS", 8, 6, |server, _| text(server, "status")).coloured(state_style),
        column("ADDRESS", 8, 9, |server, _| text(server, "ip_address")),
        column("PROVIDER", 7, 5, |server, _| text(server, "provider")),
        column("PLAN", 6, 5, |server, _| text(server, "plan")),
        column("ZONE", 5, 5, |server, _| text(server, "zone")),
        column("AGE", 7, 3, |server, now| age(server, "created_at", now)),
        column("ID", 6, 10, |server, _| text(server, "id")),
        column("IMAGE", 1, 5, |server, _| text(server, "image")).details(),
        column("TAGS", 1, 5, |server, _| text(server, "tags")).details(),
        column("LABELS", 1, 5, |server, _| text(server, "labels")).details(),
        column("SSH", 1, 5, |server, _| format!("{} port {}", text(server, "ssh_user"), text(server, "ssh_port")))
            .details(),
        column("HOST KEY", 1, 5, |server, _| text(server, "host_key")).details(),
        column("NODE", 1, 5, |server, _| text(server, "node_id")).details(),
        column("DELETE LOCK", 1, 5, |server, _| text(server, "delete_lock")).details(),
        column("PROVIDER ID", 1, 5, |server, _| text(server, "provider_id")).details(),
        column("PROBLEM", 1, 5, |server, _| text(server, "problem")).details(),
    ],
    name: |server| text(server, "id"),
};

pub(super) static KIND: Kind =
    Kind { noun: "server", lines: &VIEW, view: &VIEW, whole: "", called: Called::Name("hostname") };

/// Runs `reeve server`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List { workspace, status, provider } => {
            let filters = [("workspace", workspace), ("status", status), ("provider", provider)];
            KIND.list(session, &api, filters, 0).await
        }
        Verb::Create(create) => make(*create, session, &api).await,
        Verb::Adopt(adopt) => take_in(*adopt, session, &api).await,
        Verb::Show(Which { server }) => KIND.show(session, &api, &server).await,
        Verb::Status(Which { server }) => {
            let server = api.get(&format!("{}/status", KIND.path(&api, &server).await?), &Query::new()).await?;
            session.show(&VIEW, &server)
        }
        Verb::Ssh(args) => super::server_ssh::run(args, session, &api).await,
        Verb::Start(switch) => power(switch, "start", session, &api).await,
        Verb::Stop(switch) => power(switch, "stop", session, &api).await,
        Verb::Reboot(switch) => power(switch, "reboot", session, &api).await,
        Verb::Delete { servers, force, wait } => {
            let mut begun = Vec::new();
            for server in servers {
                let body = json!({ "force": force });
                let path = KIND.path(&api, &server).await?;
                let operation = api.call(Method::DELETE, &path, &Query::new(), Some(&body)).await?;
                begun.push((format!("deleting {server}"), operation));
            }
            operation::begun(session, &api, begun, &wait).await
        }
    }
}

async fn make(create: Create, session: &mut Session<'_>, api: &Api) -> Outcome<u8> {
    let workspace = workspace::chosen(api, create.place.workspace.clone()).await?;
    let names = match create.count {
        None => create.hostnames.clone(),
        Some(count) => {
            create.hostnames.iter().flat_map(|name| (1..=count).map(move |n| format!("{name}-{n}"))).collect()
        }
    };
    let mut begun = Vec::new();
    for name in names {
        let mut body = create.place.body(&workspace, &name);
        body["provider"] = json!(create.provider);
        body["plan"] = json!(create.plan);
        body["zone"] = json!(create.zone);
        body["image"] = json!(create.image);
        body["disk_gb"] = json!(create.disk);
        body["enroll"] = json!(create.enroll);
        body["check_mode"] = json!(create.extent.check);
        body["preserve_on_failure"] = json!(create.preserve_on_failure);
        let operation = api.post(&format!("{}/create", KIND.base()), &body).await?;
        let what = if create.extent.check { "checking" } else { "creating" };
        begun.push((format!("{what} {name}"), operation));
    }
    operation::begun(session, api, begun, &create.extent.wait()).await
}

async fn take_in(adopt: Adopt, session: &mut Session<'_>, api: &Api) -> Outcome<u8> {
    let workspace = workspace::chosen(api, adopt.place.workspace.clone()).await?;
    let mut body = adopt.place.body(&workspace, &adopt.hostname);
    body["provider"] = json!("ssh");
    body["address"] = json!(adopt.address);
    body["ssh_port"] = json!(adopt.port);
    body["ssh_user"] = json!(adopt.user);
    if let Some(file) = &adopt.key {
        let key = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read {}: {error}", file.display()), "give --key a readable private key")
        })?;
        body["ssh_private_key"] = json!(key);
    }
    let operation = api.post(&format!("{}/create", KIND.base()), &body).await?;
    operation::begun(session, api, vec![(format!("taking in {}", adopt.hostname), operation)], &adopt.wait).await
}

async fn power(switch: Switch, verb: &str, session: &mut Session<'_>, api: &Api) -> Outcome<u8> {
    let mut begun = Vec::new();
    for server in switch.servers {
        let path = format!("{}/{verb}", KIND.path(api, &server).await?);
        begun.push((format!("{verb} of {server}"), api.post(&path, &json!({})).await?));
    }
    operation::begun(session, api, begun, &switch.wait).await
}

impl Place {
    fn body(&self, workspace: &str, hostname: &str) -> Value {
        let labels: serde_json::Map<String, Value> =
            self.label.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?.into()))).collect();
        json!({
            "workspace": workspace, "hostname": hostname, "tags": self.tag, "labels": labels,
            "delete_lock": self.delete_lock,
        })
    }
}
