//! The ends of a program's pipes that the test holds: what is written to stdin and read from stdout and stderr.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::Source;

/// Writes a source to a program's stdin, as far as the test allows.
pub(crate) struct Feeder {
    source: Source,
    fed: u64,
    ranges: Option<Sender<Range<u64>>>,
}

impl Feeder {
    pub(crate) fn new(mut stdin: ChildStdin, source: Source) -> Self {
        let (ranges, wanted) = mpsc::channel::<Range<u64>>();
        thread::spawn(move || {
            for range in wanted {
                // A program that ended early is for the test to notice by its exit code.
                match std::io::copy(&mut source.bytes(range), &mut stdin).and_then(|_| stdin.flush()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
                    Err(error) => panic!("feeding a program: {error}"),
                }
            }
        });
        Self { source, fed: 0, ranges: Some(ranges) }
    }

    /// Feeds what comes before `offset` and has not been fed.
    pub(crate) fn feed_to(&mut self, offset: u64) {
        let ranges = self.ranges.as_ref().expect("stdin is still open");
        // The receiving end is gone when the program has ended.
        let _ = ranges.send(self.fed..offset);
        self.fed = offset;
    }

    /// Feeds the rest, then end of file.
    pub(crate) fn finish(&mut self) {
        self.feed_to(self.source.len());
        self.ranges = None;
    }
}

/// Reads a program's stdout into a digest, as far as the test allows.
pub(crate) struct Taker(Arc<(Mutex<Taken>, Condvar)>);

struct Taken {
    len: u64,
    hasher: blake3::Hasher,
    /// No more is read than this.
    limit: u64,
    then_close: bool,
    ended: bool,
}

impl Taker {
    /// Takes up to `limit` bytes, then leaves the pipe full, or closes it.
    pub(crate) fn new(stdout: ChildStdout, limit: u64, then_close: bool) -> Self {
        let taken = Taken { len: 0, hasher: blake3::Hasher::new(), limit, then_close, ended: false };
        let shared = Arc::new((Mutex::new(taken), Condvar::new()));
        let taker = Self(shared.clone());
        thread::spawn(move || take(stdout, &shared));
        taker
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.0.lock().unwrap().len
    }

    /// Waits until `len` bytes have been taken; false when that did not happen in time.
    pub(crate) fn reaches(&self, len: u64, within: Duration) -> bool {
        self.waits(within, |taken| taken.len >= len || taken.ended) && self.len() >= len
    }

    /// Waits for end of file, then gives length and digest of all that came.
    pub(crate) fn to_end(&self, within: Duration) -> Option<(u64, blake3::Hash)> {
        self.waits(within, |taken| taken.ended).then(|| {
            let taken = self.0.0.lock().unwrap();
            (taken.len, taken.hasher.finalize())
        })
    }

    /// Takes all there is from now on.
    pub(crate) fn take_all(&self) {
        self.0.0.lock().unwrap().limit = u64::MAX;
        self.0.1.notify_all();
    }

    fn waits(&self, within: Duration, condition: impl Fn(&Taken) -> bool) -> bool {
        let (taken, changed) = &*self.0;
        let (_guard, outcome) =
            changed.wait_timeout_while(taken.lock().unwrap(), within, |taken| !condition(taken)).unwrap();
        !outcome.timed_out()
    }
}

fn take(mut stdout: ChildStdout, (taken, changed): &(Mutex<Taken>, Condvar)) {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let room = {
            let taken = taken.lock().unwrap();
            if taken.len >= taken.limit && taken.then_close {
                break;
            }
            let taken = changed.wait_while(taken, |taken| taken.len >= taken.limit).unwrap();
            usize::try_from(taken.limit - taken.len).unwrap_or(usize::MAX).min(buffer.len())
        };
        match stdout.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(n) => {
                let mut taken = taken.lock().unwrap();
                taken.len += n as u64;
                taken.hasher.update(&buffer[..n]);
            }
            Err(error) => panic!("reading a program's stdout: {error}"),
        }
        changed.notify_all();
    }
    drop(stdout);
    taken.lock().unwrap().ended = true;
    changed.notify_all();
}

/// Reads a program's stderr.
pub(crate) struct Listener(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    ended: bool,
}

impl Heard {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Listener {
    pub(crate) fn new(mut stderr: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let listener = Self(shared.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                shared.0.lock().unwrap().bytes.extend_from_slice(&buffer[..n]);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        listener
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().unwrap().text()
    }

    /// Waits until the text contains `words`.
    pub(crate) fn hears(&self, words: &str, within: Duration) -> bool {
        self.waits(within, |heard| heard.ended || heard.text().contains(words)) && self.text().contains(words)
    }

    /// Waits for end of file, then gives the whole text.
    pub(crate) fn to_end(&self, within: Duration) -> String {
        self.waits(within, |heard| heard.ended);
        self.text()
    }

    fn waits(&self, within: Duration, condition: impl Fn(&Heard) -> bool) -> bool {
        let (heard, changed) = &*self.0;
        let (_guard, outcome) =
            changed.wait_timeout_while(heard.lock().unwrap(), within, |heard| !condition(heard)).unwrap();
        !outcome.timed_out()
    }
}
