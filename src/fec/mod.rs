//! Coding blocks and Reed–Solomon repair symbols; knows nothing of datagrams or time.
//!
//! The stream is cut into coding blocks of k source symbols, a datagram's worth each; only the last symbol of a block
//! may be short. A block with k source symbols has 256 − k repair symbols, any of which can be made at any time, and
//! any k of the 256 give all source symbols back: one repair symbol mends a different loss at every receiver. A short
//! symbol counts as padded with zeros, which are neither stored nor sent. A block of one symbol is repaired by copies
//! of it, as short as it is.
//!
//! A block's buffer has the shape of the datagrams that carry it, so that reading, sending and repairing copy nothing:
//!
//! ```text
//!   stride             stride             stride, cut short
//! ┌──────┬────┬──────┬──────┬────┬──────┬──────┬──┬──────┬┄┄┐
//! │ head │ s0 │ tail │ head │ s1 │ tail │ head │s2│ tail │  │   k = 3, repair symbols are 3, 4 … 255
//! └──────┴────┴──────┴──────┴────┴──────┴──────┴──┴──────┴┄┄┘
//!        └ payload(0)└─ datagrams(1..3), one batch ──────┘
//! ```
//!
//! ```
//! use mcast::fec::{Block, Codec, Layout, SymbolSet};
//!
//! let mut block = Block::new(Layout { symbol_size: 4, head: 0, tail: 0 }, 8);
//! block.append(b"pg_dump | mcast-send");
//! let mut repair = vec![0; block.repair_len()];
//! Codec::new().encode(&block, 0, &mut repair)?;
//!
//! // Elsewhere, where source symbol 1 did not arrive:
//! block.payload_mut(1).fill(0);
//! let have = SymbolSet::from_iter([0, 2, 3, 4]);
//! Codec::new().reconstruct(&mut block, &have, &[(0, &repair)])?;
//! assert_eq!(block.payloads().collect::<Vec<_>>().concat(), b"pg_dump | mcast-send");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod codec;
mod processor;
mod symbol_set;

pub use block::{Block, Layout};
pub use codec::{Codec, EncodeError, NotEnough};
pub use processor::{UnsupportedProcessor, check_processor};
pub use symbol_set::SymbolSet;

/// Source and repair symbols of one block together: as many as GF(2⁸), the field of the code, has elements.
pub const MAX_SYMBOLS: usize = 256;
