//! Every dependency comes under a licence that an Apache-2.0 product may ship.

use super::Finding;

/// A foreign crate and the SPDX expression it declares.
pub struct Package {
    pub name: String,
    pub version: String,
    pub licence: Option<String>,
}

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates taken under another licence, each with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("option-ext", "MPL-2.0", "copyleft per file, used unmodified and never linked on Linux")];

pub fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().filter_map(check_package).collect()
}

fn check_package(package: &Package) -> Option<Finding> {
    let Package { name, version, licence } = package;
    let expression = licence.as_deref().unwrap_or("none");
    let excepted = EXCEPTIONS.iter().any(|(crate_name, spdx, _)| crate_name == name && *spdx == expression);
    if excepted || accepts(expression) {
        return None;
    }
    Some(Finding::new(
        "Cargo.lock",
        1,
        format!("{name} {version} comes under {expression}"),
        "replace it, or allow the licence in xtask/src/tidy/licence.rs after reading it",
    ))
}

/// True when the SPDX expression can be satisfied by allowed licences alone. `/` is the old way to write OR.
fn accepts(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    either(&mut rest).is_some_and(|accepted| accepted && rest.is_empty())
}

fn either(rest: &mut &[&str]) -> Option<bool> {
    let mut accepted = both(rest)?;
    while take(rest, "OR") {
        accepted |= both(rest)?;
    }
    Some(accepted)
}

fn both(rest: &mut &[&str]) -> Option<bool> {
    let mut accepted = one(rest)?;
    while take(rest, "AND") {
        accepted &= one(rest)?;
    }
    Some(accepted)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let accepted = either(rest)?;
        return take(rest, ")").then_some(accepted);
    }
    let (name, tail) = rest.split_first()?;
    *rest = tail;
    if take(rest, "WITH") {
        let (exception, tail) = rest.split_first()?;
        *rest = tail;
        return Some(ALLOWED.contains(&format!("{name} WITH {exception}").as_str()));
    }
    Some(ALLOWED.contains(name))
}

fn take(rest: &mut &[&str], token: &str) -> bool {
    match rest.split_first() {
        Some((first, tail)) if *first == token => {
            *rest = tail;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        for accepted in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "Apache-2.0/MIT",
            "Apache-2.0 / MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "GPL-2.0 AND MIT OR ISC",
        ] {
            assert!(accepts(accepted), "{accepted}");
        }
        for refused in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "MIT WITH Classpath-exception-2.0",
            "",
            "MIT OR",
            "(MIT",
            "MIT MIT",
            "none",
        ] {
            assert!(!accepts(refused), "{refused}");
        }
    }

    #[test]
    fn a_refused_licence_names_the_crate() {
        let package = |name: &str, licence: &str| Package {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            licence: Some(licence.to_owned()),
        };
        let found = check(&[package("fine", "MIT"), package("option-ext", "MPL-2.0"), package("other", "MPL-2.0")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("Cargo.lock:1: other 1.2.3 comes under MPL-2.0: "));
    }
}
