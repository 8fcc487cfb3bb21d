//! Multicast backup streams: one dump on the network, verified byte for byte on N hosts.

pub mod cli;
pub mod exit;
pub mod fec;
pub mod net;
pub mod sink;
pub mod source;
pub mod time;
