//! A migration is two files with one number and one name.

use super::Finding;

const FIX: &str = "a migration is two files with one number and one name: `cargo xtask new-migration NAME`";

/// `sqlite` and `postgres` are the sorted file names of the two folders.
pub fn check(sqlite: &[String], postgres: &[String]) -> Vec<Finding> {
    let mut findings = unpaired("sqlite", sqlite, "postgres", postgres);
    findings.extend(unpaired("postgres", postgres, "sqlite", sqlite));
    let mut last = 0;
    for name in sqlite {
        let path = format!("migrations/sqlite/{name}");
        match number(name) {
            None => findings.push(Finding::new(&path, 1, "not named NNNN_name.sql", FIX)),
            Some(number) if number != last + 1 => {
                findings.push(Finding::new(
                    &path,
                    1,
                    format!("number {number} follows {last}"),
                    "numbers rise by one, without gaps",
                ));
                last = number;
            }
            Some(number) => last = number,
        }
    }
    findings
}

fn unpaired(dialect: &str, names: &[String], other: &str, others: &[String]) -> Vec<Finding> {
    let missing = names.iter().filter(|name| !others.contains(name));
    missing
        .map(|name| {
            Finding::new(&format!("migrations/{dialect}/{name}"), 1, format!("no migrations/{other}/{name}"), FIX)
        })
        .collect()
}

fn number(name: &str) -> Option<u32> {
    let (number, rest) = name.strip_suffix(".sql")?.split_once('_')?;
    (number.len() == 4 && !rest.is_empty()).then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pairs_are_quiet() {
        let both = names(&["0001_first.sql", "0002_jobs.sql"]);
        assert_eq!(check(&both, &both), []);
        assert_eq!(check(&[], &[]), []);
    }

    #[test]
    fn a_missing_half_a_gap_and_a_wrong_name_are_found() {
        let found = check(
            &names(&["0001_first.sql", "0003_jobs.sql", "notes.sql"]),
            &names(&["0001_first.sql", "0003_work.sql"]),
        );
        let paths: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "migrations/sqlite/0003_jobs.sql",
                "migrations/sqlite/notes.sql",
                "migrations/postgres/0003_work.sql",
                "migrations/sqlite/0003_jobs.sql",
                "migrations/sqlite/notes.sql",
            ]
        );
    }
}
