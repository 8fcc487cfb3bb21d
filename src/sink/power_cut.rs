//! A file system that loses what was not synced, and fails when it is told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use super::disk::Disk;
use super::file::{Existing, OutputFile};

/// A disk of one directory. Files are known by number, as inodes are.
#[derive(Clone, Debug, Default)]
struct Frail(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    /// Steps that were asked for so far.
    steps: u32,
    /// This step and all after it do nothing: the power is off.
    off_at: Option<u32>,
    /// This step fails.
    fails_at: Option<(u32, io::ErrorKind)>,
    /// It knows files without a name.
    unnamed: bool,
    files: Vec<Content>,
    /// What was done to names, in order, and how much of that is on the device.
    names: Vec<(Name, PathBuf)>,
    names_synced: usize,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    Given(usize),
    Taken,
}

impl State {
    fn now(&self) -> BTreeMap<PathBuf, usize> {
        Self::names_after(&self.names)
    }

    fn names_after(changes: &[(Name, PathBuf)]) -> BTreeMap<PathBuf, usize> {
        let mut names = BTreeMap::new();
        for (change, path) in changes {
            match change {
                Name::Given(file) => _ = names.insert(path.clone(), *file),
                Name::Taken => _ = names.remove(path),
            }
        }
        names
    }

    /// Everything that may be there after the power has come back: any number of changes to names beyond those that
    /// were synced, in order, as a journal has them; and of what was written and not synced all, a part, or nothing.
    fn after_power_cut(&self) -> Vec<BTreeMap<PathBuf, Vec<u8>>> {
        let mut worlds = Vec::new();
        for changes in self.names_synced..=self.names.len() {
            for kept in 0..3 {
                let content = |file: usize| {
                    let Content { bytes, synced } = &self.files[file];
                    bytes[..synced + (bytes.len() - synced) * kept / 2].to_vec()
                };
                let names = Self::names_after(&self.names[..changes]);
                worlds.push(names.into_iter().map(|(path, file)| (path, content(file))).collect());
            }
        }
        worlds
    }
}

impl Frail {
    /// Does a step unless the power is off or the step is to fail.
    fn step<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        let step = state.steps;
        state.steps += 1;
        if state.off_at.is_some_and(|off| step >= off) {
            return Err(io::Error::other("no power"));
        }
        match state.fails_at {
            Some((at, kind)) if at == step => Err(kind.into()),
            _ => act(&mut state),
        }
    }
}

impl Disk for Frail {
    type File = usize;

    fn create_unnamed(&self, _: &Path) -> Option<usize> {
        let mut state = self.0.borrow_mut();
        state.unnamed.then(|| {
            state.files.push(Content::default());
            state.files.len() - 1
        })
    }

    fn create_new(&self, path: &Path) -> io::Result<usize> {
        self.step(|state| {
            state.files.push(Content::default());
            let file = state.files.len() - 1;
            state.names.push((Name::Given(file), path.to_owned()));
            Ok(file)
        })
    }

    fn write_all(&self, file: &usize, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.step(|state| {
            slices.iter().for_each(|slice| state.files[*file].bytes.extend_from_slice(slice));
            Ok(())
        })
    }

    fn take_after(&self, _: &usize, _: &Path) -> io::Result<()> {
        self.step(|_| Ok(()))
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        self.step(|state| {
            state.files[*file].synced = state.files[*file].bytes.len();
            Ok(())
        })
    }

    fn link(&self, file: &usize, path: &Path) -> io::Result<()> {
        self.step(|state| {
            if state.now().contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.names.push((Name::Given(*file), path.to_owned()));
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            let file = *state.now().get(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.push((Name::Given(file), to.to_owned()));
            state.names.push((Name::Taken, from.to_owned()));
            Ok(())
        })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.0.borrow().now().contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.names.push((Name::Taken, path.to_owned()));
            Ok(())
        })
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.step(|state| {
            state.names_synced = state.names.len();
            Ok(())
        })
    }
}

const NEW: [&[u8]; 3] = [b"the first part, ", b"the second, ", b"the end"];
const OLD: &[u8] = b"what was there";

fn path() -> PathBuf {
    PathBuf::from("/dumps/nightly")
}

/// A disk, with an old file where that is to be replaced.
fn disk(unnamed: bool, existing: Existing) -> Frail {
    let disk = Frail::default();
    disk.0.borrow_mut().unnamed = unnamed;
    if existing == Existing::Replace {
        let old = disk.create_new(&path()).unwrap();
        disk.write_all(&old, &mut [IoSlice::new(OLD)]).unwrap();
        disk.sync(&old).unwrap();
        disk.sync_directory(Path::new("/dumps")).unwrap();
    }
    disk.0.borrow_mut().steps = 0;
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
            write(&whole, existing).unwrap();
            let steps = whole.0.borrow().steps;
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
            disk.0.borrow_mut().off_at = Some(off_at);
            let confirmed = write(&disk, existing).is_ok();
            assert_eq!(confirmed, off_at == steps);
            for world in disk.0.borrow().after_power_cut() {
                let there = world.get(&path()).map(Vec::as_slice);
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
                disk.0.borrow_mut().fails_at = Some((fails_at, kind));
                write(&disk, existing).unwrap_err();
                let state = disk.0.borrow();
                let names = state.now();
                // A file that was replaced cannot be brought back when the last step fails; the new one is whole.
                let replaced = existing == Existing::Replace && fails_at + 1 == steps;
                let expected = usize::from(existing == Existing::Replace);
                assert_eq!(names.len(), expected, "step {fails_at}: {names:?}");
                let there = names.get(&path()).map(|file| state.files[*file].bytes.clone());
                let whole = if replaced { NEW.concat() } else { OLD.to_vec() };
                assert_eq!(there, (expected == 1).then_some(whole), "step {fails_at}");
            }
        }
    });
}
