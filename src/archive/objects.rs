//! Access to the files in the directory of an entry or a draft, by its descriptor: never through a symbolic link, and never by
//! opening a device or a pipe.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::fs::{fstat, openat, statat};
use rustix::io::Errno;

use super::store::{MANIFEST, SUMS, data_object, is_object};

/// Opens a directory.
pub(super) fn open_directory(
    at: impl AsFd,
    name: impl rustix::path::Arg,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Opens an object for reading, or with [`OFlags::RDWR`] for writing too, and gives its length in bytes.
pub(super) fn open_object(directory: &OwnedFd, object: &str, access: OFlags) -> io::Result<(File, u64)> {
    if !is_object(object) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // This descriptor only names the file: getting it does nothing to a device, and waits for no pipe.
    let found = openat(directory, object, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let status = fstat(&found)?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
        return Err(io::Error::other("it is a symbolic link"));
    }
    if !is_regular(&status) {
        return Err(io::Error::other("it is not a file"));
    }
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let same = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file = match openat(CWD, same, flags, Mode::empty()) {
        // Without /proc the file is opened by its name, and refused if another one has taken that.
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let file = openat(directory, object, flags | OFlags::NOFOLLOW, Mode::empty())?;
            if inode(&fstat(&file)?) != inode(&status) {
                return Err(io::Error::other("it was replaced while it was opened"));
            }
            file
        }
        file => file?,
    };
    Ok((file.into(), u64::try_from(status.st_size).unwrap_or(0)))
}

/// The length of an object in bytes.
pub(super) fn size(directory: &OwnedFd, object: &str) -> io::Result<u64> {
    let status = statat(directory, object, AtFlags::SYMLINK_NOFOLLOW)?;
    if !is_regular(&status) {
        return Err(io::Error::other("it is not a file"));
    }
    Ok(u64::try_from(status.st_size).unwrap_or(0))
}

/// The files that an archive has put into a directory, and the names of everything else in it.
pub(super) fn contents(directory: &OwnedFd) -> Result<Contents, Errno> {
    let mut contents = Contents::default();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let is_file = || {
            let status = statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            status.is_ok_and(|status| is_regular(&status))
        };
        let list =
            if is_object(&name) && is_file() { &mut contents.objects } else { &mut contents.strangers };
        list.push(name);
    }
    Ok(contents)
}

/// Whether a directory has the manifest of an entry, or what is left without it. A file `data` alone can be of anything.
pub(super) fn has_objects_of_an_entry(directory: &OwnedFd) -> bool {
    let is_there = |object: &str| size(directory, object).is_ok();
    if is_there(MANIFEST) || (is_there(SUMS) && is_there(&data_object(None))) {
        return true;
    }
    contents(directory).is_ok_and(|found| found.objects.iter().any(|object| object.starts_with("data.")))
}

/// The kind of thing that has a name which a directory should have; `None` if nothing has it.
pub(super) fn kind_of(archive: &OwnedFd, name: &str) -> Option<&'static str> {
    let status = statat(archive, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(match FileType::from_raw_mode(status.st_mode) {
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a file",
        FileType::Fifo => "a pipe",
        _ => "something else",
    })
}

/// A reason for messages: this object cannot be opened or read.
pub(super) fn wrong_object(object: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{object} is missing"),
        _ => format!("{object}: {error}"),
    }
}

/// The names in a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Regular files with the names of objects.
    pub(super) objects: Vec<String>,
    /// Everything else, which no mcast has put there.
    pub(super) strangers: Vec<String>,
}

impl Contents {
    /// Whether all that is left of ours is what an NFS client makes of files that are removed while a process has them
    /// open. It goes when they are closed.
    pub(super) fn is_transient(&self) -> bool {
        self.objects.is_empty() && self.strangers.iter().all(|name| name.starts_with(".nfs"))
    }
}

/// Whether the open directory still has this name.
pub(super) fn is_same(directory: &OwnedFd, archive: &OwnedFd, name: &str) -> bool {
    match (fstat(directory), statat(archive, name, AtFlags::SYMLINK_NOFOLLOW)) {
        (Ok(ours), Ok(there)) => inode(&ours) == inode(&there),
        _ => false,
    }
}

const fn inode(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

fn is_regular(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
}
