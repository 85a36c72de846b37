//! The clients of the soak and their log of what they were told. A request whose answer did not come is asked again with
//! the same `Idempotency-Key`, until there is an answer: then its effect must be there once, whatever died in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::{Answer, Client, Server};
use serde_json::json;

use super::CLUSTER;

const WRITERS: usize = 4;
/// After the end of the rounds a request gets this long to be answered.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// Where the server is at the moment, if it is anywhere.
#[derive(Default)]
pub struct Target(RwLock<Option<(String, String, String)>>);

impl Target {
    pub fn is(&self, server: Option<&Server>) -> Result<()> {
        let place = match server {
            None => None,
            Some(s) => Some((s.url("edge")?.to_owned(), s.url("console")?.to_owned(), s.master_key().to_owned())),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = place;
        Ok(())
    }

    fn client(&self, console: bool) -> Option<(String, Client)> {
        let place = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (edge, own, key) = place?;
        let url = if console { own } else { edge };
        Some((url.clone(), Client::new(&url, &key).with_timeout(Duration::from_secs(10))))
    }
}

/// What clients were told.
#[derive(Default)]
pub struct Told {
    /// Names of enrollment keys that were acknowledged.
    pub keys: Vec<String>,
    /// Marks of commands that were acknowledged.
    pub commands: Vec<String>,
    /// Where commands leave their marks.
    pub effects: PathBuf,
    /// Ticks and rotations that were acknowledged.
    pub jobs: u64,
    /// Requests that had to be asked again.
    pub repeated: u64,
}

impl Told {
    pub fn counts(&self) -> String {
        let (keys, commands) = (self.keys.len(), self.commands.len());
        format!(
            "{keys} keys, {commands} commands, {} jobs acknowledged; {} requests asked again",
            self.jobs, self.repeated
        )
    }
}

/// Everything that asks.
pub struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    pub fn start(target: &Arc<Target>, effects: &Path) -> Result<Self> {
        fs::create_dir_all(effects)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Mutex::new(Told { effects: effects.to_owned(), ..Told::default() }));
        let asker = || Asker {
            target: target.clone(),
            stop: stop.clone(),
            told: told.clone(),
            clients: BTreeMap::new(),
            asked: AtomicU64::new(0),
        };
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let asker = asker();
            threads.push(thread::spawn(move || asker.write_keys(writer)));
        }
        let (commander, jobber, effects) = (asker(), asker(), effects.to_owned());
        threads.push(thread::spawn(move || commander.run_commands(&effects)));
        threads.push(thread::spawn(move || jobber.start_jobs()));
        Ok(Self { stop, told, threads })
    }

    pub fn counts(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).counts()
    }

    /// Lets every client get its last answer.
    pub fn stop(self) -> Result<Told> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a client panicked"),
            }
        }
        Ok(std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Asker {
    target: Arc<Target>,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    clients: BTreeMap<bool, (String, Client)>,
    asked: AtomicU64,
}

impl Asker {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn tell(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn write_keys(mut self, writer: usize) -> Result<()> {
        let path = format!("/api/v1/clusters/{CLUSTER}/enrollment_keys");
        for number in 0.. {
            if self.ended() {
                break;
            }
            let name = format!("w{writer}-{number}");
            self.post(false, &path, &name, &json!({"name": name, "uses_remaining": 1}).to_string())?;
            self.tell(|told| told.keys.push(name));
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn run_commands(mut self, effects: &Path) -> Result<()> {
        for number in 0.. {
            if self.ended() {
                break;
            }
            let mark = format!("m{number}x");
            // One write of a few bytes to a file opened for appending is one line, whoever else writes.
            let text = format!("echo {mark} >> {}/all", effects.display());
            let body = json!({"command_text": text, "targeting": {"type": "clusters", "cluster_names": [CLUSTER]}});
            self.post(false, "/api/v1/commands", &mark, &body.to_string())?;
            self.tell(|told| told.commands.push(mark));
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn start_jobs(mut self) -> Result<()> {
        for number in 0.. {
            if self.ended() {
                break;
            }
            let path = if number % 40 == 5 { "/api/seal/rotations" } else { "/api/schedules/execution.prune/poke" };
            self.post(true, path, &format!("j{number}"), "")?;
            self.tell(|told| told.jobs += 1);
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Asks until it is answered. 409 for a repetition says that the first one was applied and its answer lost.
    fn post(&mut self, console: bool, path: &str, key: &str, body: &str) -> Result<()> {
        let mut again = false;
        let mut last_chance = None;
        loop {
            match self.once(console, path, key, body) {
                Some(answer) if matches!(answer.status, 200..300) => return Ok(()),
                Some(answer) if answer.status == 409 && again => return Ok(()),
                Some(answer) if answer.status == 503 => {}
                Some(answer) => bail!("POST {path} answered {}: {}", answer.status, answer.text()),
                None => {
                    if self.asked.load(Ordering::Relaxed) > 0 {
                        again = true;
                        self.tell(|told| told.repeated += 1);
                    }
                }
            }
            if self.ended() && *last_chance.get_or_insert_with(Instant::now) + LAST_ANSWERS < Instant::now() {
                bail!("POST {path} was not answered in the end");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn once(&mut self, console: bool, path: &str, key: &str, body: &str) -> Option<Answer> {
        self.asked.store(0, Ordering::Relaxed);
        let (url, fresh) = self.target.client(console)?;
        let known = self.clients.get(&console).is_some_and(|(at, _)| *at == url);
        if !known {
            self.clients.insert(console, (url, fresh));
        }
        let (_, client) = self.clients.get_mut(&console)?;
        self.asked.store(1, Ordering::Relaxed);
        client.post_once(path, key, body.as_bytes()).context("no answer").ok()
    }
}
