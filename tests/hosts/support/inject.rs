//! System calls that fail, take their time or are the moment of death, from some moment of a running program on.

use std::process::{Child, Command, Stdio};

use super::stdio::Listener;
use super::{PATIENCE, Program};

/// A `strace` that changes system calls of a program, until this is dropped.
pub(crate) struct Injection(Child);

impl Injection {
    /// Into a receiver that waits for a sender. Its calls at the launch do not count, and each thread counts by itself.
    pub(crate) fn into(receiver: &Program, what: &str) -> Self {
        receiver.must_say("waiting for a sender", PATIENCE);
        let pid = receiver.processes().must_have(env!("CARGO_BIN_EXE_mcast-recv"), PATIENCE);
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("inject={what}")]);
        command.args(["-p", &pid.as_raw_pid().to_string()]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let listener = Listener::new(child.stderr.take().unwrap());
        assert!(listener.hears("attached", PATIENCE), "{}", listener.text());
        Self(child)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It may have ended with the program; it is ours until it is waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
