//! The simulators, judged by the vendors' own Python clients.

use reeve_simulators::{HetznerSimulator, UpCloudSimulator, hetzner, upcloud};

use super::python;

#[tokio::test]
async fn upclouds_own_client_finds_nothing_strange() {
    let simulator = UpCloudSimulator::start().await.unwrap();
    simulator.time.advance_per_call_ms(5_000);
    let words =
        [simulator.front.url().as_str(), upcloud::TOKEN, upcloud::USERNAME, upcloud::PASSWORD].map(str::to_owned);
    python::run("upcloud.py", words.into()).await;
    assert_eq!((simulator.servers(), simulator.disks()), (0, 0));
}

#[tokio::test]
async fn hetzners_own_client_finds_nothing_strange() {
    let simulator = HetznerSimulator::start().await.unwrap();
    simulator.time.advance_per_call_ms(1_000);
    let words = [simulator.front.url().as_str(), hetzner::TOKEN, hetzner::READ_ONLY_TOKEN].map(str::to_owned);
    python::run("hetzner.py", words.into()).await;
    assert_eq!(simulator.servers(), 0);
}
