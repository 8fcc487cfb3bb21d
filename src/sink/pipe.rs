//! Standard output as a sink.

use std::io::{self, IoSlice, Stdout};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, OFlags, fdatasync, fstat};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::{SinkError, check_standard, write_all};

/// Standard output: a pipe, or a file that the shell opened.
#[derive(Debug)]
pub struct OutputPipe {
    stdout: Stdout,
}

impl OutputPipe {
    /// Takes standard output. Where it is a pipe, the pipe is enlarged as far as this user may.
    ///
    /// # Errors
    /// When standard output is closed or open for reading only.
    pub fn stdout() -> Result<Self, SinkError> {
        let stdout = io::stdout();
        let unusable = |error| SinkError::new("cannot write to standard output", error);
        check_standard(stdout.as_fd(), OFlags::RDONLY).map_err(unusable)?;
        let status = fstat(&stdout).map_err(|errno| unusable(errno.into()))?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Fifo {
            enlarge(stdout.as_fd());
        }
        Ok(Self { stdout })
    }

    /// Writes all bytes of all slices, in order; blocks while the reader does not read.
    ///
    /// # Errors
    /// When the reader is gone or the disk is full. What was written before is a prefix of the slices.
    pub fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), SinkError> {
        write_all(self.stdout.as_fd(), slices)
            .map_err(|error| SinkError::new("cannot write to standard output", error))
    }

    /// Says that the stream is complete: a file or a disk that the shell opened is brought to the device.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(self) -> Result<(), SinkError> {
        let failed = |errno| SinkError::new("cannot bring standard output to the disk", errno);
        let status = fstat(&self.stdout).map_err(failed)?;
        // Pipes, terminals and tapes have nothing that could be synced.
        if let FileType::RegularFile | FileType::BlockDevice = FileType::from_raw_mode(status.st_mode) {
            fdatasync(&self.stdout).map_err(failed)?;
        }
        Ok(())
    }
}

/// Makes a pipe hold a megabyte, so that reader and writer wait for each other less often; less where this user has too
/// many pipes already.
pub(crate) fn enlarge(pipe: BorrowedFd<'_>) {
    let mut wanted = WANTED_PIPE;
    let current = fcntl_getpipe_size(pipe).unwrap_or(WANTED_PIPE);
    while wanted > current && fcntl_setpipe_size(pipe, wanted).is_err() {
        wanted /= 2;
    }
}

/// What Linux allows without privileges (fs.pipe-max-size).
const WANTED_PIPE: usize = 1 << 20;
