//! What a host says of itself: asked by one script, read by one function.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Kept, RemoteError, RemoteErrorKind, RemoteHost, RemoteOrder};

/// What a host is. Unknown numbers are None, unknown words empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// As the host calls itself.
    pub hostname: String,
    /// `linux`, `darwin`, `freebsd`: the kernel's name in lower case.
    pub kernel: String,
    /// The kernel's release, as in `6.1.0-18-amd64`.
    pub kernel_release: String,
    /// `debian`, `ubuntu`, `alpine`: the ID of os-release, else the kernel's name.
    pub os: String,
    /// `12`, `24.04`: the VERSION_ID of os-release.
    pub os_version: String,
    /// For people: `Debian GNU/Linux 12 (bookworm)`.
    pub os_title: String,
    /// `x86_64` or `arm64` where it is one of them, else the kernel's word.
    pub architecture: String,
    /// Processors that can be used.
    pub cpu_cores: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Size of the root file system in GiB, rounded down.
    pub disk_gib: Option<u64>,
    /// Free there for the login, in GiB, rounded down.
    pub disk_free_gib: Option<u64>,
    /// The name of PID 1: `systemd`, `init`, `runit`.
    pub init: String,
    /// The first known package tool: `apt`, `dnf`, `yum`, `apk`, `zypper`, `pacman`; empty when there is none.
    pub packages: String,
    /// Whose login it is.
    pub user: String,
    /// The login is root, or gets there by sudo without a password.
    pub root: bool,
}

/// Lines of `key=value`. Only what POSIX has and files of Linux; what is missing stays out.
const SCRIPT: &str = r#"
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
say() { [ -n "$2" ] && printf '%s=%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
say hostname "$(uname -n)"
say kernel "$(uname -s)"
say kernel_release "$(uname -r)"
say machine "$(uname -m)"
for f in /etc/os-release /usr/lib/os-release; do
  if [ -r "$f" ]; then
    (. "$f"; say os "$ID"; say os_version "$VERSION_ID"; say os_title "$PRETTY_NAME") </dev/null 2>/dev/null
    break
  fi
done
say cpu "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null)"
if [ -r /proc/meminfo ]; then
  while read -r k v _; do [ "$k" = MemTotal: ] && say memory_kib "$v" && break; done </proc/meminfo
else
  say memory_bytes "$(sysctl -n hw.memsize 2>/dev/null || sysctl -n hw.physmem 2>/dev/null)"
fi
df -Pk / 2>/dev/null | { read -r _; read -r _ size _ free _; say disk_kib "$size"; say disk_free_kib "$free"; }
[ -r /proc/1/comm ] && read -r init </proc/1/comm && say init "$init"
for p in apt-get dnf yum apk zypper pacman; do has "$p" && say packages "$p" && break; done
say user "$(id -un 2>/dev/null)"
if [ "$(id -u)" = 0 ]; then say root yes; elif has sudo && sudo -n true </dev/null >/dev/null 2>&1; then say root sudo; fi
exit 0
"#;

/// Asks a host what it is.
pub async fn gather(host: &dyn RemoteHost) -> Result<Facts, RemoteError> {
    let order = RemoteOrder::script(SCRIPT).with_timeout(Duration::from_secs(20));
    let mut kept = Kept::default();
    let outcome = host.run(&order, &mut kept).await?;
    let facts = read(&kept.stdout());
    if !outcome.is_success() || facts.kernel.is_empty() {
        let text = format!(
            "the host does not say what it is ({}): is its login shell a POSIX one? {}",
            outcome.end,
            kept.last_words()
        );
        return Err(RemoteError::new(RemoteErrorKind::Refused, text));
    }
    Ok(facts)
}

/// Reads what the script printed; lines that a login profile prints are passed over.
fn read(output: &str) -> Facts {
    let said: BTreeMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
    let text = |key: &str| -> String {
        let value = said.get(key).copied().unwrap_or_default();
        value.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
    };
    let number = |key: &str| text(key).parse::<u64>().ok();
    let kernel = text("kernel").to_lowercase();
    let mib = number("memory_kib").map(|kib| kib / 1024).or(number("memory_bytes").map(|b| b / (1024 * 1024)));
    let os = text("os");
    let packages = text("packages");
    Facts {
        hostname: text("hostname"),
        os: if os.is_empty() { kernel.clone() } else { os },
        kernel,
        kernel_release: text("kernel_release"),
        os_version: text("os_version"),
        os_title: text("os_title"),
        architecture: match text("machine").as_str() {
            "x86_64" | "amd64" => "x86_64".to_owned(),
            "aarch64" | "arm64" => "arm64".to_owned(),
            other => other.to_owned(),
        },
        cpu_cores: number("cpu").and_then(|n| u32::try_from(n).ok()),
        memory_mib: mib,
        disk_gib: number("disk_kib").map(|kib| kib / (1024 * 1024)),
        disk_free_gib: number("disk_free_kib").map(|kib| kib / (1024 * 1024)),
        init: text("init"),
        packages: packages.strip_suffix("-get").unwrap_or(&packages).to_owned(),
        user: text("user"),
        root: !text("root").is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_debian_says() {
        let facts = read(
            "Welcome!\nhostname=a\nkernel=Linux\nkernel_release=6.1.0\nmachine=aarch64\nos=debian\nos_version=12\n\
             os_title=Debian GNU/Linux 12 (bookworm)\ncpu=4\nmemory_kib=2048000\ndisk_kib=10485760\n\
             disk_free_kib=9485760\ninit=systemd\npackages=apt-get\nuser=root\nroot=yes\n",
        );
        assert_eq!(
            (facts.os.as_str(), facts.architecture.as_str(), facts.packages.as_str()),
            ("debian", "arm64", "apt")
        );
        assert_eq!((facts.cpu_cores, facts.memory_mib, facts.disk_gib), (Some(4), Some(2000), Some(10)));
        assert_eq!((facts.disk_free_gib, facts.root), (Some(9), true));
    }

    #[test]
    fn nonsense_is_unknown() {
        let facts = read("kernel=Darwin\ncpu=many\nmemory_bytes=17179869184\nos=\u{1b}[31m\n=\n====\n");
        assert_eq!((facts.kernel.as_str(), facts.os.as_str(), facts.cpu_cores), ("darwin", "[31m", None));
        assert_eq!((facts.memory_mib, facts.root), (Some(16384), false));
    }
}
