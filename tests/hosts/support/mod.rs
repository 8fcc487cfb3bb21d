//! A LAN, programs on its hosts, and the bytes that they exchange.

pub(crate) mod archive;
pub(crate) mod inject;
pub(crate) mod kernel;
pub(crate) mod keys;
pub(crate) mod lab;
pub(crate) mod obey;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod source;
pub(crate) mod stdio;
pub(crate) mod stranger;
pub(crate) mod terminal;
pub(crate) mod wait;

use std::time::Duration;

pub(crate) use lab::{Host, Lab};
pub(crate) use program::Program;
pub(crate) use source::Source;

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

/// What any healthy transfer of these tests needs at most, on a loaded machine; the bound of every wait that is not
/// itself a promise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An exit that is promised within two seconds, plus what a loaded machine adds.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(3);

/// Three receivers named r1, r2 and r3 on hosts 1, 2 and 3, each with these options.
pub(crate) fn three_receivers(lab: &Lab, options: &[&str]) -> Vec<Program> {
    (1..=3).map(|h| lab.host(h).recv(&format!("r{h}")).args(options).start()).collect()
}

/// All end with `code`.
pub(crate) fn all_exit(programs: &mut [Program], code: u8, within: Duration) {
    for program in programs {
        program.must_exit(&[code], within);
    }
}
