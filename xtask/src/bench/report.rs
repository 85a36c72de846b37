//! A figure beside its target, as a table for people and a line of JSON for later comparison.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use console::style;
use serde_json::{Value, json};

use crate::shell;

/// What a measurement is held against.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// One measured number.
pub struct Figure {
    name: String,
    measured: f64,
    unit: &'static str,
    target: Target,
    /// What it was measured beside, or under which conditions.
    note: String,
}

impl Figure {
    pub fn new(name: impl Into<String>, measured: f64, unit: &'static str, target: Target) -> Self {
        Self { name: name.into(), measured, unit, target, note: String::new() }
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Above 1: better than the target asks.
    fn ratio(&self) -> Option<f64> {
        match self.target {
            Target::AtLeast(target) => Some(self.measured / target),
            Target::AtMost(target) => Some(target / self.measured),
            Target::None => None,
        }
    }

    fn json(&self) -> Value {
        let (bound, target) = match self.target {
            Target::AtLeast(target) => ("at_least", Some(target)),
            Target::AtMost(target) => ("at_most", Some(target)),
            Target::None => ("none", None),
        };
        json!({
            "name": self.name, "measured": self.measured, "unit": self.unit, "bound": bound, "target": target,
            "ratio": self.ratio(), "note": self.note,
        })
    }

    fn cells(&self) -> [String; 5] {
        let target = match self.target {
            Target::AtLeast(target) => format!(">= {}", number(target)),
            Target::AtMost(target) => format!("<= {}", number(target)),
            Target::None => "-".to_owned(),
        };
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        [self.name.clone(), format!("{} {}", number(self.measured), self.unit), target, ratio, self.note.clone()]
    }
}

/// The figures of one benchmark.
pub struct Report<'a> {
    pub bench: &'a str,
    pub figures: Vec<Figure>,
}

impl Report<'_> {
    /// Prints the table and appends a line to `target/bench/NAME.json`.
    pub fn publish(&self) -> Result<()> {
        let table = self.table();
        for (index, line) in table.lines().enumerate() {
            if index == 0 { println!("{}", style(line).bold()) } else { println!("{line}") }
        }
        let folder = shell::root().join("target/bench");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.json", self.bench));
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let line = json!({
            "at_unix_s": at, "bench": self.bench, "commit": commit(),
            "processors": std::thread::available_parallelism()?.get(),
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
        });
        writeln!(File::options().create(true).append(true).open(file)?, "{line}")?;
        Ok(())
    }

    fn table(&self) -> String {
        let mut rows =
            vec![[self.bench.to_owned(), "measured".into(), "target".into(), "ratio".into(), "beside".into()]];
        rows.extend(self.figures.iter().map(Figure::cells));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut text = String::new();
        for [name, measured, target, ratio, note] in &rows {
            let [a, b, c, d] = widths;
            text += format!("{name:<a$}  {measured:>b$}  {target:>c$}  {ratio:>d$}  {note}").trim_end();
            text.push('\n');
        }
        text
    }
}

/// Three significant figures, whole numbers above a hundred.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(shell::root());
    shell::capture(&mut git).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_better_than_asked() {
        let report = Report {
            bench: "probe",
            figures: vec![
                Figure::new("rate", 8400.0, "/s", Target::AtLeast(5000.0)).note("raw 5,000/s"),
                Figure::new("p99", 80.0, "ms", Target::AtMost(40.0)),
                Figure::new("seen", 1.234, "s", Target::None),
            ],
        };
        assert_eq!(
            report.table(),
            "probe  measured   target  ratio  beside\n\
             rate    8400 /s  >= 5000   1.68  raw 5,000/s\n\
             p99     80.0 ms  <= 40.0   0.50\n\
             seen     1.23 s        -      -\n"
        );
    }
}
