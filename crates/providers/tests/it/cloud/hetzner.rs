//! Hetzner: the contract, and what is peculiar to it.

use std::sync::Arc;

use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{Cloud, CloudServerId, Removal, ServerSpec, ServerState};
use reeve_providers::cloud::{Endpoint, Hetzner};
use reeve_simulators::front::{Front, Trouble};
use reeve_simulators::hetzner::{HetznerSimulator, READ_ONLY_TOKEN, TOKEN};
use reeve_types::{Clock, Secret};

use super::stage::{Stage, endpoint, kind};

pub struct Simulated {
    simulator: HetznerSimulator,
    cloud: Hetzner,
}

impl Stage for Simulated {
    async fn open() -> Self {
        let simulator = HetznerSimulator::start().await.unwrap();
        let endpoint = endpoint(&simulator.front.url(), simulator.time.clone());
        let cloud = Hetzner::new(endpoint, &Secret::new(TOKEN)).unwrap();
        Self { simulator, cloud }
    }
    fn cloud(&self) -> &dyn Cloud {
        &self.cloud
    }
    fn adapter(&self, change: impl FnOnce(&mut Endpoint)) -> Box<dyn Cloud> {
        let mut endpoint = endpoint(&self.front().url(), self.clock());
        change(&mut endpoint);
        Box::new(Hetzner::new(endpoint, &Secret::new(TOKEN)).unwrap())
    }
    fn stranger(&self) -> Box<dyn Cloud> {
        Box::new(Hetzner::new(endpoint(&self.front().url(), self.clock()), &Secret::new("wrong")).unwrap())
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
        ("cx23", "fsn1", "debian-12")
    }
    fn order_call(&self) -> &'static str {
        "POST /v1/servers {"
    }
    fn get_call(&self) -> &'static str {
        "GET /v1/servers/"
    }
    fn missing(&self) -> CloudServerId {
        "999999999".into()
    }
    fn too_many(&self) -> Trouble {
        let body = r#"{"error": {"code": "rate_limit_exceeded", "message": "limit reached", "details": null}}"#;
        let reset = self.clock().now().as_secs() + 20;
        let headers = vec![("ratelimit-reset", reset.to_string())];
        Trouble::Answer { status: 429, body: body.to_owned(), headers }
    }
    fn broken(&self) -> Trouble {
        let body = r#"{"error": {"code": "service_error", "message": "broken", "details": null}}"#;
        Trouble::Answer { status: 503, body: body.to_owned(), headers: Vec::new() }
    }
    async fn disks(&self) -> usize {
        self.simulator.servers()
    }
}

super::stamp!(Simulated);

#[tokio::test]
async fn a_key_is_uploaded_once_and_again_when_somebody_deleted_it() {
    let stage = Simulated::open().await;
    stage.cloud.create(&stage.spec("key-1")).await.unwrap();
    stage.adapter(|_| {}).create(&stage.spec("key-2")).await.unwrap();
    assert_eq!(stage.simulator.ssh_keys(), 1);
    stage.simulator.forget_ssh_keys();
    stage.cloud.create(&stage.spec("key-3")).await.unwrap();
    assert_eq!(stage.simulator.ssh_keys(), 1);
    assert_eq!(stage.simulator.user_data("host-key-3").unwrap(), "#!/bin/sh\necho born\n");
}

#[tokio::test]
async fn attached_volumes_go_with_their_server_even_after_a_crash() {
    let stage = Simulated::open().await;
    let id = stage.cloud.create(&stage.spec("volume-1")).await.unwrap().server.id;
    stage.until(&id, ServerState::Running).await;
    stage.simulator.attach_volume(id.as_str());
    stage.simulator.attach_volume(id.as_str());
    stage.simulator.attach_volume("1");
    assert_eq!(stage.cloud.delete(&id).await.unwrap(), Removal::Pending);
    stage.pass_ms(60_000).await;
    assert_eq!((stage.simulator.servers(), stage.simulator.volumes()), (0, 3), "the vendor keeps volumes");
    // Whoever began is dead; another goes on.
    stage.front().trouble("DELETE /v1/volumes", 1, Trouble::DropBefore);
    assert_eq!(kind(stage.adapter(|_| {}).delete(&id).await), CloudErrorKind::Ambiguous);
    assert_eq!(stage.adapter(|_| {}).delete(&id).await.unwrap(), Removal::Gone);
    assert_eq!(stage.simulator.volumes(), 1, "another server's volume stays");
}

#[tokio::test]
async fn a_protected_server_is_not_deleted() {
    let stage = Simulated::open().await;
    let id = stage.cloud.create(&stage.spec("protected-1")).await.unwrap().server.id;
    stage.until(&id, ServerState::Running).await;
    stage.simulator.protect(id.as_str(), true);
    assert_eq!(kind(stage.cloud.delete(&id).await), CloudErrorKind::State);
    stage.simulator.protect(id.as_str(), false);
    stage.gone(&id).await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_a_conflict() {
    let stage = Simulated::open().await;
    stage.cloud.create(&stage.spec("name-1")).await.unwrap();
    let same = ServerSpec { hostname: "host-name-1".to_owned(), ..stage.spec("name-2") };
    let error = stage.cloud.create(&same).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Conflict);
    assert!(error.message.contains("host-name-1"), "{error}");
}

#[tokio::test]
async fn limits_are_told_apart() {
    let stage = Simulated::open().await;
    let spec = stage.spec("limit-1");
    stage.simulator.switch(|switches| switches.server_limit = 0);
    assert_eq!(kind(stage.cloud.create(&spec).await), CloudErrorKind::Quota);
    stage.simulator.switch(|switches| (switches.server_limit, switches.capacity) = (9, false));
    assert_eq!(kind(stage.cloud.create(&spec).await), CloudErrorKind::Capacity);
    let endpoint = endpoint(&stage.front().url(), stage.clock());
    let reader = Hetzner::new(endpoint, &Secret::new(READ_ONLY_TOKEN)).unwrap();
    reader.authenticate().await.unwrap();
    assert_eq!(kind(reader.create(&spec).await), CloudErrorKind::Auth);
    let wide = ServerSpec { disk_gb: Some(500), ..spec };
    assert_eq!(kind(stage.cloud.create(&wide).await), CloudErrorKind::Invalid { field: "disk_gb" });
}

#[tokio::test]
async fn the_vendors_own_allowance_is_never_overrun() {
    let stage = Simulated::open().await;
    let id = stage.cloud.create(&stage.spec("allowance-1")).await.unwrap().server.id;
    stage.simulator.switch(|switches| switches.calls_per_hour = 10);
    stage.front().forget_calls();
    let mut answered = 0;
    for _ in 0..30 {
        match stage.cloud.get(&id).await {
            Ok(_) => answered += 1,
            Err(error) => assert_eq!(error.kind, CloudErrorKind::RateLimited),
        }
    }
    // The tenth answer says that nothing is left, and from there on nothing is sent.
    assert_eq!((answered, stage.front().calls("")), (10, 10));
    stage.pass_ms(360_000).await;
    stage.cloud.get(&id).await.unwrap();
}

#[tokio::test]
async fn a_plan_that_a_location_does_not_have() {
    let stage = Simulated::open().await;
    let arm = ServerSpec { plan: "cax11".to_owned(), zone: "ash".to_owned(), ..stage.spec("arm-1") };
    let error = stage.cloud.check(&arm).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Invalid { field: "plan" });
    assert!(error.message.contains("fsn1"), "{error}");
    let here = ServerSpec { zone: "fsn1".to_owned(), ..arm };
    assert_eq!(stage.cloud.check(&here).await.unwrap().image.architecture.as_deref(), Some("arm64"));
}
