//! Machines behind an application that are no machines: they understand what the engine of taskservs asks, remember what it
//! put there, and refuse on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reeve_ports::remote::{
    Call, End, HostKey, KeyPair, Outcome, OutputSink, Pipe, RemoteError, RemoteErrorKind, RemoteFile, RemoteHost,
    RemoteHosts, RemoteOrder, Target, Uploaded,
};
use reeve_types::Secret;

/// What is on a machine: taskserv -> the last phase that changed it.
pub type Software = BTreeMap<String, String>;

#[derive(Default)]
struct State {
    machines: BTreeMap<String, Software>,
    /// (address, phase): that one fails.
    failing: Vec<(String, String)>,
    /// As those, but for the first time only.
    failing_once: Vec<(String, String)>,
    /// What ran: address, taskserv, phase.
    ran: Vec<(String, String, String)>,
    /// Nobody answers there.
    silent: Vec<String>,
    asked: usize,
    boots: Option<Arc<dyn Fn() -> usize + Send + Sync>>,
}

/// All machines, by address. Cheap to clone.
#[derive(Clone, Default)]
pub struct FakeMachines(Arc<Mutex<State>>);

impl FakeMachines {
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().expect("no panic while it is held"))
    }
    /// What is where; machines without anything are left out.
    pub fn software(&self) -> BTreeMap<String, Software> {
        self.state(|state| state.machines.clone().into_iter().filter(|(_, software)| !software.is_empty()).collect())
    }
    /// A phase fails on a machine until it is mended.
    pub fn fail(&self, address: &str, phase: &str) {
        self.state(|state| state.failing.push((address.to_owned(), phase.to_owned())));
    }
    /// A phase fails on a machine, once.
    pub fn fail_once(&self, address: &str, phase: &str) {
        self.state(|state| state.failing_once.push((address.to_owned(), phase.to_owned())));
    }
    /// The phases of a taskserv that ran on a machine, in order.
    pub fn ran(&self, address: &str, taskserv: &str) -> Vec<String> {
        let of = |(at, name, _): &&(String, String, String)| at == address && name == taskserv;
        self.state(|state| state.ran.iter().filter(of).map(|(_, _, phase)| phase.clone()).collect())
    }
    /// Nothing fails any more, everybody answers.
    pub fn mend(&self) {
        self.state(|state| {
            state.failing.clear();
            state.failing_once.clear();
            state.silent.clear();
        });
    }
    /// Nobody answers at this address.
    pub fn silence(&self, address: &str) {
        self.state(|state| state.silent.push(address.to_owned()));
    }
    /// How often machines were started is what this says: who restarts them is their provider.
    pub fn boots_by(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        self.state(|state| state.boots = Some(Arc::new(count)));
    }
    /// Orders that were run.
    pub fn asked(&self) -> usize {
        self.state(|state| state.asked)
    }

    fn perform(&self, address: &str, order: &RemoteOrder) -> (u32, String) {
        let script = String::from_utf8_lossy(&order.stdin).into_owned();
        let words: Vec<&str> = order.argv.iter().map(String::as_str).collect();
        // One command at a time is all that comes here: everybody's turn is at once.
        let words = match words.as_slice() {
            ["sh", "-c", _, "turn", _, _, words @ ..] => words,
            words => words,
        };
        let (name, phase) = match words {
            ["sh", "-s"] if script.contains("printf 'os=%s") => {
                return (0, "os=debian\nos_version=12\narch=amd64\ninit=none\ncgroup=2\nroot=yes\n".into());
            }
            ["sh", "-s"] if script.contains("boot_id") => {
                let boots = self.state(|state| state.boots.clone());
                return (0, format!("reeve-boot=fake-{}\n", boots.map_or(0, |count| count())));
            }
            ["sh", "-s"] => {
                let name = script.split("REEVE_NAME='").nth(1).and_then(|rest| rest.split('\'').next());
                let phase = script.rsplit("phase_").next().and_then(|rest| rest.split_whitespace().next());
                (name.unwrap_or_default().to_owned(), phase.unwrap_or_default().to_owned())
            }
            ["sh", "-c", _, "upload", folder, _] => {
                (folder.rsplit('/').next().unwrap_or_default().to_owned(), "upload".to_owned())
            }
            ["sh", path] => {
                let parts: Vec<&str> = path.rsplit('/').collect();
                (parts[2].to_owned(), parts[0].trim_end_matches(".sh").to_owned())
            }
            other => return (127, format!("{other:?}")),
        };
        self.state(|state| {
            state.asked += 1;
            state.ran.push((address.to_owned(), name.clone(), phase.clone()));
            let once = state.failing_once.iter().position(|(at, what)| at == address && *what == phase);
            let once = once.map(|found| state.failing_once.remove(found));
            if once.is_some() || state.failing.iter().any(|(at, what)| at == address && *what == phase) {
                return (1, format!("::problem {name} does not want to {phase}\n"));
            }
            let software = state.machines.entry(address.to_owned()).or_default();
            match phase.as_str() {
                "remove" => _ = software.remove(&name),
                "install" | "configure" | "start" => _ = software.insert(name, phase),
                "record" => return (0, "::fact version=1.2.3\n".into()),
                "health" if !software.contains_key(&name) => return (1, "::problem it is not installed here\n".into()),
                _ => {}
            }
            (0, String::new())
        })
    }
}

impl RemoteHosts for FakeMachines {
    fn connect<'a>(&'a self, target: &'a Target) -> Call<'a, Arc<dyn RemoteHost>> {
        let address = target.address.clone();
        Box::pin(async move {
            if self.state(|state| state.silent.contains(&address)) {
                return Err(RemoteError::new(RemoteErrorKind::Unreachable, format!("{address} does not answer")));
            }
            const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Xl0Zb6cVb0o0QJ0m1pE4w5n3m3e2Jt0m5h4e7yQ2x";
            let machine: Arc<dyn RemoteHost> =
                Arc::new(FakeMachine { address, key: HostKey::parse(KEY)?, all: self.clone() });
            Ok(machine)
        })
    }
    fn key_pair(&self, _: &[u8; 32], _: &str) -> Result<KeyPair, RemoteError> {
        Err(RemoteError::invalid("these machines need no keys"))
    }
    fn public_key(&self, _: &Secret) -> Result<String, RemoteError> {
        Err(RemoteError::invalid("these machines need no keys"))
    }
}

struct FakeMachine {
    address: String,
    key: HostKey,
    all: FakeMachines,
}

impl RemoteHost for FakeMachine {
    fn host_key(&self) -> &HostKey {
        &self.key
    }
    fn run<'a>(&'a self, order: &'a RemoteOrder, sink: &'a mut dyn OutputSink) -> Call<'a, Outcome> {
        Box::pin(async move {
            let (status, output) = self.all.perform(&self.address, order);
            sink.write(Pipe::Stdout, output.as_bytes());
            Ok(Outcome { end: End::Exited(status), output_bytes: output.len() as u64, omitted_bytes: 0 })
        })
    }
    fn upload(&self, _: RemoteFile) -> Call<'_, Uploaded> {
        Box::pin(async { Err(RemoteError::invalid("nobody uploads single files here")) })
    }
    fn remove<'a>(&'a self, _: &'a str) -> Call<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    fn close(&self) -> futures::future::BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
