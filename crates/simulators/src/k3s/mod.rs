//! A stand-in for k3s and for the program that installs Cilium, for machines that have neither: what taskservs `kubernetes`
//! and `cilium` ask of them, as programs. No container runs in it. One control plane; it has no etcd.
//!
//! Kept from the originals: settings of `config.yaml` that the role does not know end the program; an agent trusts the
//! server's certificate at first contact and joins by token; a node's name belongs to the password it joined with; nodes are
//! not ready until they have a network; Cilium's agent answers on every node once it is installed; `cilium install` twice is
//! an error.

mod api;
mod cilium;
mod client;
mod config;
mod kubectl;
mod node;

use std::process::ExitCode;

/// What it calls itself: the original's version, and that it is none.
const VERSION: &str = "v1.31.4+k3s1 (simulator)";
/// Who may do everything, as k3s writes it down.
const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// Where k3s keeps its state.
const DATA: &str = "/var/lib/rancher/k3s";

/// Runs the program that `words` name: the first is the name it was called by.
pub fn main(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = words.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let done = match (name, words.get(1..).unwrap_or_default()) {
        ("cilium", rest) => cilium::run(rest),
        ("kubectl", rest) | (_, ["kubectl", rest @ ..]) => kubectl::run(rest),
        (_, ["server", rest @ ..]) => settings(rest).and_then(|()| serve(config::Role::Server)),
        (_, ["agent", rest @ ..]) => settings(rest).and_then(|()| serve(config::Role::Agent)),
        (_, ["--version" | "-v"]) => {
            say(&format!("k3s version {VERSION}\ngo version none"));
            Ok(())
        }
        (_, other) => Err(format!("No help topic for '{}': this is a simulator of k3s", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

/// Settings stand in the file, so flags are not known here.
fn settings(flags: &[&str]) -> Result<(), String> {
    match flags {
        [] => Ok(()),
        [flag, ..] => Err(format!("flag provided but not defined: {flag} (the simulator reads {} only)", config::PATH)),
    }
}

fn serve(role: config::Role) -> Result<(), String> {
    let config = config::Config::read(role)?;
    // An error only says that somebody installed a provider before.
    drop(rustls::crypto::ring::default_provider().install_default());
    runtime()?.block_on(async move {
        let server = match role {
            config::Role::Server => Some(api::Server::open(&config).await?),
            config::Role::Agent => None,
        };
        tokio::select! {
            ended = node::run(&config) => ended,
            ended = async { match server { Some(server) => server.serve().await, None => std::future::pending().await } } => ended,
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

#[allow(clippy::print_stdout)] // a program for people and scripts
fn say(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr)] // its log
fn complain(text: &str) {
    eprintln!("{text}");
}

/// Writes a file for root alone, with the folders above it.
fn write(path: &str, text: &str) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let write = || -> std::io::Result<()> {
        if let Some(folder) = std::path::Path::new(path).parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    };
    write().map_err(|error| format!("{path}: {error}"))
}

/// Letters that nobody guesses, of a fresh key.
fn random() -> Result<String, String> {
    let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?.serialize_pem();
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    Ok(body.chars().rev().filter(char::is_ascii_alphanumeric).take(40).collect())
}
