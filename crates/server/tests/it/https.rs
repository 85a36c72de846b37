//! HTTPS end to end: the server with a pair of its own or a given one, and the client that trusts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reeve_lab::{PATIENCE, eventually};
use serde_json::Value;

/// A folder with a server's data, a client's home and certificates.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
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
    fn serve(&self) -> Server {
        let free = [
            "--listen",
            "provisioning=off",
            "--listen",
            "edge=127.0.0.1:0",
            "--listen",
            "console=127.0.0.1:0",
            "--listen",
            "agents=off",
        ];
        let mut serve = self.reeve(&["serve", "--data", "data", "--tls", "tls", "--log", "warn"]);
        let log = fs::File::create(self.path("log")).unwrap();
        let process = serve.args(free).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut server = Server { process, url: String::new(), key: String::new() };
        let log = || fs::read_to_string(self.path("log")).unwrap();
        let ready = eventually("the server to be ready", PATIENCE, || {
            assert!(server.process.try_wait().unwrap().is_none(), "it ended: {}", log());
            Ok(self.path("data/run.json").exists())
        });
        ready.unwrap_or_else(|error| panic!("{error}: {}", log()));
        let read = |name: &str| serde_json::from_str::<Value>(&fs::read_to_string(self.path(name)).unwrap()).unwrap();
        server.url = read("data/run.json")["listeners"]["console"].as_str().unwrap().to_owned();
        server.key = read("data/credentials.json")["master_key"].as_str().unwrap().to_owned();
        server
    }
}

struct Server {
    process: Child,
    url: String,
    key: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn authority(file: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

fn shown(output: &Output) -> String {
    format!(
        "{:?} {}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_self_signed_pair_is_made_pinned_and_kept() {
    let place = Place::new();
    let server = place.serve();
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let by_url = ["member", "--url", &server.url, "--token", &server.key];
    let unknown = place.run(&by_url);
    assert_eq!(unknown.status.code(), Some(3), "{}", shown(&unknown));
    assert!(shown(&unknown).contains("its certificate is not trusted"), "{}", shown(&unknown));
    let pinned = place.run(&[&by_url[..], &["--ca", "tls/cert.pem"]].concat());
    assert!(pinned.status.success(), "{}", shown(&pinned));
    let unchecked = place.run(&[&by_url[..], &["--insecure"]].concat());
    assert!(unchecked.status.success(), "{}", shown(&unchecked));
    // The edge surface below the console's listener, by a context that keeps the certificate.
    let login = place.run(&["login", &server.url, "--token", &server.key, "--ca", "tls/cert.pem"]);
    assert!(login.status.success(), "{}", shown(&login));
    let nodes = place.run(&["node", "list", "-o", "json"]);
    assert!(nodes.status.success() && nodes.stdout.starts_with(b"["), "{}", shown(&nodes));
    // On the server's own machine nothing has to be said.
    let local = place.reeve(&["whoami"]).env("REEVE_DATA", place.path("data")).output().unwrap();
    assert!(local.status.success(), "{}", shown(&local));

    let made = fs::read(place.path("tls/cert.pem")).unwrap();
    drop(server);
    fs::remove_file(place.path("data/run.json")).unwrap();
    let _again = place.serve();
    assert_eq!(fs::read(place.path("tls/cert.pem")).unwrap(), made, "the pair stays the same");
}

#[test]
fn a_given_pair_is_trusted_by_its_authority() {
    let place = Place::new();
    fs::create_dir(place.path("tls")).unwrap();
    let issuer = authority(&place.path("ca.pem"));
    authority(&place.path("other-ca.pem"));
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(place.path("tls/cert.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(place.path("tls/key.pem"), key.serialize_pem()).unwrap();
    let server = place.serve();
    let by = |ca: &str| place.run(&["member", "--url", &server.url, "--token", &server.key, "--ca", ca]);
    let trusted = by("ca.pem");
    assert!(trusted.status.success(), "{}", shown(&trusted));
    assert_eq!(by("other-ca.pem").status.code(), Some(3));
}

#[test]
fn a_pair_that_is_of_no_use_keeps_the_server_from_starting_and_says_why() {
    let place = Place::new();
    fs::create_dir(place.path("tls")).unwrap();
    for (cert, key, problem) in [("nothing", "nothing", "cert.pem"), ("", "", "cert.pem")] {
        fs::write(place.path("tls/cert.pem"), cert).unwrap();
        fs::write(place.path("tls/key.pem"), key).unwrap();
        let listen = [
            "--listen",
            "provisioning=off",
            "--listen",
            "edge=off",
            "--listen",
            "console=127.0.0.1:0",
            "--listen",
            "agents=off",
        ];
        let ended = place.run(&[&["serve", "--data", "data", "--tls", "tls"][..], &listen].concat());
        assert_eq!(ended.status.code(), Some(1));
        let words = shown(&ended);
        assert!(words.contains(problem) && words.contains("put cert.pem and key.pem into tls"), "{words}");
    }
}
