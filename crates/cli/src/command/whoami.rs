//! `reeve whoami`.

use clap::Args;

use crate::Session;
use crate::api::Query;
use crate::failure::Outcome;
use crate::view::{View, column, text};

/// About the caller.
#[derive(Debug, Clone, Args)]
pub struct Whoami {}

static ME: View = View {
    plural: "principals",
    columns: &[
        column("NAME", 9, 3, |me, _| text(me, "name")),
        column("KIND", 8, 3, |me, _| text(me, "kind")),
        column("ROLE", 8, 3, |me, _| text(me, "role")),
        column("ID", 8, 3, |me, _| text(me, "id")),
        column("PERMISSIONS", 7, 3, |me, _| text(me, "permissions").replace(',', "\n")),
    ],
    name: |me| text(me, "name"),
};

/// Runs `reeve whoami`.
pub async fn run(_: Whoami, session: &mut Session<'_>) -> Outcome<u8> {
    let answer = session.api()?.get("/api/me", &Query::new()).await?;
    session.show(&ME, &answer)
}
