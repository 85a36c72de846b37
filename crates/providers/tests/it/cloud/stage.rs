//! What the contract needs of a cloud: the adapter, somebody to make trouble, and time.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use reeve_ports::cloud::{
    Cloud, CloudError, CloudErrorKind, CloudServer, CloudServerId, Labels, OperationTag, Removal, ServerSpec,
    ServerState, SshKey,
};
use reeve_providers::cloud::Endpoint;
use reeve_simulators::front::{Front, Trouble};
use reeve_types::Clock;

pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Xl0Zb6cVb0o0QJ0m1pE4w5n3m3e2Jt0m5h4e7yQ2x test@reeve";

/// A cloud with nothing in it.
#[allow(async_fn_in_trait)] // one thread, one caller
pub trait Stage: Sized {
    async fn open() -> Self;
    fn cloud(&self) -> &dyn Cloud;
    /// The same account through an adapter with other limits.
    fn adapter(&self, change: impl FnOnce(&mut Endpoint)) -> Box<dyn Cloud>;
    /// An adapter with wrong credentials.
    fn stranger(&self) -> Box<dyn Cloud>;
    fn front(&self) -> &Front;
    fn clock(&self) -> Arc<dyn Clock>;
    async fn pass_ms(&self, ms: i64);
    /// plan, zone, image.
    fn words(&self) -> (&'static str, &'static str, &'static str);
    /// What the line of the call holds that orders a server, and of the one that reads a single one.
    fn order_call(&self) -> &'static str;
    fn get_call(&self) -> &'static str;
    /// An id that no server has.
    fn missing(&self) -> CloudServerId;
    /// How the vendor says "too many".
    fn too_many(&self) -> Trouble;
    /// How the vendor breaks.
    fn broken(&self) -> Trouble;
    /// Disks that exist.
    async fn disks(&self) -> usize;

    fn spec(&self, tag: &str) -> ServerSpec {
        let (plan, zone, image) = self.words();
        ServerSpec {
            operation: OperationTag::new(tag).unwrap(),
            hostname: format!("host-{tag}"),
            plan: plan.to_owned(),
            zone: zone.to_owned(),
            image: image.to_owned(),
            disk_gb: None,
            ssh_keys: vec![SshKey { name: "test".to_owned(), public_key: KEY.to_owned() }],
            user_data: Some(reeve_types::Secret::new("#!/bin/sh\necho born\n")),
            labels: Labels::from([("role".to_owned(), "test".to_owned())]),
        }
    }

    /// Every server that carries our label.
    async fn ours(&self) -> Vec<CloudServer> {
        self.cloud().list(&reeve_ports::cloud::LabelFilter::ours()).try_collect().await.unwrap()
    }

    /// Asks until it is so; fails after a while.
    async fn until(&self, id: &CloudServerId, state: ServerState) -> CloudServer {
        for _ in 0..200 {
            match self.cloud().get(id).await {
                Ok(server) if server.state == state => return server,
                Ok(_) => {}
                Err(error) if error.kind == CloudErrorKind::NotFound => {}
                Err(error) => panic!("{error}"),
            }
            self.pass_ms(5_000).await;
        }
        panic!("{id} is never {state:?}");
    }

    async fn gone(&self, id: &CloudServerId) {
        for _ in 0..200 {
            if self.cloud().delete(id).await.unwrap() == Removal::Gone {
                return;
            }
            self.pass_ms(5_000).await;
        }
        panic!("{id} is never gone");
    }
}

/// Limits for tests: as usual but for the clock.
pub fn endpoint(url: &str, clock: Arc<dyn Clock>) -> Endpoint {
    Endpoint { timeout: Duration::from_secs(30), ..Endpoint::new(url, clock) }
}

#[track_caller]
pub fn kind<T: std::fmt::Debug>(answer: Result<T, CloudError>) -> CloudErrorKind {
    answer.unwrap_err().kind
}
