//! Limits of a plan, by control groups where this machine lets us: version 2, or the version 1 hierarchies.

use std::fs;
use std::path::{Path, PathBuf};

use reeve_ports::{CloudError, CloudErrorKind};

use crate::plan::Size;

const ROOT: &str = "/sys/fs/cgroup";
const GROUP: &str = "reeve-local";

/// Folders that a host enters by writing its number to their `cgroup.procs`.
pub fn apply(id: &str, size: Size) -> Vec<PathBuf> {
    let bytes = (u64::from(size.memory_gb) << 30).to_string();
    let groups: [(&str, &[(&str, String)]); 2] = [
        (
            "cpu",
            &[("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", (size.cpu_cores * 100_000).to_string())],
        ),
        ("memory", &[("memory.limit_in_bytes", bytes.clone())]),
    ];
    let mut entered = Vec::new();
    if let Some(root) = second() {
        let settings = [("cpu.max", format!("{} 100000", size.cpu_cores * 100_000)), ("memory.max", bytes)];
        entered.extend(make(&root.join(GROUP), id, &settings));
    } else {
        for (controller, settings) in groups {
            entered.extend(make(&Path::new(ROOT).join(controller).join(GROUP), id, settings));
        }
    }
    entered
}

/// Folders of a host whose first process keeps groups of its own below them: one in each hierarchy that it needs. Entered
/// before the host gets its view of the groups, of which they are the root.
pub fn delegate(id: &str) -> Result<Vec<PathBuf>, CloudError> {
    let mut made = Vec::new();
    for parent in own_parents() {
        let group = parent.join(id);
        let done = fs::create_dir_all(&group);
        done.map_err(|error| {
            let text = format!("systemd needs control groups, and {} cannot be made: {error}", group.display());
            CloudError::new(CloudErrorKind::State, text)
        })?;
        made.push(group);
    }
    if made.is_empty() {
        let text = "systemd needs control groups, and none are mounted at /sys/fs/cgroup";
        return Err(CloudError::new(CloudErrorKind::State, text));
    }
    Ok(made)
}

/// Where groups are that systemd keeps: the unified hierarchy, and beside those of version 1 the one that is its own.
fn own_parents() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.procs").exists() {
        return vec![root.join(GROUP)];
    }
    ["systemd", "unified"]
        .map(|name| root.join(name))
        .into_iter()
        .filter(|h| h.is_dir())
        .map(|h| h.join(GROUP))
        .collect()
}

/// What is not enforced here, for people; None when everything is.
pub fn gaps() -> Option<&'static str> {
    let root = second().unwrap_or_else(|| Path::new(ROOT).join("memory"));
    let writable = rustix::fs::access(&root, rustix::fs::Access::WRITE_OK).is_ok()
        && !rustix::fs::statvfs(&root).is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    (!writable).then_some("limits of CPU and memory are not enforced: control groups cannot be written here")
}

/// Takes a host's groups away, with those that were made inside it.
pub fn remove(id: &str) {
    let parents = [second().map(|root| root.join(GROUP))].into_iter().flatten();
    let parents = parents.chain(["cpu", "memory"].map(|c| Path::new(ROOT).join(c).join(GROUP))).chain(own_parents());
    for parent in parents {
        remove_below(&parent.join(id));
        // Only when it was the last.
        fs::remove_dir(&parent).ok();
    }
}

fn remove_below(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    if let Err(error) = fs::remove_dir(group)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(group = %group.display(), %error, "a control group stays");
    }
}

/// The root of version 2, where it has the controllers.
fn second() -> Option<PathBuf> {
    let controllers = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).ok()?;
    (controllers.contains("memory") && controllers.contains("cpu")).then(|| PathBuf::from(ROOT))
}

fn make(parent: &Path, id: &str, settings: &[(&str, String)]) -> Option<PathBuf> {
    let group = parent.join(id);
    let done = || -> std::io::Result<()> {
        fs::create_dir_all(parent)?;
        if parent.join("cgroup.subtree_control").exists() {
            for above in [parent.parent(), Some(parent)].into_iter().flatten() {
                fs::write(above.join("cgroup.subtree_control"), "+cpu +memory")?;
            }
        }
        fs::create_dir_all(&group)?;
        settings.iter().try_for_each(|(file, value)| fs::write(group.join(file), value))
    };
    match done() {
        Ok(()) => Some(group),
        Err(error) => {
            tracing::debug!(group = %group.display(), %error, "a limit is not enforced");
            fs::remove_dir(&group).ok();
            None
        }
    }
}
