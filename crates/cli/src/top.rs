//! What `reeve top` shows and what its keys do. Pure: rows and keys go in, lines and queries come out.

use console::Style;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::Query;
use crate::human;
use crate::keyboard::Key;
use crate::names;
use crate::out::{one_line, paint};
use crate::table::{Cell, Head, lay_out};

/// Lines above and below the table: the summary, its title line, the keys.
const FRAME: usize = 3;
/// The server's largest page.
const MAX_PAGE: usize = 100;

/// An order of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Load average over a minute
    Load,
    /// Processors in use
    Cpu,
    /// Memory in use
    Memory,
    /// Disk in use
    Disk,
    /// Bytes a second, both ways
    Network,
    /// Time since the machine started
    Uptime,
    /// The cluster's name
    Cluster,
}

impl By {
    const ALL: [By; 7] = [By::Load, By::Cpu, By::Memory, By::Disk, By::Network, By::Uptime, By::Cluster];

    fn field(self) -> &'static str {
        match self {
            By::Load => "load_1m",
            By::Cpu => "cpu_usage_percent",
            By::Memory => "memory_usage_percent",
            By::Disk => "disk_usage_percent",
            By::Network => "network_bytes_per_second",
            By::Uptime => "uptime_seconds",
            By::Cluster => "cluster_name",
        }
    }

    fn word(self) -> &'static str {
        match self {
            By::Load => "load",
            By::Cpu => "cpu",
            By::Memory => "memory",
            By::Disk => "disk",
            By::Network => "network",
            By::Uptime => "uptime",
            By::Cluster => "cluster",
        }
    }

    /// Names are read from the top, numbers from the largest.
    fn descends(self) -> bool {
        self != By::Cluster
    }

    fn beside(self, step: isize) -> Self {
        let at = Self::ALL.iter().position(|by| *by == self).unwrap_or(0);
        let count = isize::try_from(Self::ALL.len()).unwrap_or(1);
        let next = (isize::try_from(at).unwrap_or(0) + step).rem_euclid(count);
        usize::try_from(next).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(self)
    }
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The end.
    Quit,
    /// Other rows are wanted.
    Ask,
    /// Only the picture changes.
    Draw,
}

/// The fleet as it is watched.
#[derive(Debug)]
pub struct Top {
    by: By,
    descending: bool,
    page: usize,
    size: usize,
    paused: bool,
    filter: Query,
    words: String,
    rows: Vec<Value>,
    total: u64,
    trouble: Option<String>,
}

impl Top {
    /// The whole fleet in this order, narrowed by `filter`, which reads as `words`.
    pub fn new(by: By, reverse: bool, filter: Query, words: String) -> Self {
        let descending = by.descends() != reverse;
        let (rows, trouble) = (Vec::new(), None);
        Self { by, descending, page: 1, size: MAX_PAGE, paused: false, filter, words, rows, total: 0, trouble }
    }

    /// So many lines are there.
    pub fn fit(&mut self, height: usize) {
        let size = height.saturating_sub(FRAME).clamp(1, MAX_PAGE);
        if size != self.size {
            // The first row stays the first, about.
            self.page = (self.page - 1) * self.size / size + 1;
            self.size = size;
        }
    }

    /// Asks for the rows that are shown.
    pub fn query(&self) -> Query {
        let mut query = self.order();
        query.push(("live", "true".to_owned()));
        query.push(("page", self.page.to_string()));
        query.push(("page_size", self.size.to_string()));
        query
    }

    /// Filter and order alone.
    pub fn order(&self) -> Query {
        let mut query = self.filter.clone();
        query.push(("order_by", self.by.field().to_owned()));
        query.push(("order_directions", if self.descending { "desc" } else { "asc" }.to_owned()));
        query
    }

    /// Whether new rows are wanted now and then.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Takes in an answer: rows and how many there are in all.
    pub fn take(&mut self, rows: Vec<Value>, total: u64) {
        (self.rows, self.total, self.trouble) = (rows, total, None);
        self.page = self.page.min(self.pages());
    }

    /// Notes that there was no answer; what is shown stays.
    pub fn lost(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// What a key does.
    pub fn key(&mut self, key: Key) -> Turn {
        let to_page = |page: usize| page.clamp(1, self.pages());
        match key {
            Key::Stop | Key::Char('q' | 'Q') => return Turn::Quit,
            Key::Left | Key::Char('<') => self.sort(self.by.beside(-1)),
            Key::Right | Key::Char('>' | 's') => self.sort(self.by.beside(1)),
            Key::Char('r') => self.descending = !self.descending,
            Key::Down | Key::PageDown | Key::Char('j') => self.page = to_page(self.page + 1),
            Key::Up | Key::PageUp | Key::Char('k') => self.page = to_page(self.page - 1),
            Key::Home => self.page = 1,
            Key::End => self.page = self.pages(),
            Key::Char(' ' | 'p') => {
                self.paused = !self.paused;
                return if self.paused { Turn::Draw } else { Turn::Ask };
            }
            Key::Char(letter) => match By::ALL.iter().find(|by| by.word().starts_with(letter)) {
                Some(by) => self.sort(*by),
                None => return Turn::Draw,
            },
        }
        Turn::Ask
    }

    fn sort(&mut self, by: By) {
        (self.by, self.descending, self.page) = (by, by.descends(), 1);
    }

    fn pages(&self) -> usize {
        usize::try_from(self.total).unwrap_or(usize::MAX).div_ceil(self.size).max(1)
    }

    /// The whole picture, at most `height` lines of `width` columns.
    pub fn frame(&self, width: usize, height: usize, now: Timestamp, colour: bool) -> Vec<String> {
        let cut = |text: &str| console::truncate_str(text, width, "…").into_owned();
        let styled = |text: String, style: Style| if colour { paint(&text, &style) } else { text };
        let direction = if self.descending { "▼" } else { "▲" };
        let nodes = if self.total == 1 { "node" } else { "nodes" };
        let mut summary = format!("{} {nodes} by {} {direction}", self.total, self.by.word());
        if self.pages() > 1 {
            summary.push_str(&format!(" · page {} of {}", self.page, self.pages()));
        }
        if !self.words.is_empty() {
            summary.push_str(&format!(" · {}", self.words));
        }
        if self.paused {
            summary.push_str(" · paused");
        }
        let mut lines = vec![styled(cut(&summary), Style::new().bold())];
        if let Some(trouble) = &self.trouble {
            lines.push(styled(cut(&one_line(trouble)), Style::new().red()));
        }
        let room = height.saturating_sub(lines.len() + 1);
        lines.extend(self.table(Some(width), now, colour).into_iter().take(room));
        let keys =
            "q quit  ←→ order  r reverse  ↑↓ page  space pause  l c m d n u: load cpu memory disk network uptime";
        if lines.len() < height {
            lines.push(styled(cut(keys), Style::new().dim()));
        }
        lines.truncate(height);
        lines
    }

    /// The table alone; without a width nothing is shortened.
    pub fn table(&self, width: Option<usize>, now: Timestamp, colour: bool) -> Vec<String> {
        table(&self.rows, width, now, colour)
    }
}

/// Rows of the fleet's metrics as a table.
pub fn table(rows: &[Value], width: Option<usize>, now: Timestamp, colour: bool) -> Vec<String> {
    let left = |title, keep, min| Head { title, keep, min, right: false };
    let right = |title, keep, min| Head { title, keep, min, right: true };
    let heads = [
        left("NODE", 9, 8),
        left("CLUSTER", 4, 6),
        left("STATUS", 3, 6),
        right("CPU%", 8, 4),
        right("CORES", 2, 2),
        right("LOAD", 8, 4),
        right("LOAD15", 3, 4),
        right("MEM%", 8, 4),
        right("MEMORY", 4, 8),
        right("DISK%", 7, 4),
        right("DISK", 3, 8),
        right("IN/s", 6, 4),
        right("OUT/s", 6, 4),
        right("UPTIME", 5, 4),
        right("CMDS", 2, 2),
        right("SEEN", 5, 3),
    ];
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, now)).collect();
    lay_out(&heads, &cells, width, colour)
}

fn cells(row: &Value, now: Timestamp) -> Vec<Cell> {
    let plain = |text: String| Cell { text: one_line(&text), style: None };
    let number = |pointer: &str| row.pointer(pointer).and_then(Value::as_f64);
    let share = |pointer: &str| {
        let percent = number(pointer);
        Cell { text: percent.map_or_else(dash, |p| format!("{p:.1}")), style: percent.and_then(alarm) }
    };
    let average = |pointer: &str| plain(number(pointer).map_or_else(dash, |n| format!("{n:.2}")));
    let bytes = |pointer: &str| plain(number(pointer).map_or_else(dash, amount));
    let of = |used: &str, total: &str| {
        let both = number(used).zip(number(total));
        plain(both.map_or_else(dash, |(used, total)| format!("{}/{}", amount(used), amount(total))))
    };
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let commands = number("/commands/running").zip(number("/commands/queued"));
    let status = text("status");
    vec![
        plain(name(row)),
        plain(text("cluster_name")),
        Cell { style: crate::view::state_style(&status), text: status },
        share("/cpu/usage_percent"),
        plain(number("/cpu/cores").map_or_else(dash, |n| format!("{n:.0}"))),
        average("/cpu/load_1m"),
        average("/cpu/load_15m"),
        share("/memory/usage_percent"),
        of("/memory/used_bytes", "/memory/total_bytes"),
        share("/disk/usage_percent"),
        of("/disk/used_bytes", "/disk/total_bytes"),
        bytes("/network/received_bytes_per_second"),
        bytes("/network/sent_bytes_per_second"),
        plain(row.pointer("/uptime/human").and_then(Value::as_str).unwrap_or("-").to_owned()),
        plain(commands.map_or_else(dash, |(running, queued)| format!("{:.0}", running + queued))),
        plain(human::age_of(row.get("timestamp").and_then(Value::as_str), now)),
    ]
}

/// The name by which people know the node of a row.
pub fn name(row: &Value) -> String {
    let facts = json!({ "hostname": row.get("hostname") });
    names::of_node(&json!({ "id": row.get("node_id"), "labels": row.get("labels"), "facts": facts }))
}

fn dash() -> String {
    "-".to_owned()
}

fn alarm(percent: f64) -> Option<Style> {
    match percent {
        p if p >= 90.0 => Some(Style::new().red()),
        p if p >= 75.0 => Some(Style::new().yellow()),
        _ => None,
    }
}

/// Bytes in the largest unit that leaves something before the point: `0`, `512`, `1.5K`, `12G`.
pub fn amount(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["", "K", "M", "G", "T"] {
        if value < 1_000.0 {
            let whole = unit.is_empty() || value >= 10.0;
            return if whole { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") };
        }
        value /= 1_024.0;
    }
    format!("{value:.0}P")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: usize) -> Value {
        json!({
            "node_id": format!("{n:08}-89ab-4def-8123-456789abcdef"), "hostname": format!("web-{n}"), "cluster_name": "prod",
            "status": "healthy", "connected": true, "labels": {}, "timestamp": "2026-01-10T11:59:58Z",
            "cpu": {"cores": 4, "load_1m": 1.25, "load_5m": 1.0, "load_15m": 0.5, "usage_percent": 93.5},
            "memory": {"usage_percent": 50.0, "used_bytes": 4294967296_u64, "total_bytes": 8589934592_u64},
            "disk": null, "network": {"received_bytes_per_second": 1536, "sent_bytes_per_second": 0},
            "uptime": {"seconds": 90061, "human": "1d 1h 1m"}, "commands": {"running": 1, "queued": 2},
        })
    }

    fn noon() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    fn top(total: u64) -> Top {
        let mut top = Top::new(By::Load, false, Query::new(), String::new());
        top.fit(13);
        top.take((0..10).map(row).collect(), total);
        top
    }

    fn param<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
        query.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_row_says_what_the_node_measured() {
        let lines = table(&[row(1)], None, noon(), false);
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        let expected = [
            "web-1",
            "prod",
            "healthy",
            "93.5",
            "4",
            "1.25",
            "0.50",
            "50.0",
            "4.0G/8.0G",
            "-",
            "-",
            "1.5K",
            "0",
            "1d",
            "1h",
            "1m",
            "3",
            "2s",
        ];
        assert_eq!(words, expected);
        assert!(table(&[row(1)], None, noon(), true)[1].contains("\u{1b}[31m93.5"));
        assert!(table(&[json!({})], None, noon(), false)[1].starts_with('-'));
    }

    #[test]
    fn keys_choose_order_and_page() {
        let mut top = top(95);
        assert_eq!((param(&top.query(), "order_by"), param(&top.query(), "page_size")), (Some("load_1m"), Some("10")));
        assert_eq!(top.key(Key::Down), Turn::Ask);
        assert_eq!(param(&top.query(), "page"), Some("2"));
        top.key(Key::End);
        assert_eq!(param(&top.query(), "page"), Some("10"));
        top.key(Key::Down);
        assert_eq!(param(&top.query(), "page"), Some("10"));
        top.key(Key::Right);
        let query = top.query();
        assert_eq!((param(&query, "order_by"), param(&query, "page")), (Some("cpu_usage_percent"), Some("1")));
        assert_eq!(param(&query, "order_directions"), Some("desc"));
        top.key(Key::Char('r'));
        assert_eq!(param(&top.query(), "order_directions"), Some("asc"));
        top.key(Key::Left);
        top.key(Key::Left);
        assert_eq!(param(&top.query(), "order_by"), Some("cluster_name"));
        top.key(Key::Char('m'));
        assert_eq!(param(&top.query(), "order_by"), Some("memory_usage_percent"));
        assert_eq!((top.key(Key::Char(' ')), top.is_paused(), top.key(Key::Char('p'))), (Turn::Draw, true, Turn::Ask));
        assert_eq!(
            (top.key(Key::Char('?')), top.key(Key::Char('q')), top.key(Key::Stop)),
            (Turn::Draw, Turn::Quit, Turn::Quit)
        );
    }

    #[test]
    fn the_picture_fits_every_terminal() {
        let mut top = top(95);
        top.lost("no answer\u{1b}[2J".to_owned());
        for (width, height) in [(200, 50), (80, 24), (40, 13), (20, 5), (5, 2), (1, 1)] {
            let lines = top.frame(width, height, noon(), false);
            assert!(lines.len() <= height, "{width}x{height}: {}", lines.len());
            assert!(lines.iter().all(|line| console::measure_text_width(line) <= width), "{width}: {lines:#?}");
            assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        }
        let lines = top.frame(100, 24, noon(), false);
        assert!(lines[0].starts_with("95 nodes by load ▼ · page 1 of 10"), "{}", lines[0]);
        assert!(lines[1].starts_with("no answer"));
        assert_eq!((lines.len(), lines[2].starts_with("NODE")), (14, true));
    }

    #[test]
    fn a_fleet_that_shrank_has_its_last_page() {
        let mut top = top(95);
        top.key(Key::End);
        top.take(Vec::new(), 20);
        assert_eq!(param(&top.query(), "page"), Some("2"));
        top.fit(3 + 5);
        assert_eq!((param(&top.query(), "page"), param(&top.query(), "page_size")), (Some("3"), Some("5")));
    }

    #[test]
    fn amounts_are_short() {
        let amounts = [0.0, 999.0, 1_000.0, 1_536.0, 12_345_678.0, 8_589_934_592.0, 1e18].map(amount);
        assert_eq!(amounts, ["0", "999", "1.0K", "1.5K", "12M", "8.0G", "888P"]);
    }
}
