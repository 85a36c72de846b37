//! Logging in on a host as a person: a public key of theirs is let in for a while.
//!
//! The entry expires by itself (`expiry-time`, OpenSSH 7.7), whether this server lives or not; the next grant sweeps what
//! has expired out of the file.

use std::time::Duration;

use reeve_ports::remote::{Kept, RemoteOrder};
use reeve_store::host as table;
use reeve_types::{Actor, Error, Permission, Result, Timestamp};
use serde_json::json;

use super::contact::contact;
use crate::{App, audit, authz, ssh_public_key};

/// The shortest and the longest life of a grant.
const LIVES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
/// A host that takes longer does not answer this request.
const PATIENCE: Duration = Duration::from_secs(20);

/// Constant: what varies comes in as variables. The host's own clock and time zone decide, as its `sshd` does.
///
/// Grants take turns by a lock on the host itself: whoever else grants may be another server of ours. A link is followed,
/// so that the file it leads to is changed and the link stays.
const SCRIPT: &str = r#"
set -eu
umask 077
mkdir -p "$HOME/.ssh"
file=$HOME/.ssh/authorized_keys
lock=$HOME/.ssh/.reeve-access.lock
if command -v flock >/dev/null 2>&1; then
  exec 9>"$lock"
  flock -w 15 9 || { echo "another grant on this host takes too long: $lock is held" >&2; exit 1; }
else
  # A folder is made by one alone; one that is older than a minute is left over.
  tries=0
  until mkdir "$lock.d" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 15 ] || { echo "another grant on this host takes too long: $lock.d is there" >&2; exit 1; }
    [ -z "$(find "$lock.d" -maxdepth 0 -mmin +1 2>/dev/null)" ] || rmdir "$lock.d" 2>/dev/null || :
    sleep 1
  done
  trap 'rmdir "$lock.d"' EXIT
fi
if [ -h "$file" ]; then
  link=$file
  file=$(readlink -f "$link") || { echo "$link is a link that leads nowhere" >&2; exit 1; }
  [ -e "$file" ] || { echo "$link is a link to $file, which is not there" >&2; exit 1; }
fi
if [ -e "$file" ] && [ ! -f "$file" ]; then
  echo "$file is no file" >&2
  exit 1
fi
touch "$file"
now=$(date +%s)
end=$((now + REEVE_LIFE))
stamp=$(date -d "@$end" +%Y%m%d%H%M%S)
fresh=$(mktemp "$file.XXXXXX")
trap 'rm -f "$fresh"; rmdir "$lock.d" 2>/dev/null || :' EXIT
# With its owner and rights.
cp -p "$file" "$fresh"
while IFS= read -r line || [ -n "$line" ]; do
  case $line in
    *" reeve-access-"*)
      until=${line##* reeve-access-}
      case $until in *[!0-9]*|"") until=0 ;; esac
      [ "$until" -gt "$now" ] || continue
      ;;
  esac
  printf '%s\n' "$line"
done <"$file" >"$fresh"
printf 'expiry-time="%s" %s reeve-access-%s\n' "$stamp" "$REEVE_KEY" "$end" >>"$fresh"
mv "$fresh" "$file"
"#;

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// As whom.
    pub user: String,
    /// Where.
    pub address: String,
    /// Port of its SSH server.
    pub port: u16,
    /// The key that the host must show.
    pub host_key: String,
    /// When the key is not let in any more.
    pub expires_at: Timestamp,
}

/// Lets a public key in on a host for a while.
///
/// # Errors
/// NotFound; Invalid for a key or a life that breaks a rule; as [`contact`].
pub async fn grant(app: &App, actor: &Actor, handle: &str, public_key: &str, life: Duration) -> Result<Access> {
    authz::require(actor, Permission::HostsSsh)?;
    let key = ssh_public_key::parse(public_key).map_err(|problem| Error::invalid("public_key", problem))?;
    if !LIVES.contains(&life) {
        let (least, most) = (LIVES.start().as_secs(), LIVES.end().as_secs());
        return Err(Error::invalid("ttl_seconds", format!("must be between {least} and {most}")));
    }
    let found = table::by_handle(&mut app.store.read().await?, handle).await?;
    let host = found.ok_or_else(|| Error::not_found("server"))?;
    // Entered before it is done: what touches a host leaves a trace even when the answer gets lost.
    let expires_at = app.now().plus_ms(i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
    let mut tx = app.begin(actor).await?;
    let details =
        json!({"hostname": host.hostname, "fingerprint": key.fingerprint, "expires_at": expires_at.rfc3339_secs()});
    audit::record(app, &mut tx, actor, "host.access", &host.handle, details).await?;
    tx.commit().await?;
    let login = contact(app, &host).await?;
    // The comment would be part of the line: it is left out.
    let bare: Vec<&str> = key.line.split(' ').take(2).collect();
    let order = RemoteOrder::script(SCRIPT)
        .with_env("REEVE_KEY", bare.join(" "))
        .with_env("REEVE_LIFE", life.as_secs().to_string())
        .with_timeout(PATIENCE);
    let mut kept = Kept::default();
    let outcome = login.run(&order, &mut kept).await?;
    if !outcome.is_success() {
        let problem = format!("server {} did not take the key ({}): {}", host.hostname, outcome.end, kept.last_words());
        return Err(Error::conflict(problem));
    }
    Ok(Access {
        user: host.ssh_user,
        address: host.address.unwrap_or_default(),
        port: host.ssh_port,
        host_key: login.host_key().to_string(),
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use super::SCRIPT;

    fn begin(home: &Path, key: &str, path: &str) -> std::process::Child {
        #[allow(clippy::disallowed_methods)] // the script is what is tested
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).env("HOME", home).env("REEVE_KEY", key).env("REEVE_LIFE", "600").env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn grant(home: &Path, key: &str) -> Output {
        begin(home, key, &std::env::var("PATH").unwrap()).wait_with_output().unwrap()
    }

    fn keys(file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let mut keys: Vec<String> = text
            .lines()
            .map(|line| line.split(' ').find(|word| word.starts_with("KEY") || *word == "old").unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn grants_at_the_same_time_lose_no_key() {
        // Once with flock and once without.
        let tools = tempfile::tempdir().unwrap();
        for tool in ["sh", "mkdir", "rmdir", "touch", "date", "mktemp", "cp", "mv", "rm", "find", "sleep", "readlink"] {
            let at =
                ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(tool)).find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(at, tools.path().join(tool)).unwrap();
        }
        for (path, count) in [(std::env::var("PATH").unwrap(), 8), (tools.path().display().to_string(), 3)] {
            let home = tempfile::tempdir().unwrap();
            let names: Vec<String> = (0..count).map(|n| format!("KEY{n}")).collect();
            let all: Vec<_> = names.iter().map(|key| begin(home.path(), key, &path)).collect();
            for child in all {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            assert_eq!(keys(&home.path().join(".ssh/authorized_keys")), names);
        }
    }

    #[test]
    fn a_link_stays_one_and_rights_stay_as_they_are() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let home = tempfile::tempdir().unwrap();
        let (folder, real) = (home.path().join(".ssh"), home.path().join("managed"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&real, "ssh-ed25519 old\nssh-ed25519 gone reeve-access-1\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&real, folder.join("authorized_keys")).unwrap();
        assert!(grant(home.path(), "KEY1").status.success());
        assert!(std::fs::symlink_metadata(folder.join("authorized_keys")).unwrap().is_symlink());
        assert_eq!(keys(&real), ["KEY1", "old"]);
        assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o644);

        std::fs::remove_file(&real).unwrap();
        let refused = grant(home.path(), "KEY2");
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && words.contains("is a link to"), "{words}");
        std::fs::create_dir(&real).unwrap();
        assert!(String::from_utf8_lossy(&grant(home.path(), "KEY3").stderr).contains("is no file"));
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("authorized_keys.")), "{left:?}");
    }
}
