//! An entry in the making, in a directory of its own that gets the entry's name at the end.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use rustix::fs::{AtFlags, statat, unlinkat};

use super::draft_name::draft_names;
use super::name::EntryName;
use super::objects::contents;
use super::store::{Draft, KEPT, MANIFEST, data_object};
use crate::disk::folders::Folders;
use crate::disk::{FileMode, Kernel};

/// An entry in the making. Its manifest is made first, and locked, so that it shows to be alive, and written last. All
/// that is done in it is done by descriptor.
#[derive(Debug)]
pub struct DirectoryDraft<D: Folders = Kernel> {
    disk: D,
    archive: D::Folder,
    /// Path of the archive, for messages.
    place: PathBuf,
    folder: D::Folder,
    /// Name of the folder in the archive.
    name: String,
    /// By which this process knows it.
    number: u64,
    /// With the lock. Closed before the folder is removed.
    manifest: Option<D::File>,
    current: Option<D::File>,
    objects: Vec<String>,
    /// That files and folder get when they are complete.
    mode: Option<FileMode>,
    /// It has become an entry, or is kept: nothing of it is removed.
    stays: bool,
}

impl<D: Folders> DirectoryDraft<D> {
    /// Makes a directory for an entry in `archive`, which only this user may enter. Its files get `mode`, if there is one,
    /// and the directory too, once all of them are complete.
    pub(super) fn begin(disk: D, archive: &Path, mode: Option<FileMode>) -> io::Result<Self> {
        let place = archive.to_owned();
        let archive = disk.open_folder(archive)?;
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for name in draft_names() {
            let folder = match disk.create_folder(&archive, &name) {
                Ok(folder) => folder,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(during("cannot make a directory", error)),
            };
            let (manifest, error) = match disk.create_file(&folder, MANIFEST) {
                Ok(manifest) => match disk.lock(&manifest, &folder, MANIFEST) {
                    Ok(true) => {
                        let number = COUNT.fetch_add(1, Ordering::Relaxed);
                        let descriptors = disk.descriptor(&archive).zip(disk.descriptor(&folder));
                        unfinished().push(Unfinished { number, name: name.clone(), descriptors });
                        return Ok(Self {
                            disk,
                            archive,
                            place,
                            folder,
                            name,
                            number,
                            manifest: Some(manifest),
                            current: None,
                            objects: Vec::new(),
                            mode,
                            stays: false,
                        });
                    }
                    // Another process clears up, and takes it for the draft of a dead one.
                    Ok(false) => continue,
                    Err(error) => (Some(manifest), during(NO_LOCKS, error)),
                },
                Err(error) => (None, during("cannot make a file", error)),
            };
            // Another process may have cleared it up a step earlier.
            let is_taken = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists);
            if manifest.is_some() {
                let _ = disk.remove_file(&folder, MANIFEST);
            }
            drop(manifest);
            let _ = disk.remove_folder(&archive, &name);
            last = error;
            if !is_taken {
                break;
            }
        }
        Err(last)
    }

    /// Does once, with one byte, what [`Draft::finish`] will do, except that the other name is a draft's too, and removes
    /// the draft.
    pub(super) fn try_out(mut self) -> io::Result<()> {
        self.put(&data_object(None))?;
        self.write_all(&mut [IoSlice::new(b"x")])?;
        self.complete(b"x")?;
        let mut unfinished = unfinished();
        let other = draft_names()
            .filter(|other| *other != self.name)
            .find_map(|other| match self.disk.rename_folder(&self.archive, &self.name, &other) {
                Ok(()) => Some(Ok(other)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(during(NO_RENAMING, error))),
            })
            .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()));
        if let Ok(other) = &other {
            unfinished.iter_mut().filter(|draft| draft.number == self.number).for_each(|draft| {
                draft.name.clone_from(other);
            });
            self.name.clone_from(other);
        }
        drop(unfinished);
        other?;
        self.disk.sync_folder(&self.archive).map_err(|error| during(NO_SYNC, error))?;
        self.remove().map_err(|error| {
            let path = self.place.join(&self.name);
            during(&format!("cannot remove a directory, and \"{}\" is left", path.display()), error)
        })
    }

    fn end_object(&mut self) -> io::Result<()> {
        let Some(file) = self.current.take() else { return Ok(()) };
        self.set_mode(&file)?;
        self.disk.sync(&file)
    }

    /// The folder keeps others out until the end.
    fn set_mode(&self, file: &D::File) -> io::Result<()> {
        let Some(mode) = self.mode else { return Ok(()) };
        self.disk.set_mode(file, mode).map_err(|error| during(NO_MODE, error))
    }

    /// Brings all that is in the folder to the disk, the manifest last.
    fn complete(&mut self, manifest: &[u8]) -> io::Result<()> {
        self.end_object()?;
        if let Some(file) = &self.manifest {
            self.disk.write_all(file, &mut [IoSlice::new(manifest)])?;
            self.set_mode(file)?;
            self.disk.sync(file)?;
        }
        if let Some(mode) = self.mode {
            self.disk.set_folder_mode(&self.folder, mode).map_err(|error| during(NO_MODE, error))?;
        }
        self.disk.sync_folder(&self.folder).map_err(|error| during(NO_SYNC, error))
    }

    /// Gives the folder its name, unless the process is about to leave and has removed what is in it.
    fn name(
        &self,
        mut names: impl Iterator<Item = EntryName>,
        given_up: &AtomicBool,
    ) -> Result<EntryName, Unnamed> {
        let mut unfinished = unfinished();
        if given_up.load(Ordering::SeqCst) || !unfinished.iter().any(|draft| draft.number == self.number) {
            return Err(Unnamed::GivenUp);
        }
        let name = names
            .find_map(|name| match self.disk.rename_folder(&self.archive, &self.name, name.as_str()) {
                Ok(()) => Some(Ok(name)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(Unnamed::Refused(during(NO_RENAMING, error)))),
            })
            .unwrap_or_else(|| {
                Err(Unnamed::Refused(io::Error::other("all names for the entry are taken")))
            })?;
        if let Err(error) = self.disk.sync_folder(&self.archive) {
            // The name may not survive a power cut, so it is taken back.
            let error = during(NO_SYNC, error);
            return Err(match self.disk.rename_folder(&self.archive, name.as_str(), &self.name) {
                Ok(()) => Unnamed::Refused(error),
                Err(_) => Unnamed::Uncertain(name, error),
            });
        }
        unfinished.retain(|draft| draft.number != self.number);
        Ok(name)
    }

    /// The stream is whole and on the disk but its folder gets no name: keeps it, marked, so that no sweep takes it, and
    /// says where it is. A folder that cannot be marked stays too, and the message says how long.
    fn keep(&mut self, first: Option<EntryName>, error: io::Error) -> io::Error {
        let path = self.place.join(&self.name);
        // The mark counts, and the reason in it only helps: a full disk may have no room for that.
        let marked = self.disk.create_file(&self.folder, KEPT).map(|file| {
            let reason = format!("{error}\n");
            let written = self.disk.write_all(&file, &mut [IoSlice::new(reason.as_bytes())]);
            let _ = written
                .and_then(|()| self.disk.sync(&file))
                .and_then(|()| self.disk.sync_folder(&self.folder));
        });
        let in_time = match marked {
            Ok(()) => String::new(),
            Err(why) => {
                format!(" before the next session of this archive removes it (it could not be marked: {why})")
            }
        };
        self.stays = true;
        let entry = first.map_or_else(|| self.place.clone(), |name| self.place.join(name.as_str()));
        let remedy = format!(
            "the verified stream is kept in \"{}\"; mv it to \"{}\" to make it an entry{in_time}",
            path.display(),
            entry.display()
        );
        io::Error::new(error.kind(), format!("{error}; {remedy}"))
    }

    /// Removes all of it, the manifest last because others know a living draft by its lock.
    fn remove(&mut self) -> io::Result<()> {
        self.current = None;
        let mut removed = Ok(());
        for object in self.objects.drain(..) {
            removed = removed.and(self.disk.remove_file(&self.folder, &object));
        }
        removed = removed.and(self.disk.remove_file(&self.folder, MANIFEST));
        // On NFS, a file that is removed while it is open stays in the folder under another name until it is closed.
        self.manifest = None;
        removed = removed.and(self.disk.remove_folder(&self.archive, &self.name));
        self.forget();
        self.stays = true;
        removed
    }

    fn forget(&self) {
        unfinished().retain(|draft| draft.number != self.number);
    }
}

impl DirectoryDraft {
    /// When its manifest was made, in seconds by the file system's clock.
    pub(super) fn began(&self) -> io::Result<i64> {
        Ok(statat(&self.folder, MANIFEST, AtFlags::SYMLINK_NOFOLLOW)?.st_mtime)
    }
}

impl<D: Folders> Draft for DirectoryDraft<D> {
    fn put(&mut self, object: &str) -> io::Result<()> {
        self.end_object()?;
        self.objects.push(object.to_owned());
        let file = self.disk.create_file(&self.folder, object);
        self.current = Some(file.map_err(|error| during("cannot make a file", error))?);
        Ok(())
    }

    fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let Some(file) = &self.current else { return Err(io::Error::other("no object was begun")) };
        self.disk.write_all(file, slices)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.end_object()
    }

    fn finish(
        mut self,
        names: impl Iterator<Item = EntryName>,
        manifest: &[u8],
        given_up: &AtomicBool,
    ) -> io::Result<EntryName> {
        self.complete(manifest)?;
        let mut names = names.peekable();
        let first = names.peek().cloned();
        match self.name(names, given_up) {
            Ok(name) => {
                self.stays = true;
                Ok(name)
            }
            Err(Unnamed::GivenUp) => Err(io::Error::other("the stream was given up")),
            Err(Unnamed::Uncertain(name, error)) => {
                self.stays = true;
                let path = self.place.join(name.as_str());
                let text = format!(
                    "{error}; the verified stream is in \"{}\", but a power cut may take that name away",
                    path.display()
                );
                Err(io::Error::new(error.kind(), text))
            }
            Err(Unnamed::Refused(error)) => Err(self.keep(first, error)),
        }
    }
}

impl<D: Folders> Drop for DirectoryDraft<D> {
    fn drop(&mut self) {
        if self.stays {
            self.forget();
        } else {
            let _ = self.remove();
        }
    }
}

/// Why a draft has not become an entry.
enum Unnamed {
    /// The stream was given up.
    GivenUp,
    /// The file system refuses the name; the draft has its old one.
    Refused(io::Error),
    /// The name may not have reached the disk, and could not be taken back.
    Uncertain(EntryName, io::Error),
}

/// `error`, with what was done when it came in front.
fn during(action: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action}: {error}"))
}

/// Removes the drafts of this process; for an exit that does not wait for the threads that write them. One that is just
/// getting its name is left alone: it is whole.
pub fn remove_unfinished() {
    let mut unfinished = match UNFINISHED.try_lock() {
        Ok(unfinished) => unfinished,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for draft in std::mem::take(&mut *unfinished) {
        let Some((archive, folder)) = draft.descriptors else { continue };
        for object in contents(&folder).unwrap_or_default().objects {
            let _ = unlinkat(&folder, object, AtFlags::empty());
        }
        let _ = unlinkat(archive, draft.name, AtFlags::REMOVEDIR);
    }
}

fn unfinished() -> std::sync::MutexGuard<'static, Vec<Unfinished>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of a draft that an exit must know.
struct Unfinished {
    number: u64,
    name: String,
    /// The archive's and its own.
    descriptors: Option<(OwnedFd, OwnedFd)>,
}

/// Drafts of this process; one for each archive that it writes to.
static UNFINISHED: Mutex<Vec<Unfinished>> = Mutex::new(Vec::new());
/// Drafts that this process has begun.
static COUNT: AtomicU64 = AtomicU64::new(0);

const NO_LOCKS: &str = "locks (flock) do not work on this file system; mount it so that they do (NFS: version 4, or rpc.statd at both ends), or choose a directory on another one";
const NO_MODE: &str = "cannot set the mode of a file or directory (leave out --mode)";
const NO_RENAMING: &str = "cannot rename a directory";
const NO_SYNC: &str = "cannot bring a directory to the disk";
