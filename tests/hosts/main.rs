//! Real programs on real hosts: `mcast-send` and `mcast-recv` on the network namespaces of `scripts/lab`.
//!
//! What only a kernel can show is tested here: sockets, groups, interfaces, signals, pipes, files, exit codes. Each
//! test has a LAN of its own, so they run beside each other; most of them wait rather than work, so more threads than
//! processors help. `scripts/test` runs them as they need it: as root, or inside `scripts/lab enter`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how they say what went wrong"
)]

mod archive;
mod archive_failures;
mod archive_modes;
mod archive_places;
mod archive_room;
mod archive_rules;
mod archive_verify;
mod bad_input;
#[path = "../common/blind.rs"]
mod blind;
mod clocks;
mod commands;
mod commands_killed;
mod deaths;
mod degraded;
mod destinations;
mod files;
mod icmp;
mod key_files;
mod limits;
mod losses;
mod multicast;
mod network;
mod pace;
mod pauses;
mod phases;
mod places;
mod port_zero;
mod ports;
mod repeat;
mod report_files;
#[path = "../common/schema.rs"]
mod schema;
mod signals;
mod sinks;
mod sizes;
mod slow;
mod sources;
mod start_window;
mod strangers;
mod streams;
mod support;
mod terminals;
mod then;
mod trust;
mod two_senders;
