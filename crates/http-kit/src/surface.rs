//! A surface: its contract, its routes with their permissions, its envelope. What does not fit together does not start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::routing::any;
use http::Method;
use reeve_types::id::Ids;
use reeve_types::{Clock, Error};
use tokio_util::sync::CancellationToken;

use crate::auth::{Access, Authenticate};
use crate::call::Handler;
use crate::contract::Contract;
use crate::cors::Cors;
use crate::docs;
use crate::envelope::Envelope;
use crate::idempotency::IdempotencyStore;
use crate::limits::Limits;
use crate::pipeline::{Endpoint, Run, Site};

/// What every surface of a process shares.
#[derive(Clone)]
pub struct Kit {
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub ids: Arc<dyn Ids>,
    /// Who is asking.
    pub authenticate: Arc<dyn Authenticate>,
    /// Where idempotency keys are kept; None ignores the header.
    pub idempotency: Option<Arc<dyn IdempotencyStore>>,
    /// Request limits.
    pub limits: Arc<Limits>,
    /// True while there are more nodes than capacity.
    pub degraded: Arc<AtomicBool>,
    /// Fires when the server drains.
    pub draining: CancellationToken,
    /// Browsers from other origins; None refuses them.
    pub cors: Option<Cors>,
    /// Largest body.
    pub body_limit_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a handler may take; streams are not limited by it.
    pub handler_timeout: Duration,
    /// Whether `/api/openapi` and `/swaggerui` answer.
    pub docs: bool,
}

impl Kit {
    /// The defaults: 1 MiB bodies, 30 s for a body and for a handler, documentation on, no other origins.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, authenticate: Arc<dyn Authenticate>) -> Self {
        Self {
            clock,
            ids,
            authenticate,
            idempotency: None,
            limits: Arc::new(Limits::new(Default::default())),
            degraded: Arc::new(AtomicBool::new(false)),
            draining: CancellationToken::new(),
            cors: None,
            body_limit_bytes: 1 << 20,
            body_timeout: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(30),
            docs: true,
        }
    }
}

/// One line of a surface's URL table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// HTTP method.
    pub method: Method,
    /// Path template, as in the contract.
    pub path: String,
    /// The operation it answers for.
    pub operation: String,
    /// What the caller needs.
    pub access: Access,
}

/// A surface under construction.
pub struct Surface<S> {
    name: &'static str,
    contract: Arc<Contract>,
    envelope: Arc<dyn Envelope>,
    state: S,
    kit: Kit,
    routes: Vec<(Route, Arc<dyn Handler<S>>)>,
}

impl<S: Clone + Send + Sync + 'static> Surface<S> {
    /// A surface without routes. `state` is what every handler gets.
    pub fn new(name: &'static str, contract: Arc<Contract>, envelope: Arc<dyn Envelope>, state: S, kit: Kit) -> Self {
        Self { name, contract, envelope, state, kit, routes: Vec::new() }
    }

    /// Binds an operation of the contract to its handler.
    #[must_use]
    pub fn route(
        mut self,
        method: Method,
        path: &str,
        operation: &str,
        access: Access,
        handler: impl Handler<S>,
    ) -> Self {
        let route = Route { method, path: path.to_owned(), operation: operation.to_owned(), access };
        self.routes.push((route, Arc::new(handler)));
        self
    }

    /// Checks the table against the contract and closes it.
    ///
    /// # Errors
    /// Internal, listing every route without operation, operation without route, and every difference in method, path or
    /// permission.
    pub fn build(self) -> Result<Mounted, Error> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::internal(format!(
                "the routes of surface {} do not fit its contract: {}",
                self.name,
                problems.join("; ")
            )));
        }
        let mut by_path: BTreeMap<String, Vec<Arc<dyn Run>>> = BTreeMap::new();
        let mut routes = Vec::new();
        for (route, handler) in self.routes {
            let Some(operation) = self.contract.operation(&route.operation) else { continue };
            let endpoint = Endpoint::new(
                self.name,
                operation.clone(),
                route.access,
                handler,
                self.state.clone(),
                self.kit.clone(),
            );
            by_path.entry(route.path.clone()).or_default().push(Arc::new(endpoint));
            routes.push(route);
        }
        let endpoints = by_path.into_iter().map(|(path, runs)| (path, Arc::from(runs))).collect();
        Ok(Mounted {
            name: self.name,
            contract: self.contract,
            envelope: self.envelope,
            kit: self.kit,
            routes,
            endpoints,
        })
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, (route, _)) in self.routes.iter().enumerate() {
            let Some(operation) = self.contract.operation(&route.operation) else {
                problems.push(format!("no operation {} for {} {}", route.operation, route.method, route.path));
                continue;
            };
            if operation.method != route.method || operation.path != route.path {
                let (method, path) = (&operation.method, &operation.path);
                problems.push(format!(
                    "{} is {method} {path} in the contract, {} {} in the table",
                    route.operation, route.method, route.path
                ));
            }
            let documented = operation.permission.map_or(Access::Public, Access::Require);
            if documented != route.access {
                problems.push(format!(
                    "{} is {documented:?} in the contract, {:?} in the table",
                    route.operation, route.access
                ));
            }
            if self.routes[..index].iter().any(|(other, _)| other.operation == route.operation) {
                problems.push(format!("{} has two routes", route.operation));
            }
        }
        for operation in self.contract.operations() {
            if !self.routes.iter().any(|(route, _)| route.operation == operation.id) {
                problems.push(format!("no route for {} ({} {})", operation.id, operation.method, operation.path));
            }
        }
        problems
    }
}

/// What answers on one path.
type Methods = Arc<[Arc<dyn Run>]>;

/// A complete surface.
pub struct Mounted {
    name: &'static str,
    contract: Arc<Contract>,
    envelope: Arc<dyn Envelope>,
    kit: Kit,
    routes: Vec<Route>,
    endpoints: Vec<(String, Methods)>,
}

impl Mounted {
    /// The surface's name, as in `edge`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The URL table.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The contract.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// The router for a listener of its own (`prefix` empty) or for nesting below `prefix` (as in `/edge`): `Location`
    /// headers then start with the prefix. `more` are routes without operation, such as health checks.
    pub fn router(&self, prefix: &str, more: Router) -> Router {
        let site = Arc::new(Site { envelope: self.envelope.clone(), kit: self.kit.clone(), prefix: prefix.to_owned() });
        let mut router = Router::new();
        for (path, runs) in &self.endpoints {
            let (site, runs) = (site.clone(), runs.clone());
            let serve = move |params: Result<RawPathParams, _>, request: Request| {
                let (site, runs) = (site.clone(), runs.clone());
                async move { site.serve(&runs, params.ok(), request).await }
            };
            router = router.route(path, any(serve));
        }
        router = router.merge(docs::router(&self.contract, prefix, self.kit.docs)).merge(more);
        let router = router.fallback(move |request: Request| {
            let site = site.clone();
            async move { site.unknown(request) }
        });
        match &self.kit.cors {
            None => router,
            Some(cors) => router.layer(cors.layer()),
        }
    }
}
