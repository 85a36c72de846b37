//! A context whose jobs do what their payload says, and a bench of clock, ids and runners on one store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reeve_jobs::{Body, Failure, NewJob, Options, Registry, Runner, Running};
use reeve_store::Store;
use reeve_testkit::db::TestDb;
use reeve_types::id::SystemIds;
use reeve_types::job::Job;
use reeve_types::{Clock, Error, JobId, ManualClock, Timestamp};
use tokio::sync::watch;

/// What jobs leave behind, and gates they wait at.
#[derive(Default)]
pub struct Yard {
    /// What ran, in order.
    pub log: Mutex<Vec<String>>,
    gates: Mutex<HashMap<String, watch::Sender<(bool, bool)>>>,
}

impl Yard {
    pub fn note(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }
    pub fn notes(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
    fn gate(&self, name: &str) -> watch::Sender<(bool, bool)> {
        self.gates.lock().unwrap().entry(name.to_owned()).or_insert_with(|| watch::Sender::new((false, false))).clone()
    }
    /// Called by a job: says that it is there, waits to be let through.
    pub async fn pass(&self, name: &str) {
        let gate = self.gate(name);
        gate.send_modify(|(reached, _)| *reached = true);
        gate.subscribe().wait_for(|(_, open)| *open).await.unwrap();
    }
    pub async fn reached(&self, name: &str) {
        self.gate(name).subscribe().wait_for(|(reached, _)| *reached).await.unwrap();
    }
    pub fn open(&self, name: &str) {
        self.gate(name).send_modify(|(_, open)| *open = true);
    }
}

/// A job that does what its payload says.
pub struct Act;

impl Body<Yard> for Act {
    const KIND: &'static str = "test.act";
    const TIMEOUT: Duration = Duration::from_secs(60);
    const MAX_ATTEMPTS: i64 = 4;
    type Payload = String;
    async fn run(yard: &Arc<Yard>, job: &Running, payload: String) -> Result<(), Failure> {
        yard.note(format!("{payload}#{}", job.attempt));
        let (verb, rest) = payload.split_once(' ').unwrap_or((&payload, ""));
        match verb {
            "ok" => Ok(()),
            "away" => Err(Error::unavailable("it is away").into()),
            "away-until" if job.attempt < rest.parse().unwrap() => Err(Error::unavailable("it is away").into()),
            "later" => Err(Failure::Retry { after: Some(Duration::from_secs(30)), error: Error::conflict("not yet") }),
            "refuse" => Err(Error::conflict("no").into()),
            "panic" => panic!("planned"),
            "gate" => {
                yard.pass(rest).await;
                yard.note(format!("{payload} through"));
                Ok(())
            }
            "until-cancelled" => {
                yard.gate(rest).send_modify(|(reached, _)| *reached = true);
                job.cancelled().await;
                Err(Error::conflict("stopped half-way").into())
            }
            "print" => {
                for word in rest.split('|') {
                    job.output.append(word);
                }
                Ok(())
            }
            "print-gate" => {
                job.output.append("first ü ");
                yard.pass(rest).await;
                job.output.append("second\n");
                Ok(())
            }
            "measure" => {
                for done in 1..=3 {
                    job.meter.set(done, Some(3));
                }
                Ok(())
            }
            "flood" => {
                for i in 0..rest.parse::<u64>().unwrap() {
                    job.output.line(&format!("line {i:08}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A store with a clock that stands still.
pub struct Bench {
    pub db: TestDb,
    pub clock: Arc<ManualClock>,
    pub yard: Arc<Yard>,
}

impl Bench {
    pub fn new(db: TestDb) -> Self {
        Self { db, clock: Arc::new(ManualClock::at(Timestamp(1_700_000_000_000_000))), yard: Arc::default() }
    }
    pub fn store(&self) -> &Store {
        &self.db.store
    }
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
    pub fn runner(&self) -> Runner<Yard> {
        self.runner_of(Registry::new().job::<Act>())
    }
    pub fn runner_of(&self, registry: Registry<Yard>) -> Runner<Yard> {
        let options = Options { workers: 8, ..Options::default() };
        let ids = Arc::new(SystemIds);
        Runner::new(self.yard.clone(), registry, self.db.store.clone(), self.clock.clone(), ids, options)
    }
    pub async fn enqueue(&self, payload: &str) -> JobId {
        self.put(NewJob::new::<Yard, Act>(&payload.to_owned(), "test").unwrap()).await
    }
    pub async fn put(&self, job: NewJob) -> JobId {
        let mut tx = self.store().begin().await.unwrap();
        let id = reeve_jobs::enqueue(&mut tx, self.now(), &SystemIds, job).await.unwrap();
        tx.commit().await.unwrap();
        id
    }
    pub async fn get(&self, id: &JobId) -> Job {
        let mut tx = self.store().read().await.unwrap();
        reeve_jobs::get(&mut tx, id).await.unwrap()
    }
    pub async fn cancel(&self, id: &JobId) -> Job {
        let mut tx = self.store().begin().await.unwrap();
        let job = reeve_jobs::cancel(&mut tx, id, self.now()).await.unwrap();
        tx.commit().await.unwrap();
        job
    }
    pub async fn retry(&self, id: &JobId) -> Job {
        let mut tx = self.store().begin().await.unwrap();
        let job = reeve_jobs::retry(&mut tx, id, self.now()).await.unwrap();
        tx.commit().await.unwrap();
        job
    }
    pub async fn read(&self, id: &JobId, from: i64, most: usize) -> (String, i64) {
        let mut tx = self.store().read().await.unwrap();
        let page = reeve_jobs::read_output(&mut tx, id, from, most).await.unwrap();
        (page.text, page.next_offset)
    }
    /// Waits until `holds` says so.
    pub async fn until(&self, id: &JobId, holds: impl Fn(&Job) -> bool) -> Job {
        reeve_testkit::find("the job to be so", async || {
            let job = self.get(id).await;
            if holds(&job) { Ok(job) } else { Err(job) }
        })
        .await
    }
    pub async fn until_final(&self, id: &JobId) -> Job {
        self.until(id, |job| job.state.is_final()).await
    }
}
