//! Where the stream comes from: standard input, a file, or a command.
//!
//! Sources block and belong on a thread of their own.

pub mod reader;

use std::fs::File;
use std::io::{self, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Advice, FileType, OFlags, fadvise, fstat};
use rustix::io::Errno;

use crate::command::{CommandLine, Commands, Running, Stream};
use crate::disk::special;
use crate::sink::{check_standard, pipe, wait};

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
    /// From here, since it is there already.
    Input(Input),
    /// From this command, which is started when the stream is asked for.
    Command(CommandLine, Commands),
}

impl Source {
    /// Size of the source where it is a regular file, in bytes.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Input(input) => input.size(),
            Self::Command(..) => None,
        }
    }

    /// Starts the command, if it is one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn open(self) -> Result<Input, SourceError> {
        match self {
            Self::Input(input) => Ok(input),
            Self::Command(line, commands) => Input::start(line, &commands),
        }
    }
}

/// A stream of bytes of unknown length. Dropped, it kills the command that it comes from.
#[derive(Debug)]
pub struct Input {
    fd: OwnedFd,
    name: String,
    /// Size of a regular file when it was opened, in bytes.
    size: Option<u64>,
    command: Option<Running>,
}

impl Input {
    /// Standard input.
    ///
    /// # Errors
    /// When it is closed, open for writing only, or a directory.
    pub fn stdin() -> Result<Self, SourceError> {
        let name = "standard input".to_owned();
        let stdin = io::stdin();
        let usable = check_standard(stdin.as_fd(), OFlags::WRONLY);
        match usable.and_then(|()| stdin.as_fd().try_clone_to_owned()) {
            Ok(fd) => Self::new(fd, name),
            Err(source) => Err(SourceError { action: format!("cannot read {name}"), source }),
        }
    }

    /// The file at `path`, from its beginning. Does not wait for the writer of a FIFO; [`Input::await_writer`] does.
    ///
    /// # Errors
    /// When it is not there, not readable, a directory or a socket.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
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
        let mut size = None;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => return Err(failed(Errno::ISDIR.into())),
            FileType::RegularFile => {
                size = u64::try_from(status.st_size).ok();
                // Only a hint: twice the read-ahead.
                let _ = fadvise(&fd, 0, None, Advice::Sequential);
            }
            FileType::Fifo => pipe::enlarge(fd.as_fd()),
            _ => {}
        }
        Ok(Self { fd, name, size, command: None })
    }

    /// Says whether the stream has really ended, once [`Input::read`] has given 0: waits for the status of a command.
    ///
    /// # Errors
    /// When the command has failed.
    pub fn end(&self) -> Result<(), SourceError> {
        match self.command.as_ref().map(Running::wait) {
            Some(status) if !status.is_success() => {
                Err(SourceError { action: self.name.clone(), source: io::Error::other(status.to_string()) })
            }
            _ => Ok(()),
        }
    }

    /// Size of the source where it is a regular file, when it was opened, in bytes.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Waits for as long as it takes until somebody has opened the other side, where this is a FIFO: before that, a read
    /// would give an end of file that is none.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn await_writer(&self) -> Result<(), SourceError> {
        wait(self.fd.as_fd(), PollFlags::IN)
            .map_err(|source| SourceError { action: format!("cannot read {}", self.name), source })
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
        read(self.fd.as_fd(), slices)
            .map_err(|source| SourceError { action: format!("cannot read {}", self.name), source })
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
        let error = Input::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("tar"), "{error}");
        let error = Input::open(&directory.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("check the path"), "{error}");
    }

    #[test]
    fn a_file_tells_its_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, [7; 1000]).unwrap();
        assert_eq!(Input::open(&path).unwrap().size(), Some(1000));
    }
}
