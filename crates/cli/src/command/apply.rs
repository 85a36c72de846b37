//! `reeve apply`: brings a server to the state that files describe, through the public API, in steps that can be repeated.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::Session;
use crate::api::Api;
use crate::desired::document::{self, MOST_BYTES};
use crate::desired::fleet::Fleet;
use crate::desired::plan::{Plan, Removal, Task};
use crate::desired::{Kind, Section, Step};
use crate::failure::{FAILED, Failure, OK, Outcome};

/// What to apply.
#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// File, folder of .yaml and .yml files, or `-` for standard input; repeatable
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", required = true, value_hint = ValueHint::AnyPath)]
    pub files: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Delete what the files do not name, in the sections that they have; never nodes
    #[arg(long)]
    pub prune: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Default)]
struct Counts {
    created: usize,
    changed: usize,
    deleted: usize,
    same: usize,
    waiting: usize,
    failed: usize,
}

/// Runs `reeve apply`.
pub async fn run(args: Apply, session: &mut Session<'_>) -> Outcome<u8> {
    let wanted = read_all(&args.files, session)?;
    let api = session.api()?;
    let (mut found, mut fleet) = (BTreeMap::new(), Fleet::default());
    for kind in wanted.keys() {
        found.insert(*kind, kind.read(&api, session.now(), &mut fleet).await?);
    }
    let plan = Plan::make(wanted, found, args.prune);
    for words in &plan.incomparable {
        session.world.out.note(words)?;
    }
    if args.dry_run {
        plan.show(&mut session.world.out)?;
        let refused = plan.tasks.iter().any(|task| matches!(task.step, Step::Refuse(_)));
        session.world.out.note(if plan.is_empty() {
            "nothing would change"
        } else {
            "nothing was changed (--dry-run)"
        })?;
        return Ok(if refused { FAILED } else { OK });
    }
    confirm(&plan, &args, session)?;
    let mut counts = Counts::default();
    for task in &plan.tasks {
        carry_out(&api, task, &mut counts, session).await?;
    }
    for removal in &plan.removals {
        remove(&api, removal, &mut counts, session).await?;
    }
    let Counts { created, changed, deleted, same, waiting, failed } = counts;
    let mut words = format!("{created} created, {changed} changed, {deleted} deleted, {same} as they should be");
    for (count, what) in [(waiting, "waiting"), (failed, "failed")] {
        if count > 0 {
            words.push_str(&format!(", {count} {what}"));
        }
    }
    session.world.out.note(&words)?;
    Ok(if failed > 0 { FAILED } else { OK })
}

fn confirm(plan: &Plan, args: &Apply, session: &mut Session<'_>) -> Outcome<()> {
    if plan.removals.is_empty() || args.yes {
        return Ok(());
    }
    let names: Vec<String> = plan.removals.iter().map(|r| format!("{} {}", r.kind.noun(), r.name)).collect();
    for name in names.iter().take(20) {
        session.world.out.note(&format!("- {name}"))?;
    }
    if names.len() > 20 {
        session.world.out.note(&format!("... and {} more", names.len() - 20))?;
    }
    if !session.world.has_keyboard() || args.files.iter().any(|file| file == "-") {
        let what = format!("--prune would delete {} objects, and there is nobody to ask", names.len());
        return Err(Failure::usage(what, "look at --dry-run first, then add --yes"));
    }
    match session.world.ask(&format!("Delete these {}? Type yes", names.len()), false)?.as_str() {
        "yes" => Ok(()),
        _ => Err(Failure::local_with("nothing was changed", "answer `yes`, or leave out --prune")),
    }
}

/// One object; its failure is told and does not stop the others. A server that is gone stops everything.
async fn carry_out(api: &Api, task: &Task, counts: &mut Counts, session: &mut Session<'_>) -> Outcome<()> {
    let (kind, name) = (task.kind, task.name.as_str());
    let title = format!("{} {name}", kind.noun());
    let done = match (&task.step, &task.present) {
        (Step::Same, _) => {
            counts.same += 1;
            return Ok(());
        }
        (Step::Wait(why), _) => {
            counts.waiting += 1;
            return session.world.out.line(&format!("{title} {why}"));
        }
        (Step::Refuse(why), _) => Err(Failure::local(why.clone())),
        (Step::Create, _) => match kind.create(api, name, &task.wanted).await {
            Ok(None) => Ok("created"),
            Ok(Some(secret)) => {
                session.world.out.note(&format!("the secret of {title}, which is not shown again:  {secret}"))?;
                Ok("created")
            }
            Err(failure) => Err(failure),
        },
        (Step::Change(_), Some(present)) => kind.change(api, name, present, &task.wanted).await.map(|()| "changed"),
        (Step::Change(_), None) => return Ok(()),
    };
    match done {
        Ok(word) => {
            *(if word == "created" { &mut counts.created } else { &mut counts.changed }) += 1;
            session.world.out.line(&format!("{title} {word}"))
        }
        Err(failure) => failed(&title, failure, counts, session),
    }
}

async fn remove(api: &Api, removal: &Removal, counts: &mut Counts, session: &mut Session<'_>) -> Outcome<()> {
    let title = format!("{} {}", removal.kind.noun(), removal.name);
    match removal.kind.delete(api, &removal.name, &removal.present).await {
        // A cluster takes its keys along.
        Err(failure) if !failure.is_not_found() => failed(&title, failure, counts, session),
        Ok(()) | Err(_) => {
            counts.deleted += 1;
            session.world.out.line(&format!("{title} deleted"))
        }
    }
}

fn failed(title: &str, failure: Failure, counts: &mut Counts, session: &mut Session<'_>) -> Outcome<()> {
    if matches!(failure, Failure::Unreachable { .. } | Failure::PipeClosed) {
        return Err(failure);
    }
    counts.failed += 1;
    session.world.out.note(&format!("{title} failed: {failure}"))
}

fn read_all(files: &[String], session: &mut Session<'_>) -> Outcome<BTreeMap<Kind, Section>> {
    let (mut wanted, mut origins) = (BTreeMap::new(), BTreeMap::new());
    for file in files {
        if file == "-" {
            let text = session.world.read_all()?;
            document::merge(&mut wanted, &mut origins, "-", document::read("-", &text)?)?;
            continue;
        }
        for path in expand(Path::new(file))? {
            let origin = path.display().to_string();
            let text = read(&path)?;
            document::merge(&mut wanted, &mut origins, &origin, document::read(&origin, &text)?)?;
        }
    }
    Ok(wanted)
}

/// The files that a path names: itself, or what a folder holds, by name.
fn expand(path: &Path) -> Outcome<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_file() && entry.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            files.push(entry);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::usage(
            format!("{} holds no .yaml or .yml file", path.display()),
            "name a file, or another folder",
        ));
    }
    Ok(files)
}

fn read(path: &Path) -> Outcome<String> {
    let failed = |error: std::io::Error| {
        Failure::usage(
            format!("cannot read {}: {error}", path.display()),
            "give a file of UTF-8 text that this user may read",
        )
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
