//! How answers are shown: one description per noun gives its table, its details, and its name for `-o name`.
//! JSON and YAML show the server's own words, whole.

use clap::ValueEnum;
use console::Style;
use jiff::Timestamp;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::human;
use crate::out::{Out, one_line};
use crate::table::{Cell, Head, lay_out};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A table that fits the terminal.
    #[default]
    Table,
    /// A table with every column, nothing shortened.
    Wide,
    /// JSON, times as RFC 3339.
    Json,
    /// YAML, the same content as JSON.
    Yaml,
    /// One name or id a line.
    Name,
}

impl Format {
    /// Whether people read this format, so that hints and live output make sense.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// Where a column appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// In every table.
    Always,
    /// With `-o wide` and in details.
    Wide,
    /// In the details of one thing only.
    Details,
}

/// One column of a noun.
pub struct Column {
    /// The title, upper case.
    pub title: &'static str,
    /// Columns with a smaller number give way first when the terminal is narrow.
    pub keep: u8,
    /// The width below which the column is left out.
    pub min: usize,
    /// Where it appears.
    pub shown: Shown,
    /// The cell of a row.
    pub cell: fn(&Value, Timestamp) -> String,
    /// The colour of a cell's text, where its meaning has one.
    pub style: fn(&str) -> Option<Style>,
}

/// How a noun is shown.
pub struct View {
    /// The plural, for "no nodes".
    pub plural: &'static str,
    /// The columns, in reading order.
    pub columns: &'static [Column],
    /// The name printed by `-o name`.
    pub name: fn(&Value) -> String,
}

/// A column that every table shows.
pub const fn column(title: &'static str, keep: u8, min: usize, cell: fn(&Value, Timestamp) -> String) -> Column {
    Column { title, keep, min, shown: Shown::Always, cell, style: plain }
}

impl Column {
    /// The same column, only with `-o wide` and in details.
    pub const fn wide(mut self) -> Self {
        self.shown = Shown::Wide;
        self
    }

    /// The same column, only in details.
    pub const fn details(mut self) -> Self {
        self.shown = Shown::Details;
        self
    }

    /// The same column, coloured.
    pub const fn coloured(mut self, style: fn(&str) -> Option<Style>) -> Self {
        self.style = style;
        self
    }
}

fn plain(_: &str) -> Option<Style> {
    None
}

/// Green, yellow or red by what a state word means.
pub fn state_style(word: &str) -> Option<Style> {
    Some(match word {
        "healthy" | "completed" | "succeeded" | "ok" | "yes" | "0" | "running" | "success" => Style::new().green(),
        "unhealthy" | "sent" | "pending" | "paused" | "queued" | "creating" | "installing" | "deleting"
        | "removing" => Style::new().yellow(),
        "unreachable" | "expired" | "failed" | "stopped" | "FAILED" | "denied" | "error" => Style::new().red(),
        "cancelled" | "aborted" | "disabled" => Style::new().dim(),
        code if code.parse::<i64>().is_ok() => Style::new().red(),
        _ => return None,
    })
}

/// Shows many things.
pub fn list(out: &mut Out, format: Format, view: &View, rows: &[Value], now: Timestamp) -> Outcome<()> {
    match format {
        Format::Json | Format::Yaml => document(out, format, &Value::Array(rows.to_vec())),
        Format::Name => rows.iter().try_for_each(|row| out.line(&one_line(&(view.name)(row)))),
        Format::Table | Format::Wide => {
            if rows.is_empty() {
                return out.note(&format!("no {}", view.plural));
            }
            let wide = format == Format::Wide;
            let columns: Vec<&Column> =
                view.columns.iter().filter(|c| c.shown == Shown::Always || (wide && c.shown == Shown::Wide)).collect();
            table(out, &columns, rows, now, wide)
        }
    }
}

fn table(out: &mut Out, columns: &[&Column], rows: &[Value], now: Timestamp, wide: bool) -> Outcome<()> {
    let heads: Vec<Head> =
        columns.iter().map(|c| Head { title: c.title, keep: c.keep, min: c.min, right: false }).collect();
    let cells: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|c| {
                    let text = one_line(&(c.cell)(row, now));
                    let style = (c.style)(&text);
                    Cell { text, style }
                })
                .collect()
        })
        .collect();
    let width = if wide { None } else { out.width };
    let lines = lay_out(&heads, &cells, width, out.colour);
    lines.iter().try_for_each(|line| out.line(line))
}

/// Shows one thing.
pub fn one(out: &mut Out, format: Format, view: &View, thing: &Value, now: Timestamp) -> Outcome<()> {
    match format {
        Format::Json | Format::Yaml => document(out, format, thing),
        Format::Name => out.line(&one_line(&(view.name)(thing))),
        Format::Table | Format::Wide => {
            let longest = view.columns.iter().map(|c| c.title.len()).max().unwrap_or(0);
            for c in view.columns {
                let text = (c.cell)(thing, now);
                let style = (c.style)(&text);
                let text = indent(&text, longest + 2);
                let text = match style {
                    Some(style) => out.painted(&text, &style),
                    None => text,
                };
                out.line(format!("{:longest$}  {text}", c.title).trim_end())?;
            }
            Ok(())
        }
    }
}

/// Keeps the lines of a long text, each below the first, without control characters.
fn indent(text: &str, by: usize) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(one_line).collect();
    lines.join(&format!("\n{}", " ".repeat(by)))
}

/// Writes a document as JSON or YAML.
pub fn document(out: &mut Out, format: Format, value: &Value) -> Outcome<()> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| Failure::local(error.to_string()))?,
        _ => serde_json::to_string_pretty(value).map_err(|error| Failure::local(error.to_string()))?,
    };
    out.line(text.trim_end())
}

/// The text at a key; numbers and booleans in words, absent and null as `-`.
pub fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(word).collect::<Vec<_>>().join(","),
        Some(Value::Object(map)) if map.is_empty() => "-".to_owned(),
        Some(Value::Object(map)) => map.iter().map(|(k, v)| format!("{k}={}", word(v))).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// The first of several keys that is present.
pub fn first_text(value: &Value, keys: &[&str]) -> String {
    keys.iter().map(|key| text(value, key)).find(|text| text != "-").unwrap_or_else(|| "-".to_owned())
}

/// The age of the instant at a key.
pub fn age(value: &Value, key: &str, now: Timestamp) -> String {
    human::age_of(value.get(key).and_then(Value::as_str), now)
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_words() {
        let row = json!({"a": null, "b": true, "c": ["x", 1], "d": {"env": "prod", "n": 2}, "e": 7, "f": "", "g": {}});
        let cells: Vec<String> = ["a", "b", "c", "d", "e", "f", "g", "h"].iter().map(|key| text(&row, key)).collect();
        assert_eq!(cells, ["-", "yes", "x,1", "env=prod,n=2", "7", "-", "-", "-"]);
        assert_eq!(first_text(&row, &["a", "e"]), "7");
    }
}
