//! What applying a file would do, object by object, and how that is shown.

use std::collections::BTreeMap;

use console::Style;
use serde_json::{Map, Value};

use super::{Found, Kind, Present, Section, Spec, Step};
use crate::failure::Outcome;
use crate::out::{Out, one_line};

/// What is to be done about one object.
pub struct Task {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The step.
    pub step: Step,
    /// What the file says.
    pub wanted: Spec,
    /// What the server has.
    pub present: Option<Present>,
}

/// An object that the file does not name.
pub struct Removal {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What the server has.
    pub present: Present,
}

/// Everything that applying would do.
#[derive(Default)]
pub struct Plan {
    /// In the order in which it is done.
    pub tasks: Vec<Task>,
    /// After that, in order.
    pub removals: Vec<Removal>,
    /// What of the file cannot be held against what is there, in words.
    pub incomparable: Vec<String>,
}

impl Plan {
    /// Compares the file with what the server has.
    pub fn make(wanted: BTreeMap<Kind, Section>, mut found: BTreeMap<Kind, Found>, prune: bool) -> Self {
        let mut plan = Self::default();
        for (kind, section) in wanted {
            let mut found = found.remove(&kind).unwrap_or_default();
            let mut objects = std::mem::take(&mut found.objects);
            for (name, spec) in section {
                let present = objects.remove(&name);
                let step = kind.step(&name, &spec, present.as_ref(), &found);
                plan.incomparable.extend(present.as_ref().and_then(|p| kind.incomparable(&name, &spec, p)));
                plan.tasks.push(Task { kind, name, step, wanted: spec, present });
            }
            // A kind that the file does not speak of is left alone: it never got here.
            if prune && kind.is_pruned() {
                let rest = objects.into_iter().map(|(name, present)| Removal { kind, name, present });
                plan.removals.extend(rest);
            }
        }
        plan.removals.sort_by(|a, b| b.kind.cmp(&a.kind).then_with(|| a.name.cmp(&b.name)));
        plan
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.tasks.iter().all(|task| task.step == Step::Same)
    }

    /// Shows the differences, as a result.
    pub fn show(&self, out: &mut Out) -> Outcome<()> {
        let (added, changed, removed, dim) =
            (Style::new().green(), Style::new().yellow(), Style::new().red(), Style::new().dim());
        for task in &self.tasks {
            let title = format!("{} {}", task.kind.noun(), one_line(&task.name));
            match &task.step {
                Step::Same => {}
                Step::Create => {
                    line(out, &format!("+ {title}"), &added)?;
                    for (field, value) in &task.wanted {
                        let hidden = task.kind.secrets().contains(&field.as_str());
                        let value = if hidden { "not shown".to_owned() } else { shown(value) };
                        line(out, &format!("+   {field}: {value}"), &added)?;
                    }
                }
                Step::Change(changes) => {
                    line(out, &format!("~ {title}"), &changed)?;
                    for (field, now, wanted) in changes {
                        show_change(out, field, now, wanted, &removed, &added)?;
                    }
                }
                Step::Wait(why) => line(out, &format!("? {title} {why}"), &dim)?,
                Step::Refuse(why) => line(out, &format!("! {title}: {why}"), &removed)?,
            }
        }
        for removal in &self.removals {
            line(out, &format!("- {} {}", removal.kind.noun(), one_line(&removal.name)), &removed)?;
        }
        Ok(())
    }
}

fn show_change(out: &mut Out, field: &str, now: &Value, wanted: &Value, removed: &Style, added: &Style) -> Outcome<()> {
    let (Value::Object(before), Value::Object(after)) = (now, wanted) else {
        line(out, &format!("-   {field}: {}", shown(now)), removed)?;
        return line(out, &format!("+   {field}: {}", shown(wanted)), added);
    };
    // Of a map only the entries that differ.
    for (key, value) in before.iter().filter(|(key, value)| after.get(*key) != Some(value)) {
        line(out, &format!("-   {field}.{key}: {}", shown(value)), removed)?;
    }
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
        line(out, &format!("+   {field}.{key}: {}", shown(value)), added)?;
    }
    Ok(())
}

fn line(out: &mut Out, text: &str, style: &Style) -> Outcome<()> {
    let text = out.painted(&one_line(text), style);
    out.line(&text)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => pairs(map),
        other => other.to_string(),
    }
}

fn pairs(map: &Map<String, Value>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", shown(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}
