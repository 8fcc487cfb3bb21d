//! Coding blocks and Reed–Solomon repair symbols; knows nothing of datagrams or time.

pub mod block;
pub mod codec;
pub mod symbol_set;

pub use block::{Block, Layout};
pub use codec::{Codec, EncodeError, NotEnough};
pub use symbol_set::SymbolSet;

/// Source and repair symbols of one block together: the points of GF(2⁸), the field that the code lives in.
pub const MAX_SYMBOLS: usize = 256;
