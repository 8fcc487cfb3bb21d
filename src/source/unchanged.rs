//! Whether a file has stayed the same while it was read.

use std::fmt::Write as _;
use std::fs::read_link;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, StatxFlags, fstat, statx, tell};

/// The marks by which a file system tells that a file's content has changed, taken before the first byte is read and compared after the last one.
///
/// A change is missed where the file system cannot tell it: the times of a file count in steps (4 ms on most, 1 or 2 s on
/// FAT, HFS+ and some network file systems), so a second write within one step looks like none; and a program that
/// writes through a mapping changes the times only when the kernel notices.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    size: u64,
    modified: (i64, u32),
    /// Time of the last change of content or of anything else; nothing can set it.
    changed: (i64, u32),
    /// Everything else that changes that time.
    rest: Rest,
    /// Position in bytes at which reading begins.
    offset: u64,
    /// The file occupies some space; those of /proc and /sys do not, and have any size.
    has_blocks: bool,
}

/// Parts of a file that may change while its content stays: links, mode, owner, and its name or directory.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    links: u32,
    mode: u32,
    owner: (u32, u32),
    name: Option<PathBuf>,
}

impl Snapshot {
    /// The state of a regular file; `None` for anything else.
    pub(super) fn take(fd: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let status = fstat(fd)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let offset = tell(fd)?;
        let name = read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
        // A network file system asks its server, and does not trust what it remembers.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        Ok(Some(match statx(fd, c"", flags, StatxFlags::BASIC_STATS) {
            Ok(status) => Self {
                size: status.stx_size,
                modified: (status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec),
                changed: (status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec),
                rest: Rest {
                    links: status.stx_nlink,
                    mode: status.stx_mode.into(),
                    owner: (status.stx_uid, status.stx_gid),
                    name,
                },
                offset,
                has_blocks: status.stx_blocks > 0,
            },
            // Some sandboxes know no statx.
            Err(_) => Self {
                size: status.st_size.unsigned_abs(),
                modified: (status.st_mtime, status.st_mtime_nsec as u32),
                changed: (status.st_ctime, status.st_ctime_nsec as u32),
                rest: Rest {
                    links: status.st_nlink as u32,
                    mode: status.st_mode,
                    owner: (status.st_uid, status.st_gid),
                    name,
                },
                offset,
                has_blocks: status.st_blocks > 0,
            },
        }))
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// A description of what has changed since this was taken, where `read` bytes were read up to the end of the file.
    pub(super) fn difference(&self, now: &Self, read: u64) -> Option<String> {
        let mut text = String::new();
        let expected = self.size.saturating_sub(self.offset);
        if now.size != self.size {
            // Writing to a String cannot fail.
            let _ = write!(text, "it had {} bytes at the start and has {} now", self.size, now.size);
        } else if now.modified != self.modified {
            text.push_str("it was written to");
        } else if now.changed != self.changed && now.rest == self.rest {
            text.push_str("something of it was changed");
        } else if read < expected && now.has_blocks {
            let _ = write!(text, "it ended after {read} of {expected} bytes");
        } else {
            return None;
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions, Permissions};
    use std::io::{Seek, SeekFrom, Write};
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// Lets the clock of the file system go on, which counts in steps of some milliseconds.
    fn next_step(directory: &Path) {
        let probe = directory.join("probe");
        let modified = || {
            fs::write(&probe, "x").unwrap();
            fs::metadata(&probe).unwrap().modified().unwrap()
        };
        let before = modified();
        while modified() == before {}
    }

    /// The difference that is found in a file of ten bytes to which this happens.
    fn told(happens: impl FnOnce(&Path)) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        fs::write(&path, "0123456789").unwrap();
        let file = File::open(&path).unwrap();
        next_step(directory.path());
        let snapshot = Snapshot::take(file.as_fd()).unwrap().unwrap();
        happens(&path);
        snapshot.difference(&Snapshot::take(file.as_fd()).unwrap().unwrap(), 10)
    }

    fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    }

    #[test]
    fn file_that_grows_shrinks_or_is_rewritten_in_place_has_changed() {
        assert_eq!(told(|_| ()), None);
        let grown = told(|path| write_at(path, 10, b"x")).unwrap();
        assert!(grown.contains("10 bytes") && grown.contains("11 now"), "{grown}");
        let shrunk = told(|path| OpenOptions::new().write(true).open(path).unwrap().set_len(4).unwrap());
        assert!(shrunk.unwrap().contains("4 now"));
        assert!(told(|path| write_at(path, 3, b"x")).unwrap().contains("written"));
        assert!(told(|path| fs::write(path, "9876543210").unwrap()).is_some());
    }

    #[test]
    fn file_whose_time_of_writing_was_set_back_has_changed() {
        let set_back = told(|path| {
            let before = fs::metadata(path).unwrap().modified().unwrap();
            write_at(path, 3, b"x");
            OpenOptions::new().write(true).open(path).unwrap().set_modified(before).unwrap();
        });
        assert!(set_back.unwrap().contains("something"));
    }

    #[test]
    fn file_that_is_replaced_moved_linked_or_gets_another_mode_has_not_changed() {
        let beside = |path: &Path| path.with_extension("other");
        let replace = |path: &Path| {
            fs::write(beside(path), "new").unwrap();
            fs::rename(beside(path), path).unwrap();
        };
        assert_eq!(told(replace), None);
        assert_eq!(told(|path| fs::remove_file(path).unwrap()), None);
        assert_eq!(told(|path| fs::rename(path, beside(path)).unwrap()), None);
        assert_eq!(told(|path| fs::hard_link(path, beside(path)).unwrap()), None);
        assert_eq!(told(|path| fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap()), None);
    }

    #[test]
    fn file_that_ends_early_has_changed_and_one_that_is_read_from_its_middle_has_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        fs::write(&path, "0123456789").unwrap();
        let mut file = File::open(&path).unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let snapshot = Snapshot::take(file.as_fd()).unwrap().unwrap();
        assert_eq!(snapshot.difference(&snapshot, 6), None);
        assert!(snapshot.difference(&snapshot, 5).unwrap().contains("5 of 6 bytes"));
        // Files of /proc claim to have nothing, those of /sys more than they have.
        for path in ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let Ok(file) = File::open(path) else { continue };
            let snapshot = Snapshot::take(file.as_fd()).unwrap().unwrap();
            assert_eq!(snapshot.difference(&snapshot, 20), None, "{path}");
        }
    }
}
