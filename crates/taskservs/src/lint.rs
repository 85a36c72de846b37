//! What is wrong with a definition that its shape does not show: names that become parts of scripts, templates that do not
//! read, defaults that are none. The catalogue in the binary is held against the same.

use std::collections::BTreeMap;

use crate::catalogue::Catalogue;
use crate::definition::{Definition, Service};
use crate::parameter::{Kind, Parameter, whole};
use crate::problem::{Problem, Problems, meant};
use crate::template;

const FILE: &str = "taskserv.yaml";
const USER: &str = "[a-z_][a-z0-9_-]{0,31}";
const VARIABLE: &str = "[A-Za-z_][A-Za-z0-9_]{0,63}";
/// The longest patience with a service that ends.
const LONGEST_STOP_SECS: u64 = 600;

/// A definition that has another shape, with the field that is wrong.
pub(crate) fn unreadable(name: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let told: String = error.inner().to_string().chars().filter(|c| !c.is_control()).take(300).collect();
    let at = format!("{name}/{FILE}");
    let problem = if path == "." { told } else { format!("{path}: {told}") };
    Problem::catalogue(at, problem, "`reeve taskserv catalogue` and docs/taskservs.md show what definitions hold")
}

/// Everything that is wrong with a definition.
pub(crate) fn definition(catalogue: &Catalogue, it: &Definition, files: &BTreeMap<String, String>) -> Problems {
    let mut lint = Lint { name: &it.name, problems: Problems::new() };
    for (field, text) in [("title", &it.title), ("about", &it.about), ("health", &it.health)] {
        let line = !text.is_empty() && text.len() <= 1000 && !text.chars().any(char::is_control);
        lint.check(line, field, "it is no line of text", "give one line of at most 1000 characters");
    }
    let versions = !it.versions.is_empty() && it.versions.len() <= 64;
    lint.check(versions, "versions", "there are none, or too many", "give 1 to 64, the default first");
    for (index, package) in it.packages.iter().enumerate() {
        lint.template(&format!("packages[{index}]"), package);
    }
    for (index, unit) in it.units.iter().enumerate() {
        let fits = whole("[A-Za-z0-9@_.-]{1,120}[.](service|socket|timer|path|target|mount)", unit);
        lint.check(fits, &format!("units[{index}]"), "it is no unit", "give its whole name, as own.service");
    }
    if let Some(user) = &it.user {
        lint.user("user", user);
    }
    parameters(&mut lint, catalogue, &it.parameters);
    relations(&mut lint, catalogue, it);
    places(&mut lint, it, files);
    for (name, text) in &it.variables {
        let field = format!("variables.{name}");
        lint.check(whole(VARIABLE, name), &field, "it is no name", "use letters, digits and _");
        lint.template(&field, text);
    }
    for (index, check) in it.checks.iter().enumerate() {
        lint.expression(&format!("checks[{index}].when"), Some(&check.when));
    }
    for (index, port) in it.ports.iter().enumerate() {
        lint.expression(&format!("ports[{index}].when"), port.when.as_deref());
        lint.expression(&format!("ports[{index}].port"), port.port.as_str());
        let known = matches!(port.protocol.as_str(), "tcp" | "udp");
        lint.check(known, &format!("ports[{index}].protocol"), "it is none", "give tcp or udp");
        let word = whole("[A-Za-z0-9_.-]{1,40}", &port.name);
        lint.check(word, &format!("ports[{index}].name"), "it is no word", "use letters, digits and ._-");
    }
    if let Some(service) = &it.service {
        self::service(&mut lint, service);
    }
    if let Some(download) = &it.download {
        lint.template("download.url", &download.url);
        lint.template("download.checksums", download.checksums.as_deref().unwrap_or_default());
        for (from, to) in &download.programs {
            let field = format!("download.programs.{from}");
            let fits = whole("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", to)
                && (from.contains("{{") || !from.contains(char::is_whitespace));
            lint.check(fits, &field, "it is no program", "give FILE IN THE ARCHIVE: COMMAND, both without blanks");
            lint.template(&field, from);
        }
    }
    if let Some(repository) = &it.repository {
        lint.template("repository.line", &repository.line);
        lint.template("repository.key", &repository.key);
        lint.expression("repository.when", repository.when.as_deref());
    }
    lint.problems
}

fn parameters(lint: &mut Lint<'_>, catalogue: &Catalogue, parameters: &BTreeMap<String, Parameter>) {
    for (name, parameter) in parameters {
        let field = format!("parameters.{name}");
        lint.check(whole(VARIABLE, name), &field, "it is no name", "use letters, digits and _");
        let free = !catalogue.common().contains_key(name);
        lint.check(free, &field, "every taskserv has a setting of that name", "give it another name");
        one_parameter(lint, &field, parameter, 0);
    }
}

fn one_parameter(lint: &mut Lint<'_>, field: &str, parameter: &Parameter, depth: usize) {
    if depth > 8 {
        lint.say(field, "it is too deep", "nest at most 8 deep");
        return;
    }
    if let Some(pattern) = &parameter.pattern
        && let Err(error) = regex::Regex::new(&format!(r"\A(?:{pattern})\z"))
    {
        let told = error.to_string();
        let told = told.lines().last().unwrap_or_default();
        lint.say(&format!("{field}.pattern"), &format!("it is none: {told}"), "give a regular expression");
        return;
    }
    let choice = parameter.kind != Kind::Choice || !parameter.of.is_empty();
    lint.check(choice, &format!("{field}.of"), "a choice without words", "list them");
    if let Some(default) = parameter.default.as_ref().filter(|default| !default.is_null())
        && let Err(problems) = parameter.check(&format!("{field}.default"), default)
    {
        for problem in problems {
            lint.say(&problem.field, &problem.problem, &problem.right);
        }
    }
    if let Some(item) = &parameter.item {
        one_parameter(lint, &format!("{field}.item"), item, depth + 1);
    }
    for (name, inner) in &parameter.fields {
        one_parameter(lint, &format!("{field}.fields.{name}"), inner, depth + 1);
    }
}

fn relations(lint: &mut Lint<'_>, catalogue: &Catalogue, it: &Definition) {
    for (index, dependency) in it.depends.iter().enumerate() {
        let field = format!("depends[{index}]");
        lint.check(!dependency.on.is_empty(), &format!("{field}.on"), "it is empty", "name at least one taskserv");
        lint.expression(&format!("{field}.when"), dependency.when.as_deref());
        for (n, on) in dependency.on.iter().enumerate() {
            if catalogue.get(on).is_none() {
                let right = match meant(on, catalogue.iter().map(|known| known.name.as_str())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name one of the catalogue".to_owned(),
                };
                let shown: String = on.chars().filter(|c| !c.is_control()).take(40).collect();
                lint.say(&format!("{field}.on[{n}]"), &format!("there is no taskserv `{shown}`"), &right);
            }
        }
    }
    let servers = it.servers;
    let fits = servers.min >= 1 && servers.max >= servers.min && servers.max <= 1000;
    lint.check(fits, "servers", "min and max do not fit", "give 1 <= min <= max <= 1000");
}

fn places(lint: &mut Lint<'_>, it: &Definition, files: &BTreeMap<String, String>) {
    for (index, folder) in it.directories.iter().enumerate() {
        let field = format!("directories[{index}]");
        lint.template(&format!("{field}.path"), &folder.path);
        lint.expression(&format!("{field}.when"), folder.when.as_deref());
        lint.rights(&field, &folder.mode, &folder.owner);
    }
    for (index, file) in it.files.iter().enumerate() {
        let field = format!("files[{index}]");
        lint.template(&format!("{field}.path"), &file.path);
        lint.expression(&format!("{field}.when"), file.when.as_deref());
        lint.expression(&format!("{field}.each"), file.each.as_deref());
        lint.rights(&field, &file.mode, &file.owner);
        match files.get(&file.template) {
            None => {
                let problem = format!("there is no file {}", file.template.escape_default());
                lint.say(&format!("{field}.template"), &problem, "put it beside taskserv.yaml");
            }
            Some(text) => {
                if let Err(why) = template::reads(&file.template, text) {
                    let at = format!("{}/{}", it.name, file.template);
                    lint.problems.push(Problem::catalogue(at, why, "mend the template"));
                }
            }
        }
    }
}

fn service(lint: &mut Lint<'_>, service: &Service) {
    lint.check(!service.exec.is_empty(), "service.exec", "it is empty", "give the program and its arguments");
    for (index, argument) in service.exec.iter().enumerate() {
        lint.template(&format!("service.exec[{index}]"), argument);
    }
    for (field, user) in [("service.user", &service.user), ("service.group", &service.group)] {
        if let Some(user) = user {
            lint.user(field, user);
        }
    }
    lint.template("service.directory", service.directory.as_deref().unwrap_or_default());
    lint.expression("service.when", service.when.as_deref());
    for (name, text) in &service.environment {
        let field = format!("service.environment.{name}");
        lint.check(whole(VARIABLE, name), &field, "it is no name of a variable", "use letters, digits and _");
        lint.template(&field, text);
    }
    for (index, folder) in service.runtime.iter().enumerate() {
        let fits = whole("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", folder);
        lint.check(fits, &format!("service.runtime[{index}]"), "it is no folder's name", "use letters, digits and ._-");
    }
    let signal = whole("[A-Z][A-Z0-9]{1,9}", &service.stop_signal);
    lint.check(signal, "service.stop_signal", "it is no signal", "give it without SIG, as TERM");
    let patient = (1..=LONGEST_STOP_SECS).contains(&service.stop_secs);
    lint.check(patient, "service.stop_secs", "it is too short or too long", "give 1 to 600");
}

struct Lint<'a> {
    name: &'a str,
    problems: Problems,
}

impl Lint<'_> {
    fn say(&mut self, field: &str, problem: &str, right: &str) {
        let field: String = field.chars().filter(|c| !c.is_control()).take(120).collect();
        let at = format!("{}/{FILE}", self.name);
        self.problems.push(Problem::catalogue(at, format!("{field}: {problem}"), right));
    }

    fn check(&mut self, holds: bool, field: &str, problem: &str, right: &str) {
        if !holds {
            self.say(field, problem, right);
        }
    }

    fn template(&mut self, field: &str, source: &str) {
        if let Err(why) = template::reads("plain", source) {
            self.say(field, &why, "mend the template");
        }
    }

    fn expression(&mut self, field: &str, source: Option<&str>) {
        if let Some(Err(why)) = source.map(template::is_expression) {
            self.say(field, &why, "mend the expression");
        }
    }

    fn user(&mut self, field: &str, user: &str) {
        self.check(whole(USER, user), field, "it is no user", "use lower case letters, digits, - and _");
    }

    fn rights(&mut self, field: &str, mode: &str, owner: &str) {
        let fits = whole("0[0-7]{3}", mode) && whole(&format!("{USER}:{USER}"), owner);
        self.check(fits, field, "mode or owner is none", "give them as \"0644\" and root:root");
    }
}
