//! Portable names of systems: `ubuntu-24.04` is the same system with every vendor, whatever its title there.

/// The portable name in a vendor's title: the first word and the first version number. None without a number.
/// `Ubuntu Server 24.04 LTS (Noble Numbat)` is `ubuntu-24.04`, `Debian GNU/Linux 12 (Bookworm)` is `debian-12`.
pub fn name_of(title: &str) -> Option<String> {
    let mut words = title.split_whitespace();
    let system: String = words.next()?.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let is_version = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let version = words.find(is_version)?;
    (!system.is_empty()).then(|| format!("{system}-{version}"))
}

/// Some of the names that would have been right, for an error message.
pub fn some<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > 12 { ", …" } else { "" };
    format!("{}{more}", names.into_iter().take(12).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_to_names() {
        for (title, name) in [
            ("Ubuntu Server 24.04 LTS (Noble Numbat)", Some("ubuntu-24.04")),
            ("Debian GNU/Linux 12 (Bookworm)", Some("debian-12")),
            ("Rocky Linux 9", Some("rocky-9")),
            ("AlmaLinux 9", Some("almalinux-9")),
            ("Plesk Obsidian", None),
            ("", None),
        ] {
            assert_eq!(name_of(title).as_deref(), name, "{title}");
        }
        assert_eq!(some(["b", "a", "a"].into_iter()), "a, b");
    }
}
