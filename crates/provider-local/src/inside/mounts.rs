//! The root file system of a host. Everything is mounted in the host's own mount namespace and goes with it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount};

use super::{Boot, Result, tried};

/// Folders of this machine that the image `host` is laid over: programs and settings.
pub const LAID_OVER: [&str; 9] = ["usr", "etc", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What package tools know of what is installed there. Other data of this machine is not shown.
const KNOWLEDGE: [&str; 8] = [
    "var/lib/dpkg",
    "var/lib/apt",
    "var/lib/ucf",
    "var/lib/pam",
    "var/lib/rpm",
    "var/lib/pacman",
    "var/cache/debconf",
    "var/cache/apt",
];
const DEVICES: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"];

/// Mounts the root and what belongs into it. Returns where.
pub fn root(folder: &Path, boot: &Boot) -> Result<PathBuf> {
    let root = folder.join("root");
    dir(&root, 0o755)?;
    match &boot.lower {
        Some(lower) => overlay(folder, lower, &root, "root")?,
        None => {
            tried("the root")(mount_bind(&root, &root))?;
            own_system(folder, &root)?;
        }
    }
    for (name, mode) in [
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("run", 0o755),
        ("tmp", 0o1777),
        ("root", 0o700),
        ("home", 0o755),
        ("mnt", 0o755),
        ("srv", 0o755),
        (".reeve", 0o700),
    ] {
        dir(&root.join(name), mode)?;
    }
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    let proc_flags = quiet | MountFlags::NOEXEC;
    tried("proc")(mount("proc", root.join("proc"), "proc", proc_flags, None))?;
    tried("run")(mount("tmpfs", root.join("run"), "tmpfs", quiet, Some(c"mode=755,size=20%")))?;
    system(&root, boot.systemd)?;
    devices(&root.join("dev"))?;
    if let Some(packages) = &boot.packages {
        let at = root.join(crate::PACKAGES_AT.trim_start_matches('/'));
        dir(&at, 0o755)?;
        tried(packages.display())(mount_bind(packages, &at))?;
        tried(packages.display())(mount_remount(&at, MountFlags::BIND | MountFlags::RDONLY, ""))?;
    }
    empty(&root.join("tmp"));
    Ok(root)
}

/// Makes `root` the root, and lets go of the machine's.
pub fn enter(root: &Path) -> Result<()> {
    tried("the root")(rustix::process::chdir(root))?;
    // Both at the same place: the old root lies over the new one until it is taken away.
    tried("pivot_root")(rustix::process::pivot_root(".", "."))?;
    tried("the old root")(unmount(".", UnmountFlags::DETACH))?;
    tried("the root")(rustix::process::chdir("/"))
}

fn own_system(folder: &Path, root: &Path) -> Result<()> {
    for name in LAID_OVER {
        let (own, there) = (Path::new("/").join(name), root.join(name));
        let Ok(metadata) = fs::symlink_metadata(&own) else { continue };
        if metadata.is_symlink() {
            if fs::symlink_metadata(&there).is_err() {
                let target = tried(own.display())(fs::read_link(&own))?;
                tried(there.display())(symlink(target, &there))?;
            }
        } else if metadata.is_dir() {
            dir(&there, 0o755)?;
            overlay(folder, &own, &there, name)?;
        }
    }
    // The shape of /var, two levels deep, with its owners, and nothing in it.
    shape(Path::new("/var"), &root.join("var"), 2)?;
    for name in KNOWLEDGE {
        let own = Path::new("/").join(name);
        if own.is_dir() && !folder.starts_with(&own) {
            overlay(folder, &own, &root.join(name), &name.replace('/', "-"))?;
        }
    }
    Ok(())
}

/// Makes the folders of `from` below `to`, empty, unless they are there.
fn shape(from: &Path, to: &Path, levels: u32) -> Result<()> {
    let metadata = tried(from.display())(fs::metadata(from))?;
    if !to.exists() {
        dir(to, metadata.mode() & 0o7777)?;
        tried(to.display())(std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid())))?;
    }
    if levels == 0 {
        return Ok(());
    }
    for entry in tried(from.display())(fs::read_dir(from))?.flatten() {
        let (own, there) = (entry.path(), to.join(entry.file_name()));
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            shape(&own, &there, levels - 1)?;
        } else if kind.is_symlink() && fs::symlink_metadata(&there).is_err() {
            let target = tried(own.display())(fs::read_link(&own))?;
            tried(there.display())(symlink(target, &there))?;
        }
    }
    Ok(())
}

fn overlay(folder: &Path, lower: &Path, at: &Path, name: &str) -> Result<()> {
    let (upper, work) = (folder.join("upper").join(name), folder.join("work").join(name));
    let metadata = tried(lower.display())(fs::metadata(lower))?;
    dir(&upper, metadata.mode() & 0o7777)?;
    dir(&work, 0o700)?;
    dir(at, 0o755)?;
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let options = tried("overlay")(std::ffi::CString::new(options))?;
    mount("overlay", at, "overlay", MountFlags::empty(), Some(options.as_c_str())).map_err(|error| {
        format!(
            "cannot lay {} over {}: {error}; the data directory must be on a file system such as ext4, xfs or tmpfs, \
             not on an overlay itself",
            upper.display(),
            lower.display()
        )
    })
}

fn system(root: &Path, systemd: bool) -> Result<()> {
    let sys = root.join("sys");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    tried("sys")(mount("sysfs", &sys, "sysfs", flags | MountFlags::RDONLY, None))?;
    let groups = sys.join("fs/cgroup");
    if systemd {
        own_groups(&groups)?;
    } else if groups.is_dir() && Path::new("/sys/fs/cgroup").is_dir() {
        tried("cgroup")(mount_bind_recursive("/sys/fs/cgroup", &groups))?;
    }
    Ok(())
}

/// Mounts the hierarchies of control groups anew: seen from this namespace of groups, the host's own are their roots.
fn own_groups(at: &Path) -> Result<()> {
    let table = tried("mountinfo")(fs::read_to_string("/proc/self/mountinfo"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let hierarchies: Vec<Hierarchy<'_>> = table.lines().filter_map(Hierarchy::read).collect();
    if let Some(one) = hierarchies.iter().find(|one| one.name.is_empty()) {
        return tried("cgroup")(mount(one.system, at, one.system, flags, None));
    }
    tried("cgroup")(mount("tmpfs", at, "tmpfs", flags, Some(c"mode=755,size=64k")))?;
    for one in &hierarchies {
        let there = at.join(one.name);
        dir(&there, 0o755)?;
        let options = std::ffi::CString::new(one.options.as_str()).unwrap_or_default();
        let options = (!one.options.is_empty()).then_some(options.as_c_str());
        tried(there.display())(mount(one.system, &there, one.system, flags, options))?;
    }
    tried("cgroup")(mount_remount(at, flags | MountFlags::RDONLY, "mode=755,size=64k"))
}

/// A hierarchy of control groups of this machine, as a line of mountinfo tells it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy<'a> {
    /// Below /sys/fs/cgroup; empty when it is all of it.
    name: &'a str,
    /// `cgroup` or `cgroup2`.
    system: &'a str,
    /// Which one it is.
    options: String,
}

impl<'a> Hierarchy<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?.strip_prefix("/sys/fs/cgroup")?;
        let mut kind = kind.split(' ');
        let (system, _, options) = (kind.next()?, kind.next()?, kind.next()?);
        let name = at.trim_start_matches('/');
        if !matches!(system, "cgroup" | "cgroup2") || name.contains('/') {
            return None;
        }
        let tells = |word: &&str| {
            !matches!(*word, "rw" | "ro" | "xattr" | "clone_children" | "noprefix")
                && !word.starts_with("release_agent")
        };
        let mut words: Vec<&str> =
            if system == "cgroup" { options.split(',').filter(tells).collect() } else { Vec::new() };
        if words.iter().all(|word| word.starts_with("name=")) && !words.is_empty() {
            words.insert(0, "none");
        }
        Some(Self { name, system, options: words.join(",") })
    }
}

fn devices(dev: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    tried("dev")(mount("tmpfs", dev, "tmpfs", flags, Some(c"mode=755,size=64k")))?;
    for name in DEVICES {
        let (own, there) = (Path::new("/dev").join(name), dev.join(name));
        if !own.exists() {
            continue;
        }
        if let Some(parent) = there.parent() {
            dir(parent, 0o755)?;
        }
        tried(there.display())(fs::File::create(&there))?;
        tried(there.display())(mount_bind(&own, &there))?;
    }
    dir(&dev.join("pts"), 0o755)?;
    dir(&dev.join("shm"), 0o1777)?;
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    tried("devpts")(mount("devpts", dev.join("pts"), "devpts", flags, Some(options)))?;
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    tried("shm")(mount("tmpfs", dev.join("shm"), "tmpfs", quiet, Some(c"mode=1777,size=50%")))?;
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        tried(name)(symlink(target, dev.join(name)))?;
    }
    Ok(())
}

/// Makes a folder unless it is there, with just this mode.
pub fn dir(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    tried(path.display())(fs::DirBuilder::new().recursive(true).mode(mode).create(path))?;
    tried(path.display())(fs::set_permissions(path, fs::Permissions::from_mode(mode)))
}

/// Takes everything out of a folder; what cannot be is left.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(path).ok();
        } else {
            fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read() {
        let read = |line: &'static str| Hierarchy::read(line).map(|one| (one.name, one.system, one.options));
        assert_eq!(
            read("40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd"),
            Some(("systemd", "cgroup", "none,name=systemd".to_owned()))
        );
        assert_eq!(
            read("32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"),
            Some(("cpu,cpuacct", "cgroup", "cpu,cpuacct".to_owned()))
        );
        assert_eq!(
            read("41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate"),
            Some(("unified", "cgroup2", String::new()))
        );
        assert_eq!(
            read("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"),
            Some(("", "cgroup2", String::new()))
        );
        assert_eq!(read("31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755"), None);
    }
}
