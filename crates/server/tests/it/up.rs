//! `reeve up` as a person meets it: what it prints, what it leaves behind, and what it says when it cannot.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use reeve_lab::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};

const FREE: [&str; 8] = [
    "--listen",
    "provisioning=127.0.0.1:0",
    "--listen",
    "edge=127.0.0.1:0",
    "--listen",
    "console=127.0.0.1:0",
    "--listen",
    "agents=127.0.0.1:0",
];

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
    /// `reeve` with nothing of the caller's environment.
    fn reeve(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reeve"));
        command.env_clear().env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin").args(arguments);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }
    fn run(&self, arguments: &[&str]) -> Output {
        self.reeve(arguments).output().unwrap()
    }
    /// `reeve up` with its output in `log`, once it has said that everything runs.
    fn up(&self, log: &str) -> Child {
        let file = fs::File::create(self.path(log)).unwrap();
        let mut up = self.reeve(&["up", "--data", "data"]);
        let mut up = up.args(FREE).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let ready = eventually("everything to run", PATIENCE, || {
            assert!(up.try_wait().unwrap().is_none(), "it ended: {}", self.text(log));
            Ok(self.text(log).contains("Ctrl-C stops everything"))
        });
        ready.unwrap_or_else(|error| panic!("{error}: {}", self.text(log)));
        up
    }
}

fn end(mut up: Child, signal: Signal) {
    kill_process(Pid::from_child(&up), signal).unwrap();
    assert!(up.wait().unwrap().success());
}

#[test]
fn a_first_start_that_fails_does_not_swallow_the_credentials() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("edge={}", taken.local_addr().unwrap());
    let failed = place.run(&["up", "--data", "data", "--listen", &listen, "--listen", "agents=127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("choose another with --listen edge=ADDR"), "{said}");
    assert!(!place.path("data/run.json").exists());

    let up = place.up("first");
    let first = place.text("first");
    assert!(first.contains("Login      admin / ") && first.contains("Master key "), "{first}");
    let data = place.path("data").canonicalize().unwrap();
    assert!(first.contains(&format!("export REEVE_DATA={}", data.display())), "{first}");
    end(up, Signal::INT);
    assert!(!place.path("data/run.json").exists(), "a server that stopped is not to be found");

    let kept = place.text("data/credentials.json");
    end(place.up("second"), Signal::TERM);
    let second = place.text("second");
    assert!(second.contains("Login      as before") && !second.contains("Master key"), "{second}");
    let secrets =
        |text: &str| text.lines().filter(|line| !line.contains("\"url\"")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(secrets(&place.text("data/credentials.json")), secrets(&kept));
    let log = place.text("data/agent.log");
    assert!(!log.contains('\u{1b}') && !first.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn what_is_wrong_with_the_surroundings_is_said() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let says = |arguments: &[&str], variable: Option<(&str, &str)>, words: &str| {
        let mut command = place.reeve(arguments);
        command.envs(variable);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    };
    says(&["up", "--data", "file"], None, "the data directory file cannot be made");
    says(&["up", "--listen", "edge=localhost:1"], None, "is not ADDRESS:PORT or `off`");
    says(&["up"], Some(("REEVE_DEFAULT_CLUSTER_NAME", "Bad Name!")), "default_cluster_name must be");
    says(&["doctor", "--local", "--data", "nowhere"], None, "there is no data directory nowhere");
    assert!(!place.path("nowhere").exists(), "to look must not make one");
    says(&["backup", "list", "nowhere"], None, "there is no folder nowhere");
}

#[test]
fn a_stop_while_the_agent_is_awaited_leaves_nothing_behind() {
    let place = Place::new();
    // An agent that cannot start: its folder is a file.
    fs::create_dir(place.path("data")).unwrap();
    fs::write(place.path("data/agent"), "").unwrap();
    let failed = place.reeve(&["up", "--data", "data"]).args(FREE).output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("the local agent ended at once"), "{said}");
    assert!(said.contains("credentials.json"), "what was made and not shown is named: {said}");
    assert!(said.contains("stopped") && !place.path("data/run.json").exists(), "{said}");
}
