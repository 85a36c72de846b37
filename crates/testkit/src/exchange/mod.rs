//! Exchanges: requests with the answers they must get, written once as YAML and played against a running server, ours or
//! the original's. The files stand in `compat/<surface>/exchanges/`.
//!
//! # A file
//! ```yaml
//! shapes:                                 # optional; `shapes.yaml` is read into every file of its directory
//!   thing: {id: <uuid>, name: <string>}
//! steps:
//!   - name: create
//!     request: {method: POST, path: /api/v1/things, key: api, body: {name: "a-${unique}"}}
//!     response: {status: 201, headers: {location: "~^/api/v1/things/"}, data: {"<shape>": thing, name: "a-${unique}"}}
//!     save: {thing: /data/id}
//!   - given: {agent: n1, enroll: "${key}"}  # something only the host of the test can bring about
//! ```
//! `key` is `api` (default), `master`, `metrics` or `none`. `response` has one of `body` (the whole), `data` (in the
//! envelope), `page` (rows in the envelope with pagination), `error` (`{code, message?, details?}`), `text`; without any
//! of them the body must be empty. `until: true` repeats the request until the answer fits. `addition: true` marks what
//! the original does not have.
//!
//! The host of a test is asked for: `{degraded: bool}`; `{agent: NAME, enroll: CLUSTER}` (a healthy, connected agent; sets
//! the variable NAME to the node's id; with `self_update: begins|refuses|silent` one that takes part in self-updates);
//! `{agent: NAME, stop: true}`; `{agent: NAME, pushes: everything|host|agent}` (and answers no question from then on);
//! `{agent: NAME, answers: false}`; `{default_cluster: NAME or null, public_keys: bool}`.
//! With `as: VAR` it sets that variable too, for steps that say `needs: [VAR]` in their request.
//!
//! # Matching
//! Objects must have exactly the listed keys; `"<more>": true` allows others; a key with `+` in front is an addition.
//! Lists must match item by item; `["<each>", X]` is any number of X, `["<contains>", X]` at least one.
//! `<any> <string> <int> <number> <bool> <uuid> <timestamp> <micros>` match by type, with `?` in front of `>` also null;
//! `~regex` matches text; `{"<shape>": name, field: ...}` is a shape with some fields replaced.

mod coverage;
mod gates;
mod matcher;
mod player;
mod rights;
mod script;
mod surface;

#[cfg(test)]
mod tests;

pub use coverage::Coverage;
pub use gates::{console_gates, gates};
pub use player::{Given, Keys, NoHost, Player, Report, TestHost};
pub use rights::{Caller, hold_to_rights};
pub use script::{Script, Step, load_directory};
pub use surface::Surface;
