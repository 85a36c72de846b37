//! Folders of workspaces. Only below the configured root, never through a symbolic link, never over what is something else.

use std::io;
use std::path::{Component, Path, PathBuf};

use reeve_types::{Error, Result};

/// What makes a folder a workspace.
const MARK: &str = "config/provisioning.yaml";
/// What every workspace has, besides the mark.
const SKELETON: [&str; 10] = [
    "config/providers",
    "config/platform",
    "infra",
    "extensions/providers",
    "extensions/taskservs",
    "extensions/clusters",
    "runtime/state",
    "runtime/checkpoints",
    "runtime/logs",
    "runtime/generated",
];
/// Folders between the root and a workspace, the last included.
const DEEPEST: usize = 8;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// The root as an absolute path without links; made where it is not there.
///
/// # Errors
/// Unavailable when it cannot be made or read.
pub async fn root(configured: &Path) -> Result<PathBuf> {
    let configured = configured.to_owned();
    blocking(move || real_root(&configured)).await
}

fn real_root(configured: &Path) -> Result<PathBuf> {
    let made = std::fs::create_dir_all(configured).and_then(|()| std::fs::canonicalize(configured));
    made.map_err(|error| {
        Error::unavailable(format!("the folder of workspaces, {}, cannot be used: {error}", configured.display()))
    })
}

/// `path` with the root's links resolved, once it is sure that it leads nowhere else.
///
/// # Errors
/// Invalid for a path that is relative, leaves the root, passes a link or is the root itself.
pub async fn check(root: &Path, path: &Path) -> Result<PathBuf> {
    let (root, path) = (root.to_owned(), path.to_owned());
    blocking(move || checked(&root, &path)).await
}

fn checked(configured: &Path, path: &Path) -> Result<PathBuf> {
    let root = real_root(configured)?;
    let invalid = |problem: String| Err(Error::invalid("path", problem));
    if !path.is_absolute() {
        return invalid(format!("must be absolute and below {}", root.display()));
    }
    if path.as_os_str().len() > 1024 {
        return invalid("must be at most 1024 bytes".to_owned());
    }
    if path.components().any(|part| matches!(part, Component::ParentDir | Component::CurDir)) {
        return invalid(format!("must not hold `..`; workspaces are below {}", root.display()));
    }
    let below = path.strip_prefix(&root).or_else(|_| path.strip_prefix(configured));
    let Ok(below) = below else {
        return invalid(format!("is outside of the folder of workspaces, {}", root.display()));
    };
    let parts: Vec<&std::ffi::OsStr> = below.iter().collect();
    if parts.is_empty() || parts.len() > DEEPEST {
        return invalid(format!("must be 1 to {DEEPEST} folders below {}", root.display()));
    }
    let mut reached = root;
    for part in parts {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let bytes = part.as_encoded_bytes();
        if !bytes.iter().all(plain) || bytes.starts_with(b".") || bytes.len() > 63 {
            return invalid(
                "has folders of 1 to 63 letters, digits, `.`, `_` and `-` that do not begin with `.`".into(),
            );
        }
        reached.push(part);
        if std::fs::symlink_metadata(&reached).is_ok_and(|found| !found.is_dir()) {
            return invalid(format!("passes {}, which is a link or a file", reached.display()));
        }
    }
    Ok(reached)
}

/// Whether one of two folders holds the other, or they are the same.
pub fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (Path::new(a), Path::new(b));
    a.starts_with(b) || b.starts_with(a)
}

/// Makes the folder a workspace, or takes over one that is. Says whether it was made from nothing.
///
/// # Errors
/// Conflict when there is something else; Unavailable when it cannot be written.
pub async fn make(path: &Path, name: &str) -> Result<bool> {
    let (path, name) = (path.to_owned(), name.to_owned());
    blocking(move || {
        let fresh = match std::fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(unwritable(&path, &error)),
        };
        if !fresh && !is_file(&path.join(MARK)) {
            return Err(Error::conflict(format!(
                "{} holds something that is no workspace (it has no {MARK}): choose another path",
                path.display()
            )));
        }
        for folder in SKELETON {
            make_folders(&path, folder)?;
        }
        let mark = path.join(MARK);
        if fresh {
            std::fs::write(&mark, config(&name)).map_err(|error| unwritable(&mark, &error))?;
        }
        Ok(fresh)
    })
    .await
}

fn config(name: &str) -> String {
    format!(
        "# A workspace of Reeve. What is known of its servers is in the database, not here.\nname: {name}\nversion: 1\n"
    )
}

/// Folder by folder, so that a link is never followed.
fn make_folders(base: &Path, below: &str) -> Result<()> {
    std::fs::create_dir_all(base).map_err(|error| unwritable(base, &error))?;
    let mut reached = base.to_owned();
    for part in Path::new(below).iter() {
        reached.push(part);
        match std::fs::create_dir(&reached) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !std::fs::symlink_metadata(&reached).is_ok_and(|found| found.is_dir()) {
                    return Err(Error::conflict(format!("{} is a link or a file", reached.display())));
                }
            }
            Err(error) => return Err(unwritable(&reached, &error)),
        }
    }
    Ok(())
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::unavailable(format!("{} cannot be used: {error}", path.display()))
}

/// What activation asks of a folder.
///
/// # Errors
/// Conflict when it has no configuration.
pub async fn check_content(path: &Path) -> Result<()> {
    let mark = path.join(MARK);
    blocking(move || {
        if is_file(&mark) {
            return Ok(());
        }
        Err(Error::conflict(format!("{} is missing: the folder is no workspace any more", mark.display())))
    })
    .await
}

/// Takes back a folder that was just made and that nobody has written to.
pub async fn take_back(path: &Path) {
    let path = path.to_owned();
    let taken = blocking(move || {
        remove_skeleton(&path);
        Ok(())
    })
    .await;
    if let Err(error) = taken {
        tracing::warn!(%error, "the folder of a workspace that was refused stays");
    }
}

/// Removes the folder: its skeleton when nothing else is in it, with `force` everything. Says whether it is gone.
pub async fn remove(root: &Path, path: &Path, force: bool) -> bool {
    let (root, path) = (root.to_owned(), path.to_owned());
    let gone = blocking(move || {
        // The configured root may have changed since: outside of it nothing is ever removed.
        let path = checked(&root, &path)?;
        if force {
            std::fs::remove_dir_all(&path).map_err(|error| unwritable(&path, &error))?;
        } else {
            remove_skeleton(&path);
        }
        Ok(!path.exists())
    })
    .await;
    gone.inspect_err(|error| tracing::warn!(%error, "the folder of a deleted workspace stays")).unwrap_or(false)
}

/// `rmdir` spares what is not empty.
fn remove_skeleton(path: &Path) {
    let mark = path.join(MARK);
    let untouched = SKELETON.iter().all(|folder| is_empty(&path.join(folder)));
    if !untouched || !is_file(&mark) || std::fs::remove_file(&mark).is_err() {
        return;
    }
    let mut folders: Vec<PathBuf> =
        SKELETON.iter().flat_map(|f| Path::new(f).ancestors().map(|a| path.join(a))).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    folders.dedup();
    for folder in folders {
        if let Err(error) = std::fs::remove_dir(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "a folder stays");
        }
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}
