//! What a host gets whose first program is systemd: its own units, and none of this machine's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::mounts::dir;
use super::{Result, tried};

/// Units that would touch what belongs to this machine (devices, kernel, modules, network), or that take long and bring a
/// host nothing.
const MASKED: [&str; 31] = [
    "dev-hugepages.mount",
    "getty.target",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journald-audit.socket",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-resolved.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "systemd-udev-settle.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
];

/// Its network is there before its first program, and so is what it needs of `/run`.
const UNITS: [(&str, &str); 2] = [
    (
        "reeve-sshd.service",
        "[Unit]\nDescription=SSH server of this host\n\n[Service]\nType=notify\n\
         ExecStartPre=/bin/sh /.reeve/begin ssh\nExecStart=/usr/sbin/sshd -D -e -f /.reeve/sshd_config\n\
         ExecStartPost=/bin/sh /.reeve/begin up\nKillMode=process\nRestart=always\nRestartSec=1\n\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "reeve-user-data.service",
        "[Unit]\nDescription=What the order gave along, once\nConditionPathExists=/.reeve/user-data\n\n[Service]\n\
         ExecStart=/bin/sh /.reeve/begin user-data\nKillMode=process\n\n[Install]\nWantedBy=multi-user.target\n",
    ),
];

const BEGIN: &str = include_str!("begin.sh");

/// Makes the host's systemd its own. Once, before its first start: what its owner changed later stays.
pub fn first_start(root: &Path) -> Result<()> {
    let units = root.join("etc/systemd/system");
    // What is switched on on this machine is not on its hosts: units, and scripts of System V.
    clear(&units)?;
    for level in ["0", "1", "2", "3", "4", "5", "6", "S"] {
        clear(&root.join(format!("etc/rc{level}.d")))?;
    }
    let wants = units.join("multi-user.target.wants");
    dir(&wants, 0o755)?;
    for name in MASKED {
        tried(name)(symlink("/dev/null", units.join(name)))?;
    }
    for (name, text) in UNITS {
        tried(name)(fs::write(units.join(name), text))?;
        tried(name)(symlink(format!("/etc/systemd/system/{name}"), wants.join(name)))?;
    }
    tried("begin")(fs::write(root.join(".reeve/begin"), BEGIN))
}

fn clear(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        tried(path.display())(if folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) })?;
    }
    Ok(())
}
