//! What ends the sleep of the protocol thread: sockets, a deadline, other threads, signals.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use super::clock::Clock;
use crate::time::Time;

/// The sleeping side; one thread has it.
#[derive(Debug)]
pub struct Sleeper {
    shared: Arc<Shared>,
}

/// The waking side; as many threads as like have a copy.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    /// The sleeper has said that it goes to sleep; who wakes it must write to `event`.
    asleep: AtomicBool,
}

impl Sleeper {
    /// A sleeper, awake.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { shared: Arc::new(Shared { event, asleep: AtomicBool::new(false) }) })
    }

    /// What wakes this sleeper.
    pub fn waker(&self) -> Waker {
        Waker { shared: Arc::clone(&self.shared) }
    }

    /// Sleeps until `deadline`, a wake-up, or until one of `watched` is ready; tells for each whether it is.
    ///
    /// `idle` is asked once more after the sleep was announced, whether there is really nothing to do: what another
    /// thread handed over before it saw the announcement would be slept over otherwise.
    ///
    /// # Errors
    /// When the system refuses, which it has no reason to.
    pub fn wait<const N: usize>(
        &self,
        watched: [Watch<'_>; N],
        clock: &Clock,
        deadline: Time,
        idle: impl FnOnce() -> bool,
    ) -> io::Result<[bool; N]> {
        self.shared.asleep.store(true, Ordering::SeqCst);
        // With the fence in `wake`: either `idle` sees what was handed over, or the waker sees this announcement.
        fence(Ordering::SeqCst);
        let deadline = if idle() { deadline } else { Time::ZERO };
        let ready = self.poll(watched, clock, deadline);
        self.shared.asleep.store(false, Ordering::SeqCst);
        // Left over only if somebody woke us; the counter is reset by the read.
        let _ = rustix::io::read(&self.shared.event, &mut [0; 8]);
        ready
    }

    fn poll<const N: usize>(
        &self,
        watched: [Watch<'_>; N],
        clock: &Clock,
        deadline: Time,
    ) -> io::Result<[bool; N]> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(N + 1);
        for watch in watched {
            fds.push(PollFd::from_borrowed_fd(watch.fd, watch.flags));
        }
        fds.push(PollFd::new(&self.shared.event, PollFlags::IN));
        loop {
            let timeout = (deadline < Time::NEVER).then(|| {
                let rest = deadline.since(clock.now());
                Timespec {
                    tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(rest.subsec_nanos()),
                }
            });
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(std::array::from_fn(|index| fds.get(index).is_some_and(|fd| !fd.revents().is_empty())))
    }
}

impl Waker {
    /// Ends the sleep if there is one; costs no system call if there is none.
    ///
    /// Hand over first, then wake.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            // The counter cannot be full: it takes 2^64 - 1 wake-ups that nobody read.
            let _ = rustix::io::write(&self.shared.event, &1_u64.to_ne_bytes());
        }
    }
}

/// A file descriptor, and what it is watched for.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    fd: BorrowedFd<'a>,
    flags: PollFlags,
}

impl<'a> Watch<'a> {
    /// Something to read, or an error.
    pub fn readable(fd: &'a impl AsFd) -> Self {
        Self { fd: fd.as_fd(), flags: PollFlags::IN }
    }

    /// An error; what there is to read is left to wait.
    pub fn resting(fd: &'a impl AsFd) -> Self {
        Self { fd: fd.as_fd(), flags: PollFlags::empty() }
    }

    /// Something to read or room to write, or an error.
    pub fn writable_too(fd: &'a impl AsFd) -> Self {
        Self { fd: fd.as_fd(), flags: PollFlags::IN | PollFlags::OUT }
    }
}

/// The signals that ask a program to end: TERM, INT and HUP, except those that the parent had it ignore (`nohup`).
#[derive(Debug)]
pub struct Signals {
    pipes: Vec<(u8, UnixStream)>,
    /// One descriptor to watch for all of them.
    any: UnixStream,
    count: u32,
}

impl Signals {
    /// From here on, the signals no longer end the process; who has this must look. Nor does SIGXFSZ, which nobody needs
    /// to look for.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub fn catch() -> io::Result<Self> {
        let ignored = ignored_signals();
        let (any, write_any) = UnixStream::pair()?;
        any.set_nonblocking(true)?;
        let mut pipes = Vec::new();
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            if ignored & (1 << (signal - 1)) != 0 {
                continue;
            }
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, write)?;
            signal_hook::low_level::pipe::register(signal, write_any.try_clone()?)?;
            pipes.push((u8::try_from(signal).unwrap_or_default(), read));
        }
        if ignored & (1 << (SIGXFSZ - 1)) == 0 {
            // A file at its limit (`ulimit -f`) is a write that fails, and no reason to die without a word. Caught rather
            // than ignored, since commands inherit what is ignored.
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        }
        Ok(Self { pipes, any, count: 0 })
    }

    /// Whether a signal has come since the last look, without looking.
    pub fn are_pending(&self) -> bool {
        let mut any = [PollFd::new(&self.any, PollFlags::IN)];
        poll(&mut any, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// The number of the first signal that has come since the last look, and how many have come in all. Whoever sees
    /// two or more ends the process at once.
    pub fn take(&mut self) -> Option<(u8, u32)> {
        while self.any.read(&mut [0; 16]).is_ok_and(|read| read > 0) {}
        let mut first = None;
        for (signal, pipe) in &mut self.pipes {
            let mut buffer = [0; 16];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                self.count = self.count.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
                first = first.or(Some(*signal));
            }
        }
        first.map(|signal| (signal, self.count))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.any.as_fd()
    }
}

/// Bit n - 1 stands for signal n; none where /proc is not there.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What people call a signal.
pub fn signal_name(signal: u8) -> String {
    match i32::from(signal) {
        SIGHUP => "SIGHUP".to_owned(),
        SIGINT => "SIGINT".to_owned(),
        SIGTERM => "SIGTERM".to_owned(),
        _ => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sleep_ends_at_its_deadline_to_a_fraction_of_a_millisecond() {
        let (clock, sleeper) = (Clock::start(), Sleeper::new().unwrap());
        let deadline = clock.now() + Duration::from_micros(300);
        sleeper.wait([], &clock, deadline, || true).unwrap();
        assert!(clock.now() >= deadline);
        assert!(clock.now().since(deadline) < Duration::from_millis(100));
    }

    #[test]
    fn another_thread_ends_the_sleep_and_no_wake_up_is_lost() {
        let (clock, sleeper) = (Clock::start(), Sleeper::new().unwrap());
        let waker = sleeper.waker();
        let (give, take) = channel();
        let other = thread::spawn(move || {
            for number in 0..10_000 {
                give.send(number).unwrap();
                waker.wake();
            }
        });
        let (mut next, give_up) = (0, clock.now() + Duration::from_secs(60));
        let mut left = None;
        while next < 10_000 {
            assert!(clock.now() < give_up, "lost the wake-up for {next}");
            while let Some(number) = left.take().or_else(|| take.try_recv().ok()) {
                assert_eq!(number, next);
                next += 1;
            }
            if next < 10_000 {
                let idle = || {
                    left = take.try_recv().ok();
                    left.is_none()
                };
                sleeper.wait([], &clock, give_up, idle).unwrap();
            }
        }
        other.join().unwrap();
    }

    #[test]
    fn waking_who_is_awake_costs_no_system_call() {
        let (clock, sleeper) = (Clock::start(), Sleeper::new().unwrap());
        sleeper.waker().wake();
        let nothing = rustix::io::read(&sleeper.shared.event, &mut [0; 8]);
        assert_eq!(nothing, Err(Errno::AGAIN));
        // Nor does it end the next sleep.
        let deadline = clock.now() + Duration::from_millis(2);
        sleeper.wait([], &clock, deadline, || true).unwrap();
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn what_was_handed_over_just_before_the_sleep_is_not_slept_over() {
        let (clock, sleeper) = (Clock::start(), Sleeper::new().unwrap());
        sleeper.wait([], &clock, Time::NEVER, || false).unwrap();
    }

    #[test]
    fn signals_are_told_apart_and_counted_and_ignored_ones_stay_ignored() {
        const INSIDE: &str = "MCAST_TEST_INSIDE_CHILD";
        if std::env::var_os(INSIDE).is_none() {
            // Caught signals stay caught, so this happens in a process of its own, whose parent ignores HUP.
            let output = Command::new("sh")
                .args(["-c", "trap '' HUP; exec \"$0\" --exact --nocapture \"$1\""])
                .arg(std::env::current_exe().unwrap())
                .arg("net::wake::tests::signals_are_told_apart_and_counted_and_ignored_ones_stay_ignored")
                .env(INSIDE, "1")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let (clock, sleeper) = (Clock::start(), Sleeper::new().unwrap());
        let mut signals = Signals::catch().unwrap();
        assert_eq!(signals.take(), None);
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert_eq!(signals.take(), None);
        for count in 1..3 {
            signal_hook::low_level::raise(SIGTERM).unwrap();
            let ready = sleeper.wait([Watch::readable(&signals)], &clock, Time::NEVER, || true).unwrap();
            assert_eq!((ready, signals.take()), ([true], Some((15, count))));
        }
        signal_hook::low_level::raise(SIGINT).unwrap();
        assert_eq!(signals.take(), Some((2, 3)));
    }
}
