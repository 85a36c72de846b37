//! `ports::RemoteHosts` over russh: one connection for each login, many commands side by side on it.
//!
//! Must not know what is run on the hosts, nor keep a key or a host key longer than a connection.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod connection;
mod keys;
mod pool;
mod run;
mod shell;
mod transfer;

use std::sync::Arc;

use futures::future::BoxFuture;
use reeve_ports::remote::{
    Call, HostKey, KeyPair, Outcome, OutputSink, RemoteError, RemoteFile, RemoteHost, RemoteHosts, RemoteOrder, Target,
    Uploaded,
};
use reeve_types::Secret;

use connection::Connection;
pub use pool::{Settings, Ssh};

impl RemoteHosts for Ssh {
    fn connect<'a>(&'a self, target: &'a Target) -> Call<'a, Arc<dyn RemoteHost>> {
        Box::pin(async move {
            let connection = self.connection(target).await?;
            Ok(Arc::new(Login { connection }) as Arc<dyn RemoteHost>)
        })
    }

    fn key_pair(&self, seed: &[u8; 32], comment: &str) -> Result<KeyPair, RemoteError> {
        keys::generate(seed, comment)
    }

    fn public_key(&self, private: &Secret) -> Result<String, RemoteError> {
        keys::public_line(&keys::read(private)?)
    }
}

/// One user's share of a connection.
struct Login {
    connection: Arc<Connection>,
}

impl RemoteHost for Login {
    fn host_key(&self) -> &HostKey {
        self.connection.host_key()
    }

    fn run<'a>(&'a self, order: &'a RemoteOrder, sink: &'a mut dyn OutputSink) -> Call<'a, Outcome> {
        Box::pin(async move {
            order.validate()?;
            let input = run::Input::Bytes(order.stdin.clone());
            run::run(&self.connection, order, input, sink).await
        })
    }

    fn upload<'a>(&'a self, file: RemoteFile) -> Call<'a, Uploaded> {
        Box::pin(transfer::upload(&self.connection, file))
    }

    fn remove<'a>(&'a self, path: &'a str) -> Call<'a, ()> {
        Box::pin(transfer::remove(&self.connection, path))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.connection.close("done"))
    }
}
