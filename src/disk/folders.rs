//! Directories that are held open. Every operation takes a descriptor and a name, so a link or a directory
//! that has taken the place of another in the meantime is not followed, filled or emptied.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::fs::{fchmod, flock, fstat, mkdirat, openat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::{Disk, FileMode, Kernel};

/// A file system with directories that can be held open.
pub trait Folders: Disk {
    /// A directory that is held open.
    type Folder: Debug;

    /// Opens a directory.
    ///
    /// # Errors
    /// When there is none.
    fn open_folder(&self, path: &Path) -> io::Result<Self::Folder>;

    /// Makes an empty directory, which only this user may enter.
    ///
    /// # Errors
    /// When the name is taken, or the file system does not take it.
    fn create_folder(&self, at: &Self::Folder, name: &str) -> io::Result<Self::Folder>;

    /// Gives the directory the mode of one that has files of this mode.
    ///
    /// # Errors
    /// When the file system does not take it.
    fn set_folder_mode(&self, folder: &Self::Folder, mode: FileMode) -> io::Result<()>;

    /// Gives the directory called `from` the name `to`.
    ///
    /// # Errors
    /// When the name is taken, or the file system refuses it.
    fn rename_folder(&self, at: &Self::Folder, from: &str, to: &str) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// When it is not empty, or there is no such directory.
    fn remove_folder(&self, at: &Self::Folder, name: &str) -> io::Result<()>;

    /// Brings the names in a directory to the device.
    ///
    /// # Errors
    /// When the device does not take them.
    fn sync_folder(&self, folder: &Self::Folder) -> io::Result<()>;

    /// Makes a file that only this user may read and write.
    ///
    /// # Errors
    /// When the name is taken, or the file system does not take it.
    fn create_file(&self, at: &Self::Folder, name: &str) -> io::Result<Self::File>;

    /// Takes a file's name away.
    ///
    /// # Errors
    /// When there is no such name.
    fn remove_file(&self, at: &Self::Folder, name: &str) -> io::Result<()>;

    /// Locks the file until it is closed, which the system does for a process that dies. False if another process has
    /// the lock, or took the name away from the file before it was locked.
    ///
    /// # Errors
    /// When the file system has no locks that work.
    fn lock(&self, file: &Self::File, at: &Self::Folder, name: &str) -> io::Result<bool>;

    /// A descriptor of the directory, for an exit that waits for no thread. `None` where there are no descriptors.
    fn descriptor(&self, folder: &Self::Folder) -> Option<OwnedFd>;
}

impl Folders for Kernel {
    type Folder = OwnedFd;

    fn open_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
    }

    fn create_folder(&self, at: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
        mkdirat(at, name, Mode::RWXU)?;
        openat(at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
            // Another process has removed it in between, as it may do with an empty directory: the name is no good.
            Errno::NOENT => io::ErrorKind::AlreadyExists.into(),
            errno => {
                let _ = unlinkat(at, name, AtFlags::REMOVEDIR);
                errno.into()
            }
        })
    }

    fn set_folder_mode(&self, folder: &OwnedFd, mode: FileMode) -> io::Result<()> {
        Ok(fchmod(folder, Mode::from_raw_mode(mode.of_directory()))?)
    }

    fn rename_folder(&self, at: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
        match renameat_with(at, from, at, to, RenameFlags::NOREPLACE) {
            // Not every file system can do that (NFS cannot). Between the look and the renaming only an empty directory
            // could be replaced, which is no loss.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                match statat(at, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => Ok(renameat(at, from, at, to)?),
                    Err(errno) => Err(errno.into()),
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                }
            }
            renamed => Ok(renamed?),
        }
    }

    fn remove_folder(&self, at: &OwnedFd, name: &str) -> io::Result<()> {
        Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
    }

    fn sync_folder(&self, folder: &OwnedFd) -> io::Result<()> {
        match rustix::fs::fsync(folder) {
            // Some file systems have nothing to sync in a directory.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn create_file(&self, at: &OwnedFd, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(at, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn remove_file(&self, at: &OwnedFd, name: &str) -> io::Result<()> {
        Ok(unlinkat(at, name, AtFlags::empty())?)
    }

    fn lock(&self, file: &File, at: &OwnedFd, name: &str) -> io::Result<bool> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        let inode = |status: &Stat| (status.st_dev, status.st_ino);
        let ours = inode(&fstat(file)?);
        Ok(statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|there| inode(&there) == ours))
    }

    fn descriptor(&self, folder: &OwnedFd) -> Option<OwnedFd> {
        folder.try_clone().ok()
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
