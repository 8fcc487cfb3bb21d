//! `mcast archive rm` and `mcast archive prune`.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::error::Failure;
use super::super::tool::Printed;
use super::{KeepArgs, Of, Place, SCHEMA, entry_name, shown};
use crate::archive::Error;
use crate::archive::directory::Directory;
use crate::archive::name::EntryName;
use crate::archive::retention::{Reason, Verdict, judge};
use crate::archive::shelf::Item;
use crate::archive::store::{Removed, Store};
use crate::exit::Exit;

#[derive(Args, Debug)]
pub(in crate::cli) struct RemoveArgs {
    #[command(flatten)]
    place: Place,

    /// The entries
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct PruneArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    keep: KeepArgs,

    #[command(flatten)]
    of: Of,

    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// What has become of an archive.
#[derive(Debug, Serialize)]
struct Outcome {
    schema: u8,
    archive: String,
    /// Or would be, with `--dry-run`.
    removed: Vec<String>,
    kept: Vec<Kept>,
    /// Files of others in the entries that were removed are left under these names.
    remains: Vec<String>,
    /// Leftovers of dead processes that were cleared away.
    swept: usize,
    dry_run: bool,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Kept {
    name: String,
    reasons: Vec<&'static str>,
}

impl Outcome {
    fn new(archive: &Directory, dry_run: bool) -> Self {
        Self {
            schema: SCHEMA,
            archive: archive.path().display().to_string(),
            removed: Vec::new(),
            kept: Vec::new(),
            remains: Vec::new(),
            swept: 0,
            dry_run,
            errors: Vec::new(),
        }
    }

    fn has_removed(&mut self, name: &EntryName, result: Result<Removed, Error>) {
        match result {
            Ok(removed) => {
                self.removed.push(name.to_string());
                self.remains.extend(removed.remains);
            }
            Err(error) => self.errors.push(error.to_string()),
        }
    }

    /// Does what the verdicts on these items say.
    fn prune(&mut self, archive: &Directory, items: &[Item], verdicts: Vec<Verdict>) {
        for (item, verdict) in items.iter().zip(verdicts) {
            let name = &item.name;
            match verdict {
                Verdict::Remove if self.dry_run => self.removed.push(name.to_string()),
                Verdict::Remove => match archive.remove(name) {
                    // A receiver that prunes at the same time was faster.
                    Err(Error::Missing(_)) => {}
                    removed => self.has_removed(name, removed),
                },
                Verdict::Keep(reasons) => self.kept.push(Kept {
                    name: name.to_string(),
                    reasons: reasons.into_iter().map(Reason::in_a_word).collect(),
                }),
            }
        }
    }

    fn print(self, json: bool) -> Result<Printed, Failure> {
        let mut printed = if json { shown::document(&self)? } else { Printed::text(self.text()) };
        if let Some(first) = self.errors.first() {
            let others = self.errors.len() - 1;
            let others = if others == 0 { String::new() } else { format!("; and {others} more") };
            printed.result = Err(Failure::new(Exit::LocalResource, format!("{first}{others}")));
        }
        Ok(printed)
    }

    fn text(&self) -> String {
        let removed = if self.dry_run { "would be removed" } else { "removed" };
        let mut text: String = self.removed.iter().map(|name| format!("{name}: {removed}\n")).collect();
        for Kept { name, reasons } in &self.kept {
            text.push_str(&format!("{name}: kept ({})\n", reasons.join(", ")));
        }
        for name in &self.remains {
            text.push_str(&format!("{name}: left with what no mcast has put there\n"));
        }
        if self.swept > 0 {
            text.push_str(&format!("{} left over from dead processes: removed\n", self.swept));
        }
        text
    }
}

pub(super) fn remove(args: RemoveArgs) -> Result<Printed, Failure> {
    let archive = args.place.open()?;
    // All names are looked at first: a slip of the pen should cost nothing.
    let mut names = Vec::new();
    for name in &args.names {
        let name = entry_name(&archive, name, false)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut outcome = Outcome::new(&archive, args.dry_run);
    for name in &names {
        if !args.dry_run {
            outcome.has_removed(name, archive.remove(name));
            continue;
        }
        match archive.hold(name) {
            Err(error @ (Error::InUse(_) | Error::Missing(_))) => outcome.errors.push(error.to_string()),
            _ => outcome.removed.push(name.to_string()),
        }
    }
    outcome.print(args.place.json)
}

pub(super) fn prune(args: PruneArgs) -> Result<Printed, Failure> {
    let policy = args.keep.policy();
    if policy.is_empty() {
        return Err(Failure::usage(
            "say what to keep: --keep-last N, --keep-daily N, --keep-weekly N, --keep-monthly N, --keep-within DUR",
        ));
    }
    let archive = args.place.open()?;
    let mut outcome = Outcome::new(&archive, args.dry_run);
    if !args.dry_run {
        let swept = archive.sweep()?;
        (outcome.swept, outcome.errors) = (swept.removed, swept.errors);
    }
    let items = args.of.select(&archive, Item::all(&archive)?);
    let verdicts = judge(&items, policy, Timestamp::now(), &TimeZone::system());
    outcome.prune(&archive, &items, verdicts);
    outcome.print(args.place.json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::shelf::State;

    #[test]
    fn entry_that_another_process_has_pruned_is_no_error_of_prune_and_one_of_rm() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        let name = EntryName::new("shop-20260301T010304Z").unwrap();
        let item = Item { name: name.clone(), state: State::InUse, source: None };
        let mut outcome = Outcome::new(&archive, false);
        outcome.prune(&archive, &[item], vec![Verdict::Remove]);
        assert_eq!((outcome.removed.len(), outcome.errors.len()), (0, 0));
        outcome.has_removed(&name, archive.remove(&name));
        assert_eq!((outcome.removed.len(), outcome.errors.len()), (0, 1));
    }
}
