//! What runs in the namespaces of a host before its own first program does: takes the lock, waits for its cable, mounts
//! its root, and becomes its PID 1. Started by `unshare`, as a process of its own.

mod mounts;
mod seed;
mod systemd;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::program::PATH;
pub(crate) use mounts::LAID_OVER;

/// How long it waits for the other end of its cable: whoever starts it plugs it in at once, or has died.
const CABLE_WITHIN: Duration = Duration::from_secs(15);

/// What a start needs, as the server writes it to `boot.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    pub hostname: String,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    /// The root of an image; None is this machine's own system.
    pub lower: Option<PathBuf>,
    /// Control groups to enter.
    pub groups: Vec<PathBuf>,
    /// A folder of this machine to show.
    pub packages: Option<PathBuf>,
    /// systemd is the host's first program, and the lock is held by its parent.
    #[serde(default)]
    pub systemd: bool,
}

/// Where systemd is.
pub(crate) const SYSTEMD: &str = "/lib/systemd/systemd";

type Result<T> = std::result::Result<T, String>;

/// Says what was tried when it fails.
fn tried<T, E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(std::result::Result<T, E>) -> Result<T> {
    move |result| result.map_err(|error| format!("{what}: {error}"))
}

/// Becomes a host (`host FOLDER`), holds its lock while another program does (`hold FOLDER PROGRAM...`), or makes an image (`image FOLDER [MIRROR]`). Returns only when that failed, or when
/// the image is made.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let words: Vec<&std::ffi::OsStr> = args.iter().map(OsString::as_os_str).collect();
    let done = match words.as_slice() {
        [word, folder] if *word == "host" => host(Path::new(folder)),
        [word, folder, program, rest @ ..] if *word == "hold" => hold(Path::new(folder), program, rest),
        [word, folder, mirror @ ..] if *word == "image" => {
            crate::image::make(Path::new(folder), mirror.first().copied()).map_err(|error| error.to_string())
        }
        _ => Err("this is started by the server alone".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            #[allow(clippy::print_stderr)] // the host's console, or the image's log
            {
                eprintln!("{problem}");
            }
            ExitCode::FAILURE
        }
    }
}

fn host(folder: &Path) -> Result<()> {
    let boot = boot(folder)?;
    let _alive = if boot.systemd {
        sign(&alive(folder)?, folder)?;
        None
    } else {
        let file = claim(folder)?;
        sign(&file, folder)?;
        enter_groups(&boot)?;
        Some(file)
    };
    let name = boot.hostname.split('.').next().unwrap_or_default();
    tried("the host's name")(rustix::system::sethostname(name.as_bytes()))?;
    let root = mounts::root(folder, &boot)?;
    seed::first_start(folder, &root, &boot)?;
    network(&boot)?;
    if !boot.systemd {
        tried("up")(std::fs::write(folder.join("up"), ""))?;
    }
    mounts::enter(&root)?;
    let (program, words): (&str, &[&str]) = match boot.systemd {
        // Nobody reads a terminal of the host: what it has to say is in its journal.
        true => (SYSTEMD, &["--system", "--unit=multi-user.target", "--show-status=no", "--log-target=journal"]),
        false => ("/bin/sh", &["/.reeve/init"]),
    };
    #[allow(clippy::disallowed_methods)] // becomes the host's own first program
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", PATH);
    if boot.systemd {
        // It leaves alone what belongs to the machine then: devices, kernel modules, the clock.
        command.env("container", "reeve");
    }
    Err(format!("{program} of the host: {}", command.exec()))
}

/// Takes the lock and the host's groups, and becomes the program that makes the host, with both.
fn hold(folder: &Path, program: &std::ffi::OsStr, rest: &[&std::ffi::OsStr]) -> Result<()> {
    let _alive = claim(folder)?;
    enter_groups(&boot(folder)?)?;
    #[allow(clippy::disallowed_methods)] // becomes it
    let error = Command::new(program).args(rest).env_clear().env("PATH", PATH).exec();
    Err(format!("{}: {error}", program.to_string_lossy()))
}

fn boot(folder: &Path) -> Result<Boot> {
    let text = tried("boot.json")(std::fs::read(folder.join("boot.json")))?;
    tried("boot.json")(serde_json::from_slice(&text))
}

fn enter_groups(boot: &Boot) -> Result<()> {
    for group in &boot.groups {
        let procs = group.join("cgroup.procs");
        tried(procs.display())(std::fs::write(&procs, "0"))?;
    }
    Ok(())
}

/// Takes the lock that says that the host runs, for as long as whoever inherits it lives.
fn claim(folder: &Path) -> Result<File> {
    let file = alive(folder)?;
    tried("the host runs already")(file.try_lock())?;
    tried("alive")(rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()))?;
    // The number of an earlier life.
    tried("alive")(file.set_len(0))?;
    Ok(file)
}

fn alive(folder: &Path) -> Result<File> {
    let path = folder.join("alive");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    tried(path.display())(file)
}

/// Writes the number of this process, which becomes the host's first one, into the locked file.
fn sign(mut file: &File, folder: &Path) -> Result<()> {
    // This /proc is still the machine's, so it has our number there.
    let number = tried("/proc/self")(std::fs::read_link("/proc/self"))?;
    tried(folder.display())(file.write_all(number.as_os_str().as_encoded_bytes()))
}

/// Waits for the cable and gives the host its address.
fn network(boot: &Boot) -> Result<()> {
    let socket =
        tried("a socket")(rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None))?;
    let mut waited = Duration::ZERO;
    while rustix::net::netdevice::name_to_index(&socket, "eth0").is_err() {
        if waited > CABLE_WITHIN {
            return Err("nobody plugged the host's cable in".to_owned());
        }
        let step = Duration::from_millis(5);
        #[allow(clippy::disallowed_methods)] // a process of its own, without a runtime
        std::thread::sleep(step);
        waited += step;
    }
    let Boot { address, prefix, gateway, .. } = boot;
    let script = format!(
        "link set lo up\naddress add {address}/{prefix} brd + dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
    );
    #[allow(clippy::disallowed_methods)] // a process of its own, in the host's network
    let mut ip = tried("ip")(
        Command::new("ip").args(["-batch", "-"]).env_clear().env("PATH", PATH).stdin(Stdio::piped()).spawn(),
    )?;
    if let Some(mut stdin) = ip.stdin.take() {
        tried("ip")(stdin.write_all(script.as_bytes()))?;
    }
    let status = tried("ip")(ip.wait())?;
    if status.success() { Ok(()) } else { Err(format!("ip: {status}")) }
}
