//! What a job runs: a body with a declared timeout, and how it says what to do after a failure.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_store::job as table;
use reeve_types::{Error, ErrorKind, JobId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::output::{Meter, Printer};
use crate::progress::Progress;
use crate::registry::Env;

/// A kind of job. It may run more than once, so it is idempotent; its payload is ids.
pub trait Body<C>: Send + Sync + 'static {
    /// The word in `jobs.kind`, as `webhook.deliver`.
    const KIND: &'static str;
    /// One run takes no longer; then it is dropped and tried again.
    const TIMEOUT: Duration;
    /// Runs at the most, those that ended with the server included.
    const MAX_ATTEMPTS: i64 = 20;
    /// What it is told.
    type Payload: Serialize + DeserializeOwned + Send + Sync;

    /// Does the work.
    fn run(ctx: &Arc<C>, job: &Running, payload: Self::Payload) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Why a body did not do its work, and what is to happen.
#[derive(Debug)]
pub enum Failure {
    /// Run it again, after a growing pause or after the one named here.
    Retry {
        /// The pause; None leaves it to the runner.
        after: Option<Duration>,
        /// Why.
        error: Error,
    },
    /// Nothing went wrong: something outside is not ready yet. A step of a saga looks again after the pause and counts no
    /// try; what `state` holds by then is kept. For a plain job it is a retry.
    Wait {
        /// The pause.
        after: Duration,
        /// What is waited for, shown with the job meanwhile.
        error: Error,
    },
    /// Trying again is of no use.
    Fail(Error),
}

impl Failure {
    /// To be tried again after the runner's pause.
    pub fn retry(error: Error) -> Self {
        Self::Retry { after: None, error }
    }
    /// To be looked at again after `after`.
    pub fn wait(after: Duration, what: impl Into<String>) -> Self {
        Self::Wait { after, error: Error::unavailable(what) }
    }
    /// The reason.
    pub fn error(&self) -> &Error {
        match self {
            Self::Retry { error, .. } | Self::Wait { error, .. } | Self::Fail(error) => error,
        }
    }
}

impl From<Error> for Failure {
    /// Unavailable and TooMany are tried again, everything else fails.
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Unavailable | ErrorKind::TooMany => {
                Self::Retry { after: error.retry_after_ms.map(Duration::from_millis), error }
            }
            ErrorKind::NotFound
            | ErrorKind::Invalid
            | ErrorKind::Conflict
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::Internal => Self::Fail(error),
        }
    }
}

/// A job that is being run. Its lease is prolonged by the runner.
#[derive(Clone)]
pub struct Running {
    /// The job.
    pub id: JobId,
    /// Who asked for it.
    pub requested_by: String,
    /// 1 for the first run.
    pub attempt: i64,
    /// What it prints.
    pub output: Printer,
    /// How far it says it has got.
    pub meter: Meter,
    pub(crate) cancel: CancellationToken,
    pub(crate) env: Arc<Env>,
    /// How the saga stands whose step runs.
    pub(crate) standing: Arc<Mutex<Option<Progress>>>,
}

impl Running {
    /// Returns when somebody asked to stop. The body then has a few seconds to return; an error makes the job cancelled.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }
    /// For a step that does many things one after the other: it has come as far as `mark`, which grows. Tries are counted
    /// from the furthest one on, so that a server that was started again at many of them is not taken for one that the step
    /// brings down. Does nothing outside a saga.
    ///
    /// # Errors
    /// As the store.
    pub async fn got_on(&self, mark: u64) -> Result<(), Error> {
        let text = {
            let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(progress) = standing.as_mut() else { return Ok(()) };
            if !progress.got_on(mark, self.attempt) {
                return Ok(());
            }
            progress.to_text()?
        };
        let mut tx = self.env.store.begin().await?;
        // Whoever has the lease now goes on from what is stored.
        if table::set_progress(&mut tx, &self.env.owner, &self.id, &text).await? {
            tx.commit().await?;
        }
        Ok(())
    }
    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
