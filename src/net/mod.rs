//! A network in the kernel: interfaces, sockets, batches of datagrams, the clock and what wakes a sleeping thread.
//!
//! Nothing outside this room reads a clock or opens a socket.

mod arrival;
pub mod batch;
pub mod clock;
mod coalesce;
pub mod drops;
mod error;
pub mod interface;
pub mod kernel;
mod membership;
mod netlink;
pub mod socket;
pub mod wake;

pub use arrival::{ArrivalClock, Arrivals};
pub use error::{Error, Trouble};
