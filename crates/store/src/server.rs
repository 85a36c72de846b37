//! SQL of this noun.
