//! The desired state of a fleet as a file: what `reeve export` writes and `reeve apply` brings about, through the public
//! API. Each kind of object is a section of the file and a module here.

pub mod alias;
pub mod cluster;
pub mod document;
pub mod fleet;
pub mod key;
pub mod node;
pub mod plan;
pub mod ssh_username;
pub mod webhook;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};

use fleet::Fleet;
use serde_json::{Map, Value};

use crate::api::Api;
use crate::failure::Outcome;

/// Fields of an object by name; an absent field is left as it is, a null one is taken away.
pub type Spec = Map<String, Value>;

/// Objects of one kind by what people call them.
pub type Section = BTreeMap<String, Spec>;

/// An object that the server has.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// Its fields, those that the file can name.
    pub spec: Spec,
    /// Its id in paths, where that is not its name.
    pub id: String,
    /// For people who read the file.
    pub comment: Option<String>,
    /// It has something that the server never shows.
    pub has_secret: bool,
    /// Why an export leaves it out.
    pub left_out: Option<String>,
}

/// What a server has of one kind.
#[derive(Debug, Default)]
pub struct Found {
    /// By the names that the file uses.
    pub objects: BTreeMap<String, Present>,
    /// What cannot be named in a file, in words.
    pub nameless: Vec<String>,
    /// What the server never shows of an object, by its name, in words.
    pub unread: BTreeMap<String, String>,
    /// The nodes that the server has, where objects need one.
    pub nodes: BTreeSet<String>,
}

/// What is to be done about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is as the file says.
    Same,
    /// It is not there.
    Create,
    /// Fields differ: name, present value, wanted value.
    Change(Vec<(String, Value, Value)>),
    /// It cannot be made by an API call; it will be as the file says once it appears.
    Wait(String),
    /// It can never become what the file says.
    Refuse(String),
}

/// The kinds, in the order in which they are brought about; they are deleted in the opposite order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Clusters.
    Cluster,
    /// Enrollment keys; they need their cluster.
    EnrollmentKey,
    /// Nodes; they need the cluster they are moved to.
    Node,
    /// Aliases; they need their node, in its cluster.
    Alias,
    /// SSH usernames with their keys; they need their node.
    SshUsername,
    /// Webhooks.
    Webhook,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 6] =
        [Self::Cluster, Self::EnrollmentKey, Self::Node, Self::Alias, Self::SshUsername, Self::Webhook];

    /// The section's name in the file.
    pub fn section(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::EnrollmentKey => "enrollment_keys",
            Self::Node => "nodes",
            Self::Alias => "aliases",
            Self::SshUsername => "ssh_usernames",
            Self::Webhook => "webhooks",
        }
    }

    /// One of them, in words.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::EnrollmentKey => "enrollment key",
            Self::Node => "node",
            Self::Alias => "alias",
            Self::SshUsername => "SSH username",
            Self::Webhook => "webhook",
        }
    }

    /// Whether what the file does not name may be deleted. A machine is never taken out of the fleet by a file.
    pub fn is_pruned(self) -> bool {
        match self {
            Self::Cluster | Self::EnrollmentKey | Self::Alias | Self::SshUsername | Self::Webhook => true,
            Self::Node => false,
        }
    }

    /// Fields that are written and never read.
    pub fn secrets(self) -> &'static [&'static str] {
        match self {
            Self::SshUsername => &["password"],
            Self::Webhook => &webhook::SECRETS,
            Self::Cluster | Self::EnrollmentKey | Self::Node | Self::Alias => &[],
        }
    }

    /// What of `wanted` cannot be held against an object that is there, in words.
    pub fn incomparable(self, name: &str, wanted: &Spec, present: &Present) -> Option<String> {
        let known_absent = |field: &str| field == "headers" && !present.has_secret;
        let fields: Vec<&str> = self.secrets().iter().copied().filter(|f| wanted.contains_key(*f)).collect();
        let fields: Vec<&str> = fields.into_iter().filter(|field| !known_absent(field)).collect();
        if fields.is_empty() {
            return None;
        }
        let noun = self.noun();
        Some(format!("{noun} {name}: its {} cannot be compared and stays as it is", fields.join(" and ")))
    }

    /// What the server has.
    pub async fn read(self, api: &Api, now: jiff::Timestamp, fleet: &mut Fleet) -> Outcome<Found> {
        match self {
            Self::Cluster => cluster::read(api).await,
            Self::EnrollmentKey => key::read(api, now).await,
            Self::Node => node::read(api, fleet).await,
            Self::Alias => alias::read(api, fleet).await,
            Self::SshUsername => ssh_username::read(api, fleet).await,
            Self::Webhook => webhook::read(api).await,
        }
    }

    /// What is to be done so that the object becomes `wanted`.
    pub fn step(self, name: &str, wanted: &Spec, present: Option<&Present>, found: &Found) -> Step {
        match self {
            Self::Cluster => cluster::step(wanted, present),
            Self::EnrollmentKey => key::step(wanted, present),
            Self::Node => node::step(wanted, present),
            Self::Alias => alias::step(wanted, present, found),
            Self::SshUsername => ssh_username::step(name, wanted, present, found),
            Self::Webhook => webhook::step(wanted, present),
        }
    }

    /// Makes an object; a secret that was drawn for it is told here and never again.
    pub async fn create(self, api: &Api, name: &str, wanted: &Spec) -> Outcome<Option<String>> {
        match self {
            Self::Cluster => cluster::create(api, name, wanted).await?,
            Self::EnrollmentKey => key::create(api, name, wanted).await?,
            // A step of a node is never this one.
            Self::Node => {}
            Self::Alias => alias::create(api, name, wanted).await?,
            Self::SshUsername => ssh_username::create(api, name, wanted).await?,
            Self::Webhook => return webhook::create(api, name, wanted).await,
        }
        Ok(None)
    }

    /// Changes an object.
    pub async fn change(self, api: &Api, name: &str, present: &Present, wanted: &Spec) -> Outcome<()> {
        match self {
            Self::Cluster => cluster::change(api, name, wanted).await,
            Self::EnrollmentKey => key::change(api, present, wanted).await,
            Self::Node => node::change(api, present, wanted).await,
            Self::Alias => alias::change(api, name, present, wanted).await,
            Self::SshUsername => ssh_username::change(api, present, wanted).await,
            Self::Webhook => webhook::change(api, present, wanted).await,
        }
    }

    /// Deletes an object.
    pub async fn delete(self, api: &Api, name: &str, present: &Present) -> Outcome<()> {
        match self {
            Self::Cluster => cluster::delete(api, name).await,
            Self::EnrollmentKey => key::delete(api, present).await,
            Self::Node => Ok(()),
            Self::Alias => alias::delete(api, present).await,
            Self::SshUsername => ssh_username::delete(api, present).await,
            Self::Webhook => webhook::delete(api, present).await,
        }
    }
}

/// What is on a node that has not enrolled cannot be made yet.
fn waits_for(node: &str, found: &Found) -> Option<Step> {
    let why = format!("needs node {node}, which has not enrolled with this server yet; apply again once it has");
    (!found.nodes.contains(node)).then_some(Step::Wait(why))
}

/// The fields of `wanted` that differ from the present ones.
fn differences(wanted: &Spec, present: &Spec) -> Vec<(String, Value, Value)> {
    let fields = wanted.iter().filter_map(|(field, value)| {
        let now = present.get(field).cloned().unwrap_or_default();
        (now != *value).then(|| (field.clone(), now, value.clone()))
    });
    fields.collect()
}

fn step_by_fields(wanted: &Spec, present: &Spec) -> Step {
    let changes = differences(wanted, present);
    if changes.is_empty() { Step::Same } else { Step::Change(changes) }
}
