//! A file that appears under its name once it is complete.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FileType;

use super::SinkError;
use super::rehearsal::rehearse;
use super::unfinished::{KEPT, TEMPORARY, Unfinished, first_free};
use crate::disk::special::kind_of;
use crate::disk::{Disk, FileMode, Kernel};

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It keeps its name, and the new one fails.
    Refuse,
    /// The new one takes its name; its owner and mode, too, where that is safe, see [`Disk::take_after`].
    Replace,
}

/// A file in the making, which only its owner may read. It has no name at all where the file system can do that, else a
/// temporary one in the same directory; dropped before [`OutputFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile<D: Disk = Kernel> {
    disk: D,
    pub(super) file: D::File,
    path: PathBuf,
    existing: Existing,
    /// That it gets when it is complete.
    mode: Option<FileMode>,
    pub(super) entry: Unfinished<D>,
}

impl OutputFile {
    /// Begins a file that is to be called `path`; whatever has that name keeps it until [`OutputFile::commit`], which gives
    /// the file `mode`, if there is one. Tries
    /// before, with a file of one byte that it removes again, whether the directory allows all that a commit needs.
    ///
    /// # Errors
    /// When `path` is a directory, a device or a pipe, its directory is not there or refuses a step, or there is such a
    /// file and it is not to be replaced.
    pub fn create(path: &Path, existing: Existing, mode: Option<FileMode>) -> Result<Self, SinkError> {
        let target = target(path, existing).map_err(|error| cannot_create(path, error))?;
        rehearse(&Kernel, &target, existing, mode)?;
        let begun = Self::create_on(Kernel, target, existing).map_err(|error| cannot_create(path, error))?;
        Ok(Self { mode, ..begun })
    }

    /// Begins a file that is to be called `path`, even if that is a symbolic link now, without trying what a commit needs;
    /// for a small file that is committed at once.
    ///
    /// # Errors
    /// When its directory is not there or refuses a file.
    pub fn create_here(path: PathBuf, existing: Existing) -> Result<Self, SinkError> {
        let shown = path.clone();
        Self::create_on(Kernel, path, existing).map_err(|error| cannot_create(&shown, error))
    }

    /// Tries whether files in this directory could be made, as [`OutputFile::create`] does.
    ///
    /// # Errors
    /// When the directory is not there or refuses a step.
    pub fn try_directory(
        directory: &Path,
        existing: Existing,
        mode: Option<FileMode>,
    ) -> Result<(), SinkError> {
        rehearse(&Kernel, &directory.join("output"), existing, mode)
    }
}

impl<D: Disk> OutputFile<D> {
    pub(super) fn create_on(disk: D, path: PathBuf, existing: Existing) -> io::Result<Self> {
        let (file, entry) = match disk.create_unnamed(parent(&path)) {
            Some(file) => (file, Unfinished::unnamed(&disk)),
            None => Unfinished::named(&disk, &path, |path| disk.create_new(path))?,
        };
        Ok(Self { disk, file, path, existing, mode: None, entry })
    }

    /// Where the file will appear.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub const fn file(&self) -> &D::File {
        &self.file
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
    /// step fails it may stand for either. A file that cannot get the name is kept under another one, which the error
    /// tells. Also when `given_up` is set before the file has its name: then it gets none.
    pub fn commit(self, given_up: &AtomicBool) -> Result<(), SinkError> {
        self.finish(given_up, true)
    }

    /// Commits a file that is worth nothing without its name.
    ///
    /// # Errors
    /// As for [`OutputFile::commit`]; nothing is kept.
    pub fn commit_or_drop(self) -> Result<(), SinkError> {
        self.finish(&AtomicBool::new(false), false)
    }

    fn finish(mut self, given_up: &AtomicBool, keeps: bool) -> Result<(), SinkError> {
        let done = match (self.existing, self.mode) {
            (Existing::Replace, mode) => self.disk.take_after(&self.file, &self.path, mode),
            (Existing::Refuse, Some(mode)) => self.disk.set_mode(&self.file, mode),
            (Existing::Refuse, None) => Ok(()),
        };
        done.map_err(|error| self.error("cannot set the mode of file", error))?;
        self.disk.sync(&self.file).map_err(|error| self.error("cannot bring to the disk file", error))?;
        let Self { disk, file, path, existing, entry, .. } = &mut self;
        let named = entry.settle(|entry| {
            if given_up.load(Ordering::SeqCst) {
                return Err(io::Error::other("the stream was given up"));
            }
            match name(disk, file, path, *existing, entry) {
                Err(error) if keeps => keep(disk, file, path, entry, error),
                named => named,
            }
        });
        named.map_err(|error| self.error("cannot give its name to file", error))?;
        self.disk.sync_directory(parent(&self.path)).map_err(|error| {
            if self.existing == Existing::Refuse {
                // The name may not survive a crash: remove it and report the failure.
                let _ = self.disk.remove(&self.path);
            }
            self.error("cannot bring to the disk the name of file", error)
        })
    }

    fn error(&self, action: &str, error: io::Error) -> SinkError {
        SinkError::new(format!("{action} \"{}\"", self.path.display()), error)
    }
}

/// Gives the file the name `path`.
pub(super) fn name<D: Disk>(
    disk: &D,
    file: &D::File,
    path: &Path,
    existing: Existing,
    entry: &mut Unfinished<D>,
) -> io::Result<()> {
    match (existing, entry.temporary()) {
        (Existing::Refuse, None) => return disk.link(file, path),
        (Existing::Refuse, Some(temporary)) => disk.rename_new(temporary, path)?,
        (Existing::Replace, Some(temporary)) => disk.rename(temporary, path)?,
        // No system call gives a file without a name that of another.
        (Existing::Replace, None) => {
            let ((), temporary) = first_free(path, TEMPORARY, |temporary| disk.link(file, temporary))?;
            entry.set_temporary(Some(temporary.clone()));
            disk.rename(&temporary, path)?;
        }
    }
    entry.set_temporary(None);
    Ok(())
}

/// Keeps a file that is complete and could not get its name, because of `error`, under another one beside it.
fn keep<D: Disk>(
    disk: &D,
    file: &D::File,
    path: &Path,
    entry: &mut Unfinished<D>,
    error: io::Error,
) -> io::Result<()> {
    let kept = first_free(path, KEPT, |kept| match entry.temporary() {
        None => disk.link(file, kept),
        Some(temporary) => disk.rename_new(temporary, kept),
    });
    let kept = match (kept, entry.temporary()) {
        (Ok(((), kept)), _) => kept,
        // It has a name that can be told.
        (Err(_), Some(temporary)) => temporary.to_owned(),
        (Err(_), None) => return Err(error),
    };
    entry.set_temporary(None);
    let _ = disk.sync_directory(parent(path));
    Err(io::Error::new(
        error.kind(),
        format!("{error}; the stream is complete and verified, and kept as \"{}\"", kept.display()),
    ))
}

fn cannot_create(path: &Path, error: io::Error) -> SinkError {
    SinkError::new(format!("cannot create file \"{}\"", path.display()), error)
}

/// The file to make or to replace: behind a symbolic link, what it points to.
fn target(path: &Path, existing: Existing) -> io::Result<PathBuf> {
    let other = |text: &str| Err(io::Error::other(text.to_owned()));
    if names_a_descriptor(path) {
        return other(
            "it names a descriptor that is open already; redirect standard output, and give -o - or no -o",
        );
    }
    match kind_of(path) {
        Ok(FileType::Directory) => other("it is a directory; add a file name"),
        Ok(FileType::RegularFile) if existing == Existing::Refuse => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(FileType::RegularFile) => fs::canonicalize(path),
        // Renaming over /dev/null would be the end of /dev/null.
        Ok(FileType::BlockDevice | FileType::CharacterDevice) => {
            other("it is a device; redirect standard output to it instead")
        }
        Ok(FileType::Fifo) => other("it is a pipe; redirect standard output to it instead"),
        Ok(FileType::Socket) => other("it is a socket, which takes no stream; name a file"),
        Ok(_) => other("it is no file; name a file"),
        Err(_) if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            other("no file name")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => other("it is a symbolic link to nothing; remove it, or name the file itself"),
            Err(_) => Ok(path.to_owned()),
        },
        Err(error) => Err(error),
    }
}

/// `/dev/stdout`, `/dev/fd/1`, `/proc/self/fd/1`, `/proc/1/fd/1`: whatever is behind it was opened by another program.
pub(crate) fn names_a_descriptor(path: &Path) -> bool {
    let standard = ["/dev/stdin", "/dev/stdout", "/dev/stderr"].map(Path::new);
    standard.contains(&path) || path.starts_with("/dev/fd") || is_in_proc(path)
}

/// Whether the path leads to a descriptor of a process or a thread, this one or another.
fn is_in_proc(path: &Path) -> bool {
    let Ok(rest) = path.strip_prefix("/proc") else { return false };
    let parts: Vec<_> = rest.iter().map(OsStr::as_encoded_bytes).collect();
    let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    match parts.as_slice() {
        [b"self" | b"thread-self", b"fd", ..] => true,
        [b"self", b"task", thread, b"fd", ..] => is_number(thread),
        [process, b"fd", ..] => is_number(process),
        [process, b"task", thread, b"fd", ..] => is_number(process) && is_number(thread),
        _ => false,
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs::{OpenOptions, Permissions};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::super::unfinished::remove_those;
    use super::super::write_all;
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

        fn take_after(&self, file: &fs::File, path: &Path, mode: Option<FileMode>) -> io::Result<()> {
            Kernel.take_after(file, path, mode)
        }

        fn set_mode(&self, file: &fs::File, mode: FileMode) -> io::Result<()> {
            Kernel.set_mode(file, mode)
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

        fn is_append_only(&self, directory: &Path) -> bool {
            Kernel.is_append_only(directory)
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
        let mut file = OutputFile::create(&path, Existing::Replace, None).unwrap();
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
        let late = OutputFile::create(&path, Existing::Refuse, None).unwrap();
        fs::write(&path, "other").unwrap();
        assert!(late.commit(&KEPT).unwrap_err().to_string().contains("--overwrite"));
        assert!(
            OutputFile::create(&path, Existing::Refuse, None)
                .unwrap_err()
                .to_string()
                .contains("--overwrite")
        );
        assert_eq!(fs::read(&path).unwrap(), b"other");
        let link = directory.path().join("link");
        symlink("nowhere", &link).unwrap();
        assert!(OutputFile::create(&link, Existing::Refuse, None).is_err());
        let kept = format!("nightly.dump.mcast-{}-0.verified", std::process::id());
        assert_eq!(entries(directory.path()), ["link", "nightly.dump", &kept]);
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&directory.path().join("a"), Existing::Refuse, None).unwrap();
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
        // Too late for the name: what is complete is kept under another one.
        let message = second.commit(&KEPT).unwrap_err().to_string();
        let kept = format!("a.mcast-{}-0.verified", std::process::id());
        assert!(message.contains("--overwrite") && message.contains(&kept), "{message}");
        assert_eq!(entries(directory.path()), ["a", &kept]);
    }

    #[test]
    fn file_that_was_cleared_away_by_an_exit_gets_no_name_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for existing in [Existing::Refuse, Existing::Replace] {
            let with_name = OutputFile::create_on(Named, path.clone(), existing).unwrap();
            let without = OutputFile::create_on(Kernel, path.clone(), existing).unwrap();
            // Not those of other tests.
            remove_those(&[with_name.entry.number(), without.entry.number()]);
            with_name.commit(&KEPT).unwrap_err();
            without.commit(&KEPT).unwrap_err();
            assert!(entries(directory.path()).is_empty(), "{:?}", entries(directory.path()));
        }
    }

    #[test]
    fn rehearsal_leaves_nothing_and_what_has_the_name_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for existing in [Existing::Refuse, Existing::Replace] {
            rehearse(&Named, &path, existing, None).unwrap();
            rehearse(&Kernel, &path, existing, None).unwrap();
        }
        assert!(entries(directory.path()).is_empty());
        fs::write(&path, "old").unwrap();
        rehearse(&Named, &path, Existing::Replace, None).unwrap();
        assert_eq!(
            (entries(directory.path()), fs::read(&path).unwrap()),
            (vec!["a".into()], b"old".to_vec())
        );
    }

    #[test]
    fn output_file_is_its_owners_alone_from_its_first_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let named = OutputFile::create_on(Named, path.clone(), Existing::Refuse).unwrap();
        assert_eq!(mode(named.entry.temporary().unwrap()), 0o600);
        named.commit(&KEPT).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::remove_file(&path).unwrap();
        OutputFile::create(&path, Existing::Refuse, None).unwrap().commit(&KEPT).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn replaced_file_gives_its_mode_and_a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (link, path) = (directory.path().join("link"), directory.path().join("file"));
        symlink("file", &link).unwrap();
        for usual in [0o640, 0o600, 0o644] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(usual)).unwrap();
            OutputFile::create(&link, Existing::Replace, None).unwrap().commit(&KEPT).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            let written = fs::metadata(&path).unwrap();
            assert_eq!((written.permissions().mode() & 0o777, written.len()), (usual, 0));
        }
    }

    /// Only root can do this, as in the tests on real hosts. For others this shows nothing.
    #[test]
    fn file_in_its_owners_own_directory_keeps_owner_and_mode_when_root_replaces_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for (open, expected) in [(0o700, (12_345, 0o640)), (0o755, (12_345, 0o640)), (0o775, (0, 0o600))] {
            fs::write(&path, "old").unwrap();
            if [&path, directory.path()].iter().any(|path| chown(path, Some(12_345), Some(12_345)).is_err()) {
                return;
            }
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
            fs::set_permissions(directory.path(), Permissions::from_mode(open)).unwrap();
            OutputFile::create(&path, Existing::Replace, None).unwrap().commit(&KEPT).unwrap();
            let written = fs::metadata(&path).unwrap();
            assert_eq!((written.uid(), written.permissions().mode() & 0o777), expected, "{open:o}");
        }
    }

    /// Only root can make a file of another user, which the tests on real hosts are. For others this shows nothing.
    #[test]
    fn file_of_another_user_gives_its_mode_only_where_others_may_not_put_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for (open, mode) in [(0o1777, 0o600), (0o770, 0o600), (0o700, 0o644)] {
            fs::write(&path, "planted").unwrap();
            if chown(&path, Some(12_345), Some(12_345)).is_err() {
                return;
            }
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            fs::set_permissions(directory.path(), Permissions::from_mode(open)).unwrap();
            OutputFile::create(&path, Existing::Replace, None).unwrap().commit(&KEPT).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{open:o}");
        }
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let message = |path: &Path| OutputFile::create(path, Existing::Refuse, None).unwrap_err().to_string();
        assert!(message(directory.path()).contains("directory"));
        assert!(message(Path::new("/dev/null")).contains("device"));
        assert!(message(Path::new("/dev/stdout")).contains("-o -"));
        for descriptor in ["/proc/self/fd/1", "/proc/1/fd/1", "/proc/self/task/7/fd/1", "/proc/1/task/1/fd/1"]
        {
            assert!(message(Path::new(descriptor)).contains("-o -"), "{descriptor}");
        }
        assert!(!names_a_descriptor(Path::new("/proc/sys/fd/1")));
        let link = |to: &str| {
            let link = directory.path().join(format!("to-{to}"));
            symlink(format!("to-{to}").replace("nothing", "nowhere"), &link).unwrap();
            link
        };
        assert!(message(&link("nothing")).contains("link to nothing"));
        assert!(message(&link("itself")).contains("ymbolic links"));
        assert!(message(&directory.path().join("missing/a")).contains("create the directory"));
        assert!(message(&directory.path().join("new/")).contains("no file name"));
        let long = directory.path().join("x".repeat(250));
        OutputFile::create(&long, Existing::Refuse, None).unwrap().commit(&KEPT).unwrap();
        assert!(long.exists());
    }

    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = write_all(file.as_fd(), &mut [IoSlice::new(b"x")]).unwrap_err();
        assert!(SinkError::new("cannot write file \"x\"", error).to_string().contains("make room"));
    }
}
