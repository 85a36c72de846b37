//! A real S3 server (SeaweedFS, from PyPI) in a temporary folder, on free ports of loopback, for one run of the tests. It
//! checks signatures: a wrong key is refused.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::postgres::free_port;

/// What the tests sign with.
const IDENTITIES: &str = r#"{"identities": [{"name": "test", "actions": ["Admin", "Read", "Write", "List"],
    "credentials": [{"accessKey": "AKTEST", "secretKey": "secret-of-the-tests"}]}]}"#;

/// A running server; killed when dropped, with its data.
pub struct S3 {
    pub port: u16,
    server: Child,
    folder: TempDir,
}

impl S3 {
    /// `python` is the interpreter whose environment has SeaweedFS.
    pub fn start(python: &Path) -> Result<Self> {
        let program = python.with_file_name("weed");
        let folder = tempfile::Builder::new().prefix("reeve-test-s3-").tempdir_in("/tmp")?;
        fs::write(folder.path().join("s3.json"), IDENTITIES)?;
        let (master, volume, filer, port) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new(program);
        command.args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-master.volumeSizeLimitMB=64",
            // Two more listeners on ports of their own; a second server on this machine would end over them.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]);
        command.arg(format!("-dir={}", folder.path().display()));
        command.arg(format!("-s3.config={}", folder.path().join("s3.json").display()));
        // Each has a second port for its own protocol, which it would otherwise derive from the first.
        for (name, number) in [("master", master), ("volume", volume), ("filer", filer), ("s3", port)] {
            command.arg(format!("-{name}.port={number}")).arg(format!("-{name}.port.grpc={}", free_port()?));
        }
        let server =
            command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let mut s3 = Self { port, server: server.context("cannot start SeaweedFS")?, folder };
        s3.wait_until_ready()?;
        Ok(s3)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.server.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("SeaweedFS did not start (ended: {ended:?}); its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None)) && self.server.kill().and_then(|()| self.server.wait()).is_err() {
            eprintln!("xtask: SeaweedFS (pid {}) could not be stopped", self.server.id());
        }
    }
}
