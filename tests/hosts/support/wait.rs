//! Waiting for conditions, each with a bound. The only place of these tests that reads a clock.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Time that went by since it was started.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "these tests run in real time; this is their one clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks every few milliseconds whether `condition` holds, for at most `within`; true once it does.
pub(crate) fn comes_true(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let watch = Stopwatch::start();
    loop {
        if condition() {
            return true;
        }
        if watch.elapsed() >= within {
            return false;
        }
        readable(&mut [], Duration::from_millis(5));
    }
}

/// Lets time go by, where how long something lasts is what a test is about. Never a way to wait for a condition.
pub(crate) fn for_as_long_as(duration: Duration) {
    readable(&mut [], duration);
}

/// Waits until one of the descriptors is readable (a process descriptor is when its process has ended).
pub(crate) fn readable(descriptors: &mut [PollFd<'_>], within: Duration) -> bool {
    let watch = Stopwatch::start();
    loop {
        let left = within.saturating_sub(watch.elapsed());
        let timeout = Timespec::try_from(left).unwrap();
        match poll(descriptors, Some(&timeout)) {
            Ok(0) if watch.elapsed() < within => {}
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Interest in a descriptor's readability.
pub(crate) fn interest<Fd: std::os::fd::AsFd>(descriptor: &Fd) -> PollFd<'_> {
    PollFd::new(descriptor, PollFlags::IN)
}
