//! Length and digest of a whole stream, computed where it enters and where it leaves.

use crate::wire::Digest;

/// Runs along with a stream.
///
/// BLAKE3 is cryptographic, so that the digest in a report or an archive is evidence against more than accidents.
#[derive(Clone, Debug, Default)]
pub struct StreamDigest {
    hasher: blake3::Hasher,
    bytes: u64,
}

/// What a complete stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// Bytes in the stream.
    pub bytes: u64,
    /// Digest over them.
    pub digest: Digest,
}

impl StreamDigest {
    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    /// Bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Length and digest of what has been taken so far.
    pub fn end(&self) -> StreamEnd {
        StreamEnd { bytes: self.bytes, digest: Digest(*self.hasher.finalize().as_bytes()) }
    }
}
