//! UpCloud: the contract, and what is peculiar to it.

use std::sync::Arc;

use futures::future::join_all;
use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{Cloud, CloudServerId, Removal, ServerSpec, ServerState, Stop};
use reeve_providers::cloud::{Endpoint, UpCloud, UpCloudKeys};
use reeve_simulators::front::{Front, Trouble};
use reeve_simulators::upcloud::{PASSWORD, TOKEN, USERNAME, UpCloudSimulator};
use reeve_types::{Clock, Secret};

use super::stage::{KEY, Stage, endpoint, kind};

pub struct Simulated {
    simulator: UpCloudSimulator,
    cloud: UpCloud,
}

fn token(text: &str) -> UpCloudKeys {
    UpCloudKeys::Token(Secret::new(text))
}

impl Stage for Simulated {
    async fn open() -> Self {
        let simulator = UpCloudSimulator::start().await.unwrap();
        let cloud = UpCloud::new(endpoint(&simulator.front.url(), simulator.time.clone()), &token(TOKEN)).unwrap();
        Self { simulator, cloud }
    }
    fn cloud(&self) -> &dyn Cloud {
        &self.cloud
    }
    fn adapter(&self, change: impl FnOnce(&mut Endpoint)) -> Box<dyn Cloud> {
        let mut endpoint = endpoint(&self.front().url(), self.clock());
        change(&mut endpoint);
        let user = UpCloudKeys::User { username: USERNAME.to_owned(), password: Secret::new(PASSWORD) };
        Box::new(UpCloud::new(endpoint, &user).unwrap())
    }
    fn stranger(&self) -> Box<dyn Cloud> {
        Box::new(UpCloud::new(endpoint(&self.front().url(), self.clock()), &token("wrong")).unwrap())
    }
    fn front(&self) -> &Front {
        &self.simulator.front
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.simulator.time.clone()
    }
    async fn pass_ms(&self, ms: i64) {
        self.simulator.time.advance_ms(ms);
    }
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        ("2xCPU-4GB", "de-fra1", "debian-12")
    }
    fn order_call(&self) -> &'static str {
        "POST /1.3/server {"
    }
    fn get_call(&self) -> &'static str {
        "GET /1.3/server/"
    }
    fn missing(&self) -> CloudServerId {
        "00aaaaaa-0000-4000-8000-000000000009".into()
    }
    fn too_many(&self) -> Trouble {
        let headers = vec![("retry-after", "20".to_owned())];
        Trouble::Answer { status: 429, body: "{}".to_owned(), headers }
    }
    fn broken(&self) -> Trouble {
        let body = r#"{"error": {"error_code": "SERVICE_ERROR", "error_message": "The service is broken."}}"#;
        Trouble::Answer { status: 500, body: body.to_owned(), headers: Vec::new() }
    }
    async fn disks(&self) -> usize {
        self.simulator.disks()
    }
}

super::stamp!(Simulated);

#[tokio::test]
async fn the_order_says_everything_once() {
    let stage = Simulated::open().await;
    let created = stage.cloud.create(&stage.spec("body-1")).await.unwrap();
    assert_eq!(stage.simulator.user_data("host-body-1").unwrap(), "#!/bin/sh\necho born\n");
    assert_eq!(stage.simulator.ssh_keys("host-body-1").unwrap(), [KEY]);
    assert_eq!(created.login_user, "root");
    let server = stage.until(&created.server.id, ServerState::Running).await;
    let addresses = server.addresses.unwrap();
    assert_eq!(addresses.iter().filter(|a| a.public).count(), 2, "IPv4 and IPv6: {addresses:?}");
    assert_eq!(addresses.len(), 3, "and the utility address");
    assert_eq!(stage.ours().await[0].addresses, None, "lists do not tell");
}

#[tokio::test]
async fn a_retry_before_an_order_is_visible_leaves_surplus_to_delete() {
    let stage = Simulated::open().await;
    stage.simulator.switch(|switches| switches.lists_lag_ms = 30_000);
    let spec = stage.spec("lag-1");
    let first = stage.cloud.create(&spec).await.unwrap();
    // Too early: within settle_ms the vendor's list does not show it.
    let second = stage.cloud.create(&spec).await.unwrap();
    assert_ne!(first.server.id, second.server.id);
    stage.pass_ms(i64::try_from(stage.cloud.settle_ms()).unwrap()).await;
    let third = stage.cloud.create(&spec).await.unwrap();
    assert!(third.found);
    assert_eq!((third.server.id, third.surplus.as_slice()), (first.server.id, &[second.server.id.clone()][..]));
    stage.gone(&second.server.id).await;
    assert_eq!(stage.simulator.servers(), 1);
}

#[tokio::test]
async fn limits_of_the_account_are_told_apart() {
    let stage = Simulated::open().await;
    let spec = stage.spec("limit-1");
    stage.simulator.switch(|switches| switches.credit = false);
    assert_eq!(kind(stage.cloud.create(&spec).await), CloudErrorKind::Quota);
    stage.simulator.switch(|switches| (switches.credit, switches.server_limit) = (true, 0));
    let error = stage.cloud.create(&spec).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (CloudErrorKind::Quota, "SERVER_CREATING_LIMIT_REACHED"));
    stage.simulator.switch(|switches| (switches.capacity, switches.server_limit) = (false, 9));
    assert_eq!(kind(stage.cloud.create(&spec).await), CloudErrorKind::Capacity);
    stage.simulator.switch(|switches| switches.capacity = true);
    stage.cloud.create(&spec).await.unwrap();
}

#[tokio::test]
async fn sizes_of_disks() {
    let stage = Simulated::open().await;
    let bare = ServerSpec { plan: "CLOUDNATIVE-2xCPU-4GB".to_owned(), ..stage.spec("disk-1") };
    assert_eq!(kind(stage.cloud.create(&bare).await), CloudErrorKind::Invalid { field: "disk_gb" });
    let sized = ServerSpec { disk_gb: Some(33), ..bare };
    assert_eq!(stage.cloud.check(&sized).await.unwrap().disk_gb, Some(33));
    stage.cloud.create(&sized).await.unwrap();
    let small = ServerSpec { disk_gb: Some(1), ..stage.spec("disk-2") };
    assert_eq!(kind(stage.cloud.check(&small).await), CloudErrorKind::Invalid { field: "disk_gb" });
}

#[tokio::test]
async fn a_stubborn_system_is_stopped_hard() {
    let stage = Simulated::open().await;
    stage.simulator.switch(|switches| switches.obedient = false);
    let id = stage.cloud.create(&stage.spec("stubborn-1")).await.unwrap().server.id;
    assert_eq!(kind(stage.cloud.start(&id).await), CloudErrorKind::Busy, "it is still being made");
    stage.until(&id, ServerState::Running).await;
    stage.cloud.stop(&id, Stop::Soft { timeout_s: 600 }).await.unwrap();
    stage.pass_ms(60_000).await;
    assert_eq!(stage.cloud.get(&id).await.unwrap().state, ServerState::Running);
    stage.cloud.stop(&id, Stop::Hard).await.unwrap();
    stage.pass_ms(5_000).await;
    assert_eq!(stage.cloud.get(&id).await.unwrap().state, ServerState::Stopped);
}

#[tokio::test]
async fn deletion_goes_on_after_lost_answers_and_over_other_peoples_hands() {
    let stage = Simulated::open().await;
    let id = stage.cloud.create(&stage.spec("undo-1")).await.unwrap().server.id;
    assert_eq!(stage.cloud.delete(&id).await.unwrap(), Removal::Pending, "it is still being made");
    stage.until(&id, ServerState::Running).await;
    stage.simulator.break_down(id.as_str(), 30_000);
    assert_eq!(stage.cloud.get(&id).await.unwrap().state, ServerState::Failed);
    stage.pass_ms(30_000).await;
    stage.front().trouble("/stop", 1, Trouble::DropAfter);
    assert_eq!(kind(stage.cloud.delete(&id).await), CloudErrorKind::Ambiguous);
    stage.pass_ms(10_000).await;
    stage.front().trouble("DELETE", 1, Trouble::DropAfter);
    assert_eq!(kind(stage.cloud.delete(&id).await), CloudErrorKind::Ambiguous);
    assert_eq!(stage.cloud.delete(&id).await.unwrap(), Removal::Gone);
    assert_eq!(stage.simulator.disks(), 0);
    let id = stage.cloud.create(&stage.spec("undo-2")).await.unwrap().server.id;
    stage.simulator.vanish(id.as_str());
    assert_eq!(stage.cloud.delete(&id).await.unwrap(), Removal::Gone);
}

#[tokio::test]
async fn two_hundred_servers_come_and_go_in_a_known_number_of_calls() {
    let stage = Simulated::open().await;
    let specs: Vec<ServerSpec> = (0..200).map(|n| stage.spec(&format!("fleet-{n}"))).collect();
    let created = join_all(specs.iter().map(|spec| stage.cloud.create(spec))).await;
    let ids: Vec<CloudServerId> = created.into_iter().map(|created| created.unwrap().server.id).collect();
    stage.pass_ms(60_000).await;
    // One call tells the states of all; only the addresses are asked for one by one.
    assert!(stage.ours().await.iter().all(|server| server.state == ServerState::Running));
    for server in join_all(ids.iter().map(|id| stage.cloud.get(id))).await {
        assert!(server.unwrap().address().is_some());
    }
    for _ in 0..2 {
        join_all(ids.iter().map(|id| stage.cloud.delete(id))).await;
        stage.pass_ms(10_000).await;
    }
    assert_eq!((stage.simulator.servers(), stage.simulator.disks()), (0, 0));
    // Look, order, address, then twice look and act; and the catalogue, and one list.
    assert_eq!(stage.front().calls(""), 200 * (2 + 1 + 4) + 3);
}

#[test]
fn credentials_do_not_travel_in_the_clear() {
    let clock: Arc<dyn Clock> = Arc::new(reeve_types::SystemClock);
    for url in
        ["http://api.upcloud.com", "ftp://127.0.0.1", "nonsense", "https://u:p@x.example", "https://x.example/?a=b"]
    {
        let refused = UpCloud::new(Endpoint::new(url, clock.clone()), &token("t")).err().expect(url);
        assert_eq!(refused.kind, CloudErrorKind::Invalid { field: "base_url" }, "{url}");
    }
    let refused = UpCloud::new(Endpoint::new("https://x.example", clock), &token("a\nb")).err().unwrap();
    assert_eq!(refused.kind, CloudErrorKind::Invalid { field: "credentials" });
    assert!(!refused.to_string().contains('b') || !refused.to_string().contains("a\n"));
}
