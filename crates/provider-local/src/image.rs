//! What hosts start from: this machine's own system, or a Debian made once by debootstrap.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reeve_ports::cloud::Image;
use reeve_ports::{CloudError, CloudErrorKind};
use rustix::process::Signal;

use crate::Settings;
use crate::inside;
use crate::plan::architecture;
use crate::program::{PATH, broken, detach, exists, io};

/// This machine's own system.
pub const HOST: &str = "host";
/// The same, with systemd as its first process.
pub const SYSTEMD: &str = "host-systemd";
/// Made by debootstrap.
pub const DEBIAN: &str = "debian-12";
/// Who logs in.
pub const LOGIN: &str = "root";

/// In a Debian besides the least.
const PACKAGES: &str = "openssh-server,python3,iproute2,iputils-ping,sudo,nftables,ca-certificates,curl,procps";

/// How far an image is.
pub enum Readiness {
    /// The root to lay hosts over; None is this machine's own.
    Ready(Option<PathBuf>),
    /// It is being made.
    UnderWay,
}

/// What hosts can start from here.
pub fn all(settings: &Settings) -> Vec<Image> {
    let image = |name: &str, title: String| Image {
        id: name.to_owned(),
        name: name.to_owned(),
        title,
        architecture: Some(architecture().to_owned()),
        login_user: LOGIN.to_owned(),
    };
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let title = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
    let mut images = vec![image(HOST, format!("this machine's own programs ({title}), none of its data"))];
    if Path::new(inside::SYSTEMD).exists() {
        images.push(image(SYSTEMD, format!("this machine's own programs ({title}) with systemd as process 1")));
    }
    if root(settings).is_dir() || exists("debootstrap") {
        images.push(image(DEBIAN, "Debian 12, made on this machine at the first order".to_owned()));
    }
    images
}

/// Whether hosts of this image have systemd as their first process.
pub fn has_systemd(name: &str) -> bool {
    name == SYSTEMD
}

/// The signal that asks hosts of this image to end.
pub fn ending(name: &str) -> Signal {
    // systemd takes TERM for "begin anew"; INT is what the keys Ctrl-Alt-Del are: a shutdown, after which a namespace has no
    // process left whatever kind of shutdown it was.
    if has_systemd(name) { Signal::INT } else { Signal::TERM }
}

/// Finds an image by name. Invalid (`image`) says which there are.
pub fn find(settings: &Settings, name: &str) -> Result<Image, CloudError> {
    let images = all(settings);
    let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
    let names = names.join(", ");
    let debian = if names.contains(DEBIAN) { "" } else { "; debian-12 needs `apt-get install debootstrap`" };
    let systemd = if names.contains(SYSTEMD) { "" } else { "; host-systemd needs `apt-get install systemd`" };
    let image = images.into_iter().find(|image| image.name == name);
    let image = image.ok_or_else(|| {
        CloudError::invalid("image", format!("there is no local image {name:?}; there are: {names}{debian}{systemd}"))
    })?;
    let below = |over: &&&str| settings.folder.starts_with(Path::new("/").join(over));
    if image.name != DEBIAN
        && let Some(over) = inside::LAID_OVER.iter().find(below)
    {
        let text =
            format!("the image {name} lays hosts over /{over}, where this server keeps them: move the data directory");
        return Err(CloudError::new(CloudErrorKind::State, text));
    }
    Ok(image)
}

fn root(settings: &Settings) -> PathBuf {
    settings.folder.join("images").join(DEBIAN)
}

/// Begins to make an image unless it is there or under way. State when the last try failed; the next one tries again.
pub async fn ensure(settings: &Settings, name: &str) -> Result<Readiness, CloudError> {
    let root = root(settings);
    if name != DEBIAN {
        return Ok(Readiness::Ready(None));
    }
    if root.is_dir() {
        return Ok(Readiness::Ready(Some(root)));
    }
    let images = settings.folder.join("images");
    fs::create_dir_all(&images).map_err(io("make", &images))?;
    if is_being_made(&root)? {
        return Ok(Readiness::UnderWay);
    }
    let failed = root.with_extension("failed");
    if let Ok(problem) = fs::read_to_string(&failed) {
        fs::remove_file(&failed).map_err(io("remove", &failed))?;
        return Err(CloudError::new(CloudErrorKind::State, format!("the image {name} could not be made: {problem}")));
    }
    if !exists("debootstrap") {
        return Err(CloudError::invalid("image", "debian-12 needs `apt-get install debootstrap`"));
    }
    let words = settings.launcher.iter().map(|word| word.as_os_str());
    let words = words.chain([OsStr::new("image"), root.as_os_str()]).chain(settings.mirror.iter().map(OsStr::new));
    drop(detach(words, &root.with_extension("log"))?);
    Ok(Readiness::UnderWay)
}

fn is_being_made(root: &Path) -> Result<bool, CloudError> {
    let path = root.with_extension("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io("open", &path))?;
    Ok(file.try_lock().is_err())
}

/// Makes the image at `root`, in a process of its own: one at a time, whole or not at all.
pub fn make(root: &Path, mirror: Option<&OsStr>) -> Result<(), CloudError> {
    let path = root.with_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(io("open", &path))?;
    if lock.try_lock().is_err() || root.is_dir() {
        return Ok(());
    }
    let part = root.with_extension("part");
    let made = debootstrap(&part, mirror).and_then(|()| fs::rename(&part, root).map_err(io("rename", &part)));
    if let Err(error) = &made {
        let failed = root.with_extension("failed");
        fs::write(&failed, &error.message).map_err(io("write", &failed))?;
    }
    made
}

fn debootstrap(part: &Path, mirror: Option<&OsStr>) -> Result<(), CloudError> {
    if part.exists() {
        fs::remove_dir_all(part).map_err(io("remove", part))?;
    }
    #[allow(clippy::disallowed_methods)] // a process of its own, which nobody waits for
    let status = std::process::Command::new("debootstrap")
        .args(["--variant=minbase", "--include", PACKAGES, "bookworm"])
        .arg(part)
        .args(mirror)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| broken(format!("debootstrap: {error}")))?;
    if !status.success() {
        let log = part.with_extension("log");
        return Err(broken(format!("debootstrap: {status}, see {}", log.display())));
    }
    // Every host makes its own.
    for entry in fs::read_dir(part.join("etc/ssh")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(entry.path()).map_err(io("remove", &entry.path()))?;
        }
    }
    Ok(())
}
