//! A file that appears under its name once it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{SinkError, write_all};
use crate::disk::{Disk, Kernel};

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It keeps its name, and the new one fails.
    Refuse,
    /// The new one takes its name, and its owner and mode.
    Replace,
}

/// A file in the making. It has no name at all where the file system can do that, else a temporary one in the same
/// directory; dropped before [`OutputFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile<D: Disk = Kernel> {
    disk: D,
    file: D::File,
    path: PathBuf,
    existing: Existing,
    temporary: Option<Temporary<D>>,
}

impl OutputFile {
    /// Begins a file that is to be called `path`; whatever has that name keeps it until [`OutputFile::commit`].
    ///
    /// # Errors
    /// When `path` is a directory, a device or a pipe, its directory is not there or not writable, or there is such a
    /// file and it is not to be replaced.
    pub fn create(path: &Path, existing: Existing) -> Result<Self, SinkError> {
        let failed = |error| SinkError::new(format!("cannot create file \"{}\"", path.display()), error);
        let target = target(path, existing).map_err(failed)?;
        Self::create_on(Kernel, target, existing).map_err(failed)
    }
}

impl<D: Disk> OutputFile<D> {
    pub(super) fn create_on(disk: D, path: PathBuf, existing: Existing) -> io::Result<Self> {
        let (file, temporary) = match disk.create_unnamed(parent(&path)) {
            Some(file) => (file, None),
            None => {
                let (file, temporary) = Temporary::first_free(&disk, &path, |path| disk.create_new(path))?;
                (file, Some(temporary))
            }
        };
        Ok(Self { disk, file, path, existing, temporary })
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
        self.disk.write_all(&self.file, slices).map_err(|error| self.error("cannot write file", error))
    }

    /// Brings the content to the disk, gives the file its name, and brings the name to the disk: in this order, so that
    /// the name never stands for a part.
    ///
    /// # Errors
    /// When any of this fails; then the name belongs to what had it before. Only where a file is replaced and the last
    /// step fails it may stand for either. Also when `given_up` is set before the file has its name: then it gets none.
    pub fn commit(mut self, given_up: &AtomicBool) -> Result<(), SinkError> {
        if self.existing == Existing::Replace {
            // As a redirection would: a dump that only its owner could read does not become everybody's.
            let done = self.disk.take_after(&self.file, &self.path);
            done.map_err(|error| self.error("cannot set the mode of file", error))?;
        }
        self.disk.sync(&self.file).map_err(|error| self.error("cannot bring to the disk file", error))?;
        if given_up.load(Ordering::SeqCst) {
            return Err(self.error("no name for file", io::Error::other("the stream was given up")));
        }
        self.name().map_err(|error| self.error("cannot give its name to file", error))?;
        self.disk.sync_directory(parent(&self.path)).map_err(|error| {
            if self.existing == Existing::Refuse {
                // A name that may be gone tomorrow is none today.
                let _ = self.disk.remove(&self.path);
            }
            self.error("cannot bring to the disk the name of file", error)
        })
    }

    fn name(&mut self) -> io::Result<()> {
        let temporary = match (self.existing, self.temporary.take()) {
            (Existing::Refuse, None) => return self.disk.link(&self.file, &self.path),
            (_, Some(temporary)) => temporary,
            // No system call gives a file without a name that of another.
            (Existing::Replace, None) => {
                let link = |path: &Path| self.disk.link(&self.file, path);
                Temporary::first_free(&self.disk, &self.path, link)?.1
            }
        };
        match self.existing {
            Existing::Refuse => self.disk.rename_new(&temporary.path, &self.path)?,
            Existing::Replace => self.disk.rename(&temporary.path, &self.path)?,
        }
        temporary.forget();
        Ok(())
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
    let mut file = OutputFile::create(path, Existing::Replace)?;
    file.write_all(&mut [IoSlice::new(content)])?;
    file.commit(&AtomicBool::new(false))
}

/// A name that exists only until its file is complete. Dropped, it is removed.
#[derive(Debug)]
struct Temporary<D: Disk> {
    disk: D,
    path: PathBuf,
}

impl<D: Disk> Temporary<D> {
    /// Tries names until one is free. The process id keeps programs apart, the number what an earlier one left behind.
    fn first_free<T>(
        disk: &D,
        target: &Path,
        create: impl Fn(&Path) -> io::Result<T>,
    ) -> io::Result<(T, Self)> {
        let mut attempt = 0_u32;
        loop {
            let mut name = OsString::from(".");
            name.push(shortened(target.file_name().unwrap_or_default()));
            name.push(format!(".mcast-{}-{attempt}.part", std::process::id()));
            let path = parent(target).join(name);
            // Entered first: an exit between the two must not leave the file behind.
            UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
            let temporary = Self { disk: disk.clone(), path };
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

impl<D: Disk> Drop for Temporary<D> {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = self.disk.remove(&self.path);
            self.strike_off();
        }
    }
}

/// Temporary names in use; a handful, one for each sink.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The file to make or to replace: behind a symbolic link, what it points to.
fn target(path: &Path, existing: Existing) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::other("it is a directory; add a file name")),
        // Renaming over /dev/null would be the end of /dev/null.
        Ok(there) if !there.is_file() => {
            Err(io::Error::other("it is a device or a pipe; redirect standard output to it instead"))
        }
        Ok(_) if existing == Existing::Refuse => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => fs::canonicalize(path),
        Err(_) if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Err(io::Error::other("no file name"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            // A link to nowhere has the name all the same.
            Ok(_) if existing == Existing::Refuse => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(path.to_owned()),
        },
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
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Nobody gives up.
    static KEPT: AtomicBool = AtomicBool::new(false);

    /// The system's file system, but every file has a name.
    #[derive(Clone, Debug)]
    struct Named;

    impl Disk for Named {
        type File = fs::File;

        fn create_unnamed(&self, _: &Path) -> Option<fs::File> {
            None
        }

        fn create_new(&self, path: &Path) -> io::Result<fs::File> {
            Kernel.create_new(path)
        }

        fn write_all(&self, file: &fs::File, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
            Kernel.write_all(file, slices)
        }

        fn take_after(&self, file: &fs::File, path: &Path) -> io::Result<()> {
            Kernel.take_after(file, path)
        }

        fn sync(&self, file: &fs::File) -> io::Result<()> {
            Kernel.sync(file)
        }

        fn link(&self, file: &fs::File, path: &Path) -> io::Result<()> {
            Kernel.link(file, path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            Kernel.rename(from, to)
        }

        fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
            Kernel.rename_new(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            Kernel.remove(path)
        }

        fn sync_directory(&self, directory: &Path) -> io::Result<()> {
            Kernel.sync_directory(directory)
        }
    }

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
        let mut file = OutputFile::create(&path, Existing::Replace).unwrap();
        file.write_all(&mut [IoSlice::new(b""), IoSlice::new(b"ne"), IoSlice::new(b""), IoSlice::new(b"w")])
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit(&KEPT).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(entries(directory.path()), ["nightly.dump"]);
    }

    #[test]
    fn a_name_that_is_taken_is_refused_at_once_and_also_when_it_is_taken_in_between() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nightly.dump");
        let late = OutputFile::create(&path, Existing::Refuse).unwrap();
        fs::write(&path, "other").unwrap();
        assert!(late.commit(&KEPT).unwrap_err().to_string().contains("--overwrite"));
        assert!(OutputFile::create(&path, Existing::Refuse).unwrap_err().to_string().contains("--overwrite"));
        assert_eq!(fs::read(&path).unwrap(), b"other");
        let link = directory.path().join("link");
        symlink("nowhere", &link).unwrap();
        assert!(OutputFile::create(&link, Existing::Refuse).is_err());
        assert_eq!(entries(directory.path()), ["link", "nightly.dump"]);
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&directory.path().join("a"), Existing::Refuse).unwrap();
        file.write_all(&mut [IoSlice::new(b"half")]).unwrap();
        drop(file);
        assert!(entries(directory.path()).is_empty());
    }

    #[test]
    fn where_files_need_names_the_name_is_temporary_and_removed_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let named = || OutputFile::create_on(Named, path.clone(), Existing::Refuse).unwrap();
        let first = named();
        let second = named();
        assert_eq!(entries(directory.path()).len(), 2);
        first.commit(&KEPT).unwrap();
        // Too late for the name.
        assert!(second.commit(&KEPT).unwrap_err().to_string().contains("--overwrite"));
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
        OutputFile::create(&link, Existing::Replace).unwrap().commit(&KEPT).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let written = fs::metadata(&path).unwrap();
        assert_eq!((written.permissions().mode(), written.len()), (usual, 0));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        OutputFile::create(&path, Existing::Replace).unwrap().commit(&KEPT).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let message = |path: &Path| OutputFile::create(path, Existing::Refuse).unwrap_err().to_string();
        assert!(message(directory.path()).contains("directory"));
        assert!(message(Path::new("/dev/null")).contains("redirect"));
        assert!(message(&directory.path().join("missing/a")).contains("create the directory"));
        assert!(message(&directory.path().join("new/")).contains("no file name"));
        let long = directory.path().join("x".repeat(250));
        OutputFile::create(&long, Existing::Refuse).unwrap().commit(&KEPT).unwrap();
        assert!(long.exists());
    }

    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = write_all(file.as_fd(), &mut [IoSlice::new(b"x")]).unwrap_err();
        assert!(SinkError::new("cannot write file \"x\"", error).to_string().contains("make room"));
    }
}
