//! `reeve agent` and `reeve simulate`: the agent's own crate behind this binary's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use reeve_agent::Options;
use reeve_agent::simulate::SimulateOptions;

use crate::say;

/// Flags of `reeve agent`.
#[derive(clap::Args, Clone, Debug)]
pub struct AgentArgs {
    /// The enrollment key; needed once [env: REEVE_ENROLLMENT_KEY]
    #[arg(long, value_name = "KEY")]
    enroll: Option<String>,
    /// Where identity and journal are kept
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the server is, instead of what the key says
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// An HTTP proxy to go through
    #[arg(long, value_name = "URL")]
    http_proxy: Option<String>,
    /// Draw a random node id instead of deriving one from the machine
    #[arg(long)]
    random_id: bool,
    /// A further name of this node; may be repeated [env: ALIASES, comma separated]
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Take part in self-updates [env: SELF_UPDATE_ENABLED]
    #[arg(long)]
    self_update: bool,
    /// Commands at the same time
    #[arg(long, value_name = "N")]
    max_parallel: Option<usize>,
    /// What is logged
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Runs the agent until it is told to stop.
pub fn main(args: AgentArgs) -> ExitCode {
    let mut options = Options::from_env(&|name| std::env::var(name).ok());
    options.enroll = args.enroll.or(options.enroll);
    options.data_dir = args.data.unwrap_or(options.data_dir);
    options.server = args.server.or(options.server);
    options.http_proxy = args.http_proxy.or(options.http_proxy);
    options.random_id |= args.random_id;
    options.aliases.extend(args.aliases);
    options.self_update |= args.self_update;
    options.max_parallel = args.max_parallel.unwrap_or(options.max_parallel);
    options.log = args.log.unwrap_or(options.log);
    reeve_agent::main(options)
}

/// What can be simulated.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum SimulateCommand {
    /// Virtual agents: they enroll, beat and answer commands, over a TLS socket each
    Agents(SimulateArgs),
}

/// Flags of `reeve simulate agents`.
#[derive(clap::Args, Clone, Debug)]
pub struct SimulateArgs {
    /// How many
    #[arg(long, value_name = "N")]
    count: usize,
    /// An enrollment key with that many uses
    #[arg(long, value_name = "KEY", env = "REEVE_ENROLLMENT_KEY", hide_env_values = true)]
    key: String,
    /// Where the server is, instead of what the key says
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// Connections that break per second, over all agents, and come back
    #[arg(long, value_name = "PER_SECOND", default_value_t = 0.0)]
    churn: f64,
    /// How long a command takes, as 20ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = millis)]
    latency: u64,
    /// Share of commands that fail, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    fail_rate: f64,
    /// Time between heartbeats, instead of what the server says
    #[arg(long, value_name = "TIME", value_parser = millis)]
    heartbeat: Option<u64>,
}

fn millis(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is not a time, as 20ms or 1.5s"))?;
    match unit {
        "ms" | "" => Ok(number as u64),
        "s" => Ok((number * 1000.0) as u64),
        "m" => Ok((number * 60_000.0) as u64),
        _ => Err(format!("`{unit}` is not a unit; use ms, s or m")),
    }
}

/// Runs the virtual agents until Ctrl-C.
pub async fn simulate(command: SimulateCommand) -> Result<()> {
    let SimulateCommand::Agents(args) = command;
    let options = SimulateOptions {
        count: args.count,
        key: args.key,
        server: args.server,
        churn_per_second: args.churn,
        latency_ms: args.latency,
        fail_rate: args.fail_rate,
        heartbeat_ms: args.heartbeat,
    };
    crate::serve::raise_file_limit();
    tokio::select! {
        done = reeve_agent::simulate::run(options, |line| say::progress(&line)) => Ok(done?),
        signal = crate::serve::stop_signal() => signal,
    }
}
