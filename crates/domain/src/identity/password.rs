//! Password rules and hashing: Argon2id, off the threads that serve requests, a few at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use reeve_types::id::Ids;
use reeve_types::{Error, Result, Secret};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hashes computed at the same time; each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;
/// Hashes waiting at the most; more than that is an attack.
const WAITING: usize = 64;

/// Shortest password in characters.
pub const SHORTEST: usize = 8;
/// Longest password in bytes.
pub const LONGEST: usize = 256;

/// Hashes and compares passwords.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(AT_ONCE + WAITING)) }
    }
}

impl Passwords {
    /// The Argon2id PHC string of a password.
    pub(crate) async fn hash(&self, ids: &dyn Ids, password: &Secret) -> Result<String> {
        let mut salt = [0_u8; 16];
        ids.fill(&mut salt);
        let password = password.clone();
        self.turn(move || {
            let hash = Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|e| Error::internal(e.to_string()))
        })
        .await?
    }

    /// Whether `password` is the one behind `hash`. Without a hash it is not, after the same time.
    pub(crate) async fn verify(&self, password: &Secret, hash: Option<String>) -> Result<bool> {
        let password = password.clone();
        self.turn(move || match hash {
            Some(hash) => matches(password.expose(), &hash),
            None => {
                std::hint::black_box(matches(password.expose(), NOBODYS));
                false
            }
        })
        .await
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Error::too_many("too many logins at once", 1_000))?;
        let turn = self.turns.clone().acquire_owned().await.map_err(Error::internal)?;
        let held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, turn);
        // A caller that goes away leaves the work running: the turn belongs to the work.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        })
        .await
        .map_err(Error::internal)
    }
}

/// A hash with the settings of [`Argon2::default`] that belongs to no password.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// What a password must be: 8 characters to 256 bytes, and not the user's name.
///
/// # Errors
/// Invalid, on the field `password`.
pub fn check(username: &str, password: &Secret) -> Result<()> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(Error::invalid("password", format!("must have at least {SHORTEST} characters")));
    }
    if text.len() > LONGEST {
        return Err(Error::invalid("password", format!("must have at most {LONGEST} bytes")));
    }
    if text.eq_ignore_ascii_case(username) {
        return Err(Error::invalid("password", "must not be the username"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::id::CountingIds;

    #[tokio::test]
    async fn a_hash_matches_its_password_alone() {
        let passwords = Passwords::default();
        let (right, wrong) = (Secret::new("correct horse"), Secret::new("correct horsf"));
        let hash = passwords.hash(&CountingIds::new(), &right).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify(&right, Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(&wrong, Some(hash)).await.unwrap());
        assert!(!passwords.verify(&right, None).await.unwrap());
        assert!(!passwords.verify(&right, Some("not a hash".into())).await.unwrap());
    }

    #[test]
    fn nobodys_hash_costs_as_much_as_anybodys() {
        let hash = PasswordHash::new(NOBODYS).unwrap();
        let params = argon2::Params::try_from(&hash).unwrap();
        let usual = argon2::Params::default();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (usual.m_cost(), usual.t_cost(), usual.p_cost())
        );
    }

    #[test]
    fn rules() {
        for bad in ["short", "", "alice-the-great", &"x".repeat(257)] {
            assert!(check("Alice-the-Great", &Secret::new(bad)).is_err(), "{bad}");
        }
        for good in ["eight888", "päßwörter", &"x".repeat(256)] {
            assert!(check("alice", &Secret::new(good)).is_ok(), "{good}");
        }
    }
}
