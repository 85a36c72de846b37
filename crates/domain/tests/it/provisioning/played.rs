//! Operations whose jobs the harness of the fault tests plays in their place.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use reeve_domain::App;
use reeve_jobs::Saga;
use reeve_store::{Store, args};
use reeve_testkit::saga::World;
use reeve_types::ManualClock;
use reeve_types::operation::Operation;

use super::Site;

/// What can be seen of a site and what is on its machines.
type Look<T> = dyn for<'a> Fn(&'a Site) -> LocalBoxFuture<'a, T>;

/// A site with one operation that was entered, and whose job is the harness's.
pub struct Played<S: Saga<App>, T> {
    site: Site,
    state: S::State,
    look: Box<Look<T>>,
}

impl<S: Saga<App>, T> Played<S, T> {
    /// Takes the operation's job away; `look` is what the fault tests compare.
    pub async fn of(
        site: Site,
        operation: Operation,
        look: impl for<'a> Fn(&'a Site) -> LocalBoxFuture<'a, T> + 'static,
    ) -> Self {
        let mut tx = site.app.store.begin().await.unwrap();
        let id = operation.job_id.unwrap();
        let job = reeve_store::job::get(&mut tx, &id).await.unwrap().unwrap();
        tx.execute("DELETE FROM jobs WHERE id = $1", args![&id]).await.unwrap();
        tx.commit().await.unwrap();
        Self { site, state: serde_json::from_str(&job.payload).unwrap(), look: Box::new(look) }
    }
}

impl<S: Saga<App>, T: PartialEq + Debug> World for Played<S, T> {
    type Ctx = App;
    type Saga = S;
    type Seen = T;

    fn store(&self) -> &Store {
        &self.site.app.store
    }
    fn ctx(&self) -> Arc<App> {
        self.site.app.clone()
    }
    fn first_state(&self) -> S::State {
        self.state.clone()
    }
    async fn seen(&self) -> T {
        (self.look)(&self.site).await
    }
    fn clock(&self) -> Arc<ManualClock> {
        self.site.clock.clone()
    }
}
