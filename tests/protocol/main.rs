//! The wire format: what docs/protocol.md says of it, and what no bytes from anyone may do to it.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod behaviour;
mod examples;
mod hostile;
mod page;
mod random;
