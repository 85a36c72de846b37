//! Which boot of a host this is, asked of the host itself: providers accept a restart at once, and most never say whether it
//! has happened.

use std::time::Duration;

use reeve_ports::remote::{Kept, RemoteOrder};
use reeve_types::host::Host;
use reeve_types::{Error, Result};

use super::contact::contact;
use crate::App;

/// A host that takes longer is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel's own id of this boot, and when the first process was started: where the kernel is shared with other
/// machines, only that one is new.
const SCRIPT: &str = r#"
boot=$(cat /proc/sys/kernel/random/boot_id)
ticks=
if IFS= read -r line </proc/1/stat; then
  line=${line##*) }
  set -- $line
  ticks=${20}
fi
printf 'reeve-boot=%s-%s\n' "$boot" "$ticks"
"#;

/// What stays the same as long as the host is up, and is another after every restart.
///
/// # Errors
/// As [`contact`]; Unavailable when the host does not tell.
pub(super) async fn marker(app: &App, host: &Host) -> Result<String> {
    let asked = async {
        let login = contact(app, host).await?;
        let mut kept = Kept::default();
        let done = login.run(&RemoteOrder::script(SCRIPT).with_timeout(PATIENCE), &mut kept).await;
        // A connection to a host that restarts would be taken for one that lives.
        login.close().await;
        done?;
        let said = kept.stdout();
        let marker = said.lines().find_map(|line| line.strip_prefix("reeve-boot="));
        // Without an id of the boot it says nothing: only the hyphen is left then.
        let marker = marker.filter(|marker| marker.len() > 1 && marker.len() < 200).map(str::to_owned);
        marker.ok_or_else(|| Error::unavailable(format!("server {} does not tell which boot it is", host.hostname)))
    };
    match tokio::time::timeout(2 * PATIENCE, asked).await {
        Ok(told) => told,
        Err(_) => Err(Error::unavailable(format!("server {} does not answer over SSH", host.hostname))),
    }
}
