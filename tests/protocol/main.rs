//! The wire format: what docs/protocol.md says of it, and what no bytes from anyone may do to it.

mod behaviour;
mod examples;
mod hostile;
mod page;
mod random;
