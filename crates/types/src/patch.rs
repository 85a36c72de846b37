//! "Left alone", "cleared" and "set" as three different things.

/// A field of a partial update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Not in the request: left alone.
    #[default]
    Keep,
    /// Null in the request: cleared.
    Clear,
    /// A value.
    Set(T),
}

impl<T> Patch<T> {
    /// The value after the patch, given the one before.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Patch<T> {
    /// With `#[serde(default)]` on the field, absent is `Keep` and null is `Clear`.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match Option::<T>::deserialize(d)? {
            None => Self::Clear,
            Some(value) => Self::Set(value),
        })
    }
}
