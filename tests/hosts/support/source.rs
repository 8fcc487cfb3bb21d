//! Streams of bytes that can be made again from a seed, so that nobody has to keep them.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// A stream of `len` bytes that look random.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    seed: u64,
    len: u64,
}

impl Source {
    pub(crate) fn new(seed: u64, len: u64) -> Self {
        Self { seed, len }
    }

    pub(crate) fn len(self) -> u64 {
        self.len
    }

    /// The bytes of this range of the stream.
    pub(crate) fn bytes(self, range: Range<u64>) -> impl Read {
        let mut bytes = blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof();
        bytes.seek(SeekFrom::Start(range.start)).unwrap();
        bytes.take(range.end.min(self.len).saturating_sub(range.start))
    }

    /// Digest of the whole stream.
    pub(crate) fn digest(self) -> blake3::Hash {
        self.digest_of_first(self.len)
    }

    /// What `xxh128sum` prints for the whole stream.
    pub(crate) fn xxh128(self) -> String {
        let mut bytes = Vec::new();
        self.bytes(0..self.len).read_to_end(&mut bytes).unwrap();
        format!("{:032x}", twox_hash::XxHash3_128::oneshot(&bytes))
    }

    /// Digest of the first `len` bytes.
    pub(crate) fn digest_of_first(self, len: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self.bytes(0..len)).unwrap();
        hasher.finalize()
    }
}
