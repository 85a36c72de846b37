//! What the agent can be told, on the command line and by the environment.

use std::path::PathBuf;

use reeve_agent_proto::message::Ports;

use crate::error::AgentError;

/// Help text of the stand-alone binary.
pub const USAGE: &str = "\
Usage: reeve-agent [OPTIONS]

Connects this machine to a Reeve server and runs the commands it sends.

Options:
  --enroll KEY         join with this enrollment key  [env: REEVE_ENROLLMENT_KEY, ENROLLMENT_KEY]
  --data DIR           identity and journal  [env: REEVE_AGENT_DATA; default: /var/lib/reeve-agent as root]
  --server HOST:PORT   agent endpoint of the server, instead of the key's
  --http-proxy URL     connect through this HTTP proxy  [env: HTTPS_PROXY, minus NO_PROXY]
  --random-id          do not derive the node id from the machine
  --alias NAME         a further name of this node; may be repeated  [env: ALIASES, comma separated]
  --self-update        take part in self-updates  [env: SELF_UPDATE_ENABLED]
  --max-parallel N     commands run at once  [default: 10]
  --log LEVEL          error, warn, info, debug or trace  [env: REEVE_LOG; default: info]
  --version            print the version
  --help               print this help
";

/// Settings of one agent.
#[derive(Debug, Clone)]
pub struct Options {
    /// Enrollment key; only needed until the node is enrolled.
    pub enroll: Option<String>,
    /// Directory of identity and journal.
    pub data_dir: PathBuf,
    /// `host:port` to use instead of what the key or the server names.
    pub server: Option<String>,
    /// `http://[user:password@]host:port` of a proxy for CONNECT.
    pub http_proxy: Option<String>,
    /// Draw the node id at random.
    pub random_id: bool,
    /// Further names of the node, asked for at the start.
    pub aliases: Vec<String>,
    /// Whether the node takes part in self-updates.
    pub self_update: bool,
    /// Commands run at once.
    pub max_parallel: usize,
    /// Log level.
    pub log: String,
    /// How long running commands may go on after the agent was asked to stop, in milliseconds.
    pub stop_grace_ms: u64,
    /// Largest delay between two connection attempts, in milliseconds.
    pub reconnect_cap_ms: u64,
    /// The journal refuses new commands past this size, in bytes.
    pub journal_limit_bytes: u64,
    /// Ports of the node's services, as reported to the server.
    pub ports: Ports,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the agent.
    Run(Box<Options>),
    /// Print [`USAGE`].
    Help,
    /// Print the version.
    Version,
}

impl Options {
    /// Everything at its default, with `data_dir` as the data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            enroll: None,
            data_dir: data_dir.into(),
            server: None,
            http_proxy: None,
            random_id: false,
            aliases: Vec::new(),
            self_update: false,
            max_parallel: 10,
            log: "info".into(),
            stop_grace_ms: 5_000,
            reconnect_cap_ms: 30_000,
            journal_limit_bytes: 512 * 1024 * 1024,
            ports: Ports {
                http: 44000,
                ssh: 40022,
                host_metrics: 49100,
                wireguard_metrics: 49586,
                http_proxy: 43128,
                socks5_proxy: 41080,
            },
        }
    }

    /// Defaults and environment. `env` looks a variable up.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| env(name).filter(|v| !v.is_empty());
        let data_dir = get("REEVE_AGENT_DATA").map(PathBuf::from).unwrap_or_else(|| default_data_dir(env));
        let mut options = Self::new(data_dir);
        options.enroll = get("REEVE_ENROLLMENT_KEY").or_else(|| get("ENROLLMENT_KEY"));
        options.http_proxy = get("REEVE_HTTP_PROXY");
        let is_on = |name: &str| get(name).is_some_and(|v| v == "1" || v.eq_ignore_ascii_case("true"));
        options.random_id = is_on("USE_RANDOM_ID");
        options.self_update = is_on("SELF_UPDATE_ENABLED");
        options.aliases = get("ALIASES").map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let number = |name: &str| get(name).and_then(|value| value.parse::<u64>().ok());
        if let Some(grace_ms) = number("REEVE_AGENT_STOP_GRACE_MS") {
            options.stop_grace_ms = grace_ms;
        }
        if let Some(cap_ms) = number("REEVE_AGENT_RECONNECT_CAP_MS") {
            options.reconnect_cap_ms = cap_ms;
        }
        if let Some(limit) = number("REEVE_AGENT_JOURNAL_LIMIT_BYTES") {
            options.journal_limit_bytes = limit;
        }
        if let Some(log) = get("REEVE_LOG") {
            options.log = log;
        }
        options
    }

    /// Defaults, environment, then `args` without the program's name.
    pub fn parse(
        args: impl IntoIterator<Item = String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Invocation, AgentError> {
        let mut options = Self::from_env(env);
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (arg, None),
            };
            let mut value =
                || inline.clone().or_else(|| args.next()).ok_or_else(|| usage_error(format!("{name} needs a value")));
            match name.as_str() {
                "--enroll" => options.enroll = Some(value()?),
                "--data" => options.data_dir = value()?.into(),
                "--server" => options.server = Some(value()?),
                "--http-proxy" => options.http_proxy = Some(value()?),
                "--random-id" => options.random_id = true,
                "--self-update" => options.self_update = true,
                "--alias" => options.aliases.push(value()?),
                "--log" => options.log = value()?,
                "--max-parallel" => {
                    options.max_parallel = value()?
                        .parse()
                        .ok()
                        .filter(|n| *n > 0)
                        .ok_or_else(|| usage_error("--max-parallel needs a number above 0".to_owned()))?;
                }
                "--help" | "-h" => return Ok(Invocation::Help),
                "--version" | "-V" => return Ok(Invocation::Version),
                other => return Err(usage_error(format!("unknown argument {other:?}"))),
            }
        }
        Ok(Invocation::Run(Box::new(options)))
    }
}

fn usage_error(message: String) -> AgentError {
    AgentError::new(message, "see reeve-agent --help")
}

fn default_data_dir(env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/reeve-agent");
    }
    if let Some(data) = env("XDG_DATA_HOME").filter(|d| d.starts_with('/')) {
        return PathBuf::from(data).join("reeve-agent");
    }
    match env("HOME").filter(|h| !h.is_empty()) {
        Some(home) => PathBuf::from(home).join(".local/share/reeve-agent"),
        None => PathBuf::from("reeve-agent-data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Options, AgentError> {
        let env: std::collections::HashMap<String, String> =
            env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match Options::parse(args.iter().map(|a| (*a).to_owned()), &|k| env.get(k).cloned())? {
            Invocation::Run(options) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_win_over_environment() {
        let env = [("REEVE_ENROLLMENT_KEY", "a"), ("ENROLLMENT_KEY", "b"), ("REEVE_AGENT_DATA", "/e")];
        let options = parse(&[], &env).unwrap();
        assert_eq!((options.enroll.as_deref(), options.data_dir.to_str()), (Some("a"), Some("/e")));
        let names = [("ALIASES", "web, api"), ("SELF_UPDATE_ENABLED", "TRUE")];
        let options = parse(&["--alias", "db"], &names).unwrap();
        assert_eq!((options.aliases.len(), options.self_update), (3, true));
        let options = parse(&["--enroll=c=", "--data", "/d", "--max-parallel", "3", "--random-id"], &env).unwrap();
        assert_eq!(options.enroll.as_deref(), Some("c="));
        assert_eq!((options.data_dir.to_str(), options.max_parallel, options.random_id), (Some("/d"), 3, true));
    }

    #[test]
    fn mistakes_are_named() {
        for args in [&["--nope"][..], &["--data"], &["--max-parallel", "0"], &["stray"]] {
            assert!(parse(args, &[]).is_err(), "{args:?}");
        }
    }
}
