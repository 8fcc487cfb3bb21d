//! A file that appears under its name once it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use rustix::io::Errno;

use super::{SinkError, write_all};

/// A file in the making. It has no name at all where the file system can do that, else a temporary one in the same
/// directory; dropped before [`OutputFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    path: PathBuf,
    temporary: Option<Temporary>,
}

impl OutputFile {
    /// Begins a file that is to be called `path`; whatever has that name stays until [`OutputFile::commit`].
    ///
    /// # Errors
    /// When `path` is a directory, a device or a pipe, or its directory is not there or not writable.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let failed = |error| SinkError::new(format!("cannot create file \"{}\"", path.display()), error);
        let target = target(path).map_err(failed)?;
        let (file, temporary) = match unnamed(parent(&target)) {
            Some(file) => (file, None),
            None => {
                let (file, temporary) = Temporary::create(&target).map_err(failed)?;
                (file, Some(temporary))
            }
        };
        Ok(Self { file, path: target, temporary })
    }

    /// Where the file will appear.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all bytes of all slices, in order.
    ///
    /// # Errors
    /// When there is no space, the quota is used up, or the disk fails.
    pub fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), SinkError> {
        write_all(self.file.as_fd(), slices).map_err(|error| self.error("cannot write file", error))
    }

    /// Brings the content to the disk, gives the file its name in place of what had it before, with that one's owner
    /// and mode, and brings the name to the disk.
    ///
    /// # Errors
    /// When any of this fails; then the name belongs to what had it before, unless only the last step failed.
    pub fn commit(mut self) -> Result<(), SinkError> {
        // As a redirection would: a dump that only its owner could read does not become everybody's.
        if let Ok(there) = fs::metadata(&self.path) {
            // Only root may give files away; the mode counts either way.
            let _ = fchown(&self.file, Some(there.uid()), Some(there.gid()));
            self.file
                .set_permissions(Permissions::from_mode(there.mode() & 0o777))
                .map_err(|error| self.error("cannot set the mode of file", error))?;
        }
        self.file.sync_data().map_err(|error| self.error("cannot bring to the disk file", error))?;
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => Temporary::link(&self.file, &self.path)
                .map_err(|error| self.error("cannot give its name to file", error))?,
        };
        fs::rename(&temporary.path, &self.path)
            .map_err(|error| self.error("cannot give its name to file", error))?;
        temporary.forget();
        sync_directory(parent(&self.path))
            .map_err(|error| self.error("cannot bring to the disk the name of file", error))
    }

    fn error(&self, action: &str, error: io::Error) -> SinkError {
        SinkError::new(format!("{action} \"{}\"", self.path.display()), error)
    }
}

/// Removes the temporary names of all unfinished files of this process; for an exit that does not wait for the threads
/// that write them.
pub fn remove_unfinished() {
    for path in std::mem::take(&mut *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)) {
        let _ = fs::remove_file(path);
    }
}

/// Writes a small file in one go, which appears under its name once it is complete; devices and pipes are written to.
///
/// # Errors
/// When the directory or the device does not take it.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), SinkError> {
    let failed = |error| SinkError::new(format!("cannot write file \"{}\"", path.display()), error);
    if is_special(path) {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return write_all(file.as_fd(), &mut [IoSlice::new(content)]).map_err(failed);
    }
    let mut file = OutputFile::create(path)?;
    file.write_all(&mut [IoSlice::new(content)])?;
    file.commit()
}

/// A name that exists only until its file is complete. Dropped, it is removed.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<(File, Self)> {
        Self::first_free(target, |path| OpenOptions::new().write(true).create_new(true).open(path))
    }

    /// Names a file that has no name yet.
    fn link(file: &File, target: &Path) -> io::Result<Self> {
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        let link = |path: &Path| Ok(linkat(CWD, unnamed.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?);
        Self::first_free(target, link).map(|((), temporary)| temporary)
    }

    /// Tries names until one is free. The process id keeps programs apart, the number what an earlier one left behind.
    fn first_free<T>(target: &Path, create: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, Self)> {
        let mut attempt = 0_u32;
        loop {
            let mut name = OsString::from(".");
            name.push(shortened(target.file_name().unwrap_or_default()));
            name.push(format!(".mcast-{}-{attempt}.part", std::process::id()));
            let path = parent(target).join(name);
            // Entered first: an exit between the two must not leave the file behind.
            UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
            let temporary = Self { path };
            match create(&temporary.path) {
                Ok(created) => return Ok((created, temporary)),
                Err(error) => {
                    temporary.forget();
                    if error.kind() != io::ErrorKind::AlreadyExists || attempt == MOST_ATTEMPTS {
                        return Err(error);
                    }
                }
            }
            attempt += 1;
        }
    }

    /// The name is no longer ours to remove.
    fn forget(mut self) {
        self.strike_off();
        self.path = PathBuf::new();
    }

    fn strike_off(&self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.path);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
            self.strike_off();
        }
    }
}

/// Temporary names in use; a handful, one for each sink.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The file to replace: behind a symbolic link, what it points to.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::other("it is a directory; add a file name")),
        // Renaming over /dev/null would be the end of /dev/null.
        Ok(there) if !there.is_file() => {
            Err(io::Error::other("it is a device or a pipe; redirect standard output to it instead"))
        }
        Ok(_) => fs::canonicalize(path),
        Err(_) if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Err(io::Error::other("no file name"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

/// Something that exists and is neither file nor directory.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file without a name, which the kernel removes however the process ends. `None` where the file system cannot do
/// that, or nothing could name the file later.
fn unnamed(directory: &Path) -> Option<File> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)).ok()?;
    let file = File::from(file);
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()).exists().then_some(file)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    match rustix::fs::fsync(File::open(directory)?) {
        // Some file systems have nothing to sync in a directory.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// So much of a name that the additions still fit into what a directory takes.
fn shortened(name: &OsStr) -> &OsStr {
    let text = name.to_string_lossy();
    if text.len() <= LONGEST_NAME { name } else { OsStr::new("long-name") }
}

const MOST_ATTEMPTS: u32 = 1000;
/// NAME_MAX less the additions.
const LONGEST_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn entries(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_it_is_complete_and_replaces_the_old_one_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nightly.dump");
        fs::write(&path, "old").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(&mut [IoSlice::new(b""), IoSlice::new(b"ne"), IoSlice::new(b""), IoSlice::new(b"w")])
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(entries(directory.path()), ["nightly.dump"]);
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&directory.path().join("a")).unwrap();
        file.write_all(&mut [IoSlice::new(b"half")]).unwrap();
        drop(file);
        assert!(entries(directory.path()).is_empty());
    }

    #[test]
    fn where_files_need_names_the_name_is_temporary_and_removed_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let named = || {
            let (file, temporary) = Temporary::create(&path).unwrap();
            OutputFile { file, path: path.clone(), temporary: Some(temporary) }
        };
        let first = named();
        let second = named();
        assert_eq!(entries(directory.path()).len(), 2);
        first.commit().unwrap();
        drop(second);
        assert_eq!(entries(directory.path()), ["a"]);
        let _third = named();
        remove_unfinished();
        assert_eq!(entries(directory.path()), ["a"]);
    }

    #[test]
    fn the_mode_follows_the_umask_or_the_old_file_and_a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (link, path) = (directory.path().join("link"), directory.path().join("file"));
        fs::write(&path, "old").unwrap();
        let usual = fs::metadata(&path).unwrap().permissions().mode();
        symlink("file", &link).unwrap();
        OutputFile::create(&link).unwrap().commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let written = fs::metadata(&path).unwrap();
        assert_eq!((written.permissions().mode(), written.len()), (usual, 0));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        OutputFile::create(&path).unwrap().commit().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let message = |path: &Path| OutputFile::create(path).unwrap_err().to_string();
        assert!(message(directory.path()).contains("directory"));
        assert!(message(Path::new("/dev/null")).contains("redirect"));
        assert!(message(&directory.path().join("missing/a")).contains("create the directory"));
        assert!(message(&directory.path().join("new/")).contains("no file name"));
        let long = directory.path().join("x".repeat(250));
        OutputFile::create(&long).unwrap().commit().unwrap();
        assert!(long.exists());
    }

    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = write_all(file.as_fd(), &mut [IoSlice::new(b"x")]).unwrap_err();
        assert!(SinkError::new("cannot write file \"x\"", error).to_string().contains("make room"));
    }
}
