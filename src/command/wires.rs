//! What a program and the guards of its commands say to each other, over a pair of sockets.
//!
//! The first message hands descriptors to the guard. After that the program says [`RELEASE`] at most once, and hangs up
//! when the command is to be killed. The guard says what [`News`] can say.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The stream is complete: the command may see the end of its input.
pub(super) const RELEASE: u8 = b'R';

/// What the guard says. Eight bytes on the wire.
///
/// ```text
/// kind (1) | 0 (3) | value (4, native order)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The command runs as this process, which leads its group.
    Started(u32),
    /// It could not be started: an error number.
    NotStarted(u32),
    /// It has ended with this status, and its group with it.
    Exited(u32),
    /// It has ended by this signal, and its group with it.
    Killed(u32),
    /// It was to be killed, and this user may not do that.
    Survives(u32),
}

impl News {
    pub(super) const LENGTH: usize = 8;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let (kind, value) = match self {
            Self::Started(value) => (b'S', value),
            Self::NotStarted(value) => (b'N', value),
            Self::Exited(value) => (b'E', value),
            Self::Killed(value) => (b'K', value),
            Self::Survives(value) => (b'L', value),
        };
        let [a, b, c, d] = value.to_ne_bytes();
        [kind, 0, 0, 0, a, b, c, d]
    }

    /// `None` for what no guard says.
    pub(super) const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let [kind, _, _, _, a, b, c, d] = bytes;
        let value = u32::from_ne_bytes([a, b, c, d]);
        Some(match kind {
            b'S' => Self::Started(value),
            b'N' => Self::NotStarted(value),
            b'E' => Self::Exited(value),
            b'K' => Self::Killed(value),
            b'L' => Self::Survives(value),
            _ => return None,
        })
    }
}

/// Descriptors in one message, at most.
pub(super) const MOST_DESCRIPTORS: usize = 3;

/// Sends descriptors, at most [`MOST_DESCRIPTORS`]; copies of them stay here.
pub(super) fn send(socket: impl AsFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    // A message needs a byte to travel on.
    sendmsg(socket, &[IoSlice::new(b"D")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send`] has sent, in order. They are closed in programs that are started later.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn news_survive_the_way() {
        for news in [
            News::Started(1),
            News::NotStarted(2),
            News::Exited(0),
            News::Killed(9),
            News::Survives(u32::MAX),
        ] {
            assert_eq!(News::from_bytes(news.to_bytes()), Some(news));
        }
        assert_eq!(News::from_bytes([0; News::LENGTH]), None);
    }

    #[test]
    fn a_pipe_is_open_for_as_long_as_its_writing_end_waits_in_a_socket() {
        let (mut read, write) = io::pipe().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(&ours, &[write.as_fd()]).unwrap();
        drop((ours, write));
        rustix::io::ioctl_fionbio(&read, true).unwrap();
        assert_eq!(read.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let [write] = <[OwnedFd; 1]>::try_from(receive(&theirs).unwrap()).unwrap();
        io::PipeWriter::from(write).write_all(b"x").unwrap();
        assert_eq!(read.read(&mut [0; 2]).unwrap(), 1);
        assert_eq!(read.read(&mut [0]).unwrap(), 0);
    }
}
