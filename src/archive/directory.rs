//! Entries as directories in a directory.
//!
//! What is there is reached by way of open directories, never through a symbolic link, so that nothing that somebody has
//! put there leads out of it; and only regular files are opened, so that none blocks.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::fs::{flock, fstat, openat, statat, statvfs, unlinkat};
use rustix::io::Errno;

use super::Error;
use super::draft::{DirectoryDraft, draft_names, is_draft};
use super::name::EntryName;
use super::store::{Held, MANIFEST, MOST_ENTRIES, Store, Unfinished, is_object};
use crate::disk::{Disk, Kernel};

/// A directory that has entries, and perhaps other things, which it leaves alone.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The archive in this directory, which must be there.
    ///
    /// # Errors
    /// When it is not there, or no directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = Self { path: path.to_owned() };
        directory.handle()?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn handle(&self) -> Result<OwnedFd, Error> {
        open_directory(CWD, &self.path, OFlags::empty())
            .map_err(|errno| self.error("cannot open archive", errno.into()))
    }

    fn error(&self, action: &str, error: io::Error) -> Error {
        let remedy = if error.kind() == io::ErrorKind::NotFound { " (make the directory first)" } else { "" };
        Error::system(format!("{action} \"{}\"{remedy}", self.path.display()))(error)
    }

    /// The names of all directories in the archive that `wanted` wants.
    fn names(&self, handle: &OwnedFd, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let unreadable = |errno: Errno| self.error("cannot list archive", errno.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(handle).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if wanted(name) {
                if names.len() == MOST_ENTRIES {
                    return Err(Error::TooMany);
                }
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// An entry, or something that has the name of one.
    fn entry(&self, archive: &OwnedFd, name: &EntryName) -> Result<OwnedFd, Error> {
        open_directory(archive, name.as_str(), OFlags::NOFOLLOW).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::Missing(name.to_string()),
            _ => Error::system(format!("cannot open entry \"{name}\""))(errno.into()),
        })
    }

    /// Locks an entry's manifest.
    fn locked(&self, name: &EntryName, operation: FlockOperation) -> Result<HeldDirectory, Error> {
        let archive = self.handle()?;
        let entry = self.entry(&archive, name)?;
        let failed = |errno: Errno| Error::system(format!("cannot open entry \"{name}\""))(errno.into());
        let manifest = match open_object(&entry, MANIFEST) {
            Ok((manifest, _)) => manifest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(name.to_string()));
            }
            Err(error) => return Err(Error::damaged(name, format!("{MANIFEST}: {error}"))),
        };
        match flock(&manifest, operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::InUse(name.to_string())),
            Err(errno) => return Err(failed(errno)),
        }
        // It may have been removed before it was locked.
        if !is_same(&entry, &archive, name.as_str()) {
            return Err(Error::Missing(name.to_string()));
        }
        Ok(HeldDirectory { entry, _manifest: manifest })
    }
}

impl Store for Directory {
    type Draft = DirectoryDraft;
    type Held = HeldDirectory;

    fn begin(&self) -> io::Result<DirectoryDraft> {
        DirectoryDraft::begin(Kernel, &self.path)
    }

    fn entries(&self) -> Result<Vec<EntryName>, Error> {
        let handle = self.handle()?;
        let names = self.names(&handle, |name| EntryName::new(name).is_some())?;
        let has_manifest = |name: &EntryName| {
            let path = Path::new(name.as_str()).join(MANIFEST);
            open_directory(&handle, name.as_str(), OFlags::NOFOLLOW).is_ok()
                && statat(&handle, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        };
        Ok(names.iter().filter_map(|name| EntryName::new(name)).filter(has_manifest).collect())
    }

    fn drafts(&self) -> Result<Vec<Unfinished>, Error> {
        let handle = self.handle()?;
        let names = self.names(&handle, is_draft)?;
        Ok(names
            .into_iter()
            .filter_map(|name| {
                let draft = open_directory(&handle, name.as_str(), OFlags::NOFOLLOW).ok()?;
                let objects = objects(&draft).ok()?;
                let bytes = objects.iter().filter_map(|object| size(&draft, object).ok()).sum();
                let locked = lock(&draft, FlockOperation::NonBlockingLockShared);
                // In between it may have become an entry.
                let is_there = is_same(&draft, &handle, &name);
                is_there.then_some(Unfinished { name, bytes, is_running: matches!(locked, Locked::Alive) })
            })
            .collect())
    }

    fn hold(&self, name: &EntryName) -> Result<HeldDirectory, Error> {
        self.locked(name, FlockOperation::NonBlockingLockShared)
    }

    fn remove(&self, name: &EntryName) -> Result<(), Error> {
        let held = self.locked(name, FlockOperation::NonBlockingLockExclusive)?;
        let failed = |errno: Errno| Error::system(format!("cannot remove entry \"{name}\""))(errno.into());
        if let Some(stranger) = strangers(&held.entry).map_err(failed)?.into_iter().next() {
            return Err(Error::Stranger { name: name.to_string(), stranger });
        }
        let archive = self.handle()?;
        let entry = self.path.join(name.as_str());
        let draft = draft_names(&self.path)
            .find_map(|draft| match Kernel.rename_directory(&entry, &draft) {
                Ok(()) => Some(Ok(draft)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(error)),
            })
            .unwrap_or(Err(io::ErrorKind::AlreadyExists.into()))
            .and_then(|draft| Kernel.sync_directory(&self.path).map(|()| draft))
            .map_err(Error::system(format!("cannot remove entry \"{name}\"")))?;
        clear(&held.entry, &archive, draft.file_name().unwrap_or_default()).map_err(failed)
    }

    fn sweep(&self) -> Result<usize, Error> {
        let handle = self.handle()?;
        let mut swept = 0;
        for name in self.names(&handle, is_draft)? {
            let Ok(draft) = open_directory(&handle, name.as_str(), OFlags::NOFOLLOW) else { continue };
            // The lock is held until it is gone.
            let _lock = match lock(&draft, FlockOperation::NonBlockingLockExclusive) {
                Locked::Dead(lock) => lock,
                Locked::Bare => match lock_bare(&draft) {
                    Some(lock) => lock,
                    None => continue,
                },
                Locked::Alive => continue,
            };
            // In between it may have become an entry.
            if is_same(&draft, &handle, &name)
                && strangers(&draft).is_ok_and(|strangers| strangers.is_empty())
                && clear(&draft, &handle, OsStr::new(&name)).is_ok()
            {
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn free(&self) -> io::Result<Option<u64>> {
        let system = statvfs(&self.path)?;
        Ok(Some(system.f_bavail.saturating_mul(system.f_frsize)))
    }
}

/// An entry that is not removed while this lives.
#[derive(Debug)]
pub struct HeldDirectory {
    entry: OwnedFd,
    /// With the lock.
    _manifest: File,
}

impl Held for HeldDirectory {
    type Object = File;

    fn open(&self, object: &str) -> io::Result<(File, u64)> {
        open_object(&self.entry, object)
    }

    fn size(&self, object: &str) -> io::Result<u64> {
        size(&self.entry, object)
    }
}

/// What the lock on a draft's manifest tells.
enum Locked {
    /// A process works on the draft.
    Alive,
    /// No process does, and none will while the lock is held.
    Dead(File),
    /// It has no manifest: it is about to get it, or a process died before it had.
    Bare,
}

fn lock(draft: &OwnedFd, operation: FlockOperation) -> Locked {
    match open_object(draft, MANIFEST) {
        Ok((manifest, _)) => match flock(&manifest, operation) {
            Ok(()) => Locked::Dead(manifest),
            Err(_) => Locked::Alive,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Locked::Bare,
        // Whatever this is, no process of ours has made it.
        Err(_) => Locked::Alive,
    }
}

/// Gives a draft without a manifest one that is locked: whoever is about to make it looks for another place.
fn lock_bare(draft: &OwnedFd) -> Option<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let manifest = File::from(openat(draft, MANIFEST, flags, Mode::from_raw_mode(0o666)).ok()?);
    flock(&manifest, FlockOperation::NonBlockingLockExclusive).ok().map(|()| manifest)
}

/// Whether the open directory still has this name.
fn is_same(directory: &OwnedFd, archive: &OwnedFd, name: &str) -> bool {
    match (fstat(directory), statat(archive, name, AtFlags::SYMLINK_NOFOLLOW)) {
        (Ok(ours), Ok(there)) => (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino),
        _ => false,
    }
}

/// Removes what is ours from a directory, the manifest last, and the directory itself.
fn clear(directory: &OwnedFd, archive: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    for object in objects(directory)?.iter().filter(|object| *object != MANIFEST) {
        unlinkat(directory, object.as_str(), AtFlags::empty())?;
    }
    match unlinkat(directory, MANIFEST, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    unlinkat(archive, name, AtFlags::REMOVEDIR)
}

fn objects(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut objects = Vec::new();
    for entry in Dir::read_from(directory)? {
        if let Ok(name) = entry?.file_name().to_str()
            && is_object(name)
        {
            objects.push(name.to_owned());
        }
    }
    Ok(objects)
}

/// What is in a directory and was put there by nobody of ours: other names, and what is no regular file.
fn strangers(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut strangers = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = || {
            let status = statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            status.is_ok_and(|status| is_regular(&status))
        };
        if name != "." && name != ".." && !(is_object(&name) && is_ours()) {
            strangers.push(name);
        }
    }
    Ok(strangers)
}

fn open_directory(
    at: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn open_object(directory: &OwnedFd, object: &str) -> io::Result<(File, u64)> {
    if !is_object(object) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, object, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => io::Error::other("it is a symbolic link"),
        errno => errno.into(),
    })?;
    let status = fstat(&file)?;
    if !is_regular(&status) {
        return Err(io::Error::other("it is no file"));
    }
    Ok((file.into(), u64::try_from(status.st_size).unwrap_or(0)))
}

fn size(directory: &OwnedFd, object: &str) -> io::Result<u64> {
    let status = statat(directory, object, AtFlags::SYMLINK_NOFOLLOW)?;
    if !is_regular(&status) {
        return Err(io::Error::other("it is no file"));
    }
    Ok(u64::try_from(status.st_size).unwrap_or(0))
}

fn is_regular(status: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
}
