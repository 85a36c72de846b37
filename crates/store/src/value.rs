//! What goes into a statement and what comes out of a row.

use std::borrow::Cow;

use reeve_types::{Error, Result, Timestamp};

/// A statement's argument. Booleans are 0 and 1, instants microseconds, documents JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(Cow<'a, str>),
}

/// Builds `&[Value]` from anything that converts: `args![id, now, name]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::Value::from($value)),*][..] };
}

impl From<i64> for Value<'_> {
    fn from(v: i64) -> Self {
        Value::Int(v)
    }
}
impl From<i32> for Value<'_> {
    fn from(v: i32) -> Self {
        Value::Int(i64::from(v))
    }
}
impl From<bool> for Value<'_> {
    fn from(v: bool) -> Self {
        Value::Int(i64::from(v))
    }
}
impl From<u16> for Value<'_> {
    fn from(v: u16) -> Self {
        Value::Int(i64::from(v))
    }
}
impl From<Timestamp> for Value<'_> {
    fn from(v: Timestamp) -> Self {
        Value::Int(v.0)
    }
}
impl<'a> From<&'a str> for Value<'a> {
    fn from(v: &'a str) -> Self {
        Value::Text(Cow::Borrowed(v))
    }
}
impl<'a> From<&'a String> for Value<'a> {
    fn from(v: &'a String) -> Self {
        Value::Text(Cow::Borrowed(v))
    }
}
impl From<String> for Value<'_> {
    fn from(v: String) -> Self {
        Value::Text(Cow::Owned(v))
    }
}
impl<'a> From<&'a Cell> for Value<'a> {
    fn from(v: &'a Cell) -> Self {
        match v {
            Cell::Null => Value::Null,
            Cell::Int(v) => Value::Int(*v),
            Cell::Text(v) => Value::Text(Cow::Borrowed(v)),
        }
    }
}
impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(v: Option<T>) -> Self {
        v.map_or(Value::Null, Into::into)
    }
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
}

/// A row, read from left to right in the order of its SELECT list.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Cell>);

impl Row {
    /// A row of these cells.
    pub fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into_iter())
    }
    /// Every cell that is left.
    pub fn into_cells(self) -> Vec<Cell> {
        self.0.collect()
    }
    /// Bytes of text in the cells that are left.
    pub(crate) fn text_bytes(&self) -> usize {
        self.0.as_slice().iter().map(|cell| if let Cell::Text(text) = cell { text.len() } else { 8 }).sum()
    }
    /// The next cell.
    ///
    /// # Errors
    /// Internal when there is none or it is of another type: the SELECT list and the reader disagree.
    pub fn get<T: FromCell>(&mut self) -> Result<T> {
        let cell = self.0.next().ok_or_else(|| Error::internal("a row has fewer columns than its reader expects"))?;
        T::from_cell(cell)
    }
}

/// What a cell can be read as.
pub trait FromCell: Sized {
    /// Converts.
    ///
    /// # Errors
    /// Internal for a cell of another type or an unknown word.
    fn from_cell(cell: Cell) -> Result<Self>;
}

fn mismatch(wanted: &str, cell: &Cell) -> Error {
    let found = match cell {
        Cell::Null => "NULL",
        Cell::Int(_) => "an integer",
        Cell::Text(_) => "text",
    };
    Error::internal(format!("a column holds {found} where {wanted} is expected"))
}

impl FromCell for i64 {
    fn from_cell(cell: Cell) -> Result<Self> {
        match cell {
            Cell::Int(v) => Ok(v),
            Cell::Null | Cell::Text(_) => Err(mismatch("an integer", &cell)),
        }
    }
}
impl FromCell for u16 {
    fn from_cell(cell: Cell) -> Result<Self> {
        u16::try_from(i64::from_cell(cell)?).map_err(Error::internal)
    }
}
impl FromCell for bool {
    fn from_cell(cell: Cell) -> Result<Self> {
        i64::from_cell(cell).map(|v| v != 0)
    }
}
impl FromCell for Timestamp {
    fn from_cell(cell: Cell) -> Result<Self> {
        i64::from_cell(cell).map(Timestamp)
    }
}
impl FromCell for String {
    fn from_cell(cell: Cell) -> Result<Self> {
        match cell {
            Cell::Text(v) => Ok(v),
            Cell::Null | Cell::Int(_) => Err(mismatch("text", &cell)),
        }
    }
}
impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell) -> Result<Self> {
        match cell {
            Cell::Null => Ok(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl FromCell for reeve_types::$name {
            fn from_cell(cell: Cell) -> Result<Self> {
                String::from_cell(cell).map(Self)
            }
        }
        impl<'a> From<&'a reeve_types::$name> for Value<'a> {
            fn from(v: &'a reeve_types::$name) -> Self {
                Value::from(&v.0)
            }
        }
    )*};
}
ids!(
    ClusterId,
    EnrollmentKeyId,
    NodeId,
    CommandId,
    ExecutionId,
    RolloutId,
    UserId,
    ApiTokenId,
    SessionId,
    JobId,
    EventId,
    ServerId,
    AliasId,
    SshUsernameId,
    SshPublicKeyId,
    SelfUpdateRequestId,
    WebhookId,
    DeliveryId,
    WorkspaceId,
    HostId,
    TaskservId,
    OperationId,
    PlanId
);

macro_rules! words {
    ($($type:ty),*) => {$(
        impl FromCell for $type {
            fn from_cell(cell: Cell) -> Result<Self> {
                let word = String::from_cell(cell)?;
                <$type>::parse(&word)
                    .ok_or_else(|| Error::internal(format!("a column holds the unknown word `{word}`")))
            }
        }
        impl From<$type> for Value<'_> {
            fn from(v: $type) -> Self {
                Value::from(v.word())
            }
        }
    )*};
}
words!(
    reeve_types::node::NodeStatus,
    reeve_types::node::NodeIdType,
    reeve_types::execution::ExecutionStatus,
    reeve_types::rollout::RolloutState,
    reeve_types::self_update::SelfUpdateState,
    reeve_types::self_update::SelfUpdateStatus,
    reeve_types::ssh_public_key::SshKeyType,
    reeve_types::job::JobState,
    reeve_types::webhook::WebhookState,
    reeve_types::webhook::DeliveryState,
    reeve_types::server::ServerState,
    reeve_types::host::HostState,
    reeve_types::taskserv::TaskservState,
    reeve_types::operation::OperationStatus,
    reeve_types::operation::OperationKind,
    reeve_types::operation::PhaseState,
    reeve_types::Role
);
