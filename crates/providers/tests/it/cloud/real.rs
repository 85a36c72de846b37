//! The real clouds, for whoever has an account and names it. They cost money: one small server each, for minutes.

use std::sync::Arc;
use std::time::Duration;

use reeve_ports::cloud::{
    Cloud, CloudErrorKind, CloudServerId, Labels, OperationTag, Removal, ServerSpec, ServerState, SshKey, Stop,
};
use reeve_providers::cloud::{Aws, AwsKeys, AwsSettings, Endpoint, Hetzner, UpCloud, UpCloudKeys, hetzner, upcloud};
use reeve_types::{Clock, Secret, SystemClock};

use super::stage::KEY;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(url, Arc::new(SystemClock))
}

async fn until(cloud: &dyn Cloud, id: &CloudServerId, state: ServerState) {
    for _ in 0..120 {
        if cloud.get(id).await.is_ok_and(|server| server.state == state && server.address().is_some()) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    panic!("{id} is never {state:?}");
}

async fn life(cloud: &dyn Cloud, plan: &str, zone: &str) {
    let tag = format!("test-{}", SystemClock.now().as_secs());
    let spec = ServerSpec {
        hostname: format!("reeve-{tag}"),
        operation: OperationTag::new(tag).unwrap(),
        plan: plan.to_owned(),
        zone: zone.to_owned(),
        image: "debian-12".to_owned(),
        disk_gb: None,
        ssh_keys: vec![SshKey { name: "test".to_owned(), public_key: KEY.to_owned() }],
        user_data: Some(Secret::new("#!/bin/sh\ntrue\n")),
        labels: Labels::new(),
    };
    cloud.authenticate().await.unwrap();
    assert_eq!(cloud.check(&spec).await.unwrap().existing, None);
    let created = cloud.create(&spec).await.unwrap();
    until(cloud, &created.server.id, ServerState::Running).await;
    assert!(cloud.create(&spec).await.unwrap().found);
    cloud.stop(&created.server.id, Stop::Hard).await.unwrap();
    until(cloud, &created.server.id, ServerState::Stopped).await;
    while cloud.delete(&created.server.id).await.unwrap() == Removal::Pending {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(cloud.get(&created.server.id).await.unwrap_err().kind, CloudErrorKind::NotFound);
}

#[tokio::test]
async fn upcloud_itself() {
    let Some(token) = variable("REEVE_TEST_UPCLOUD_TOKEN") else { return };
    let cloud = UpCloud::new(endpoint(upcloud::BASE_URL), &UpCloudKeys::Token(Secret::new(token))).unwrap();
    life(&cloud, "1xCPU-1GB", "fi-hel1").await;
}

#[tokio::test]
async fn hetzner_itself() {
    let Some(token) = variable("REEVE_TEST_HETZNER_TOKEN") else { return };
    let cloud = Hetzner::new(endpoint(hetzner::BASE_URL), &Secret::new(token)).unwrap();
    life(&cloud, "cx23", "fsn1").await;
}

#[tokio::test]
async fn aws_itself() {
    let Some(access_key_id) = variable("REEVE_TEST_AWS_ACCESS_KEY_ID") else { return };
    let secret = variable("REEVE_TEST_AWS_SECRET_ACCESS_KEY").expect("the secret of the key");
    let region = variable("REEVE_TEST_AWS_REGION").unwrap_or_else(|| "eu-west-1".to_owned());
    let zone = format!("{region}a");
    let settings = AwsSettings { region, ..AwsSettings::default() };
    let keys = AwsKeys { access_key_id, secret_access_key: Secret::new(secret), session_token: None };
    let cloud = Aws::new(endpoint(&settings.base_url()), settings, keys).unwrap();
    life(&cloud, "t3.micro", &zone).await;
}
