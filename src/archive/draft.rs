//! An entry in the making, in a directory of its own that gets the entry's name at the end.

use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use super::name::EntryName;
use super::store::{Draft, MANIFEST};
use crate::disk::{Disk, Kernel};

/// An entry in the making. Its manifest is made first, and locked, so that it shows to be alive, and written last.
#[derive(Debug)]
pub struct DirectoryDraft<D: Disk = Kernel> {
    disk: D,
    archive: PathBuf,
    path: PathBuf,
    /// By which this process knows it.
    number: u64,
    manifest: D::File,
    current: Option<D::File>,
    objects: Vec<String>,
}

impl<D: Disk> DirectoryDraft<D> {
    /// Makes a directory for an entry in `archive`. The process id keeps programs apart, the number what an earlier one
    /// left behind.
    pub(super) fn begin(disk: D, archive: &Path) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for path in draft_names(archive) {
            match disk.create_directory(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let manifest_path = path.join(MANIFEST);
            let manifest = match disk.create_new(&manifest_path) {
                Ok(manifest) => manifest,
                Err(error) => {
                    let _ = disk.remove_directory(&path);
                    // Somebody cleans up, and takes it for what a dead process has left.
                    let taken =
                        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists);
                    last = error;
                    if taken {
                        continue;
                    }
                    break;
                }
            };
            match disk.lock(&manifest, &manifest_path) {
                Ok(true) => {
                    let number = COUNT.fetch_add(1, Ordering::Relaxed);
                    unfinished().push((number, path.clone()));
                    let archive = archive.to_owned();
                    let objects = Vec::new();
                    return Ok(Self { disk, archive, path, number, manifest, current: None, objects });
                }
                // The same, a step later.
                Ok(false) => {}
                Err(error) => {
                    let _ = disk.remove(&manifest_path);
                    let _ = disk.remove_directory(&path);
                    last = error;
                    break;
                }
            }
        }
        Err(last)
    }

    fn end_object(&mut self) -> io::Result<()> {
        self.current.take().map_or(Ok(()), |file| self.disk.sync(&file))
    }

    /// Gives the directory its name, unless the process is about to leave and has removed what is in it.
    fn name(
        &self,
        mut names: impl Iterator<Item = EntryName>,
        given_up: &AtomicBool,
    ) -> io::Result<EntryName> {
        let mut unfinished = unfinished();
        if given_up.load(Ordering::SeqCst) || !unfinished.iter().any(|(number, _)| *number == self.number) {
            return Err(io::Error::other("the stream was given up"));
        }
        let name = names
            .find_map(|name| {
                match self.disk.rename_directory(&self.path, &self.archive.join(name.as_str())) {
                    Ok(()) => Some(Ok(name)),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    Err(error) => Some(Err(error)),
                }
            })
            .unwrap_or_else(|| Err(io::Error::other("all names for the entry are taken")))?;
        unfinished.retain(|(number, _)| *number != self.number);
        Ok(name)
    }

    fn forget(&self) {
        unfinished().retain(|(number, _)| *number != self.number);
    }
}

impl<D: Disk> Draft for DirectoryDraft<D> {
    fn put(&mut self, object: &str) -> io::Result<()> {
        self.end_object()?;
        self.objects.push(object.to_owned());
        self.current = Some(self.disk.create_new(&self.path.join(object))?);
        Ok(())
    }

    fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let Some(file) = &self.current else { return Err(io::Error::other("no object was begun")) };
        self.disk.write_all(file, slices)
    }

    fn finish(
        mut self,
        names: impl Iterator<Item = EntryName>,
        manifest: &[u8],
        given_up: &AtomicBool,
    ) -> io::Result<EntryName> {
        self.end_object()?;
        self.disk.write_all(&self.manifest, &mut [IoSlice::new(manifest)])?;
        self.disk.sync(&self.manifest)?;
        self.disk.sync_directory(&self.path)?;
        let name = self.name(names, given_up)?;
        let entry = self.archive.join(name.as_str());
        if let Err(error) = self.disk.sync_directory(&self.archive) {
            // A name that may be gone tomorrow is none today. Under its old name it is removed.
            let _ = self.disk.rename_directory(&entry, &self.path);
            return Err(error);
        }
        self.path = PathBuf::new();
        Ok(name)
    }
}

impl<D: Disk> Drop for DirectoryDraft<D> {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        for object in &self.objects {
            let _ = self.disk.remove(&self.path.join(object));
        }
        // Last, because its lock is what others know a living draft by.
        let _ = self.disk.remove(&self.path.join(MANIFEST));
        let _ = self.disk.remove_directory(&self.path);
        self.forget();
    }
}

/// Removes the drafts of this process; for an exit that does not wait for the threads that write them. One that is just
/// getting its name is left alone: it is whole.
pub fn remove_unfinished() {
    let mut unfinished = match UNFINISHED.try_lock() {
        Ok(unfinished) => unfinished,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for (_, path) in std::mem::take(&mut *unfinished) {
        for object in fs::read_dir(&path).into_iter().flatten().flatten() {
            let _ = fs::remove_file(object.path());
        }
        let _ = fs::remove_dir(path);
    }
}

fn unfinished() -> std::sync::MutexGuard<'static, Vec<(u64, PathBuf)>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drafts of this process; one for each archive that it writes to.
static UNFINISHED: Mutex<Vec<(u64, PathBuf)>> = Mutex::new(Vec::new());
/// Drafts that this process has begun.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Whether a draft is called like this.
pub(super) fn is_draft(name: &str) -> bool {
    name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)).is_some_and(|middle| {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        middle.split_once('-').is_some_and(|(process, attempt)| number(process) && number(attempt))
    })
}

/// Names for a draft of this process. An entry that is on its way out has one too.
pub(super) fn draft_names(archive: &Path) -> impl Iterator<Item = PathBuf> {
    let archive = archive.to_owned();
    (0..MOST_ATTEMPTS)
        .map(move |attempt| archive.join(format!("{PREFIX}{}-{attempt}{SUFFIX}", std::process::id())))
}

/// Hidden from `ls` and from every name that an entry may have.
const PREFIX: &str = ".mcast-";
const SUFFIX: &str = ".part";
/// Drafts with the same process id: in containers all are number 1.
const MOST_ATTEMPTS: u32 = 1000;
