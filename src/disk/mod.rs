//! The few things that files which must last ask of a file system, so that a test can play one that loses what was not
//! synced.

pub mod folders;
#[cfg(test)]
pub(crate) mod power_cut;
pub(crate) mod special;

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, StatxAttributes, StatxFlags};
use rustix::fs::{linkat, renameat_with, statx};
use rustix::io::Errno;
use rustix::process::geteuid;

/// A file system. What it has done is lost with the power unless it was synced: data with [`Disk::sync`], names with
/// [`Disk::sync_directory`].
pub trait Disk: Clone + Debug {
    /// An open file.
    type File: Debug;

    /// A file without a name, which is gone when it is closed. `None` where there is no such thing.
    fn create_unnamed(&self, directory: &Path) -> Option<Self::File>;

    /// A file of this name.
    ///
    /// # Errors
    /// When the name is taken, or the file system does not take it.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;

    /// Appends all bytes of all slices, in order.
    ///
    /// # Errors
    /// When there is no space, the quota is used up, or the device fails.
    fn write_all(&self, file: &Self::File, slices: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Gives the file owner and mode of the one at `path`, if there is one, and if its owner is this user, or its directory
    /// is one that only this user may write to, or only the file's owner. Any other file may have been put there so that the
    /// new one can be read. If the owner cannot be given, group and others get
    /// nothing. Else only this user may read the file. If `mode` is there, the file gets that one in any case.
    ///
    /// # Errors
    /// When the mode cannot be set.
    fn take_after(&self, file: &Self::File, path: &Path, mode: Option<FileMode>) -> io::Result<()>;

    /// Gives the file this mode, whatever the process's mask is.
    ///
    /// # Errors
    /// When the file system does not take it.
    fn set_mode(&self, file: &Self::File, mode: FileMode) -> io::Result<()>;

    /// Brings the file's content to the device.
    ///
    /// # Errors
    /// When the device does not take it.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Gives a file without a name this one.
    ///
    /// # Errors
    /// When the name is taken.
    fn link(&self, file: &Self::File, path: &Path) -> io::Result<()>;

    /// Gives the file called `from` the name `to`, and takes it away from whatever has it.
    ///
    /// # Errors
    /// When that cannot be.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file called `from` the name `to`.
    ///
    /// # Errors
    /// When the name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file's name away.
    ///
    /// # Errors
    /// When there is no such name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Brings the names in a directory to the device.
    ///
    /// # Errors
    /// When the device does not take them.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Whether files can be made in the directory, and none renamed or removed.
    fn is_append_only(&self, directory: &Path) -> bool;
}

/// The permission bits of a complete file, as `chmod` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// `None` if there are other bits, or if the owner could not read and write the file.
    pub const fn new(bits: u32) -> Option<Self> {
        if bits & !0o777 == 0 && bits & 0o600 == 0o600 { Some(Self(bits)) } else { None }
    }

    const fn of_file(self) -> u32 {
        self.0
    }

    /// The mode of a directory with such files: users that may read them may enter it.
    const fn of_directory(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }
}

/// The system's file systems.
#[derive(Clone, Copy, Debug)]
pub struct Kernel;

impl Disk for Kernel {
    type File = File;

    fn create_unnamed(&self, directory: &Path) -> Option<File> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).ok()?);
        // Without /proc nothing could name it later.
        Path::new(&by_descriptor(&file)).exists().then_some(file)
    }

    fn create_new(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write_all(&self, file: &File, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        write_all(file.as_fd(), slices)
    }

    fn take_after(&self, file: &File, path: &Path, mode: Option<FileMode>) -> io::Result<()> {
        let set_mode = || mode.map_or(Ok(()), |mode| self.set_mode(file, mode));
        let Ok(there) = fs::symlink_metadata(path) else { return set_mode() };
        let user = geteuid().as_raw();
        let is_private = |directory: &fs::Metadata| {
            [user, there.uid()].contains(&directory.uid()) && directory.mode() & 0o022 == 0
        };
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_safe = there.is_file()
            && (there.uid() == user || fs::metadata(directory).is_ok_and(|directory| is_private(&directory)));
        if !is_safe {
            return set_mode();
        }
        let made = file.metadata()?;
        let has_owner = (made.uid(), made.gid()) == (there.uid(), there.gid())
            || fchown(file, Some(there.uid()), Some(there.gid())).is_ok();
        if mode.is_some() {
            return set_mode();
        }
        // Its bits for group and others are meant for its own group.
        let bits = if has_owner { 0o777 } else { 0o700 };
        file.set_permissions(Permissions::from_mode(there.mode() & bits))
    }

    fn set_mode(&self, file: &File, mode: FileMode) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode.of_file()))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        Ok(linkat(CWD, by_descriptor(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system can do that (NFS cannot); a second name can be given on most.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                linkat(CWD, from, CWD, to, AtFlags::empty()).map_err(|errno| match errno {
                    Errno::PERM | Errno::NOSYS | Errno::NOTSUP => io::Error::new(
                        io::ErrorKind::Unsupported,
                        "this file system can neither rename without replacing nor link; give --overwrite",
                    ),
                    errno => errno.into(),
                })?;
                fs::remove_file(from)
            }
            renamed => Ok(renamed?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        match rustix::fs::fsync(File::open(directory)?) {
            // Some file systems have nothing to sync in a directory.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_append_only(&self, directory: &Path) -> bool {
        let status = statx(CWD, directory, AtFlags::empty(), StatxFlags::empty());
        status.is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::APPEND))
    }
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Writes all bytes of all slices, in order, in as few system calls as possible, waiting where `fd` does not block.
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty slices in front would make a write of nothing look like a write that failed.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let batch = slices.get(..MOST_SLICES).unwrap_or(slices);
        match rustix::io::writev(fd.as_fd(), batch) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(fd, PollFlags::OUT)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Sleeps until `fd`, which somebody made non-blocking before we got it, is ready.
pub(crate) fn wait(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// IOV_MAX on Linux.
const MOST_SLICES: usize = 1024;
