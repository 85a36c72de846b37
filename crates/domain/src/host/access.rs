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
const SCRIPT: &str = r#"
set -eu
umask 077
mkdir -p "$HOME/.ssh"
file=$HOME/.ssh/authorized_keys
touch "$file"
now=$(date +%s)
end=$((now + REEVE_LIFE))
stamp=$(date -d "@$end" +%Y%m%d%H%M%S)
fresh=$(mktemp "$file.XXXXXX")
trap 'rm -f "$fresh"' EXIT
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
