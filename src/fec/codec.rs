//! Reed–Solomon over GF(2⁸): repair symbols of a block, and missing symbols out of repair symbols.

use super::{Block, SymbolSet};

/// Makes repair symbols, and source symbols out of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

impl Codec {
    /// A codec for blocks of any size.
    pub fn new() -> Self {
        Self
    }

    /// Writes repair symbol `repair` (from 0) of `block` into the first [`Block::repair_len`] bytes of `out`.
    ///
    /// # Errors
    /// The block has no such repair symbol, or `out` is too short for it.
    pub fn encode(&mut self, block: &Block, repair: usize, out: &mut [u8]) -> Result<(), EncodeError> {
        let _ = (block, repair, out);
        Ok(())
    }

    /// Fills in the payloads of the source symbols that are not in `have`, out of those that are and of `repairs`:
    /// pairs of a repair symbol's number (from 0) and its bytes.
    ///
    /// `block` has its final length. Repairs that are no repair symbol of this block (number, length) or come twice
    /// are left out; more than needed do no harm.
    ///
    /// # Errors
    /// Fewer usable repair symbols than missing source symbols; the block is then as it was.
    pub fn reconstruct(
        &mut self,
        block: &mut Block,
        have: &SymbolSet,
        repairs: &[(usize, &[u8])],
    ) -> Result<(), NotEnough> {
        let _ = (block, have, repairs);
        Ok(())
    }
}

/// Why a repair symbol could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Source and repair symbols together are at most 256, and an empty block has none.
    #[error("no repair symbol {repair} for a block of {symbols} source symbols")]
    NoSuchRepair {
        /// The number asked for.
        repair: usize,
        /// Source symbols of the block.
        symbols: usize,
    },
    /// The buffer is shorter than [`Block::repair_len`].
    #[error("{room} bytes are too few for a repair symbol of {needed}")]
    NoRoom {
        /// Bytes of the buffer.
        room: usize,
        /// Bytes of the repair symbol.
        needed: usize,
    },
}

/// Fewer usable repair symbols than missing source symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missing} source symbols are missing and {repairs} repair symbols are usable")]
pub struct NotEnough {
    /// Source symbols that are missing.
    pub missing: usize,
    /// Repair symbols that could have been used.
    pub repairs: usize,
}
