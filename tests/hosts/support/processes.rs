//! The processes that a program has started, and those that these have started: found by a mark in their environment.

use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::wait::comes_true;

/// A mark that everything below a program carries.
pub(crate) struct Tag(String);

impl Tag {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{NAME}={}.{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn mark(&self, command: &mut Command) {
        let (name, value) = self.0.split_once('=').unwrap();
        command.env(name, value);
    }

    /// All that live, with their command lines.
    pub(crate) fn living(&self) -> Vec<(Pid, String)> {
        let mut living = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?))
            else {
                continue;
            };
            // Who ends while it is looked at is no longer there.
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == self.0.as_bytes()) {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                living.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        living
    }

    /// Waits until one lives whose command line begins like this.
    pub(crate) fn must_have(&self, start: &str, within: Duration) -> Pid {
        let mut found = None;
        let there = comes_true(within, || {
            found = self.living().into_iter().find(|(_, line)| line.starts_with(start)).map(|(pid, _)| pid);
            found.is_some()
        });
        assert!(there, "no process {start:?} among {:?}", self.living());
        found.unwrap()
    }

    /// Waits until none is left.
    pub(crate) fn must_be_gone(&self, within: Duration) {
        assert!(comes_true(within, || self.living().is_empty()), "still there: {:?}", self.living());
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        for (pid, _) in self.living() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Not one of the variables that set options.
const NAME: &str = "TAG_OF_MCAST_TEST";
