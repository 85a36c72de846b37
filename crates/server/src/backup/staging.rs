//! A data directory in the making: filled where no server looks, then put in place at once.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Files whose presence makes a directory a server's; the last to be moved where moving is one by one.
const LAST: &str = "server.json";

/// See the module. Removed when dropped before [`finish`](Self::finish).
pub struct Staging {
    path: PathBuf,
    target: PathBuf,
    /// The folder around the target cannot be used (a mount point, or not ours): entries are moved one by one.
    inside: bool,
    done: bool,
}

impl Staging {
    /// Begins beside `target`, or inside of it where that cannot be.
    pub fn begin(target: &Path) -> Result<Self> {
        let name =
            target.file_name().with_context(|| format!("{} is not the name of a directory", target.display()))?;
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let own = format!(".{}.restoring-{}", name.to_string_lossy(), std::process::id());
        let exists = target.exists();
        if !exists {
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        let beside = parent.join(&own);
        let same_disk =
            !exists || matches!((fs::metadata(parent), fs::metadata(target)), (Ok(a), Ok(b)) if a.dev() == b.dev());
        let made = same_disk && private_folder(&beside).is_ok();
        let path = if made { beside } else { target.join(&own) };
        if !made {
            private_folder(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        }
        Ok(Self { path, target: target.to_owned(), inside: !made, done: false })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of a backup. Its name must stay inside.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        if !super::IDENTITY.contains(&name) {
            bail!("the backup holds a file `{name}`, which a data directory does not have");
        }
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(())
    }

    /// Puts the directory in place. What was there is moved aside; says where to.
    pub fn finish(mut self, stamp: &str) -> Result<Option<PathBuf>> {
        sync_folder(&self.path)?;
        let aside = match (self.inside, is_empty(&self.target)?) {
            (true, empty) => self.move_entries(stamp, empty)?,
            (false, true) => {
                fs::rename(&self.path, &self.target)
                    .with_context(|| format!("{} cannot be put in place", self.target.display()))?;
                None
            }
            (false, false) => {
                // Both change places in one step, so there is a whole directory at every moment.
                let swapped = renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::EXCHANGE);
                swapped.with_context(|| format!("{} cannot be put in place", self.target.display()))?;
                let aside = aside_name(&self.target, stamp);
                fs::rename(&self.path, &aside)?;
                Some(aside)
            }
        };
        self.done = true;
        if let Some(parent) = self.target.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(aside)
    }

    fn move_entries(&self, stamp: &str, empty: bool) -> Result<Option<PathBuf>> {
        let aside = self.target.join(format!("before-restore-{stamp}"));
        if !empty {
            private_folder(&aside)?;
            move_all(&self.target, &aside, &[&self.path, &aside])?;
        }
        move_all(&self.path, &self.target, &[])?;
        fs::remove_dir(&self.path)?;
        sync_folder(&self.target)?;
        Ok((!empty).then_some(aside))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "what was restored halfway could not be removed");
        }
    }
}

/// Whether the directory is not there or holds nothing but what a look at it leaves behind.
pub fn is_empty(target: &Path) -> Result<bool> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be looked at", target.display())),
    };
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name != "lost+found" && name != "lock" && !name.contains(".restoring-") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn aside_name(target: &Path, stamp: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".before-restore-{stamp}"));
    name.into()
}

fn move_all(from: &Path, to: &Path, except: &[&Path]) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(from)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    entries.sort_by_key(|path| path.ends_with(LAST));
    for path in entries.iter().filter(|path| !except.contains(&path.as_path()) && !path.ends_with("lost+found")) {
        let Some(name) = path.file_name() else { continue };
        fs::rename(path, to.join(name))
            .with_context(|| format!("{} cannot be moved to {}", path.display(), to.display()))?;
    }
    Ok(())
}

fn sync_folder(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|f| f.sync_all()).with_context(|| format!("{} cannot be flushed", path.display()))
}
