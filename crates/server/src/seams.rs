//! Where the HTTP side meets the domain: who is asking, idempotency keys, health.

use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

use futures::future::BoxFuture;
use reeve_domain::{App, idempotency, identity};
use reeve_http_kit::auth::Authenticate;
use reeve_http_kit::idempotency::IdempotencyStore;
use reeve_http_kit::probes::{CheckResult, Health};
use reeve_types::access::{IdempotencyKey, Lookup, StoredReply};
use reeve_types::{Actor, ErrorKind, Permission, Result};

/// Bearer credentials, asked of the domain.
pub struct Bearers(pub Arc<App>);

impl Authenticate for Bearers {
    fn authenticate<'a>(&'a self, bearer: Option<&'a str>, _: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Actor>>> {
        Box::pin(async move {
            let Some(bearer) = bearer else { return Ok(None) };
            // Where the request comes from is filled in with the rest of its context.
            match identity::authenticate::authenticate(&self.0, bearer, "").await {
                Ok(actor) => Ok(Some(actor)),
                Err(error) if error.kind == ErrorKind::Unauthenticated => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn revoked(&self, bearer: &str, permission: Permission) -> BoxFuture<'static, ()> {
        Box::pin(identity::authenticate::revoked(self.0.clone(), bearer.to_owned(), permission))
    }
}

/// Idempotency keys, kept by the domain.
pub struct Keys(pub Arc<App>);

impl IdempotencyStore for Keys {
    fn lookup<'a>(&'a self, actor: &'a Actor, _: &'a IdempotencyKey) -> BoxFuture<'a, Result<Lookup>> {
        Box::pin(idempotency::lookup(&self.0, actor))
    }

    fn complete<'a>(
        &'a self,
        actor: &'a Actor,
        _: &'a IdempotencyKey,
        reply: StoredReply,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { idempotency::complete(&self.0, actor, &reply).await })
    }
}

/// The checks behind `/readyz`.
pub struct Checks(pub Arc<App>);

impl Health for Checks {
    fn check(&self) -> BoxFuture<'_, Vec<CheckResult>> {
        Box::pin(async move {
            let started = Instant::now();
            let database = match self.0.store.read().await {
                Ok(mut tx) => tx.one("SELECT count(*) FROM settings", &[]).await.map(|_| ()),
                Err(error) => Err(error),
            };
            let time = started.elapsed().as_micros() as u64;
            let error = database.err().map(|e| e.message);
            vec![CheckResult { name: "Database".into(), healthy: error.is_none(), error, time }]
        })
    }
}
