//! EC2: the contract against moto, which stands behind a check of every signature by botocore.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{Cloud, CloudServerId, ServerSpec};
use reeve_providers::cloud::{Aws, AwsKeys, AwsSettings, Endpoint};
use reeve_simulators::front::{Front, Trouble};
use reeve_simulators::{Proxy, SimulatedTime};
use reeve_types::{Clock, Secret};

use super::python::{Served, serve};
use super::stage::{Stage, endpoint, kind};

/// Every stage gets a region of its own: moto is one process with one account.
const REGIONS: &[(&str, &str)] = &[
    ("eu-west-1", "eu-west-1a"),
    ("eu-west-2", "eu-west-2a"),
    ("eu-west-3", "eu-west-3a"),
    ("eu-central-1", "eu-central-1a"),
    ("eu-north-1", "eu-north-1a"),
    ("us-east-1", "us-east-1a"),
    ("us-east-2", "us-east-2a"),
    ("us-west-1", "us-west-1a"),
    ("us-west-2", "us-west-2a"),
    ("ca-central-1", "ca-central-1a"),
    ("sa-east-1", "sa-east-1a"),
    ("ap-south-1", "ap-south-1a"),
    ("ap-northeast-1", "ap-northeast-1a"),
    ("ap-northeast-2", "ap-northeast-2a"),
    ("ap-northeast-3", "ap-northeast-3a"),
    ("ap-southeast-1", "ap-southeast-1a"),
    ("ap-southeast-2", "ap-southeast-2a"),
    ("eu-south-1", "eu-south-1a"),
    ("me-south-1", "me-south-1a"),
    ("af-south-1", "af-south-1a"),
    ("ap-east-1", "ap-east-1a"),
    ("ap-southeast-3", "ap-southeast-3a"),
    ("ap-south-2", "ap-south-2a"),
    ("eu-central-2", "eu-central-2a"),
];

pub struct Moto {
    proxy: Proxy,
    time: Arc<SimulatedTime>,
    upstream: String,
    region: (&'static str, &'static str),
    cloud: Aws,
}

fn keys(secret: &str) -> AwsKeys {
    AwsKeys {
        access_key_id: "AKIDSIMULATED0000000".to_owned(),
        secret_access_key: Secret::new(secret),
        session_token: None,
    }
}

fn account(endpoint: Endpoint, region: &str, secret: &str) -> Aws {
    Aws::new(endpoint, AwsSettings { region: region.to_owned(), ..AwsSettings::default() }, keys(secret)).unwrap()
}

const SECRET: &str = "simulated/secret+key";

impl Stage for Moto {
    async fn open() -> Self {
        static SERVED: OnceLock<Served> = OnceLock::new();
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let port = tokio::task::spawn_blocking(|| SERVED.get_or_init(|| serve("ec2.py")).port).await.unwrap();
        let region = REGIONS[NEXT.fetch_add(1, Ordering::SeqCst)];
        let upstream = format!("http://127.0.0.1:{port}");
        let time = Arc::new(SimulatedTime::manual());
        let proxy = Proxy::before(&upstream, time.clone()).await.unwrap();
        let cloud = account(endpoint(&proxy.front.url(), time.clone()), region.0, SECRET);
        Self { proxy, time, upstream, region, cloud }
    }
    fn cloud(&self) -> &dyn Cloud {
        &self.cloud
    }
    fn adapter(&self, change: impl FnOnce(&mut Endpoint)) -> Box<dyn Cloud> {
        let mut endpoint = endpoint(&self.front().url(), self.clock());
        change(&mut endpoint);
        Box::new(account(endpoint, self.region.0, SECRET))
    }
    fn stranger(&self) -> Box<dyn Cloud> {
        Box::new(account(endpoint(&self.front().url(), self.clock()), self.region.0, "wrong"))
    }
    fn front(&self) -> &Front {
        &self.proxy.front
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.time.clone()
    }
    async fn pass_ms(&self, ms: i64) {
        self.time.advance_ms(ms);
    }
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        ("t3.micro", self.region.1, "debian-12")
    }
    fn order_call(&self) -> &'static str {
        "Action=RunInstances"
    }
    fn get_call(&self) -> &'static str {
        "Action=DescribeInstances&Version=2016-11-15&InstanceId.1="
    }
    fn missing(&self) -> CloudServerId {
        "i-00000000000000000".into()
    }
    fn too_many(&self) -> Trouble {
        let body = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>slow</Message></Error></Errors></Response>";
        Trouble::Answer { status: 503, body: body.to_owned(), headers: Vec::new() }
    }
    fn broken(&self) -> Trouble {
        let body =
            "<Response><Errors><Error><Code>InternalError</Code><Message>broken</Message></Error></Errors></Response>";
        Trouble::Answer { status: 500, body: body.to_owned(), headers: Vec::new() }
    }
    async fn disks(&self) -> usize {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/disks/{}", self.upstream, self.region.0);
        client.get(url).send().await.unwrap().text().await.unwrap().parse().unwrap()
    }
}

super::stamp!(Moto);

#[tokio::test]
async fn a_name_is_the_publishers_latest_for_the_plans_processor() {
    let stage = Moto::open().await;
    let preview = stage.cloud.check(&stage.spec("image-1")).await.unwrap();
    assert_eq!((preview.image.id.as_str(), preview.image.login_user.as_str()), ("ami-deb12x861", "admin"));
    let arm = ServerSpec { plan: "t4g.micro".to_owned(), ..stage.spec("image-2") };
    assert_eq!(stage.cloud.check(&arm).await.unwrap().image.id, "ami-deb12arm1");
    let wrong = ServerSpec { image: "ami-deb12x861".to_owned(), ..arm };
    assert_eq!(kind(stage.cloud.check(&wrong).await), CloudErrorKind::Invalid { field: "image" });
    let exact = ServerSpec { image: "ami-noblex861".to_owned(), ..stage.spec("image-3") };
    let created = stage.cloud.create(&exact).await.unwrap();
    assert_eq!(created.login_user, "ubuntu");
}
