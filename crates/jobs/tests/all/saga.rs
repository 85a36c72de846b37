//! A toy saga with effects on a real disk and in the database, through every fault test; and what is left of a stuck undo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reeve_jobs::{Failure, NewJob, Registry, Running, Saga, Step, Steps, leftover};
use reeve_store::{Store, Tx, args};
use reeve_testkit::db::{TestDb, on_both};
use reeve_testkit::saga::{World, survives_everything};
use reeve_types::Error;
use reeve_types::job::JobState;
use serde::{Deserialize, Serialize};

use crate::support::Bench;

/// A folder of one's own, and a switch that makes undos fail.
pub struct Disk {
    folder: tempfile::TempDir,
    stuck: AtomicI64,
}

impl Disk {
    fn new() -> Arc<Self> {
        Arc::new(Self { folder: tempfile::tempdir().unwrap(), stuck: AtomicI64::new(0) })
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        walk(self.folder.path(), self.folder.path(), &mut found);
        found
    }
}

fn walk(root: &Path, at: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if path.is_dir() {
            found.insert(name, "folder".to_owned());
            walk(root, &path, found);
        } else {
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    name: String,
    /// Made by the first step, used by the others.
    folder: Option<String>,
    counted: bool,
}

/// Makes a folder, a file in it, a row, and an entry in a ledger.
pub struct BuildSite;

impl Saga<Disk> for BuildSite {
    const KIND: &'static str = "site.build";
    const STEP_TIMEOUT: Duration = Duration::from_secs(30);
    const UNDO_ATTEMPTS: i64 = 3;
    type State = Site;
    fn steps() -> Steps<Disk, Site> {
        Steps::new().then(MakeFolder).then(WriteFile).then(AddRow).then(Enter)
    }
}

struct MakeFolder;
impl Step<Disk, Site> for MakeFolder {
    fn name(&self) -> &'static str {
        "make folder"
    }
    async fn run(&self, disk: &Arc<Disk>, job: &Running, site: &mut Site) -> Result<(), Failure> {
        let folder = format!("site-{}", site.name);
        std::fs::create_dir_all(disk.path(&folder)).map_err(Error::internal)?;
        job.output.line("folder");
        site.folder = Some(folder);
        Ok(())
    }
    async fn undo(&self, disk: &Arc<Disk>, _job: &Running, site: &mut Site) -> Result<(), Failure> {
        // A crash may have lost the state of the run, so the name is made again.
        match std::fs::remove_dir(disk.path(&format!("site-{}", site.name))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::internal(error).into()),
            _ => Ok(()),
        }
    }
}

struct WriteFile;
impl Step<Disk, Site> for WriteFile {
    fn name(&self) -> &'static str {
        "write file"
    }
    async fn run(&self, disk: &Arc<Disk>, _job: &Running, site: &mut Site) -> Result<(), Failure> {
        let folder = site.folder.clone().ok_or_else(|| Error::internal("no folder"))?;
        std::fs::write(disk.path(&folder).join("index"), &site.name).map_err(Error::internal)?;
        Ok(())
    }
    async fn undo(&self, disk: &Arc<Disk>, _job: &Running, site: &mut Site) -> Result<(), Failure> {
        if disk.stuck.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Err(Error::conflict("the file is in use").into());
        }
        let folder = site.folder.clone().ok_or_else(|| Error::internal("no folder"))?;
        match std::fs::remove_file(disk.path(&folder).join("index")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::internal(error).into()),
            _ => Ok(()),
        }
    }
}

/// Only in the database, and not idempotent: twice would violate the primary key.
struct AddRow;
impl Step<Disk, Site> for AddRow {
    fn name(&self) -> &'static str {
        "add row"
    }
    async fn record(&self, _disk: &Arc<Disk>, tx: &mut Tx, site: &mut Site) -> Result<(), Failure> {
        let sql = "INSERT INTO settings (name, value, updated_at) VALUES ($1, 'built', 0)";
        tx.execute(sql, args![&site.name]).await?;
        site.counted = true;
        Ok(())
    }
    async fn undo(&self, _disk: &Arc<Disk>, _job: &Running, _site: &mut Site) -> Result<(), Failure> {
        Ok(())
    }
    async fn record_undo(&self, _disk: &Arc<Disk>, tx: &mut Tx, site: &mut Site) -> Result<(), Failure> {
        let gone = tx.execute("DELETE FROM settings WHERE name = $1", args![&site.name]).await?;
        assert_eq!(gone == 1, site.counted, "the row and the state went in together");
        site.counted = false;
        Ok(())
    }
}

struct Enter;
impl Step<Disk, Site> for Enter {
    fn name(&self) -> &'static str {
        "enter"
    }
    async fn run(&self, disk: &Arc<Disk>, _job: &Running, site: &mut Site) -> Result<(), Failure> {
        let ledger = disk.path("ledger");
        let mut text = std::fs::read_to_string(&ledger).map_err(Error::internal)?;
        if !text.contains(&site.name) {
            text.push_str(&site.name);
            std::fs::write(&ledger, text).map_err(Error::internal)?;
        }
        Ok(())
    }
    async fn undo(&self, disk: &Arc<Disk>, _job: &Running, site: &mut Site) -> Result<(), Failure> {
        let ledger = disk.path("ledger");
        let text = std::fs::read_to_string(&ledger).map_err(Error::internal)?;
        std::fs::write(&ledger, text.replace(&site.name, "")).map_err(Error::internal)?;
        Ok(())
    }
}

struct Ground {
    store: Store,
    disk: Arc<Disk>,
}

fn site() -> Site {
    Site { name: "alpha".to_owned(), folder: None, counted: false }
}

impl World for Ground {
    type Ctx = Disk;
    type Saga = BuildSite;
    type Seen = (BTreeMap<PathBuf, String>, Vec<String>);
    fn store(&self) -> &Store {
        &self.store
    }
    fn ctx(&self) -> Arc<Disk> {
        self.disk.clone()
    }
    fn first_state(&self) -> Site {
        site()
    }
    async fn seen(&self) -> Self::Seen {
        let mut tx = self.store.read().await.unwrap();
        let rows = tx.all("SELECT name FROM settings ORDER BY name", &[]).await.unwrap();
        (self.disk.files(), rows.into_iter().map(|mut row| row.get().unwrap()).collect())
    }
}

async fn ground(db: &TestDb) -> Ground {
    let mut tx = db.store.begin().await.unwrap();
    tx.execute("DELETE FROM settings", &[]).await.unwrap();
    tx.commit().await.unwrap();
    let disk = Disk::new();
    std::fs::write(disk.path("ledger"), "before;").unwrap();
    Ground { store: db.store.clone(), disk }
}

#[tokio::test]
async fn a_saga_survives_every_accident() {
    on_both(|db| async move { survives_everything(async || ground(&db).await).await }).await;
}

#[tokio::test]
async fn a_stuck_undo_is_tried_again_then_reported_and_goes_on_when_retried() {
    on_both(|db| async move {
        let ground = ground(&db).await;
        // The ledger is missing, so the last step fails; and the file does not let itself be removed, four times.
        std::fs::remove_file(ground.disk.path("ledger")).unwrap();
        ground.disk.stuck.store(4, Ordering::SeqCst);
        let bench = Bench::new(db);
        let mut runner = reeve_jobs::Runner::new(
            ground.disk.clone(),
            Registry::new().saga::<BuildSite>(),
            bench.store().clone(),
            bench.clock.clone(),
            Arc::new(reeve_types::id::SystemIds),
            reeve_jobs::Options::default(),
        );
        std::fs::create_dir(ground.disk.path("ledger")).unwrap();
        let id = bench.put(NewJob::saga::<Disk, BuildSite>(&site(), "test").unwrap()).await;
        // A folder in place of the ledger fails run and undo of the last step, until it is a file again.
        runner.run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Queued, Some("undo of enter: Internal Server Error")));
        std::fs::remove_dir(ground.disk.path("ledger")).unwrap();
        std::fs::write(ground.disk.path("ledger"), "").unwrap();
        for _ in 0..4 {
            bench.clock.advance_ms(60_000);
            runner.run_until_idle().await.unwrap();
        }
        let job = bench.get(&id).await;
        assert_eq!(job.state, JobState::Failed);
        let error =
            "enter: Internal Server Error; undo of write file: the file is in use; left over: write file, make folder";
        assert_eq!(job.error.as_deref(), Some(error));
        assert_eq!(leftover(job.progress.as_deref()).unwrap().steps, ["write file", "make folder"]);
        assert!(ground.disk.path("site-alpha/index").exists());

        // Three of the four failures are used up: the retry undoes the rest, then builds anew, and finds a ledger now.
        ground.disk.stuck.store(0, Ordering::SeqCst);
        bench.retry(&id).await;
        runner.run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.state, job.error), (JobState::Succeeded, None));
        assert_eq!(leftover(job.progress.as_deref()), None);
        assert_eq!(std::fs::read_to_string(ground.disk.path("ledger")).unwrap(), "alpha");
        let (text, _) = bench.read(&id, 0, 100).await;
        assert_eq!(text, "folder\nfolder\n");
    })
    .await;
}
