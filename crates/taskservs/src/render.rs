//! Makes the bundle of one taskserv for one machine.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bundle::{BEGIN, Bundle, BundleFile, HOME};
use crate::catalogue::Catalogue;
use crate::definition::{Definition, Download};
use crate::expand;
use crate::facts::Facts;
use crate::machine::Machine;
use crate::phase::Phase;
use crate::problem::{Problem, Problems};
use crate::quote;
use crate::service;
use crate::settings::{PACKAGED, Settings, Source};
use crate::template::{self, Context};

/// What a bundle is made from.
#[derive(Clone, Debug)]
pub struct RenderInput<'a> {
    /// Definitions.
    pub catalogue: &'a Catalogue,
    /// The installation's values.
    pub settings: &'a Settings,
    /// The machine, by its place in `machines`.
    pub index: usize,
    /// All machines of the installation, the first one first.
    pub machines: &'a [Machine],
    /// What the machine is.
    pub facts: &'a Facts,
    /// What was chosen of required groups on this machine: role -> taskserv.
    pub chosen: &'a BTreeMap<String, String>,
    /// Where other taskservs of the workspace are.
    pub placed: &'a BTreeMap<String, Vec<Machine>>,
    /// What the first machine exported.
    pub exports: &'a BTreeMap<String, String>,
    /// On removal: data goes too.
    pub purge: bool,
    /// The change that the machine is led through.
    pub change: Change<'a>,
}

/// A change that a machine is led through. What it replaces is kept until the next one begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<'a> {
    /// None: it is only asked, or rid of it.
    #[default]
    None,
    /// The one of this id.
    Under(&'a str),
    /// Back to what was there before the one of this id.
    Back(&'a str),
}

/// The bundle, or everything wrong with the values for it.
pub fn render(input: &RenderInput<'_>) -> Result<Bundle, Problems> {
    let settings = input.settings;
    let definition = input.catalogue.find("name", &settings.name).map_err(|problem| vec![problem])?;
    let context = context(input, definition)?;
    let files = expand::files(input.catalogue, definition, &context)?;
    let folders = expand::folders(definition, &context)?;
    let wrong = |(at, why): (String, String)| {
        vec![Problem::catalogue(format!("{}: {at}", definition.name), why, "mend the definition")]
    };
    let variables = template::plain_map(&definition.variables, &context).map_err(wrong)?;
    let service = match &definition.service {
        Some(service) => service::fill(service, &context).map_err(wrong)?,
        None => None,
    };

    let mut parts = BTreeMap::new();
    let mut manifest = String::new();
    for folder in &folders {
        let kind = if folder.data { "data" } else { "folder" };
        manifest.push_str(&format!("{kind} {} {} - {}\n", folder.mode, folder.owner, folder.path));
    }
    for (index, file) in files.iter().enumerate() {
        let payload = format!("file-{index:03}");
        let kind = if file.once { "once" } else { "file" };
        manifest.push_str(&format!("{kind} {} {} {payload} {}\n", file.mode, file.owner, file.path));
        parts.insert(payload, file.content.clone());
    }
    parts.insert("manifest".into(), manifest);
    if let Some(service) = &service {
        let unit = service.unit(&definition.title).map_err(|error| {
            vec![Problem::invalid("config (service)", error.to_string(), "use values without control characters")]
        })?;
        parts.insert("service.unit".into(), unit);
        parts.insert("service.env".into(), service.supervised());
    }
    let digest = digest(&parts);
    let env = env(input, definition, &context, variables, service.is_some(), &digest)?;
    parts.insert("env".into(), env);
    parts.insert("lib.sh".into(), input.catalogue.library().to_owned());
    parts.insert("supervise.sh".into(), input.catalogue.supervisor().to_owned());
    for phase in Phase::SCRIPTED {
        parts.insert(format!("{phase}.sh"), script(input.catalogue, &settings.name, phase));
    }
    let files = files
        .into_iter()
        .map(|file| BundleFile {
            path: file.path,
            mode: file.mode,
            owner: file.owner,
            content: file.content,
            secret: file.secret,
        })
        .collect();
    Ok(Bundle { name: settings.name.clone(), files, parts, digest })
}

/// The script of a phase: the library's part, between what the taskserv itself has to say before and after it.
pub(crate) fn script(catalogue: &Catalogue, name: &str, phase: Phase) -> String {
    let mut body = String::new();
    // Functions that several phases use: what is healthy, which version runs.
    for file in ["functions.sh".to_owned(), format!("{phase}.sh")] {
        if let Some(text) = catalogue.file(name, &file) {
            body.push_str(text);
            body.push('\n');
        }
    }
    format!(
        "#!/bin/sh\nset -eu\numask 022\ncd \"$(dirname \"$0\")\"\n. ./env\n. ./lib.sh\n{BEGIN}\nset -eu\n{body}phase_{phase}\n"
    )
}

fn digest(parts: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, text) in parts {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex::encode(hash.finalize())
}

fn context(input: &RenderInput<'_>, definition: &Definition) -> Result<Context, Problems> {
    let settings = input.settings;
    let Some(machine) = input.machines.get(input.index) else {
        return Err(vec![Problem::invalid("servers", "it is empty", "name at least one server")]);
    };
    let peers: Vec<&Machine> = input.machines.iter().filter(|other| *other != machine).collect();
    let mut context = settings.context();
    let Value::Object(map) = &mut context else { return Err(Vec::new()) };
    map.insert(
        "host".into(),
        json!({
            "hostname": machine.hostname, "address": machine.address, "index": input.index, "first": input.index == 0,
            "facts": input.facts,
        }),
    );
    map.insert("hosts".into(), json!(input.machines));
    map.insert("peers".into(), json!(peers));
    map.insert("first".into(), json!(input.machines.first()));
    map.insert("chosen".into(), json!(input.chosen));
    map.insert("placed".into(), json!(input.placed));
    map.insert("exports".into(), json!(input.exports));
    let packaged = matches!(settings.source, Source::Package | Source::Folder) && !definition.packages.is_empty();
    map.insert("bin".into(), json!(if packaged { "/usr/bin" } else { "/usr/local/bin" }));
    map.insert("systemd".into(), json!(input.facts.init == "systemd"));
    map.insert("home".into(), json!(format!("{HOME}/{}", settings.name)));
    let line = settings.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    map.insert("version_line".into(), json!(line));
    let arch = definition.download.as_ref().and_then(|download| download.arch.get(&input.facts.arch));
    map.insert("arch".into(), json!(arch.unwrap_or(&input.facts.arch)));
    Ok(context)
}

/// Shell variables for the scripts: each value one quoted word.
fn env(
    input: &RenderInput<'_>,
    definition: &Definition,
    context: &Context,
    variables: BTreeMap<String, String>,
    service: bool,
    digest: &str,
) -> Result<String, Problems> {
    let settings = input.settings;
    let machine = &input.machines[input.index];
    let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
    let lines = |words: &[String]| words.join("\n");
    let mut packages = Vec::new();
    for package in &definition.packages {
        let names = template::plain(package, context)
            .map_err(|why| vec![Problem::catalogue(format!("{}: packages", definition.name), why, "mend it")])?;
        packages.extend(names.split_whitespace().map(str::to_owned));
    }
    let change = match input.change {
        Change::None => "",
        Change::Under(id) | Change::Back(id) => id,
    };
    let mut set: Vec<(String, String)> = vec![
        ("REEVE_NAME".into(), settings.name.clone()),
        ("REEVE_TITLE".into(), definition.title.clone()),
        ("REEVE_VERSION".into(), settings.version.clone()),
        ("REEVE_PACKAGED".into(), yes(settings.version == PACKAGED)),
        ("REEVE_SOURCE".into(), settings.source.word().into()),
        ("REEVE_SOURCE_FOLDER".into(), settings.text("source_folder").unwrap_or_default().into()),
        ("REEVE_PACKAGES".into(), lines(&packages)),
        ("REEVE_UNITS".into(), lines(&definition.units)),
        ("REEVE_USER".into(), definition.user.clone().unwrap_or_default()),
        ("REEVE_HOSTNAME".into(), machine.hostname.clone()),
        ("REEVE_ADDRESS".into(), machine.address.clone()),
        ("REEVE_FIRST".into(), yes(input.index == 0)),
        ("REEVE_COUNT".into(), input.machines.len().to_string()),
        ("REEVE_ARCH".into(), input.facts.arch.clone()),
        ("REEVE_SERVICE".into(), yes(service)),
        ("REEVE_PURGE".into(), yes(input.purge)),
        ("REEVE_CHANGE".into(), change.into()),
        ("REEVE_BACK".into(), yes(matches!(input.change, Change::Back(_)))),
        ("REEVE_DIGEST".into(), digest.into()),
        ("REEVE_NEEDS_MEMORY_MB".into(), definition.needs.memory_mb.to_string()),
        ("REEVE_NEEDS_DISK_MB".into(), definition.needs.disk_mb.to_string()),
        ("REEVE_NEEDS_CORES".into(), definition.needs.cores.to_string()),
        ("REEVE_NEEDS_SYSTEMD".into(), yes(definition.needs.systemd)),
        ("REEVE_VERIFY_SECS".into(), settings.params.get("verify_secs").map_or("60".into(), Value::to_string)),
    ];
    set.extend(download(settings, definition.download.as_ref(), context)?);
    if let Some(repository) = &definition.repository {
        let at = |why: String| vec![Problem::catalogue(format!("{}: repository", definition.name), why, "mend it")];
        let holds = template::holds(repository.when.as_deref(), context).map_err(at)?;
        if holds && settings.source == Source::Package {
            set.push(("REEVE_REPOSITORY".into(), template::plain(&repository.line, context).map_err(at)?));
            set.push(("REEVE_REPOSITORY_KEY".into(), template::plain(&repository.key, context).map_err(at)?));
        }
    }
    let ports = expand::ports(input.catalogue, settings)?;
    let ports: Vec<String> =
        ports.iter().map(|port| format!("{} {} {}", port.protocol, port.number, port.name)).collect();
    set.push(("REEVE_PORTS".into(), lines(&ports)));
    set.extend(variables.into_iter().map(|(name, value)| (format!("V_{name}"), value)));
    for (name, value) in &settings.params {
        if let Some(text) = shell_value(value) {
            set.push((format!("P_{name}"), text));
        }
    }
    Ok(set.iter().map(|(name, value)| format!("{name}={}\n", quote::sh(value))).collect())
}

/// Scalars, and lists of scalars without line breaks, one to a line.
fn shell_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.into()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => (!text.contains('\0')).then(|| text.clone()),
        Value::Array(items) => {
            let words: Option<Vec<String>> =
                items.iter().map(|item| if item.is_array() { None } else { shell_value(item) }).collect();
            words.filter(|words| !words.iter().any(|word| word.contains('\n'))).map(|words| words.join("\n"))
        }
        Value::Object(_) => None,
    }
}

fn download(
    settings: &Settings,
    download: Option<&Download>,
    context: &Context,
) -> Result<Vec<(String, String)>, Problems> {
    let Some(download) = download.filter(|_| matches!(settings.source, Source::Url | Source::Path)) else {
        return Ok(Vec::new());
    };
    let at = |why: String| vec![Problem::catalogue(format!("{}: download", settings.name), why, "mend it")];
    let own = settings.text("source_url");
    let url = match own {
        Some(url) => url.to_owned(),
        None => template::plain(&download.url, context).map_err(at)?,
    };
    let checksums = match (&download.checksums, own) {
        (Some(checksums), None) => template::plain(checksums, context).map_err(at)?,
        _ => String::new(),
    };
    let mut programs = Vec::new();
    for (from, to) in &download.programs {
        programs.push(format!("{} {to}", template::plain(from, context).map_err(at)?));
    }
    Ok(vec![
        ("REEVE_SOURCE_URL".into(), url),
        ("REEVE_SOURCE_CHECKSUMS".into(), checksums),
        ("REEVE_SOURCE_SHA256".into(), settings.text("source_sha256").unwrap_or_default().to_ascii_lowercase()),
        ("REEVE_SOURCE_PATH".into(), settings.text("source_path").unwrap_or_default().into()),
        ("REEVE_PROGRAMS".into(), programs.join("\n")),
    ])
}
