//! What runs, for the two who can run it: systemd, and our own supervisor where process 1 is another.

use std::collections::BTreeMap;

use crate::definition;
use crate::quote;
use crate::template::{self, Context};

/// A service with every value in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub exec: Vec<String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub directory: String,
    pub environment: BTreeMap<String, String>,
    pub runtime: Vec<String>,
    pub open_files: Option<u64>,
    pub stop_secs: u64,
    pub stop_signal: String,
    pub delegate: bool,
    pub process_only: bool,
}

/// Fills in a definition's service; the error says where and what.
pub(crate) fn fill(service: &definition::Service, context: &Context) -> Result<Option<Service>, (String, String)> {
    let at = |field: &'static str| move |why: String| (format!("service.{field}"), why);
    if !template::holds(service.when.as_deref(), context).map_err(at("when"))? {
        return Ok(None);
    }
    let mut exec = Vec::new();
    for (index, argument) in service.exec.iter().enumerate() {
        let text = template::plain(argument, context).map_err(|why| (format!("service.exec[{index}]"), why))?;
        if !text.is_empty() {
            exec.push(text);
        }
    }
    let environment = template::plain_map(&service.environment, context)
        .map_err(|(name, why)| (format!("service.environment.{name}"), why))?;
    let directory = template::plain(service.directory.as_deref().unwrap_or("/"), context).map_err(at("directory"))?;
    Ok(Some(Service {
        exec,
        user: service.user.clone(),
        group: service.group.clone(),
        directory,
        environment: environment.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        runtime: service.runtime.clone(),
        open_files: service.open_files,
        stop_secs: service.stop_secs,
        stop_signal: service.stop_signal.clone(),
        delegate: service.delegate,
        process_only: service.process_only,
    }))
}

impl Service {
    /// The unit file.
    pub fn unit(&self, title: &str) -> Result<String, quote::Unquotable> {
        let exec: Result<Vec<String>, _> = self.exec.iter().map(|argument| quote::systemd(argument)).collect();
        let mut unit = format!(
            "[Unit]\nDescription={title} (Reeve)\nAfter=network-online.target\nWants=network-online.target\n\n\
             [Service]\nType=exec\nExecStart={}\nWorkingDirectory={}\nRestart=always\nRestartSec=2\nKillSignal=SIG{}\n\
             TimeoutStopSec={}\n",
            exec?.join(" "),
            self.directory,
            self.stop_signal,
            self.stop_secs,
        );
        for (name, value) in &self.environment {
            unit.push_str(&format!("Environment={}\n", quote::systemd_environment(&format!("{name}={value}"))?));
        }
        if let Some(user) = &self.user {
            unit.push_str(&format!("User={user}\nGroup={}\n", self.group.as_ref().unwrap_or(user)));
        }
        if !self.runtime.is_empty() {
            unit.push_str(&format!("RuntimeDirectory={}\nRuntimeDirectoryPreserve=yes\n", self.runtime.join(" ")));
        }
        if let Some(files) = self.open_files {
            unit.push_str(&format!("LimitNOFILE={files}\n"));
        }
        if self.delegate {
            unit.push_str("Delegate=yes\nTasksMax=infinity\n");
        }
        if self.process_only {
            unit.push_str("KillMode=process\n");
        }
        unit.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        Ok(unit)
    }

    /// The same as shell variables for the supervisor, its command as `set --`.
    pub fn supervised(&self) -> String {
        let mut out = String::new();
        let mut set = |name: &str, value: &str| out.push_str(&format!("{name}={}\n", quote::sh(value)));
        set("RUN_USER", self.user.as_deref().unwrap_or("root"));
        set("RUN_GROUP", self.group.as_deref().or(self.user.as_deref()).unwrap_or("root"));
        set("RUN_DIRECTORY", &self.directory);
        set("RUN_RUNTIME", &self.runtime.join(" "));
        set("RUN_OPEN_FILES", &self.open_files.map(|n| n.to_string()).unwrap_or_default());
        set("RUN_STOP_SECS", &self.stop_secs.to_string());
        set("RUN_STOP_SIGNAL", &self.stop_signal);
        set("RUN_PROCESS_ONLY", if self.process_only { "yes" } else { "no" });
        for (name, value) in &self.environment {
            out.push_str(&format!("export {name}={}\n", quote::sh(value)));
        }
        let exec: Vec<String> = self.exec.iter().map(|argument| quote::sh(argument)).collect();
        out.push_str(&format!("set -- {}\n", exec.join(" ")));
        out
    }
}
