//! Receivers of webhooks for the benchmark: many small servers in this process that count, and note how old each event is
//! when it arrives. One of them can be slow.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// What arrived at all receivers but the slow one.
#[derive(Default)]
pub struct Arrivals {
    count: AtomicU64,
    unsigned: AtomicU64,
    ages_ms: Mutex<Vec<f64>>,
}

impl Arrivals {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn unsigned(&self) -> u64 {
        self.unsigned.load(Ordering::Relaxed)
    }

    /// The ages noted since the last call.
    pub fn take_ages(&self) -> Vec<f64> {
        std::mem::take(&mut self.ages_ms.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The running receivers; they end with this.
pub struct Receivers {
    pub urls: Vec<String>,
    pub arrivals: Arc<Arrivals>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Receivers {
    /// Starts `count` receivers, the first of which answers after `slow`.
    pub fn start(count: usize, slow: Option<Duration>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("no runtime for the receivers")?;
        let arrivals = Arc::new(Arrivals::default());
        let mut urls = Vec::new();
        for n in 0..count {
            let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))?;
            urls.push(format!("http://{}/hook", listener.local_addr()?));
            let (arrivals, pause) = (arrivals.clone(), slow.filter(|_| n == 0));
            runtime.spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(socket, arrivals.clone(), pause));
                }
            });
        }
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        // It runs where it is blocked on, until the sender is dropped.
        std::thread::Builder::new().name("receivers".into()).spawn(move || runtime.block_on(stopped).ok())?;
        Ok(Self { urls, arrivals, _stop: stop })
    }
}

async fn serve(mut socket: TcpStream, arrivals: Arc<Arrivals>, pause: Option<Duration>) {
    // Small answers wait for nobody; an error here only makes them slower.
    socket.set_nodelay(true).ok();
    let mut got = Vec::with_capacity(4096);
    let mut buffer = [0; 4096];
    loop {
        while let Some(length) = whole(&got) {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => note(&arrivals, &got[..length]),
            }
            got.drain(..length);
            if socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => got.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Length of the first request, when it is there as a whole.
fn whole(got: &[u8]) -> Option<usize> {
    let head = got.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&got[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let end = head + length.unwrap_or(0);
    (got.len() >= end).then_some(end)
}

fn note(arrivals: &Arrivals, request: &[u8]) {
    let text = String::from_utf8_lossy(request);
    if !text.contains("webhook-signature: v1,") || !text.contains("x-edge-signature: sha256=") {
        arrivals.unsigned.fetch_add(1, Ordering::Relaxed);
    }
    let time = text.split_once(r#""time":""#).and_then(|(_, rest)| rest.split('"').next());
    if let Some(age) = time.and_then(age_ms) {
        arrivals.ages_ms.lock().unwrap_or_else(PoisonError::into_inner).push(age);
    }
    arrivals.count.fetch_add(1, Ordering::Relaxed);
}

/// Milliseconds since `...T12:34:56.123456Z`, within a day.
fn age_ms(time: &str) -> Option<f64> {
    let (hours, rest) = time.split_once('T')?.1.strip_suffix('Z')?.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let of_day =
        (hours.parse::<f64>().ok()? * 60.0 + minutes.parse::<f64>().ok()?) * 60.0 + seconds.parse::<f64>().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64() % 86_400.0;
    Some((now - of_day).rem_euclid(86_400.0) * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_apart() {
        let one = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(one), Some(one.len()));
        assert_eq!(whole(&one[..one.len() - 1]), None);
        assert_eq!(whole(b"POST / HTTP/1.1\r\n"), None);
        assert!(age_ms("2026-01-01T00:00:00.000001Z").unwrap() >= 0.0);
        assert_eq!(age_ms("now"), None);
    }
}
