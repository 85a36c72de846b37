//! Which taskservs go onto which machines, and in which order: what was asked for, with what it requires.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::catalogue::Catalogue;
use crate::definition::{Dependency, DependencyKind, Scope};
use crate::expand;
use crate::machine::Machine;
use crate::problem::{Problem, Problems};
use crate::settings::Settings;
use crate::template;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The taskserv.
    pub name: String,
    /// Host names, in the order that decides who is first.
    pub hosts: Vec<String>,
    /// Its settings.
    pub config: serde_json::Value,
}

/// What is installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// On which machines.
    pub hosts: BTreeSet<String>,
    /// With which settings.
    pub settings: Settings,
}

/// The machines of a workspace and what is on them.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// By host name.
    pub machines: BTreeMap<String, Machine>,
    /// What is installed.
    pub installed: Vec<Installed>,
    /// Where the machines keep packages, unless an installation says otherwise.
    pub folder: Option<String>,
}

/// What to do about a requirement that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Say what is missing.
    Refuse,
    /// Install it first, with its defaults.
    Install,
}

/// Why a step is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// It was asked for.
    Asked,
    /// This taskserv requires it.
    RequiredBy(String),
}

/// One taskserv onto its machines.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its settings.
    pub settings: Settings,
    /// The machines, the first one first.
    pub machines: Vec<Machine>,
    /// Why.
    pub because: Because,
    /// What was chosen of the groups it requires: role -> taskserv, for each machine.
    pub chosen: BTreeMap<String, BTreeMap<String, String>>,
}

/// Steps in order, and what was left out because it is there.
#[derive(Clone, Debug, Default)]
pub struct Resolution {
    /// In order: each after what it requires.
    pub steps: Vec<Step>,
}

struct Draft {
    settings: Settings,
    hosts: Vec<String>,
    because: Because,
    chosen: BTreeMap<String, BTreeMap<String, String>>,
}

/// Puts `wanted` in order and adds what it requires, or says everything that is wrong.
pub fn resolve(
    catalogue: &Catalogue,
    world: &World,
    wanted: &[Wanted],
    missing: Missing,
) -> Result<Resolution, Problems> {
    let mut drafts = read(catalogue, world, wanted)?;
    complete(catalogue, world, &mut drafts, missing)?;
    let mut problems = Problems::new();
    for draft in &drafts {
        problems.extend(counted(catalogue, draft));
    }
    problems.extend(conflicts(catalogue, world, &drafts)?);
    problems.extend(ports(catalogue, world, &drafts)?);
    if !problems.is_empty() {
        return Err(problems);
    }
    let order = order(catalogue, &drafts)?;
    let mut drafts: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    let steps = order.into_iter().filter_map(|index| drafts[index].take()).map(|draft| Step {
        machines: draft.hosts.iter().filter_map(|host| world.machines.get(host).cloned()).collect(),
        settings: draft.settings,
        because: draft.because,
        chosen: draft.chosen,
    });
    Ok(Resolution { steps: steps.collect() })
}

/// Checks names, machines and settings.
fn read(catalogue: &Catalogue, world: &World, wanted: &[Wanted]) -> Result<Vec<Draft>, Problems> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut problems = Problems::new();
    for want in wanted {
        let mut hosts: Vec<String> = Vec::new();
        for (index, host) in want.hosts.iter().enumerate() {
            let field = format!("servers[{index}]");
            let shown: String = host.chars().filter(|c| !c.is_control()).take(64).collect();
            if !world.machines.contains_key(host) {
                problems.push(Problem::invalid(
                    field,
                    format!("there is no server `{shown}` in the workspace"),
                    known(world),
                ));
            } else if hosts.contains(host) {
                problems.push(Problem::invalid(
                    field,
                    format!("`{shown}` stands there twice"),
                    "name each server once",
                ));
            } else {
                hosts.push(host.clone());
            }
        }
        if want.hosts.is_empty() {
            problems.push(Problem::invalid("servers", "it is empty", known(world)));
        }
        match Settings::read(catalogue, &want.name, &want.config, world.folder.as_deref()) {
            Ok(settings) => {
                let twice =
                    drafts.iter().find(|d| d.settings.name == want.name && d.hosts.iter().any(|h| hosts.contains(h)));
                let there = at(world, &want.name, &hosts);
                if twice.is_some() {
                    problems.push(Problem::invalid(
                        "servers",
                        format!("{} is asked for twice on one server", want.name),
                        "once is enough",
                    ));
                } else if !there.is_empty() {
                    let right = "upgrade or delete what is there, or name other servers";
                    problems.push(Problem::conflict(
                        "servers",
                        format!("{} is installed on {}", want.name, there.join(", ")),
                        right,
                    ));
                }
                drafts.push(Draft { settings, hosts, because: Because::Asked, chosen: BTreeMap::new() });
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(drafts) } else { Err(problems) }
}

fn known(world: &World) -> String {
    let names: Vec<&str> = world.machines.keys().take(20).map(String::as_str).collect();
    if names.is_empty() {
        "create a server first".into()
    } else {
        format!("name servers of it, as {}", names.join(", "))
    }
}

fn at(world: &World, name: &str, hosts: &[String]) -> Vec<String> {
    let of_name = world.installed.iter().filter(|installed| installed.settings.name == name);
    let there: BTreeSet<&String> = of_name.flat_map(|installed| &installed.hosts).collect();
    hosts.iter().filter(|host| there.contains(host)).cloned().collect()
}

/// Adds what is required until nothing is missing. What one pass adds may itself require something on a machine whose
/// turn is over, so passes go on until one adds nothing.
fn complete(catalogue: &Catalogue, world: &World, drafts: &mut Vec<Draft>, missing: Missing) -> Result<(), Problems> {
    loop {
        let before: usize = drafts.iter().map(|draft| draft.hosts.len()).sum();
        let mut problems = Problems::new();
        let mut next = 0;
        while next < drafts.len() {
            problems.extend(complete_one(catalogue, world, drafts, next, missing)?);
            next += 1;
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if before == drafts.iter().map(|draft| draft.hosts.len()).sum::<usize>() {
            return Ok(());
        }
    }
}

fn complete_one(
    catalogue: &Catalogue,
    world: &World,
    drafts: &mut Vec<Draft>,
    index: usize,
    missing: Missing,
) -> Result<Problems, Problems> {
    let mut problems = Problems::new();
    let (name, hosts) = (drafts[index].settings.name.clone(), drafts[index].hosts.clone());
    let install = drafts[index].settings.install_missing.unwrap_or(missing == Missing::Install);
    for dependency in required(catalogue, &drafts[index].settings)? {
        for host in &hosts {
            let there = dependency.on.iter().find(|option| has(world, drafts, option, host, dependency.scope));
            let option = match there {
                Some(option) => option.clone(),
                None if install => {
                    let option = dependency.on.first().cloned().unwrap_or_default();
                    add(catalogue, world, drafts, &option, host, &name)?;
                    option
                }
                None => {
                    let options = dependency.on.join(" or ");
                    let right = format!("install {options} first, or set config.dependencies to install");
                    problems.push(Problem::invalid("name", format!("{name} requires {options} on {host}"), right));
                    continue;
                }
            };
            if let Some(role) = &dependency.role {
                drafts[index].chosen.entry(host.clone()).or_default().insert(role.clone(), option);
            }
        }
    }
    Ok(problems)
}

/// Puts `name` onto `host`: beside what this resolution already adds of it, or as a step of its own.
fn add(
    catalogue: &Catalogue,
    world: &World,
    drafts: &mut Vec<Draft>,
    name: &str,
    host: &str,
    by: &str,
) -> Result<(), Problems> {
    let added = |draft: &&mut Draft| draft.settings.name == name && draft.because != Because::Asked;
    if let Some(draft) = drafts.iter_mut().find(added) {
        draft.hosts.push(host.to_owned());
        return Ok(());
    }
    let settings = Settings::read(catalogue, name, &serde_json::Value::Null, world.folder.as_deref())
        .map_err(|found| found.into_iter().map(|problem| for_required(problem, name, by)).collect::<Problems>())?;
    let because = Because::RequiredBy(by.to_owned());
    drafts.push(Draft { settings, hosts: vec![host.to_owned()], because, chosen: BTreeMap::new() });
    Ok(())
}

fn for_required(problem: Problem, name: &str, by: &str) -> Problem {
    let right = format!("install {name} by itself first: {}", problem.right);
    Problem::invalid("name", format!("{by} requires {name}, whose {}: {}", problem.field, problem.problem), right)
}

/// The dependencies of kind Requires that hold for these settings.
fn required<'a>(catalogue: &'a Catalogue, settings: &Settings) -> Result<Vec<&'a Dependency>, Problems> {
    related(catalogue, settings, DependencyKind::Requires)
}

fn related<'a>(
    catalogue: &'a Catalogue,
    settings: &Settings,
    kind: DependencyKind,
) -> Result<Vec<&'a Dependency>, Problems> {
    let context = settings.context();
    let mut list = Vec::new();
    for dependency in catalogue.get(&settings.name).into_iter().flat_map(|d| &d.depends).filter(|d| d.kind == kind) {
        match template::holds(dependency.when.as_deref(), &context) {
            Ok(true) => list.push(dependency),
            Ok(false) => {}
            Err(why) => return Err(vec![Problem::catalogue(&settings.name, why, "mend the condition")]),
        }
    }
    Ok(list)
}

fn has(world: &World, drafts: &[Draft], name: &str, host: &str, scope: Scope) -> bool {
    let anywhere = scope == Scope::Workspace;
    let planned = drafts.iter().any(|d| d.settings.name == name && (anywhere || d.hosts.iter().any(|h| h == host)));
    planned || world.installed.iter().any(|i| i.settings.name == name && (anywhere || i.hosts.contains(host)))
}

fn counted(catalogue: &Catalogue, draft: &Draft) -> Option<Problem> {
    let definition = catalogue.get(&draft.settings.name)?;
    let (count, servers) = (draft.hosts.len(), definition.servers);
    let odd = servers.odd && count % 2 == 0;
    if count >= servers.min && count <= servers.max && !odd {
        return None;
    }
    let number = if servers.odd { "an odd number of servers, " } else { "" };
    let right = format!("name {number}from {} to {}", servers.min, servers.max);
    Some(Problem::invalid("servers", format!("{} servers for {}", count, definition.name), right))
}

fn conflicts(catalogue: &Catalogue, world: &World, drafts: &[Draft]) -> Result<Problems, Problems> {
    let mut problems = Problems::new();
    for (index, draft) in drafts.iter().enumerate() {
        for dependency in related(catalogue, &draft.settings, DependencyKind::ConflictsWith)? {
            for other in &dependency.on {
                for host in &draft.hosts {
                    let planned = drafts.iter().skip(index + 1).chain(drafts.iter().take(index));
                    let mut planned = planned.filter(|d| &d.settings.name == other);
                    let name = &draft.settings.name;
                    if planned.any(|d| d.hosts.contains(host)) {
                        let right = "take one of them";
                        problems.push(Problem::invalid(
                            "name",
                            format!("{name} and {other} cannot both be on {host}"),
                            right,
                        ));
                    } else if !at(world, other, std::slice::from_ref(host)).is_empty() {
                        let right = format!("delete {other} there first, or name other servers");
                        problems.push(Problem::conflict(
                            "name",
                            format!("{name} cannot be where {other} is: on {host}"),
                            right,
                        ));
                    }
                }
            }
        }
    }
    // Both sides may name the other: one message is enough.
    problems.dedup_by(|a, b| a.problem == b.problem);
    Ok(problems)
}

/// Two taskservs cannot listen at the same place.
fn ports(catalogue: &Catalogue, world: &World, drafts: &[Draft]) -> Result<Problems, Problems> {
    let mut taken: BTreeMap<(&str, String, u16), &str> = BTreeMap::new();
    for installed in &world.installed {
        for port in expand::ports(catalogue, &installed.settings).unwrap_or_default() {
            for host in &installed.hosts {
                taken.insert((host, port.protocol.clone(), port.number), &installed.settings.name);
            }
        }
    }
    let mut problems = Problems::new();
    for draft in drafts {
        let name = draft.settings.name.as_str();
        for port in expand::ports(catalogue, &draft.settings)? {
            for host in &draft.hosts {
                match taken.insert((host, port.protocol.clone(), port.number), name) {
                    Some(other) if other != name => {
                        let at = format!("{} port {} on {host}", port.protocol, port.number);
                        let right = "set another port for one of them";
                        problems.push(Problem::invalid("config", format!("{name} and {other} both want {at}"), right));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(problems)
}

/// Each after what it requires or prefers to follow; among those that are free, by name.
fn order(catalogue: &Catalogue, drafts: &[Draft]) -> Result<Vec<usize>, Problems> {
    let mut before: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); drafts.len()];
    for (index, draft) in drafts.iter().enumerate() {
        let required = related(catalogue, &draft.settings, DependencyKind::Requires)?;
        let preferred = related(catalogue, &draft.settings, DependencyKind::PrefersBefore)?;
        for other in required.iter().chain(&preferred).flat_map(|dependency| &dependency.on) {
            let of_name = drafts.iter().enumerate().filter(|(_, d)| &d.settings.name == other).map(|(i, _)| i);
            before[index].extend(of_name.filter(|i| *i != index));
        }
    }
    let mut order = Vec::new();
    let mut left: BTreeSet<(&str, usize)> =
        drafts.iter().enumerate().map(|(i, d)| (d.settings.name.as_str(), i)).collect();
    while !left.is_empty() {
        let free = left.iter().find(|(_, index)| before[*index].iter().all(|i| order.contains(i))).copied();
        let Some((name, index)) = free else {
            let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
            let problem = format!("{} require each other", names.join(", "));
            return Err(vec![Problem::catalogue("name", problem, "take one of the dependencies out of the catalogue")]);
        };
        left.remove(&(name, index));
        order.push(index);
    }
    Ok(order)
}

/// What is installed on `hosts` and would miss `name` there.
pub fn dependents<'a>(
    catalogue: &Catalogue,
    world: &'a World,
    name: &str,
    hosts: &BTreeSet<String>,
) -> Result<Vec<&'a Installed>, Problems> {
    let mut found = Vec::new();
    for installed in world.installed.iter().filter(|installed| installed.settings.name != name) {
        let needs_it = required(catalogue, &installed.settings)?.into_iter().any(|dependency| {
            dependency.on.iter().any(|option| option == name)
                && installed.hosts.iter().any(|host| {
                    let lost = dependency.scope == Scope::Workspace || hosts.contains(host);
                    lost && !dependency
                        .on
                        .iter()
                        .any(|option| remains(world, option, host, dependency.scope, name, hosts))
                })
        });
        if needs_it {
            found.push(installed);
        }
    }
    Ok(found)
}

fn remains(world: &World, option: &str, host: &str, scope: Scope, gone: &str, hosts: &BTreeSet<String>) -> bool {
    let of_name = world.installed.iter().filter(|installed| installed.settings.name == option);
    of_name.flat_map(|installed| &installed.hosts).any(|at| {
        let stays = option != gone || !hosts.contains(at);
        stays && (scope == Scope::Workspace || at == host)
    })
}
