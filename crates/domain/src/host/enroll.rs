//! Hosts that are born as enrolled nodes: a key of their own in what cloud-init runs, and the link from the node that uses
//! it back to its host.

use reeve_store::{Tx, enrollment_key as keys, host as table};
use reeve_types::enrollment_key::EnrollmentKey;
use reeve_types::host::Host;
use reeve_types::{Actor, EnrollmentKeyId, Error, NodeId, Result, Secret};

use super::create::Create;
use super::spec::ADOPTED;
use crate::{App, enrollment_key};

/// The label that names the key a host was given.
const LABEL: &str = "enrollment-key";
/// A machine has this long for its first start.
const KEY_LIFE_MS: i64 = 24 * 3600 * 1000;
/// Before the handle, in the key's name.
const NAMED: &str = "server ";

/// Whether a request to be born enrolled can be met.
///
/// # Errors
/// Invalid (`enroll`), saying what is missing.
pub fn possible(app: &App, provider: &str, input: &Create) -> Result<()> {
    if !input.enroll {
        return Ok(());
    }
    let no = |why: &str| Err(Error::invalid("enroll", why));
    if provider == ADOPTED {
        return no("is for machines that are made: run `reeve agent --enroll KEY` on the machine");
    }
    if app.config.provisioning.agent_url.is_none() {
        return no("cannot be met: nobody told this server where machines fetch the agent (agent_download_url)");
    }
    if app.config.default_cluster.is_none() {
        return no("cannot be met: this server has no default cluster for nodes");
    }
    Ok(())
}

/// Makes a host's key, for one use.
///
/// # Errors
/// As the store.
pub async fn key(app: &App, tx: &mut Tx, actor: &Actor, host: &mut Host) -> Result<EnrollmentKeyId> {
    let cluster = app.config.default_cluster.as_deref().unwrap_or_default();
    let input = enrollment_key::Create {
        name: Some(format!("{NAMED}{}", host.handle)),
        uses_remaining: Some(1),
        expired_at: Some(app.now().plus_ms(KEY_LIFE_MS)),
    };
    let id = enrollment_key::insert_in(app, tx, actor, cluster, input).await?.row.id;
    host.labels.insert(LABEL.to_owned(), id.0.clone());
    Ok(id)
}

/// Notes that a node used the key of a host, in the transaction of its enrollment.
///
/// # Errors
/// As the store.
pub async fn link(app: &App, tx: &mut Tx, key: &EnrollmentKey, node: &NodeId) -> Result<()> {
    let Some(handle) = key.name.as_deref().and_then(|name| name.strip_prefix(NAMED)) else { return Ok(()) };
    let Some(host) = table::by_handle(tx, handle).await? else { return Ok(()) };
    // Anybody may call a key so; only the host's own leads to it.
    if host.labels.get(LABEL).is_some_and(|id| *id == key.id.0) {
        table::set_node(tx, &host.id, node, app.now()).await?;
    }
    Ok(())
}

/// What cloud-init runs: fetches the agent, checks it, starts it with the key. None when the key is gone.
///
/// # Errors
/// As the store.
pub async fn user_data(app: &App, id: &EnrollmentKeyId) -> Result<Option<Secret>> {
    let Some(row) = keys::by_id(&mut app.store.read().await?, id).await? else { return Ok(None) };
    let key = app.seal.open(enrollment_key::aad(id), &row.sealed_key)?;
    let provisioning = &app.config.provisioning;
    let url = quoted(provisioning.agent_url.as_deref().unwrap_or_default());
    let sum = quoted(provisioning.agent_sha256.as_deref().unwrap_or_default());
    let key = quoted(key.expose());
    Ok(Some(Secret::new(format!("#!/bin/sh\nset -eu\nURL={url}\nSUM={sum}\nKEY={key}\n{SCRIPT}"))))
}

/// One word of a POSIX shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

const SCRIPT: &str = r#"umask 077
BIN=/usr/local/bin/reeve-agent
TMP="$BIN.$$"
n=0
get() {
  if command -v curl >/dev/null 2>&1; then curl -fsSL -o "$TMP" "$URL"
  elif command -v wget >/dev/null 2>&1; then wget -qO "$TMP" "$URL"
  else python3 -c 'import sys,urllib.request as u; u.urlretrieve(sys.argv[1], sys.argv[2])' "$URL" "$TMP"
  fi
}
until get; do
  n=$((n + 1))
  [ "$n" -lt 30 ] || exit 1
  sleep 5
done
if [ -n "$SUM" ]; then echo "$SUM  $TMP" | sha256sum -c - >/dev/null; fi
chmod 0755 "$TMP"
mv "$TMP" "$BIN"
mkdir -p /var/lib/reeve-agent
printf 'REEVE_ENROLLMENT_KEY=%s\n' "$KEY" >/etc/reeve-agent.env
if [ -d /run/systemd/system ]; then
  cat >/etc/systemd/system/reeve-agent.service <<'UNIT'
[Unit]
Description=Reeve agent
Wants=network-online.target
After=network-online.target
[Service]
EnvironmentFile=-/etc/reeve-agent.env
ExecStart=/usr/local/bin/reeve-agent --data /var/lib/reeve-agent
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable --now reeve-agent
else
  REEVE_ENROLLMENT_KEY="$KEY" setsid "$BIN" --data /var/lib/reeve-agent </dev/null >/var/log/reeve-agent.log 2>&1 &
fi
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_leave_their_quotes() {
        assert_eq!(quoted("a'; rm -rf / #"), "'a'\\''; rm -rf / #'");
        assert!(SCRIPT.len() < 4096);
    }
}
