//! TLS to a PostgreSQL whose certificate an authority of our own has signed.
#![allow(clippy::disallowed_methods)] // starts a server and waits for it

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reeve_lab::{PATIENCE, eventually};
use reeve_store::{Location, Store};

/// A server of its own, for its certificate; killed when dropped.
struct Postgres {
    server: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let newest = versions.filter(|bin| bin.join("initdb").is_file()).max();
    let by_path = || std::env::split_paths(&std::env::var_os("PATH").unwrap()).find(|bin| bin.join("initdb").is_file());
    newest.or_else(by_path).expect("PostgreSQL; `cargo xtask test --only needs` installs it")
}

/// PostgreSQL refuses to run as root: then it runs as its own account.
fn as_owner(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let owner = fs::metadata(folder).unwrap();
        command = Command::new("setpriv");
        command.args(["--reuid", &owner.uid().to_string(), "--regid", &owner.gid().to_string(), "--clear-groups"]);
        command.arg(program);
    }
    command.current_dir("/");
    command
}

fn give(path: &Path, owner: Option<(u32, u32)>) {
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn account() -> Option<(u32, u32)> {
    (fs::metadata("/proc/self").unwrap().uid() == 0).then(|| {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("the account postgres");
        let fields: Vec<&str> = line.split(':').collect();
        (fields[2].parse().unwrap(), fields[3].parse().unwrap())
    })
}

impl Postgres {
    /// With a certificate for `localhost`; `ca.pem` and `other-ca.pem` are in its folder, `cert.pem` is its own.
    fn start() -> Self {
        let bin = programs();
        let folder = tempfile::Builder::new().prefix("reeve-tls-postgres-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owner = account();
        give(folder.path(), owner);
        let authority = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            fs::write(folder.path().join(name), params.self_signed(&key).unwrap().pem()).unwrap();
            Issuer::new(params, key)
        };
        let issuer = authority("ca.pem");
        authority("other-ca.pem");
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("cert.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        let key_file = folder.path().join("key.pem");
        fs::write(&key_file, key.serialize_pem()).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        give(&key_file, owner);

        let data = folder.path().join("data");
        let mut initdb = as_owner(&bin.join("initdb"), folder.path());
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
        let made = initdb.arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = as_owner(&bin.join("postgres"), folder.path());
        server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-p", &port.to_string()]);
        for option in [
            "listen_addresses=127.0.0.1",
            "ssl=on",
            "ssl_cert_file=../cert.pem",
            "ssl_key_file=../key.pem",
            "fsync=off",
        ] {
            server.args(["-c", option]);
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let server = server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let postgres = Self { server, port, folder };
        eventually("PostgreSQL to be ready", PATIENCE, || {
            let log = fs::read_to_string(postgres.folder.path().join("log")).unwrap();
            assert!(!log.contains("FATAL:  could not"), "{log}");
            let mut ask = Command::new(bin.join("pg_isready"));
            Ok(ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status()?.success())
        })
        .unwrap();
        postgres
    }

    /// Connects to `host`; says whether the connection is encrypted, or what is wrong. FILE/ stands for the folder.
    async fn ask(&self, host: &str, query: &str) -> Result<bool, String> {
        let query = query.replace("FILE", &self.folder.path().display().to_string());
        let url = format!("postgres://postgres@{host}:{}/postgres{query}", self.port);
        let shown = |error: reeve_types::Error| format!("{} {:?}", error, error.details);
        let store = Store::open_unmigrated(&Location::Postgres(url)).await.map_err(shown)?;
        let mut tx = store.read().await.map_err(shown)?;
        let sql =
            "SELECT CAST(CASE WHEN ssl THEN 1 ELSE 0 END AS BIGINT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(tx.one(sql, &[]).await.unwrap().get::<i64>().unwrap() == 1)
    }
}

#[tokio::test]
async fn the_modes_of_libpq_hold_for_a_certificate_of_an_own_authority() {
    let postgres = Postgres::start();
    for (host, query, encrypted) in [
        ("localhost", "?sslmode=verify-full&sslrootcert=FILE/ca.pem", true),
        ("127.0.0.1", "?sslmode=verify-ca&sslrootcert=FILE/ca.pem", true),
        ("127.0.0.1", "?sslmode=require&sslrootcert=FILE%2Fca.pem&application_name=reeve", true),
        ("localhost", "?sslmode=verify-full&sslrootcert=FILE/cert.pem", true),
        ("127.0.0.1", "?sslmode=verify-ca&sslrootcert=FILE/cert.pem", true),
        ("127.0.0.1", "?sslmode=require", true),
        ("127.0.0.1", "?sslmode=prefer", true),
        ("127.0.0.1", "", true),
        ("127.0.0.1", "?sslmode=disable", false),
    ] {
        assert_eq!(postgres.ask(host, query).await, Ok(encrypted), "{host} {query}");
    }
    for (host, query, problem) in [
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert=FILE/ca.pem", "not valid for name"),
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert=FILE/cert.pem", "not valid for name"),
        ("localhost", "?sslmode=verify-full&sslrootcert=FILE/other-ca.pem", "invalid peer certificate"),
        ("localhost", "?sslmode=verify-ca&sslrootcert=FILE/other-ca.pem", "invalid peer certificate"),
        ("localhost", "?sslmode=require&sslrootcert=FILE/other-ca.pem", "invalid peer certificate"),
        ("localhost", "?sslmode=verify-full&sslrootcert=FILE/none.pem", "none.pem, which is of no use"),
        ("localhost", "?sslmode=verify-full&sslrootcert=FILE/log", "holds no certificate"),
        ("localhost", "?sslmode=verify-full&sslrootcert=FILE%2", "two hex digits"),
        ("localhost", "?sslmode=yes", "has sslmode=yes; there are disable, prefer"),
        ("localhost", "?sslsomething=1", "is not a PostgreSQL URL"),
    ] {
        let refused = postgres.ask(host, query).await.unwrap_err();
        assert!(refused.contains(problem), "{host} {query}: {refused}");
    }
    // Without a file it is the machine's authorities that count, and they do not know this one.
    let refused = postgres.ask("localhost", "?sslmode=verify-full").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer") || refused.contains("there are none"), "{refused}");
}
