//! Opening a path behind which there may be anything: a file, a FIFO, a device, a socket, a directory.
//!
//! Opening a FIFO waits for the other side, which may never come, and no signal of ours ends that wait. So nothing here
//! waits in `open`: a reader gets its descriptor at once and waits in `poll`, and a writer tries again until it is told
//! to stop.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::event::{Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, openat, stat};
use rustix::io::Errno;

/// Opens what is there at `path` for reading, and says what it is. Never waits.
///
/// A FIFO stays non-blocking. Until somebody has opened it for writing, reading gives an end of file that is none: first
/// wait until `poll` finds it readable, which it is not before there was a writer.
///
/// # Errors
/// When there is nothing, this user may not read it, or it is a socket.
pub(crate) fn open_to_read(path: &Path) -> io::Result<(File, FileType)> {
    let file = open(path, OFlags::RDONLY | OFlags::NOCTTY)?;
    let kind = settle(&file)?;
    Ok((file, kind))
}

/// Opens what is there at `path` for writing, with `more` flags (`OFlags::NOFOLLOW`, `OFlags::APPEND`), and says what it
/// is. Makes nothing and cuts off nothing.
///
/// A FIFO that nobody reads is tried again every 20 ms until `give_up` says true. It stays non-blocking, as
/// [`write_all`](super::write_all) takes it.
///
/// # Errors
/// When there is nothing, this user may not write to it, or it is a socket; `TimedOut` for a FIFO that nobody reads.
pub(crate) fn open_to_write(
    path: &Path,
    more: OFlags,
    mut give_up: impl FnMut() -> bool,
) -> io::Result<(File, FileType)> {
    loop {
        match open(path, OFlags::WRONLY | OFlags::NOCTTY | more) {
            Ok(file) => {
                let kind = settle(&file)?;
                return Ok((file, kind));
            }
            Err(error) if is(&error, Errno::NXIO) && kind_of(path)? == FileType::Fifo => {
                if give_up() {
                    let text = "nobody reads this FIFO; start its reader first";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                let _ = poll(&mut [], Some(&LOOK));
            }
            Err(error) => return Err(error),
        }
    }
}

/// What `path` leads to.
///
/// # Errors
/// When it leads nowhere.
pub(crate) fn kind_of(path: &Path) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(stat(path)?.st_mode))
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    match openat(CWD, path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd.into()),
        Err(Errno::NXIO) if kind_of(path)? == FileType::Socket => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a socket, and no file; name a file or a FIFO",
        )),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets reads and writes block again where only the opening must not.
fn settle(file: &File) -> io::Result<FileType> {
    let kind = FileType::from_raw_mode(fstat(file)?.st_mode);
    if kind != FileType::Fifo {
        fcntl_setfl(file, fcntl_getfl(file)? & !OFlags::NONBLOCK)?;
    }
    Ok(kind)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Pause between two looks for a reader.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    use rustix::event::{PollFd, PollFlags};
    use rustix::fs::mknodat;

    use super::*;

    const ONE_SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

    fn fifo() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        (directory, path)
    }

    #[test]
    fn fifo_without_a_writer_is_opened_at_once_and_becomes_readable_with_the_first_writer() {
        let (_directory, path) = fifo();
        let (mut reader, kind) = open_to_read(&path).unwrap();
        assert_eq!(kind, FileType::Fifo);
        let readable = |reader: &File, patience: Timespec| {
            poll(&mut [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)], Some(&patience)).unwrap() > 0
        };
        assert!(!readable(&reader, LOOK));
        let (mut writer, _) = open_to_write(&path, OFlags::empty(), || true).unwrap();
        assert!(!readable(&reader, LOOK));
        writer.write_all(b"x").unwrap();
        assert!(readable(&reader, ONE_SECOND));
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"x");
    }

    #[test]
    fn fifo_without_a_reader_is_given_up_when_the_caller_says_so() {
        let (_directory, path) = fifo();
        let mut asked = 0;
        let error = open_to_write(&path, OFlags::empty(), || {
            asked += 1;
            asked == 3
        });
        let error = error.unwrap_err();
        assert_eq!((error.kind(), asked), (io::ErrorKind::TimedOut, 3));
        assert!(error.to_string().contains("reader"), "{error}");
    }

    #[test]
    fn socket_is_refused_by_name_and_a_file_blocks_as_usual() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, file) = (directory.path().join("socket"), directory.path().join("file"));
        let _listener = UnixListener::bind(&socket).unwrap();
        for error in [
            open_to_read(&socket).unwrap_err(),
            open_to_write(&socket, OFlags::empty(), || true).unwrap_err(),
        ] {
            assert!(error.to_string().contains("socket"), "{error}");
        }
        std::fs::write(&file, "x").unwrap();
        let (file, kind) = open_to_read(&file).unwrap();
        assert_eq!(kind, FileType::RegularFile);
        assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
        assert_eq!(kind_of(Path::new("/dev/null")).unwrap(), FileType::CharacterDevice);
    }
}
