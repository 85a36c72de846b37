//! A simulated cloud to rehearse against by hand: prints its address and credentials and runs until it is stopped.
#![allow(clippy::print_stdout)] // a tool talks to the person who typed it

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use reeve_simulators::{HetznerSimulator, SimulatedTime, UpCloudSimulator, hetzner, upcloud};

#[derive(Parser)]
#[command(about = "A simulated cloud on loopback")]
struct Args {
    /// Which cloud
    vendor: Vendor,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9900")]
    listen: SocketAddr,
    /// How many times as fast as the real one its clock goes: a server takes 55 s to come up
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    speed: u32,
    /// UpCloud: public addresses for its servers, those of machines that are there
    #[arg(long, value_delimiter = ',')]
    addresses: Vec<Ipv4Addr>,
    /// UpCloud: servers that the account may have
    #[arg(long)]
    server_limit: Option<usize>,
    /// UpCloud: seconds of its clock for which lists do not show a new server
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=3600))]
    list_lag: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Vendor {
    Upcloud,
    Hetzner,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.listen.ip().is_loopback(), "a simulator listens on loopback only: its token is public");
    let time = Arc::new(SimulatedTime::fast(args.speed));
    match args.vendor {
        Vendor::Upcloud => {
            let cloud = UpCloudSimulator::start_at(args.listen, time).await?;
            cloud.give_addresses(args.addresses);
            cloud.switch(|switches| {
                switches.lists_lag_ms = i64::from(args.list_lag) * 1000;
                switches.server_limit = args.server_limit.unwrap_or(switches.server_limit);
            });
            println!("UpCloud at {} with the token {}", cloud.front.url(), upcloud::TOKEN);
            tokio::signal::ctrl_c().await?;
        }
        Vendor::Hetzner => {
            let cloud = HetznerSimulator::start_at(args.listen, time).await?;
            println!("Hetzner at {} with the token {}", cloud.front.url(), hetzner::TOKEN);
            tokio::signal::ctrl_c().await?;
        }
    }
    Ok(())
}
