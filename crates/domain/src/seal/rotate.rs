//! Rotation of the sealing key.
