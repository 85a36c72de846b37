//! Webhooks with a fake for the way to receivers: what is sent, in which order, how often, and what is logged.

mod bounds;
mod log;
mod retries;
mod sending;
mod servers;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use reeve_domain::config::Config;
use reeve_domain::seal::Seal;
use reeve_domain::webhook::{self, delivery};
use reeve_domain::{App, background, event};
use reeve_ports::Fetch;
use reeve_ports::fetch::{Answer, Failure, Request};
use reeve_testkit::db::TestDb;
use reeve_testkit::{PATIENCE, find};
use reeve_types::event::NewEvent;
use reeve_types::id::SystemIds;
use reeve_types::webhook::{Delivery, DeliveryFilter, Webhook};
use reeve_types::{Actor, ManualClock, Page, Secret, Timestamp, WebhookId};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "a-cryptographically-random-32-byte-secret";

/// One request that reached the fake.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Got {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
    /// The number that the test gave the event.
    pub(crate) fn number(&self) -> i64 {
        self.body["data"]["number"].as_i64().unwrap_or(-1)
    }
}

type Answers = dyn Fn(&Got, usize) -> Result<Answer, Failure> + Send + Sync;

/// Receivers: every request is noted, then answered as the test says.
pub(crate) struct Receivers {
    got: Mutex<Vec<Got>>,
    arrived: Notify,
    answers: Mutex<Box<Answers>>,
    /// URLs that answer only when the test lets them.
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
    running: Mutex<HashMap<String, (usize, usize)>>,
}

pub(crate) fn status(status: u16) -> Result<Answer, Failure> {
    Ok(Answer {
        status,
        retry_after: None,
        body: bytes::Bytes::from_static(b"words of the receiver"),
        truncated: false,
    })
}

impl Receivers {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            got: Mutex::default(),
            arrived: Notify::new(),
            answers: Mutex::new(Box::new(|_, _| status(200))),
            held: Mutex::default(),
            running: Mutex::default(),
        })
    }
    /// `answer` gets the request and how often its id was seen before.
    pub(crate) fn answer(&self, answer: impl Fn(&Got, usize) -> Result<Answer, Failure> + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Box::new(answer);
    }
    pub(crate) fn hold(&self, url: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.held.lock().unwrap().insert(url.to_owned(), gate.clone());
        gate
    }
    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
    pub(crate) fn of(&self, url: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.url == url).collect()
    }
    /// Most requests at once to a URL.
    pub(crate) fn peak(&self, url: &str) -> usize {
        self.running.lock().unwrap().get(url).map_or(0, |(_, peak)| *peak)
    }
    pub(crate) async fn await_count(&self, count: usize) -> Vec<Got> {
        self.await_until(&format!("{count} requests"), |got| got.len() >= count).await
    }
    pub(crate) async fn await_until(&self, what: &str, enough: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                let got = self.got();
                if enough(&got) {
                    return got;
                }
                arrived.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        found.unwrap_or_else(|_| panic!("{what} did not come; there are {}", self.got().len()))
    }
    async fn take(&self, request: Request) -> Result<Answer, Failure> {
        let headers = request.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let got =
            Got { url: request.url.clone(), headers, body: serde_json::from_slice(&request.body).unwrap_or_default() };
        {
            let mut running = self.running.lock().unwrap();
            let (now, peak) = running.entry(request.url.clone()).or_default();
            *now += 1;
            *peak = (*peak).max(*now);
        }
        let before = {
            let mut all = self.got.lock().unwrap();
            let before = all.iter().filter(|other| other.id() == got.id()).count();
            all.push(got.clone());
            before
        };
        self.arrived.notify_waiters();
        let gate = self.held.lock().unwrap().get(&request.url).cloned();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        self.running.lock().unwrap().get_mut(&request.url).unwrap().0 -= 1;
        (self.answers.lock().unwrap())(&got, before)
    }
}

impl Fetch for Receivers {
    fn check<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(
            async move { if url.contains("forbidden") { Err("leads to nowhere good".to_owned()) } else { Ok(()) } },
        )
    }
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(self.take(request))
    }
}

/// One server, or the first of several.
pub(crate) struct Hooks {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) admin: Actor,
    pub(crate) db: TestDb,
    pub(crate) loops: Option<tokio::task::JoinSet<()>>,
    stop: CancellationToken,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn server(
    db: &TestDb,
    clock: &Arc<ManualClock>,
    name: &str,
    receivers: &Arc<Receivers>,
    change: impl FnOnce(&mut Config),
) -> Arc<App> {
    let seal = Seal::new(vec![("k1".to_owned(), crate::seal_key(1))]).unwrap();
    let mut config = Config::with_keys(crate::keys());
    change(&mut config);
    let app = App::new(db.store.clone(), clock.clone(), Arc::new(SystemIds), seal, config, name.into());
    let app = Arc::new(app);
    app.set_fetch(receivers.clone());
    app
}

impl Hooks {
    pub(crate) async fn new(db: TestDb) -> Self {
        Self::with(db, |_| {}).await
    }

    pub(crate) async fn with(db: TestDb, change: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000_000)));
        let receivers = Receivers::new();
        let app = server(&db, &clock, "s1", &receivers, change);
        started(&app).await;
        let stop = CancellationToken::new();
        let loops = Some(background::start(&app, &stop));
        Self { app, clock, receivers, admin: Actor::system(), db, loops, stop }
    }

    /// Ends everything at once, as a killed process does.
    pub(crate) fn kill(&mut self) {
        drop(self.loops.take());
    }

    /// Starts again after [`kill`](Self::kill), with a process's fresh memory.
    pub(crate) fn restart(&mut self) {
        let config = self.app.config.clone();
        self.app = server(&self.db, &self.clock, "s1", &self.receivers, |fresh| *fresh = config);
        self.loops = Some(background::start(&self.app, &self.stop));
    }

    pub(crate) async fn webhook(&self, url: &str, kinds: &[&str]) -> Webhook {
        let input = webhook::Create {
            url: url.to_owned(),
            secret: Secret::new(SECRET),
            headers: None,
            subscribed_events: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        };
        webhook::create(&self.app, &self.admin, input).await.unwrap()
    }

    pub(crate) async fn reload(&self, id: &WebhookId) -> Webhook {
        webhook::get(&self.app, &self.admin, id).await.unwrap()
    }

    /// Appends numbered events in one transaction.
    pub(crate) async fn happen(&self, kind: &'static str, numbers: std::ops::Range<i64>) {
        happen(&self.app, kind, numbers).await;
    }

    pub(crate) async fn log(&self, filter: DeliveryFilter) -> Vec<Delivery> {
        let page = Page { number: 1, size: 10_000 };
        delivery::list(&self.app, &self.admin, &filter, page).await.unwrap().items
    }

    /// Waits until the whole log is as asked for.
    pub(crate) async fn await_log(&self, what: &str, fits: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        find(what, async || {
            let log = self.log(DeliveryFilter::default()).await;
            if fits(&log) { Ok(log) } else { Err(log) }
        })
        .await
    }

    /// Waits until there are `count` deliveries and all of them were delivered.
    pub(crate) async fn await_delivered(&self, count: i64) {
        let sql = "SELECT count(*), count(CASE WHEN state = 'delivered' THEN 1 END) FROM webhook_deliveries";
        find(&format!("{count} deliveries, all delivered"), async || {
            let mut tx = self.app.store.read().await.unwrap();
            let mut row = tx.one(sql, &[]).await.unwrap();
            let seen = (row.get::<i64>().unwrap(), row.get::<i64>().unwrap());
            if seen == (count, count) { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    pub(crate) async fn await_webhook(&self, id: &WebhookId, what: &str, fits: impl Fn(&Webhook) -> bool) -> Webhook {
        find(what, async || {
            let webhook = self.reload(id).await;
            if fits(&webhook) { Ok(webhook) } else { Err(webhook) }
        })
        .await
    }
}

pub(crate) async fn started(app: &App) {
    let about = reeve_domain::server::About { version: "test".to_owned(), listeners: "{}".to_owned() };
    reeve_domain::server::join(app, about).await.unwrap();
}

pub(crate) async fn happen(app: &App, kind: &'static str, numbers: std::ops::Range<i64>) {
    let events: Vec<NewEvent> =
        numbers.map(|n| NewEvent { kind, subject: String::new(), data: json!({ "number": n }) }).collect();
    let mut tx = app.store.begin().await.unwrap();
    reeve_store::event::append(&mut tx, &*app.ids, app.clock.now(), &events).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) const A: &str = event::NODE_REGISTERED;
pub(crate) const B: &str = event::EXECUTION_COMPLETED;
