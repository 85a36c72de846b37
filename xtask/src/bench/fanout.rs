//! One command on a whole fleet: how soon the first bytes come back, and when every result is stored. Then the same on
//! real hosts, beside ansible and pssh.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::Server;

use super::report::{Figure, Target};
use super::rig::{Rig, median};
use super::{Bench, peers};

/// What one round measured, in milliseconds after the request was sent.
struct Round {
    first: f64,
    /// When half of the agents had sent a byte.
    half: f64,
    all_stored: f64,
}

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = simulated(bench)?;
    if bench.hosts > 0 {
        figures.extend(peers::run(bench)?);
    }
    Ok(figures)
}

fn simulated(bench: &Bench) -> Result<Vec<Figure>> {
    let rig = Rig::empty(bench)?;
    let agents = bench.agents.unwrap_or(10_000);
    let begun = Instant::now();
    let _simulator = rig.simulate(bench, agents, &[])?;
    let enrolled = begun.elapsed().as_secs_f64();
    let mut rounds = Vec::new();
    // A round is short: enough of them that one hiccup is not the median.
    for _ in 0..bench.rounds.max(7) {
        rounds.push(round(&rig.server, agents)?);
    }
    let of = |pick: fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
    let stored = of(|round| round.all_stored);
    Ok(vec![
        Figure::new(format!("{agents} agents enroll and connect"), enrolled, "s", Target::None)
            .note(format!("{:.0}/s", agents as f64 / enrolled)),
        Figure::new(format!("{agents} agents: first byte"), of(|round| round.first), "ms", Target::AtMost(50.0))
            .note("p50 over rounds, through the live stream"),
        Figure::new(format!("{agents} agents: half of the first bytes"), of(|round| round.half), "ms", Target::None)
            .note("p50 over agents"),
        Figure::new(format!("{agents} agents: all results stored"), stored / 1000.0, "s", Target::AtMost(5.0))
            .note(format!("{:.0} results/s", agents as f64 / stored * 1000.0)),
    ])
}

fn round(server: &Server, agents: u64) -> Result<Round> {
    let sent = Instant::now();
    let command = server.run_on_all("echo fanout")?;
    let events = server.edge()?.events(&format!("/api/v1/commands/{command}/stream"))?;
    let arrivals = thread::spawn(move || arrivals(events, sent));
    let mut edge = server.edge()?;
    let all_stored = loop {
        let summary = edge.get(&format!("/api/v1/commands/{command}/summary"))?;
        if summary["completed"] == agents {
            break sent.elapsed();
        }
        if sent.elapsed() > Duration::from_secs(120) {
            bail!("not all results came: {summary}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    let arrivals = arrivals.join().unwrap_or_else(|_| bail!("the reader of the stream panicked"))?;
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Ok(Round {
        first: ms(*arrivals.first().context("the stream showed no output")?),
        half: ms(arrivals[arrivals.len() / 2]),
        all_stored: ms(all_stored),
    })
}

/// When each agent's first output came.
fn arrivals(mut events: reeve_lab::http::Events, sent: Instant) -> Result<Vec<Duration>> {
    let mut seen = std::collections::HashSet::new();
    let mut arrivals = Vec::new();
    while let Some(event) = events.next_event()? {
        match event.event.as_str() {
            "output" => {
                let data: serde_json::Value = serde_json::from_str(&event.data)?;
                if seen.insert(data["execution_id"].as_str().unwrap_or_default().to_owned()) {
                    arrivals.push(sent.elapsed());
                }
            }
            "end" => break,
            _ => {}
        }
    }
    Ok(arrivals)
}
