//! The command line: arguments in, messages, progress and reports out. clap lives here and nowhere else.

pub mod config;
pub mod error;
pub mod values;
