//! Entries as directories in a directory.
//!
//! What is there is reached by way of open directories, never through a symbolic link, so that nothing that somebody has
//! put there leads out of it; and only regular files are opened, so that none blocks.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, OFlags, StatxAttributes, StatxFlags};
use rustix::fs::{flock, fstat, statat, statvfs, statx};
use rustix::io::Errno;

use super::Error;
use super::draft::DirectoryDraft;
use super::draft_name::{Origin, draft_names, origin};
use super::name::EntryName;
use super::objects::{Contents, contents, has_objects_of_an_entry, is_same, kind_of};
use super::objects::{open_directory, open_object, size, wrong_object};
use super::store::{DraftState, Held, KEPT, MANIFEST, MOST_ENTRIES, Removed, Store, Swept, Unfinished};
use crate::disk::folders::Folders;
use crate::disk::{FileMode, Kernel};

/// A directory that has entries, and perhaps other things, which it leaves alone.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    mode: Option<FileMode>,
}

impl Directory {
    /// The archive in this directory, which must be there.
    ///
    /// # Errors
    /// When it is not there, or no directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = Self { path: path.to_owned(), mode: None };
        directory.handle()?;
        Ok(directory)
    }

    /// Gives new entries this mode. Without one, only their owner may read them.
    #[must_use]
    pub fn with_mode(self, mode: Option<FileMode>) -> Self {
        Self { mode, ..self }
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

    /// The directory of an entry, or one that has the name of an entry.
    fn entry(&self, archive: &OwnedFd, name: &EntryName) -> Result<OwnedFd, Error> {
        open_directory(archive, name.as_str(), OFlags::NOFOLLOW).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => match kind_of(archive, name.as_str()) {
                Some(kind) if name.given().is_some() => {
                    Error::damaged(name, format!("it is {kind} and not a directory; mcast has not made it"))
                }
                _ => Error::Missing(name.to_string()),
            },
            _ => Error::system(format!("cannot open entry \"{name}\""))(errno.into()),
        })
    }

    /// Locks an entry's manifest. With an exclusive lock the entry is removed, which one without a manifest can be, too.
    fn locked(&self, name: &EntryName, operation: FlockOperation) -> Result<HeldDirectory, Error> {
        let archive = self.handle()?;
        let entry = self.entry(&archive, name)?;
        let removes = operation == FlockOperation::NonBlockingLockExclusive;
        let manifest = match open_to_lock(&entry, operation) {
            Ok(manifest) => Some(manifest),
            Err(error) if is_refusal(&error) => {
                return Err(Error::system(format!("cannot open {MANIFEST} of entry \"{name}\""))(error));
            }
            Err(error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                // Removed while we looked, or never an entry.
                if !is_same(&entry, &archive, name.as_str())
                    || (name.given().is_none() && !has_objects_of_an_entry(&entry))
                {
                    return Err(Error::Missing(name.to_string()));
                }
                // No process of ours works on an entry whose manifest is missing, or is not a file.
                let is_unused = is_missing || error.raw_os_error().is_none();
                if !(removes && is_unused) {
                    return Err(Error::damaged(name, wrong_object(MANIFEST, &error)));
                }
                lock_bare(&entry)
            }
        };
        match manifest.as_ref().map_or(Ok(()), |manifest| flock(manifest, operation)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::InUse(name.to_string())),
            // Without working locks no process of this host can remove the entry while it is read, and a restore must not
            // depend on them.
            Err(_) if !removes => {}
            Err(errno) => return Err(Error::NoLocks { name: name.to_string(), source: errno.into() }),
        }
        // It may have been removed before it was locked.
        if !is_same(&entry, &archive, name.as_str()) {
            return Err(Error::Missing(name.to_string()));
        }
        Ok(HeldDirectory { entry, manifest })
    }

    /// Removes a draft that no process works on, if it is one. `now` gives the time at the file system, in seconds.
    fn sweep_one(
        &self,
        archive: &OwnedFd,
        name: &str,
        now: &mut dyn FnMut() -> io::Result<i64>,
        swept: &mut Swept,
    ) -> io::Result<()> {
        let Ok(draft) = open_directory(archive, name, OFlags::NOFOLLOW) else { return Ok(()) };
        let Contents { objects, strangers } = contents(&draft)?;
        if objects.iter().any(|object| object == KEPT) {
            swept.kept.push(name.to_owned());
            return Ok(());
        }
        if objects.is_empty() && !strangers.is_empty() {
            return Ok(());
        }
        if origin(name) != Some(Origin::ThisKernel)
            && now()?.saturating_sub(last_change(&draft, &objects)?) < UNTOUCHED.as_secs().cast_signed()
        {
            return Ok(());
        }
        // The lock is held until it is gone.
        let lock = match lock(&draft, FlockOperation::NonBlockingLockExclusive) {
            Locked::Dead(lock) => lock,
            Locked::Bare => match lock_bare(&draft) {
                Some(lock) => lock,
                None => return Ok(()),
            },
            Locked::Alive | Locked::Foreign => return Ok(()),
            Locked::Unknown(error) => return Err(error),
        };
        // In between it may have become an entry.
        if !is_same(&draft, archive, name) {
            return Ok(());
        }
        clear(&draft, archive, name, Some(lock), "unfinished")?;
        swept.removed += 1;
        Ok(())
    }

    /// The time that the file system gives to what is written now, in seconds.
    fn time_there(&self) -> io::Result<i64> {
        let draft = DirectoryDraft::begin(Kernel, &self.path, None)?;
        draft.began()
    }
}

impl Store for Directory {
    type Draft = DirectoryDraft;
    type Held = HeldDirectory;

    fn begin(&self) -> io::Result<DirectoryDraft> {
        DirectoryDraft::begin(Kernel, &self.path, self.mode)
    }

    fn try_out(&self) -> io::Result<()> {
        let handle = open_directory(CWD, &self.path, OFlags::empty())?;
        // A directory that is made in such a directory could not be removed again.
        let status = statx(&handle, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE);
        let attributes = status.map_or(StatxAttributes::empty(), |status| status.stx_attributes);
        for (attribute, flag) in [(StatxAttributes::APPEND, 'a'), (StatxAttributes::IMMUTABLE, 'i')] {
            if attributes.contains(attribute) {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "nothing in it can get a name or be removed, because it has the attribute {flag}; chattr -{flag} it"
                    ),
                ));
            }
        }
        DirectoryDraft::begin(Kernel, &self.path, self.mode)?.try_out()
    }

    fn entries(&self) -> Result<Vec<EntryName>, Error> {
        let handle = self.handle()?;
        let names = self.names(&handle, |name| EntryName::new(name).is_some())?;
        // The objects of another user's entry cannot be seen, but its name tells.
        let is_entry =
            |name: &EntryName| name.given().is_some() || looks_like_an_entry(&handle, name.as_str());
        Ok(names.iter().filter_map(|name| EntryName::new(name)).filter(is_entry).collect())
    }

    fn misnamed(&self) -> Result<Vec<String>, Error> {
        let handle = self.handle()?;
        let unreadable = |errno: Errno| self.error("cannot list archive", errno.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&handle).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let is_taken = shown.starts_with('.') || EntryName::new(&shown).is_some();
            if !is_taken && names.len() < MOST_ENTRIES && looks_like_an_entry(&handle, name) {
                names.push(shown.into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn drafts(&self) -> Result<Vec<Unfinished>, Error> {
        let handle = self.handle()?;
        let names = self.names(&handle, |name| origin(name).is_some())?;
        Ok(names
            .into_iter()
            .filter_map(|name| {
                let draft = match open_directory(&handle, name.as_str(), OFlags::NOFOLLOW) {
                    Ok(draft) => draft,
                    Err(Errno::ACCESS) => {
                        return Some(Unfinished { name, bytes: 0, state: DraftState::Unknown });
                    }
                    Err(_) => return None,
                };
                let objects = contents(&draft).ok()?.objects;
                let bytes = objects.iter().filter_map(|object| size(&draft, object).ok()).sum();
                let state = match lock(&draft, FlockOperation::NonBlockingLockShared) {
                    _ if objects.iter().any(|object| object == KEPT) => DraftState::Kept,
                    Locked::Alive => DraftState::Running,
                    Locked::Foreign | Locked::Unknown(_) => DraftState::Unknown,
                    Locked::Dead(_) | Locked::Bare if origin(&name) == Some(Origin::ThisKernel) => {
                        DraftState::LeftOver
                    }
                    Locked::Dead(_) | Locked::Bare => DraftState::Elsewhere,
                };
                // In between it may have become an entry.
                is_same(&draft, &handle, &name).then_some(Unfinished { name, bytes, state })
            })
            .collect())
    }

    fn hold(&self, name: &EntryName) -> Result<HeldDirectory, Error> {
        self.locked(name, FlockOperation::NonBlockingLockShared)
    }

    fn remove(&self, name: &EntryName) -> Result<Removed, Error> {
        let held = self.locked(name, FlockOperation::NonBlockingLockExclusive)?;
        let archive = self.handle()?;
        let failed = || Error::system(format!("cannot remove entry \"{name}\""));
        let draft = draft_names()
            .find_map(|draft| match Kernel.rename_folder(&archive, name.as_str(), &draft) {
                Ok(()) => Some(Ok(draft)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                Err(error) => Some(Err(error)),
            })
            .unwrap_or(Err(io::ErrorKind::AlreadyExists.into()))
            .and_then(|draft| Kernel.sync_folder(&archive).map(|()| draft))
            .map_err(failed())?;
        let remains = clear(&held.entry, &archive, &draft, held.manifest, name.as_str()).map_err(failed())?;
        Ok(Removed { remains })
    }

    fn sweep(&self) -> Result<Swept, Error> {
        let handle = self.handle()?;
        let mut swept = Swept::default();
        let mut time = None;
        let mut now = || match time {
            Some(time) => Ok(time),
            None => self.time_there().inspect(|now| time = Some(*now)),
        };
        for name in self.names(&handle, |name| origin(name).is_some())? {
            if let Err(error) = self.sweep_one(&handle, &name, &mut now, &mut swept) {
                swept.errors.push(format!("cannot remove what is left over in \"{name}\": {error}"));
            }
        }
        Ok(swept)
    }

    fn free(&self) -> io::Result<Option<u64>> {
        let system = statvfs(&self.path)?;
        Ok(Some(system.f_bavail.saturating_mul(system.f_frsize)))
    }

    fn capacity(&self) -> io::Result<Option<u64>> {
        let system = statvfs(&self.path)?;
        Ok(Some(system.f_blocks.saturating_mul(system.f_frsize)))
    }
}

/// An entry that is not removed while this lives.
#[derive(Debug)]
pub struct HeldDirectory {
    entry: OwnedFd,
    /// With the lock. `None` where an entry that has no file of this name is removed.
    manifest: Option<File>,
}

impl Held for HeldDirectory {
    type Object = File;

    fn open(&self, object: &str) -> io::Result<(File, u64)> {
        open_object(&self.entry, object, OFlags::RDONLY)
    }

    fn size(&self, object: &str) -> io::Result<u64> {
        size(&self.entry, object)
    }
}

/// What the lock on a draft's manifest tells.
enum Locked {
    /// A process works on the draft.
    Alive,
    /// No process that this lock reaches does, and none will while the lock is held.
    Dead(File),
    /// It has no manifest: it is about to get it, or a process died before it had.
    Bare,
    /// The object with the manifest's name is no file, so no process of ours has made it.
    Foreign,
    /// The system does not say.
    Unknown(io::Error),
}

fn lock(draft: &OwnedFd, operation: FlockOperation) -> Locked {
    match open_to_lock(draft, operation) {
        Ok(manifest) => match flock(&manifest, operation) {
            Ok(()) => Locked::Dead(manifest),
            Err(Errno::WOULDBLOCK) => Locked::Alive,
            Err(errno) => Locked::Unknown(io::Error::other(format!("cannot lock {MANIFEST}: {errno}"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Locked::Bare,
        Err(error) if error.raw_os_error().is_some() => Locked::Unknown(error),
        Err(_) => Locked::Foreign,
    }
}

/// Whether a directory of this name has the objects of an entry.
fn looks_like_an_entry(archive: &OwnedFd, name: impl rustix::path::Arg) -> bool {
    open_directory(archive, name, OFlags::NOFOLLOW).is_ok_and(|entry| has_objects_of_an_entry(&entry))
}

/// The system says something of rights or of the mount, and nothing of the file.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Opens a manifest for this lock. On NFS an exclusive one needs a file that is open for writing.
fn open_to_lock(directory: &OwnedFd, operation: FlockOperation) -> io::Result<File> {
    let exclusive = operation == FlockOperation::NonBlockingLockExclusive;
    let access = if exclusive { OFlags::RDWR } else { OFlags::RDONLY };
    match open_object(directory, MANIFEST, access) {
        // The mode of the file or the mount forbids writing. Only on NFS does the lock depend on that.
        Err(error) if exclusive && is_refusal(&error) => open_object(directory, MANIFEST, OFlags::RDONLY),
        opened => opened,
    }
    .map(|(manifest, _)| manifest)
}

/// Gives a draft without a manifest one that is locked: whoever is about to make it looks for another place.
fn lock_bare(draft: &OwnedFd) -> Option<File> {
    let manifest = Kernel.create_file(draft, MANIFEST).ok()?;
    flock(&manifest, FlockOperation::NonBlockingLockExclusive).ok().map(|()| manifest)
}

/// When a draft was last written to, in seconds by the file system's clock.
fn last_change(draft: &OwnedFd, objects: &[String]) -> io::Result<i64> {
    let changes = objects.iter().filter_map(|object| statat(draft, object, AtFlags::SYMLINK_NOFOLLOW).ok());
    Ok(changes.chain([fstat(draft)?]).map(|status| status.st_mtime).max().unwrap_or_default())
}

/// Removes what is ours from a directory, the manifest last, and the directory itself. Files of others stay, and the
/// directory then gets a name that begins with `stem`, which is returned: it is no entry's, and nothing looks at it again.
fn clear(
    directory: &OwnedFd,
    archive: &OwnedFd,
    name: &str,
    lock: Option<File>,
    stem: &str,
) -> io::Result<Option<String>> {
    let (manifests, others): (Vec<_>, Vec<_>) =
        contents(directory)?.objects.into_iter().partition(|object| object == MANIFEST);
    for object in others.iter().chain(&manifests) {
        match Kernel.remove_file(directory, object) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && object == MANIFEST => {}
            removed => removed?,
        }
    }
    // On NFS, a file that is removed while it is open stays in the directory under another name until it is closed.
    drop(lock);
    match Kernel.remove_folder(archive, name) {
        Ok(()) => Ok(None),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let left = contents(directory)?;
            if left.is_transient() && !left.strangers.is_empty() {
                // The next sweep finds it empty.
                return Ok(None);
            }
            if left.strangers.is_empty() {
                return Err(error);
            }
            set_aside(archive, name, stem).map(Some)
        }
    }
}

/// Gives what is left of an entry or a draft a name that everybody sees and that is no entry's.
fn set_aside(archive: &OwnedFd, name: &str, stem: &str) -> io::Result<String> {
    let names = (1..=MOST_REMAINS).map(|number| match number {
        1 => format!("{stem}.remains"),
        _ => format!("{stem}-{number}.remains"),
    });
    for remains in names {
        match Kernel.rename_folder(archive, name, &remains) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed.map(|()| remains),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A draft of another host is removed once it has not changed for so long: longer than any pause of a stream, and shorter
/// than the time from one nightly session to the next.
pub const UNTOUCHED: Duration = Duration::from_secs(20 * 3600);
/// Names for what is left of entries with one name.
const MOST_REMAINS: u32 = 1000;

#[cfg(test)]
mod tests {
    use rustix::fs::fcntl_getfl;

    use super::*;

    /// Fault 49: NFS refuses an exclusive lock on a file that is not open for writing.
    #[test]
    fn exclusive_lock_is_taken_on_a_manifest_that_is_open_for_writing() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        let name = crate::archive::sharing::add(&archive, "shop", 1, b"stream");
        for (operation, access) in [
            (FlockOperation::NonBlockingLockExclusive, OFlags::RDWR),
            (FlockOperation::NonBlockingLockShared, OFlags::RDONLY),
        ] {
            let held = archive.locked(&name, operation).unwrap();
            assert_eq!(fcntl_getfl(held.manifest.unwrap()).unwrap() & OFlags::RWMODE, access);
        }
    }
}
