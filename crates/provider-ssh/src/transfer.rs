//! Files onto hosts and away from them, by commands that every POSIX host has: no SFTP server is needed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use reeve_ports::remote::{
    Content, Kept, Outcome, RemoteError, RemoteErrorKind, RemoteFile, RemoteOrder, Uploaded, check_removable,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::Connection;
use crate::run::{self, Input};

/// Writes beside the path, tells length and sum, and puts the file in place when the sum is known beforehand.
/// `set -C` refuses to write through a link that somebody puts there meanwhile.
const RECEIVE: &str = r#"
part=$1 path=$2 mode=$3 want=$4
fail() { printf '%s\n' "$1" >&2; rm -f -- "$part"; exit 1; }
if [ -d "$path" ]; then printf '%s is a folder\n' "$path" >&2; exit 1; fi
umask 077
rm -f -- "$part" || exit 1
set -C
cat > "$part" || fail "cannot write $part"
set +C
chmod "$mode" -- "$part" || fail "cannot set the mode of $part"
if command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum < "$part")
elif command -v shasum >/dev/null 2>&1; then sum=$(shasum -a 256 < "$part")
elif command -v sha256 >/dev/null 2>&1; then sum=$(sha256 -q < "$part")
else sum=unknown; fi
sum=${sum%% *}
bytes=$(wc -c < "$part")
printf 'reeve-file %s %s\n' "$sum" "$bytes"
[ "$want" = later ] && exit 0
if [ "$sum" != unknown ] && [ "$sum" != "$want" ]; then fail "what arrived is not what was sent"; fi
mv -f -- "$part" "$path" || fail "cannot put $path in place"
"#;

pub async fn upload(connection: &Arc<Connection>, file: RemoteFile) -> Result<Uploaded, RemoteError> {
    file.validate()?;
    let RemoteFile { path, mode, content, timeout } = file;
    let begun = tokio::time::Instant::now();
    let part = part_of(&path);
    let digest = Arc::new(Mutex::new(Digesting::default()));
    let (input, want) = match content {
        Content::Bytes(bytes) => {
            let sent = summed(&digest, &bytes);
            (Input::Bytes(bytes), sent.sha256)
        }
        Content::Stream(reader) => {
            let reader = Summing { reader, digest: Arc::clone(&digest) };
            (Input::Stream(Box::new(reader)), "later".to_owned())
        }
    };
    let later = want == "later";
    let mode = format!("{mode:04o}");
    let order = RemoteOrder::new(["sh", "-c", RECEIVE, "reeve", &part, &path, &mode, &want]).with_timeout(timeout);
    let mut kept = Kept::new(8 * 1024);
    let outcome = run::run(connection, &order, input, &mut kept).await;
    let outcome = match outcome {
        Err(error) if error.kind == RemoteErrorKind::Invalid => {
            // Our side could not be read to its end: nothing was put in place, take the part away.
            remove_quietly(connection, &part).await;
            return Err(error);
        }
        other => other?,
    };
    check(connection, &path, &outcome, &kept)?;
    let sent = summed(&digest, &[]);
    let told = kept.stdout().lines().find_map(|line| line.strip_prefix("reeve-file ").map(str::to_owned));
    let whole = told
        .as_deref()
        .and_then(|told| told.split_once(' '))
        .is_some_and(|(sum, bytes)| (sum == "unknown" || sum == sent.sha256) && bytes.trim().parse() == Ok(sent.bytes));
    if !whole {
        remove_quietly(connection, &part).await;
        let text = format!("{path} on {}: what arrived is not what was sent", connection.label());
        return Err(RemoteError::new(RemoteErrorKind::Refused, text));
    }
    if later {
        let left = timeout.saturating_sub(begun.elapsed()).max(Duration::from_secs(5));
        let order = RemoteOrder::new(["mv", "-f", "--", &part, &path]).with_timeout(left);
        let mut kept = Kept::new(8 * 1024);
        let outcome = run::run(connection, &order, Input::Bytes(Default::default()), &mut kept).await?;
        check(connection, &path, &outcome, &kept)?;
    }
    Ok(sent)
}

pub async fn remove(connection: &Arc<Connection>, path: &str) -> Result<(), RemoteError> {
    check_removable(path)?;
    let order = RemoteOrder::new(["rm", "-rf", "--", path]);
    let mut kept = Kept::new(8 * 1024);
    let outcome = run::run(connection, &order, Input::Bytes(Default::default()), &mut kept).await?;
    check(connection, path, &outcome, &kept)
}

/// The file's name while it is being written: a dot file in the same folder, the same for every attempt.
fn part_of(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    // Names have 255 bytes at the most.
    let short: String = name
        .chars()
        .scan(0, |n, c| {
            *n += c.len_utf8();
            (*n <= 230).then_some(c)
        })
        .collect();
    format!("{folder}/.{short}.reeve-part")
}

async fn remove_quietly(connection: &Arc<Connection>, part: &str) {
    if let Err(error) = remove(connection, part).await {
        tracing::warn!(host = connection.label(), %error, "a part of an upload stays on the host");
    }
}

fn check(connection: &Connection, path: &str, outcome: &Outcome, kept: &Kept) -> Result<(), RemoteError> {
    if outcome.is_success() {
        return Ok(());
    }
    let text = format!("{path} on {}: {} ({})", connection.label(), kept.last_words(), outcome.end);
    Err(RemoteError::new(RemoteErrorKind::Refused, text))
}

#[derive(Default)]
struct Digesting {
    hash: Sha256,
    bytes: u64,
}

/// Adds `more` and tells the sum so far.
fn summed(digest: &Mutex<Digesting>, more: &[u8]) -> Uploaded {
    let mut digest = digest.lock().unwrap_or_else(PoisonError::into_inner);
    digest.hash.update(more);
    digest.bytes += more.len() as u64;
    Uploaded { bytes: digest.bytes, sha256: hex::encode(digest.hash.clone().finalize()) }
}

/// A reader whose bytes are summed while they pass.
struct Summing {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    digest: Arc<Mutex<Digesting>>,
}

impl AsyncRead for Summing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buf);
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let new = &buf.filled()[before..];
        digest.hash.update(new);
        digest.bytes += new.len() as u64;
        polled
    }
}
