//! What the nouns of provisioning have in common: where they are, what people call one, how many and one are shown. Each
//! noun's own file says only its words and columns.

use super::segment;
use crate::Session;
use crate::api::{Api, PROVISIONING, Query};
use crate::failure::Outcome;
use crate::names::{among, as_id, only};
use crate::view::{View, text};

/// How many of the newest a part of an id is looked for in.
const RECENT: usize = 200;

/// A noun of provisioning.
pub(super) struct Kind {
    /// The noun; with an `s` it is the collection's path.
    pub noun: &'static str,
    /// The columns of a list.
    pub lines: &'static View,
    /// The columns of one.
    pub view: &'static View,
    /// What is below a thing's path when everything about it is asked for.
    pub whole: &'static str,
    /// What people call one.
    pub called: Called,
}

/// What people call one of a kind, beside its id.
#[derive(Debug, Clone, Copy)]
pub(super) enum Called {
    /// The name at this key, where there is one of it.
    Name(&'static str),
    /// A part of its id, or `last`.
    Recent {
        /// Whether the server's lists begin with the newest.
        newest_first: bool,
        /// How the first one is made.
        first: &'static str,
    },
}

impl Kind {
    /// The collection's path.
    pub(super) fn base(&self) -> String {
        format!("{PROVISIONING}/{}s", self.noun)
    }

    /// The path of the one with this id.
    pub(super) fn at(&self, id: &str) -> String {
        format!("{}/{}", self.base(), segment(id))
    }

    /// The id of the one that `reference` names.
    pub(super) async fn find(&self, api: &Api, reference: &str) -> Outcome<String> {
        match self.called {
            Called::Name(key) => {
                let rows = api.rows(&self.base(), &Query::new()).await?.rows;
                let with = |key: &str| -> Vec<String> {
                    rows.iter().filter(|row| row[key] == reference).map(|row| text(row, "id")).collect()
                };
                let by_id = with("id");
                only(self.noun, reference, if by_id.is_empty() { with(key) } else { by_id })
            }
            Called::Recent { newest_first, first } => {
                if let Some(id) = as_id(reference) {
                    return Ok(id);
                }
                let mut rows = api.rows(&self.base(), &Query::new()).await?.rows;
                if !newest_first {
                    rows.reverse();
                }
                among(self.noun, reference, rows.iter().take(RECENT).map(|row| text(row, "id")), first)
            }
        }
    }

    /// The path of the one that `reference` names.
    pub(super) async fn path(&self, api: &Api, reference: &str) -> Outcome<String> {
        Ok(self.at(&self.find(api, reference).await?))
    }

    /// Lists those that the filters which were given let through; at most `limit` of the newest (0: all).
    pub(super) async fn list<const N: usize>(
        &self,
        session: &mut Session<'_>,
        api: &Api,
        filters: [(&'static str, Option<String>); N],
        limit: usize,
    ) -> Outcome<u8> {
        let query = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let listing = match limit {
            0 => api.rows(&self.base(), &query).await?,
            _ => api.newest(&self.base(), &query, limit).await?,
        };
        session.show_list(self.lines, &listing)
    }

    /// Shows the one that `reference` names.
    pub(super) async fn show(&self, session: &mut Session<'_>, api: &Api, reference: &str) -> Outcome<u8> {
        let path = format!("{}{}", self.path(api, reference).await?, self.whole);
        let thing = api.get(&path, &Query::new()).await?;
        session.show(self.view, &thing)
    }
}
