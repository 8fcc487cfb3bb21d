//! A network in the kernel: interfaces, sockets, batches of datagrams, the clock and what wakes a sleeping thread.
//!
//! This room and `cli` are the only ones that read a clock or open a socket.

pub mod batch;
pub mod clock;
mod error;
pub mod interface;
pub mod kernel;
pub mod socket;
pub mod wake;

pub use error::{Error, Trouble};
