//! Makes the program smaller: of functions that came out the same, the linker keeps one. Generic code has many, and
//! nothing here tells functions apart by their addresses.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // how a build script speaks and hears

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // The option is that of lld, which Rust brings along and uses on this platform alone. Who chose a linker keeps it.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let own_linker = std::env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") && !own_linker {
        println!("cargo:rustc-link-arg-bin=reeve=-Wl,--icf=all");
    }
}
