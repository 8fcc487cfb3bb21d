//! A file sink on a file system that loses what was not synced, and fails when it is told to.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::file::{Existing, OutputFile};
use crate::disk::Disk;
use crate::disk::power_cut::{Frail, ROOT};

const NEW: [&[u8]; 3] = [b"the first part, ", b"the second, ", b"the end"];
const OLD: &[u8] = b"what was there";

fn path() -> PathBuf {
    Path::new(ROOT).join("nightly")
}

/// A disk, with an old file where that is to be replaced.
fn disk(unnamed: bool, existing: Existing) -> Frail {
    let disk = Frail::new(unnamed);
    if existing == Existing::Replace {
        let old = disk.create_new(&path()).unwrap();
        disk.write_all(&old, &mut [IoSlice::new(OLD)]).unwrap();
        disk.sync(&old).unwrap();
        disk.sync_directory(Path::new(ROOT)).unwrap();
    }
    disk
}

/// What a file sink does from its first step to its last.
fn write(disk: &Frail, existing: Existing) -> Result<(), String> {
    let mut file =
        OutputFile::create_on(disk.clone(), path(), existing).map_err(|error| error.to_string())?;
    for part in NEW {
        file.write_all(&mut [IoSlice::new(part)]).map_err(|error| error.to_string())?;
    }
    file.commit(&AtomicBool::new(false)).map_err(|error| error.to_string())
}

fn every_way(mut check: impl FnMut(bool, Existing, u32)) {
    for unnamed in [false, true] {
        for existing in [Existing::Refuse, Existing::Replace] {
            let whole = disk(unnamed, existing);
            let before = whole.steps();
            write(&whole, existing).unwrap();
            let steps = whole.steps() - before;
            assert!(steps >= 6, "{steps} steps");
            check(unnamed, existing, steps);
        }
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_file_or_the_whole_new_one_under_the_name() {
    every_way(|unnamed, existing, steps| {
        for off_at in 0..=steps {
            let disk = disk(unnamed, existing);
            disk.off_at(off_at);
            let confirmed = write(&disk, existing).is_ok();
            assert_eq!(confirmed, off_at == steps);
            for world in disk.after_power_cut() {
                let there = world.get(&path()).and_then(Option::as_deref);
                let whole = there == Some(&NEW.concat());
                let as_before = there == (existing == Existing::Replace).then_some(OLD);
                assert!(
                    whole || (as_before && !confirmed),
                    "off at step {off_at}, confirmed {confirmed}: {world:?}"
                );
            }
        }
    });
}

#[test]
fn a_step_that_fails_leaves_the_old_file_under_the_name_and_nothing_beside_it() {
    use io::ErrorKind::{Other, QuotaExceeded, StorageFull};
    every_way(|unnamed, existing, steps| {
        for fails_at in 0..steps {
            for kind in [StorageFull, QuotaExceeded, Other] {
                let disk = disk(unnamed, existing);
                disk.fails_at(fails_at, kind);
                let message = write(&disk, existing).unwrap_err();
                let mut names = disk.now();
                // A whole file that could not get the name may have another one, which the message tells.
                names.retain(|name, content| {
                    let kept = name.extension().is_some_and(|extension| extension == "verified");
                    assert!(!kept || content.as_deref() == Some(&NEW.concat()), "step {fails_at}: {name:?}");
                    assert!(!kept || message.contains(&name.display().to_string()), "{message}");
                    !kept
                });
                // A file that was replaced cannot be brought back when the last step fails; the new one is whole.
                let replaced = existing == Existing::Replace && fails_at + 1 == steps;
                let expected = usize::from(existing == Existing::Replace);
                assert_eq!(names.len(), expected, "step {fails_at}: {names:?}");
                let there = names.get(&path()).cloned().flatten();
                let whole = if replaced { NEW.concat() } else { OLD.to_vec() };
                assert_eq!(there, (expected == 1).then_some(whole), "step {fails_at}");
            }
        }
    });
}
