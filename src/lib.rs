//! Multicast backup streams: one dump on the network, verified byte for byte on N hosts.

pub mod cli;
pub mod exit;
pub mod fec;
pub mod net;
pub mod seal;
pub mod session;
pub mod sim;
pub mod sink;
pub mod source;
pub mod time;
pub mod wire;
