//! Questions to the server whether somebody may open an SSH session here. There is no memory of earlier answers: while
//! the server cannot be asked, nobody is let in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_agent_proto::message::{SshVerified, VerifySsh};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::uplink::Uplink;

/// How long the server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions that wait for their answers at the most.
const PENDING: usize = 64;

/// What somebody shows to be let in.
#[derive(Clone)]
pub enum Credential {
    /// What was typed.
    Password(String),
    /// `algorithm base64` of a key whose private half was seen used.
    PublicKey(String),
}

/// Why there is no answer. Nobody is let in then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// There is no connection, or it broke meanwhile.
    NotConnected,
    /// The server took too long.
    Late,
    /// Too many questions are open.
    Busy,
    /// The server said why.
    Refused(String),
}

/// Asks the server over whichever connection is open. Clones share everything.
#[derive(Clone, Default)]
pub struct SshCredentials {
    pub(crate) uplink: Uplink,
    pending: Arc<Mutex<HashMap<u64, oneshot::Sender<SshVerified>>>>,
    numbers: Arc<AtomicU64>,
}

impl SshCredentials {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<SshVerified>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `username` is let in with this credential.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn verify(&self, username: &str, credential: Credential) -> Result<bool, Unanswered> {
        self.ask(username, credential, ANSWER_TIMEOUT).await
    }

    async fn ask(&self, username: &str, credential: Credential, patience: Duration) -> Result<bool, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let request_id = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut pending = self.lock();
            if pending.len() >= PENDING {
                return Err(Unanswered::Busy);
            }
            pending.insert(request_id, answer);
        }
        let _forget = Forget { credentials: self, request_id };
        let (password, public_key) = match credential {
            Credential::Password(password) => (Some(password), None),
            Credential::PublicKey(key) => (None, Some(key)),
        };
        let question = VerifySsh { request_id, username: username.to_owned(), password, public_key };
        if !self.uplink.send(question) {
            return Err(Unanswered::NotConnected);
        }
        match timeout(patience, answered).await {
            Ok(Ok(answer)) if answer.problem.is_empty() => Ok(answer.verified),
            Ok(Ok(answer)) => Err(Unanswered::Refused(answer.problem)),
            Ok(Err(_)) => Err(Unanswered::NotConnected),
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// The server answered. An answer that nobody waits for is dropped.
    pub(crate) fn answered(&self, answer: SshVerified) {
        if let Some(waiting) = self.lock().remove(&answer.request_id) {
            // Whoever asked may have gone away.
            waiting.send(answer).ok();
        }
    }

    /// The connection is gone, and the answers with it.
    pub(crate) fn disconnected(&self) {
        self.lock().clear();
    }
}

/// Takes a question back when whoever asked goes away.
struct Forget<'a> {
    credentials: &'a SshCredentials,
    request_id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.credentials.lock().remove(&self.request_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_agent_proto::message::FromAgent;

    fn password() -> Credential {
        Credential::Password("secret".into())
    }

    #[tokio::test]
    async fn an_answer_reaches_whoever_asked() {
        let credentials = SshCredentials::default();
        let mut outbox = credentials.uplink.connect();
        let server = async {
            for verified in [true, false] {
                let Some(FromAgent::VerifySsh(asked)) = outbox.recv().await.unwrap().body else { panic!() };
                assert_eq!((asked.username.as_str(), asked.password.as_deref()), ("ann", Some("secret")));
                let stray = SshVerified { request_id: 999, verified: true, problem: String::new() };
                credentials.answered(stray);
                let request_id = asked.request_id;
                credentials.answered(SshVerified { request_id, verified, problem: String::new() });
            }
        };
        let ask = async {
            assert_eq!(credentials.verify("ann", password()).await, Ok(true));
            assert_eq!(credentials.verify("ann", password()).await, Ok(false));
        };
        tokio::join!(server, ask);
        assert!(credentials.lock().is_empty());
    }

    #[tokio::test]
    async fn without_an_answer_nobody_is_let_in() {
        let credentials = SshCredentials::default();
        assert_eq!(credentials.verify("ann", password()).await, Err(Unanswered::NotConnected));
        let _outbox = credentials.uplink.connect();
        assert_eq!(credentials.ask("ann", password(), Duration::ZERO).await, Err(Unanswered::Late));
        let (asked, ()) = tokio::join!(credentials.verify("ann", password()), async {
            tokio::task::yield_now().await;
            credentials.disconnected();
        });
        assert_eq!(asked, Err(Unanswered::NotConnected));
        assert!(credentials.lock().is_empty());
    }
}
