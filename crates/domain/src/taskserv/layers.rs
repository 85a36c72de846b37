//! A workspace's own taskservs: what its folder `extensions/taskservs/NAME` lays over the catalogue in the binary.
//!
//! Read anew for each request, so that a file counts as soon as it is written. What was installed keeps the layer that it
//! was installed with, in its settings: it can be asked, taken back and removed whatever happens to the files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use reeve_taskservs::{Catalogue, LARGEST_FILE, Layer, Problems, Settings, World};
use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result};
use sha2::{Digest, Sha256};

/// Below the workspace's folder.
const FOLDER: &str = "extensions/taskservs";
/// More entries of one folder are not even looked at.
const MOST_ENTRIES: usize = 1_000;

/// Taskserv -> file name -> text.
type Texts = BTreeMap<String, BTreeMap<String, String>>;

/// The catalogue in the binary, read once.
fn core() -> Result<Arc<Catalogue>> {
    static CORE: OnceLock<std::result::Result<Arc<Catalogue>, String>> = OnceLock::new();
    let read = CORE.get_or_init(|| Catalogue::core().map(Arc::new).map_err(told));
    read.clone().map_err(Error::internal)
}

/// The catalogue as a workspace has it; without one, as everybody has it.
///
/// # Errors
/// Conflict that names the file, the field and what would be right, when the workspace's own part is wrong.
pub(super) async fn catalogue(workspace: Option<&Workspace>) -> Result<Arc<Catalogue>> {
    let Some(workspace) = workspace else { return core() };
    let texts = texts(&workspace.path).await?;
    if texts.is_empty() {
        return core();
    }
    let wrong = |problems: Problems| {
        let text = format!("the workspace's own taskservs ({}/{FOLDER}) are wrong: {}", workspace.path, told(problems));
        Error::conflict(text).with_reason("taskserv_layer")
    };
    let layer = Layer::read(texts).map_err(wrong)?;
    (*core()?).clone().with(layer).map(Arc::new).map_err(wrong)
}

/// The catalogue as it was for what is installed with these settings.
///
/// # Errors
/// Conflict when this version of Reeve does not read the layer any more.
pub(super) fn of(settings: &Settings) -> Result<Arc<Catalogue>> {
    let mut catalogue = core()?;
    for layer in &settings.layers {
        let laid = (*catalogue).clone().with_again(layer.clone()).map_err(|problems| {
            Error::conflict(format!(
                "{} was installed with a definition that is wrong here: {}",
                settings.name,
                told(problems)
            ))
        })?;
        catalogue = Arc::new(laid);
    }
    Ok(catalogue)
}

/// Settings as people may see them.
///
/// # Errors
/// As [`of`].
pub(super) fn public(settings: &Settings) -> Result<serde_json::Value> {
    let catalogue = of(settings)?;
    Ok(settings.public(&catalogue))
}

/// The catalogue as it was for each of those that are installed: what they require of each other.
///
/// # Errors
/// As [`of`].
pub(super) fn installed(world: &World) -> Result<Arc<Catalogue>> {
    let mut layer = Layer::default();
    for one in &world.installed {
        for own in &one.settings.layers {
            layer.definitions.extend(own.definitions.clone());
            layer.files.extend(own.files.clone());
        }
    }
    if layer.is_empty() {
        return core();
    }
    let wrong = |problems| {
        Error::conflict(format!("what is installed has definitions that are wrong here: {}", told(problems)))
    };
    (*core()?).clone().with_again(layer).map(Arc::new).map_err(wrong)
}

/// Stands for what is in the folder; None while nothing is. Also for one that cannot be read.
pub(crate) async fn digest(workspace: &Workspace) -> Option<String> {
    let texts = match texts(&workspace.path).await {
        Ok(texts) if texts.is_empty() => return None,
        Ok(texts) => texts,
        Err(error) => return Some(error.to_string()),
    };
    let mut digest = Sha256::new();
    for (name, files) in &texts {
        for (file, text) in files {
            for part in [name, file, text] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
    }
    Some(hex::encode(digest.finalize()))
}

fn told(problems: Problems) -> String {
    // Ten are enough to begin with, and an error stays readable.
    let mut lines: Vec<String> = problems.iter().take(10).map(ToString::to_string).collect();
    if problems.len() > lines.len() {
        lines.push(format!("and {} more", problems.len() - lines.len()));
    }
    lines.join("; ")
}

async fn texts(workspace: &str) -> Result<Texts> {
    let workspace = PathBuf::from(workspace);
    tokio::task::spawn_blocking(move || read(&workspace)).await.map_err(Error::internal)?
}

fn read(workspace: &Path) -> Result<Texts> {
    let mut folder = workspace.to_owned();
    for part in Path::new(FOLDER).iter() {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(refused(&folder, "is a link or a file", "make it a folder")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Texts::new()),
            Err(error) => return Err(unreadable(&folder, &error)),
        }
    }
    let mut texts = Texts::new();
    for (name, path) in entries(&folder)? {
        let found = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if found.is_dir() {
            let files = files(&path)?;
            if !files.is_empty() {
                texts.insert(name, files);
            }
        } else {
            return Err(refused(
                &path,
                "is no folder",
                &format!("each taskserv is a folder: {FOLDER}/NAME/taskserv.yaml"),
            ));
        }
    }
    Ok(texts)
}

fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for (name, path) in entries(folder)? {
        files.insert(name, text(&path)?);
    }
    Ok(files)
}

/// What is in a folder, but for what begins with a point, ends in `~` or is to be read by people.
fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            return Err(refused(&path, "has a name that is not UTF-8", "name it with letters, digits and ._-"));
        };
        if name.starts_with('.') || name.ends_with('~') || name.to_ascii_uppercase().starts_with("README") {
            continue;
        }
        found.insert(name, path);
        if found.len() > MOST_ENTRIES {
            return Err(refused(folder, "holds too much", &format!("keep it to {MOST_ENTRIES} entries")));
        }
    }
    Ok(found)
}

/// The text of a file, which must be one: what a link leads to is not the workspace's.
fn text(path: &Path) -> Result<String> {
    let flags = i32::try_from((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = match fs::File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) => {
            return Err(refused(path, "is a link", "put the file itself there").with_source(error));
        }
        Err(error) => return Err(unreadable(path, &error)),
    };
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(refused(path, "is no file", "keep files beside taskserv.yaml, no folders"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > LARGEST_FILE {
        return Err(refused(path, "is too large", &format!("keep it to {LARGEST_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refused(path, "is no UTF-8 text", "write text"))
}

fn refused(path: &Path, problem: &str, right: &str) -> Error {
    Error::conflict(format!("{} {problem}; {right}", path.display())).with_reason("taskserv_layer")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!("{} cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(FOLDER).join("own");
        fs::create_dir_all(&own).unwrap();
        (folder, own)
    }

    #[test]
    fn only_plain_files_of_bounded_size_count() {
        let (folder, own) = workspace();
        let read = || read(folder.path()).map_err(|error| error.to_string());
        assert_eq!(read().unwrap(), Texts::new());
        fs::write(own.join("taskserv.yaml"), "title: Own\n").unwrap();
        fs::write(own.join("README.md"), "words").unwrap();
        fs::write(own.join(".taskserv.yaml.swp"), [0xff]).unwrap();
        let texts = read().unwrap();
        assert_eq!(texts["own"].keys().collect::<Vec<_>>(), ["taskserv.yaml"]);
        for (make, words) in [
            (
                Box::new(|| std::os::unix::fs::symlink("/etc/shadow", own.join("x.yaml")).unwrap()) as Box<dyn Fn()>,
                "is a link",
            ),
            (Box::new(|| fs::create_dir(own.join("x.yaml")).unwrap()), "is no file"),
            (Box::new(|| fs::write(own.join("x.yaml"), "#".repeat(LARGEST_FILE + 1)).unwrap()), "is too large"),
            (Box::new(|| fs::write(own.join("x.yaml"), [0xff, 0xfe]).unwrap()), "is no UTF-8 text"),
        ] {
            make();
            let error = read().unwrap_err();
            assert!(error.contains(words) && error.contains("own/x.yaml"), "{error}");
            if fs::remove_file(own.join("x.yaml")).is_err() {
                fs::remove_dir(own.join("x.yaml")).unwrap();
            }
        }
        fs::write(own.parent().unwrap().join("own.yaml"), "").unwrap();
        assert!(read().unwrap_err().contains("is no folder"));
    }
}
