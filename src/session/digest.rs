//! Length and digest of a whole stream, computed where it enters and where it leaves.

use std::fmt;

use twox_hash::XxHash3_128;

use crate::wire::Digest;

/// Runs along with a stream.
///
/// XXH3 with 128 bits finds what goes wrong by accident between the source's read and the sink's write: a flaw of this
/// program, of memory, of a CRC-32 that agreed by chance. It stops no attacker, nor would any digest without a key:
/// whoever can forge datagrams can forge the one with the digest.
#[derive(Clone)]
pub struct StreamDigest {
    hasher: XxHash3_128,
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
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.hasher.write(bytes);
    }

    /// Bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Length and digest of what has been taken so far.
    pub fn end(&self) -> StreamEnd {
        StreamEnd { bytes: self.bytes, digest: Digest(self.hasher.finish_128().to_be_bytes()) }
    }
}

impl Default for StreamDigest {
    fn default() -> Self {
        Self { hasher: XxHash3_128::new(), bytes: 0 }
    }
}

impl fmt::Debug for StreamDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDigest").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_bytes_however_they_came() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let whole = Digest(XxHash3_128::oneshot(&bytes).to_be_bytes());
        for piece in [1, 1_000, 1_428, 65_536, 199_999] {
            let mut digest = StreamDigest::default();
            bytes.chunks(piece).for_each(|piece| digest.update(piece));
            assert_eq!(digest.end(), StreamEnd { bytes: 200_000, digest: whole });
        }
    }

    #[test]
    fn the_digest_reads_as_xxh128sum_prints_it() {
        let mut digest = StreamDigest::default();
        assert_eq!(digest.end().digest.to_string(), "xxh3-128:99aa06d3014798d86001c324468d497f");
        digest.update(b"pg_dump\n");
        assert_eq!(digest.end().digest.to_string(), "xxh3-128:9adbc27243c321dc7240763e6832456d");
    }
}
