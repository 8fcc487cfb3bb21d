//! The ways in which a program is told to stop, and what it owes then.

use rustix::process::Signal;

use super::{AT_ONCE, Program};

/// A signal, the code that it stands for, and how often it is sent in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    signal: Signal,
    pub(crate) code: u8,
    times: usize,
}

/// TERM and INT, once and twice.
pub(crate) const WAYS: [Way; 4] = [
    Way { signal: Signal::TERM, code: 143, times: 1 },
    Way { signal: Signal::TERM, code: 143, times: 2 },
    Way { signal: Signal::INT, code: 130, times: 1 },
    Way { signal: Signal::INT, code: 130, times: 2 },
];

impl Way {
    /// The program ends at once with 128 + n, says so in its report, and leaves no process behind.
    pub(crate) fn stops(self, program: &mut Program) {
        for _ in 0..self.times {
            program.signal(self.signal);
        }
        program.must_exit(&[self.code], AT_ONCE);
        assert_eq!(program.report()["exit_code"], self.code);
        program.processes().must_be_gone(AT_ONCE);
    }
}
