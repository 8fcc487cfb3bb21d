//! Output files that have not got their name: what an exit has to clear away that waits for no thread.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::disk::Disk;

/// An output file's entry in the list of those without their name. It may have a temporary name, which is removed when
/// this is dropped.
#[derive(Debug)]
pub(super) struct Unfinished<D: Disk> {
    disk: D,
    number: u64,
    temporary: Option<PathBuf>,
}

impl<D: Disk> Unfinished<D> {
    /// An entry for a file without a name.
    pub(super) fn unnamed(disk: &D) -> Self {
        let mut list = list();
        list.last_number += 1;
        let number = list.last_number;
        list.entries.push((number, None));
        Self { disk: disk.clone(), number, temporary: None }
    }

    /// An entry for a file that `create` makes, under the first temporary name that is free.
    pub(super) fn named<T>(
        disk: &D,
        target: &Path,
        create: impl Fn(&Path) -> io::Result<T>,
    ) -> io::Result<(T, Self)> {
        let mut entry = Self::unnamed(disk);
        let created = first_free(target, TEMPORARY, |path| {
            // Entered first: an exit between the two must not leave the file behind.
            list().set(entry.number, Some(path.to_owned()));
            create(path)
        });
        match created {
            Ok((created, path)) => {
                entry.temporary = Some(path);
                Ok((created, entry))
            }
            Err(error) => {
                list().set(entry.number, None);
                Err(error)
            }
        }
    }

    pub(super) fn temporary(&self) -> Option<&Path> {
        self.temporary.as_deref()
    }

    /// Number of this file in the list.
    #[cfg(test)]
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Runs `name`, which gives the file its last name, unless an exit has begun that has cleared the file away. An exit that
    /// begins meanwhile does not wait for `name`, and leaves the file alone.
    pub(super) fn settle<T>(&mut self, name: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let mut list = list();
        if !list.entries.iter().any(|(number, _)| *number == self.number) {
            return Err(io::Error::other("the stream was given up"));
        }
        let named = name(self);
        list.set(self.number, self.temporary.clone());
        named
    }

    /// The file has this temporary name now; `None`: the name is no longer ours to remove.
    pub(super) fn set_temporary(&mut self, path: Option<PathBuf>) {
        self.temporary = path;
    }
}

impl<D: Disk> Drop for Unfinished<D> {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            let _ = self.disk.remove(&path);
        }
        list().entries.retain(|(number, _)| *number != self.number);
    }
}

/// Removes the temporary names of all unfinished files of this process, and keeps them from getting others; for an exit
/// that does not wait for the threads that write them. If a file is just getting its name, all are left alone.
pub fn remove_unfinished() {
    match LIST.try_lock() {
        Ok(mut list) => list.remove(|_| true),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().remove(|_| true),
        Err(TryLockError::WouldBlock) => {}
    }
}

/// Removes the temporary names of the files with these numbers.
#[cfg(test)]
pub(super) fn remove_those(numbers: &[u64]) {
    list().remove(|number| numbers.contains(&number));
}

/// Tries names for a file beside `target` until `take` finds one free. The process id keeps programs apart, the number
/// what an earlier one left behind.
pub(super) fn first_free<T>(
    target: &Path,
    (before, after): (&str, &str),
    mut take: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let mut attempt = 0_u32;
    loop {
        let mut name = OsString::from(before);
        name.push(shortened(target.file_name().unwrap_or_default()));
        name.push(format!(".mcast-{}-{attempt}.{after}", std::process::id()));
        let path = target.with_file_name(name);
        match take(&path) {
            Ok(taken) => return Ok((taken, path)),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || attempt == MOST_ATTEMPTS => {
                return Err(error);
            }
            Err(_) => attempt += 1,
        }
    }
}

/// The name, or a short one if the additions would make it longer than a directory takes.
fn shortened(name: &OsStr) -> &OsStr {
    let text = name.to_string_lossy();
    if text.len() <= LONGEST_NAME { name } else { OsStr::new("long-name") }
}

/// A name of a file that is being written: hidden, because it is none of the user's.
pub(super) const TEMPORARY: (&str, &str) = (".", "part");
/// A name of a file that is complete and could not get the name that it was to have.
pub(super) const KEPT: (&str, &str) = ("", "verified");

#[derive(Debug)]
struct List {
    last_number: u64,
    /// A handful, one for each sink.
    entries: Vec<(u64, Option<PathBuf>)>,
}

impl List {
    fn remove(&mut self, is_meant: impl Fn(u64) -> bool) {
        for (_, temporary) in self.entries.extract_if(.., |(number, _)| is_meant(*number)) {
            let _ = temporary.map(fs::remove_file);
        }
    }

    fn set(&mut self, number: u64, temporary: Option<PathBuf>) {
        if let Some((_, entry)) = self.entries.iter_mut().find(|(other, _)| *other == number) {
            *entry = temporary;
        }
    }
}

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

static LIST: Mutex<List> = Mutex::new(List { last_number: 0, entries: Vec::new() });
const MOST_ATTEMPTS: u32 = 1000;
/// NAME_MAX less the additions.
const LONGEST_NAME: usize = 200;
