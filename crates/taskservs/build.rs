//! Tells cargo that the catalogue is part of the crate: the macro that embeds it cannot.

fn main() {
    println!("cargo:rerun-if-changed=catalogue");
}
