//! Where the stream comes from: standard input, a file, or a command.
//!
//! Sources block and belong on a thread of their own.

pub mod reader;
mod unchanged;

use std::fs::File;
use std::io::{self, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Advice, FileType, OFlags, fadvise, fstat};
use rustix::io::Errno;

use crate::command::{CommandLine, Commands, Running, Stream};
use crate::disk::special;
use crate::sink::{check_standard, pipe, wait};
use unchanged::Snapshot;

/// The source did not give its bytes. The message names the source, what the system said, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}{}", remedy(.source))]
pub struct SourceError {
    /// What was tried, with the source's name.
    pub action: String,
    /// What the system said.
    pub source: io::Error,
}

/// Where a stream is to come from.
#[derive(Debug)]
pub enum Source {
    /// From here, since it is open already.
    Input(Input),
    /// From the file of this path, which is opened when the stream is asked for.
    File(PathBuf),
    /// From this command, which is started when the stream is asked for.
    Command(CommandLine, Commands),
}

impl Source {
    /// Standard input.
    ///
    /// # Errors
    /// When it is closed, open for writing only, or a directory.
    pub fn stdin() -> Result<Self, SourceError> {
        let name = "standard input".to_owned();
        let stdin = io::stdin();
        let usable = check_standard(stdin.as_fd(), OFlags::WRONLY);
        match usable.and_then(|()| stdin.as_fd().try_clone_to_owned()) {
            Ok(fd) => Ok(Self::Input(Input::new(fd, name)?)),
            Err(source) => Err(SourceError { action: format!("cannot read {name}"), source }),
        }
    }

    /// The file, device or FIFO at `path`. A file or a disk keeps its content and is opened once more when the stream is
    /// asked for; a FIFO stays open, so that its writer finds a reader.
    ///
    /// # Errors
    /// When it is not there, not readable, a directory or a socket.
    pub fn at(path: &Path) -> Result<Self, SourceError> {
        let input = Input::open(path)?;
        Ok(if input.keeps_content { Self::File(path.to_owned()) } else { Self::Input(input) })
    }

    /// Whether nothing of it may be read before the session starts: a file would be sent as it was before, and a command
    /// would take its snapshot too early.
    pub fn waits_for_start(&self) -> bool {
        match self {
            Self::Input(input) => input.keeps_content,
            Self::File(_) | Self::Command(..) => true,
        }
    }

    /// Gets ready to read: opens a file, starts a command, waits for the writer of a FIFO, as long as it takes.
    ///
    /// # Errors
    /// When the source cannot be opened or started.
    pub fn open(self) -> Result<Input, SourceError> {
        let mut input = match self {
            Self::Input(input) => input,
            Self::File(path) => Input::open(&path)?,
            Self::Command(line, commands) => Input::start(line, &commands)?,
        };
        input.begin()?;
        Ok(input)
    }
}

/// A stream of bytes of unknown length. Dropped, it kills the command that it comes from.
#[derive(Debug)]
pub struct Input {
    fd: OwnedFd,
    name: String,
    /// It is a regular file or a block device, which can be read at any time.
    keeps_content: bool,
    /// State of a regular file before the first byte was read.
    before: Option<Snapshot>,
    command: Option<Running>,
}

impl Input {
    /// The file, device or FIFO at `path`, from its beginning. Does not wait for the writer of a FIFO; [`Input::begin`] does.
    fn open(path: &Path) -> Result<Self, SourceError> {
        let name = format!("file \"{}\"", path.display());
        match special::open_to_read(path) {
            Ok((file, _)) => Self::new(file.into(), name),
            Err(source) => Err(SourceError { action: format!("cannot read {name}"), source }),
        }
    }

    fn start(line: CommandLine, commands: &Commands) -> Result<Self, SourceError> {
        let name = line.to_string();
        let failed = |source| SourceError { action: format!("cannot start {name}"), source };
        // A terminal is for people, and the command is not in the foreground.
        let stdin = if io::stdin().is_terminal() {
            File::open("/dev/null").map(OwnedFd::from)
        } else {
            io::stdin().as_fd().try_clone_to_owned()
        };
        let started = stdin.and_then(|stdin| commands.launch(&line, Stream::FromCommand(stdin), || ()));
        let mut running = started.map_err(failed)?;
        let fd = running.take_pipe().ok_or_else(|| failed(Errno::BADF.into()))?;
        Ok(Self { command: Some(running), ..Self::new(fd, name)? })
    }

    fn new(fd: OwnedFd, name: String) -> Result<Self, SourceError> {
        let failed = |source| SourceError { action: format!("cannot read {name}"), source };
        let status = fstat(&fd).map_err(|errno| failed(errno.into()))?;
        let mut keeps_content = false;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => return Err(failed(Errno::ISDIR.into())),
            FileType::RegularFile | FileType::BlockDevice => {
                keeps_content = true;
                // Only a hint: twice the read-ahead.
                let _ = fadvise(&fd, 0, None, Advice::Sequential);
            }
            FileType::Fifo => pipe::enlarge(fd.as_fd()),
            _ => {}
        }
        Ok(Self { fd, name, keeps_content, before: None, command: None })
    }

    /// Comes before the first [`Input::read`]. Waits, as long as it takes, until somebody has opened the other side of a
    /// FIFO: before that, a read would give an end of file that is none.
    fn begin(&mut self) -> Result<(), SourceError> {
        wait(self.fd.as_fd(), PollFlags::IN).map_err(|error| self.failed(error))?;
        self.before = Snapshot::take(self.fd.as_fd()).map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Says whether the stream has really ended, once [`Input::read`] has given 0 after `read` bytes in all: waits for the
    /// status of a command, and looks whether a file is still what it was.
    ///
    /// # Errors
    /// When the command has failed, or the file has changed while it was read.
    pub fn end(&self, read: u64) -> Result<(), SourceError> {
        if let Some(status) = self.command.as_ref().map(Running::wait)
            && !status.is_success()
        {
            let source = io::Error::other(status.to_string());
            return Err(SourceError { action: self.name.clone(), source });
        }
        let Some(before) = &self.before else { return Ok(()) };
        let now = Snapshot::take(self.fd.as_fd()).map_err(|error| self.failed(error))?;
        match now.and_then(|now| before.difference(&now, read)) {
            Some(difference) => Err(SourceError {
                action: format!("{} changed while it was read", self.name),
                source: io::Error::other(format!("{difference}; send a copy or a snapshot of it")),
            }),
            None => Ok(()),
        }
    }

    /// Size of a regular file when its reading began, in bytes.
    pub fn size(&self) -> Option<u64> {
        self.before.as_ref().map(Snapshot::size)
    }

    /// Whether the next [`Input::read`] gives something at once, waiting for it this long at most.
    pub fn has_more(&self, patience: Duration) -> bool {
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        // An error shows when it is read.
        poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) != Ok(0)
    }

    /// Reads into the slices, in order, what there is: at least one byte, unless the stream has ended, which gives 0.
    /// Blocks until there is something.
    ///
    /// # Errors
    /// When the system cannot read.
    pub fn read(&self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, SourceError> {
        read(self.fd.as_fd(), slices).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> SourceError {
        SourceError { action: format!("cannot read {}", self.name), source }
    }
}

fn read(fd: BorrowedFd<'_>, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let most = slices.len().min(MOST_SLICES);
    let slices = slices.get_mut(..most).unwrap_or_default();
    loop {
        match rustix::io::readv(fd, slices) {
            Ok(read) => return Ok(read),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(fd, PollFlags::IN)?,
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::PermissionDenied => "; let this user read it",
        io::ErrorKind::IsADirectory => "; pack it first, for example tar -c DIR | mcast-send",
        _ => "",
    }
}

/// IOV_MAX on Linux.
const MOST_SLICES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    #[test]
    fn a_pipe_is_read_as_it_comes_until_it_is_closed() {
        let (read, mut write) = io::pipe().unwrap();
        let input = Input::new(read.into(), "pipe".to_owned()).unwrap();
        let (mut first, mut second) = ([0; 3], [0; 5]);
        write.write_all(b"abcd").unwrap();
        assert_eq!(input.read(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]).unwrap(), 4);
        assert_eq!((first, second), (*b"abc", *b"d\0\0\0\0"));
        drop(write);
        assert_eq!(input.read(&mut [IoSliceMut::new(&mut first)]).unwrap(), 0);
        assert_eq!(input.size(), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let error = Source::at(directory.path()).unwrap_err().to_string();
        assert!(error.contains("tar"), "{error}");
        let error = Source::at(&directory.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("check the path"), "{error}");
    }

    #[test]
    fn file_is_opened_again_when_the_stream_is_asked_for_and_tells_its_size_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, [7; 1000]).unwrap();
        let source = Source::at(&path).unwrap();
        assert!(source.waits_for_start());
        std::fs::write(directory.path().join("b"), [8; 10]).unwrap();
        std::fs::rename(directory.path().join("b"), &path).unwrap();
        let input = source.open().unwrap();
        let mut bytes = [0; 20];
        assert_eq!((input.size(), input.read(&mut [IoSliceMut::new(&mut bytes)]).unwrap()), (Some(10), 10));
        assert_eq!(&bytes[..10], &[8; 10]);
        assert!(input.end(10).is_ok());
        let error = input.end(9).unwrap_err().to_string();
        assert!(error.contains("changed while it was read") && error.contains("9 of 10"), "{error}");
    }

    #[test]
    fn fifo_stays_open_from_launch_and_is_read_once_it_has_a_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let source = Source::at(&path).unwrap();
        assert!(!source.waits_for_start());
        // The writer finds a reader, or it would wait here for ever.
        let writer = std::thread::spawn(move || std::fs::write(path, "x"));
        let input = source.open().unwrap();
        let mut bytes = [0; 20];
        assert_eq!(input.read(&mut [IoSliceMut::new(&mut bytes)]).unwrap(), 1);
        writer.join().unwrap().unwrap();
        assert_eq!(input.read(&mut [IoSliceMut::new(&mut bytes)]).unwrap(), 0);
        assert!(input.end(1).is_ok());
    }
}
