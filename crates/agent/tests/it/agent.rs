//! A real agent process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use reeve_lab::find;

pub struct Agent {
    child: Child,
    pub log: PathBuf,
}

/// How an agent is started.
pub struct Start<'a> {
    pub data: &'a Path,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
}

impl<'a> Start<'a> {
    pub fn new(data: &'a Path, key: Option<&str>) -> Self {
        let mut args = vec!["--data".to_owned(), data.display().to_string(), "--random-id".into()];
        args.extend(key.into_iter().flat_map(|key| ["--enroll".to_owned(), key.to_owned()]));
        Self { data, args, env: vec![("REEVE_AGENT_RECONNECT_CAP_MS", "200".into())] }
    }

    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    pub fn spawn(self) -> Agent {
        let log = self.data.with_extension("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_reeve-agent"));
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        for name in ["REEVE_ENROLLMENT_KEY", "ENROLLMENT_KEY", "HTTPS_PROXY", "https_proxy"] {
            command.env_remove(name);
        }
        // A developer's login profile may take its time.
        command.env("HOME", "/").envs(self.env);
        Agent { child: command.spawn().unwrap(), log }
    }
}

impl Agent {
    pub fn start(data: &Path, key: &str) -> Self {
        Start::new(data, Some(key)).spawn()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn exit(&mut self) -> ExitStatus {
        find("the agent to exit", async || self.child.try_wait().unwrap().ok_or("it runs")).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

pub fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}
