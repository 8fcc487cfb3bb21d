//! Programs of tests find nothing of the machine and of the user who runs the tests.
//!
//! The environment that cargo passes on may hold `MCAST_…` variables, the socket of a service manager, or a time zone.
//! Each would change what a program under test does. This is the one place that decides what such a program inherits;
//! `scripts/lib/hostile` is the place where `scripts/test` tries it.

use std::ffi::OsStr;
use std::process::Command;

/// `program`, to be started without the environment of the tests.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    blind(&mut command);
    command
}

/// Replaces the environment of `command` by one that is the same on every machine, but for the tools in PATH.
pub(crate) fn blind(command: &mut Command) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env_clear();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin"));
    command.envs([("HOME", "/nonexistent"), ("LANG", "C.UTF-8"), ("TZ", "UTC0")]);
}
