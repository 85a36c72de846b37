//! Programs of this machine: by argument vectors, with a time limit, killed when nobody waits for them any more.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reeve_ports::{CloudError, CloudErrorKind};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// What any of them may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where they are looked for, whatever the server's own environment says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a program can be found.
pub fn exists(name: &str) -> bool {
    PATH.split(':').any(|folder| Path::new(folder).join(name).exists())
}

/// A failure of this machine: nothing wrong with the order.
pub fn broken(what: impl AsRef<str>) -> CloudError {
    CloudError::new(CloudErrorKind::Unavailable, what)
}

/// Adds what was done to an error of the file system.
pub fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> CloudError {
    let text = format!("cannot {what} {}", path.display());
    move |error| broken(format!("{text}: {error}"))
}

fn command<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Command {
    let mut argv = argv.into_iter();
    let program = argv.next();
    #[allow(clippy::disallowed_methods)] // the one place of this crate that starts programs of this machine
    let mut command = Command::new(program.as_ref().map_or(OsStr::new(""), AsRef::as_ref));
    command.args(argv).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").kill_on_drop(true);
    command
}

/// Runs a program to its end and returns what it printed; the error has what it complained of.
pub async fn run(argv: &[&str], input: &str) -> Result<String, CloudError> {
    let name = argv.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    let failed = |error: std::io::Error| broken(format!("{name}: {error}"));
    let mut child =
        command(argv).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // Who does not read its input is not wrong for it.
            stdin.write_all(input.as_bytes()).await.ok();
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(LIMIT, work).await {
        Ok(output) => output.map_err(failed)?,
        Err(_) => return Err(broken(format!("{name} took longer than {} s", LIMIT.as_secs()))),
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(broken(format!("{name}: {} ({})", words.trim(), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a program in a session of its own, with both outputs appended to `log`. It outlives us; as long as we live it
/// can be seen ending. Dropping the handle lets it go on.
pub fn detach<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>, log: &Path) -> Result<Child, CloudError> {
    let open = || std::fs::File::options().create(true).append(true).open(log).map_err(io("open", log));
    let words: Vec<_> = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
    command([OsStr::new("setsid")].into_iter().chain(words.iter().map(|word| word.as_os_str())))
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .kill_on_drop(false)
        .spawn()
        .map_err(|error| broken(format!("setsid: {error}")))
}
