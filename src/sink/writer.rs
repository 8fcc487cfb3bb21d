//! The thread that writes: gives blocks to the sinks in order, and compares length and digest at the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::handover::Handover;
use super::several::{Plan, Sinks};
use crate::archive::name::EntryName;
use crate::exit::Exit;
use crate::fec::Block;
use crate::session::{StreamDigest, StreamEnd};

/// What became of what the writer was given.
#[derive(Debug)]
pub enum Written {
    /// The sinks have this block; its buffer is free.
    Block(Block),
    /// Length and digest agree with the sender's.
    Verified,
    /// An archive has the stream, as an entry of this name, whatever becomes of other sinks.
    Archived(EntryName),
    /// Every sink has ended well.
    Done,
    /// The stream is not what it should be, or a sink did not take it. Nothing follows.
    Failed(Exit, String),
}

/// The sinks on a thread of their own.
#[derive(Debug)]
pub struct Writer {
    work: SyncSender<Work>,
    written: Handover<Written>,
    cancelled: Arc<AtomicBool>,
    left: Arc<AtomicBool>,
    /// Blocks that the thread has, or has written and not been rid of: [`MOST_LENT`] at most.
    lent: usize,
}

#[derive(Debug)]
enum Work {
    Open(Vec<Plan>),
    Block(Block),
    /// A command has ended.
    Check,
    End(StreamEnd),
    /// Look whether anybody still wants to know.
    Leave,
}

impl Drop for Writer {
    /// The thread has a way to send itself work, so the channel does not close by itself: without this word, a service
    /// would keep a thread, and the space of an unfinished file, for each session that was aborted.
    fn drop(&mut self) {
        self.left.store(true, Ordering::SeqCst);
        // A thread that has work looks after each piece of it.
        let _ = self.work.try_send(Work::Leave);
    }
}

impl Writer {
    /// Gets ready to write what it is given, to what [`Writer::open`] names, unless that is more than `max_size` bytes.
    /// `wake` is called after each handover.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(max_size: Option<u64>, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (work, todo) = sync_channel(MOST_LENT + MOST_WORDS);
        let (done, written) = sync_channel(MOST_LENT + MOST_WORDS);
        let (cancelled, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread =
            Thread { todo, done, cancelled: Arc::clone(&cancelled), left: Arc::clone(&left), max_size, wake };
        let notice = work.clone();
        // A thread that is not there any more needs no notice, and one whose queue is full looks by itself.
        let notify = move || _ = notice.try_send(Work::Check);
        thread::Builder::new().name("sink".to_owned()).spawn(move || thread.run(notify))?;
        Ok(Self { work, written: Handover::new(written), cancelled, left, lent: 0 })
    }

    /// The session has started: files are made and commands started.
    pub fn open(&self, plans: Vec<Plan>) {
        // A writer that has failed has said so; that is so below, too.
        let _ = self.work.try_send(Work::Open(plans));
    }

    /// Whether the thread may have one more block; the receiver keeps the others.
    pub const fn wants_block(&self) -> bool {
        self.lent < MOST_LENT
    }

    /// The next block of the stream, after [`Writer::open`] and where [`Writer::wants_block`].
    pub fn give(&mut self, block: Block) {
        self.lent += 1;
        let _ = self.work.try_send(Work::Block(block));
    }

    /// There are no more blocks; the stream must look like this.
    pub fn end(&self, end: StreamEnd) {
        let _ = self.work.try_send(Work::End(end));
    }

    /// The stream is given up: a file that has not got its name by now does not get it.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    /// The next thing that happened, in order, without waiting.
    pub fn take(&mut self) -> Option<Written> {
        let is_last = |written: &Written| matches!(written, Written::Done | Written::Failed(..));
        let written = self.written.take(is_last, || {
            Written::Failed(
                Exit::Internal,
                "internal error: the sink thread has ended without a word".to_owned(),
            )
        });
        if matches!(written, Some(Written::Block(_))) {
            self.lent = self.lent.saturating_sub(1);
        }
        written
    }
}

struct Thread<W> {
    todo: Receiver<Work>,
    done: SyncSender<Written>,
    cancelled: Arc<AtomicBool>,
    left: Arc<AtomicBool>,
    max_size: Option<u64>,
    wake: W,
}

impl<W: Fn()> Thread<W> {
    fn run(&self, notify: impl Fn() + Clone + Send + 'static) {
        let mut sinks = Sinks::default();
        let mut digest = StreamDigest::default();
        while let Ok(work) = self.todo.recv() {
            if self.left.load(Ordering::SeqCst) {
                return;
            }
            let done = match work {
                Work::Open(plans) => {
                    sinks = Sinks::open(plans, notify.clone());
                    sinks.check()
                }
                Work::Block(block) => {
                    let slices: Vec<_> = block.payloads().collect();
                    slices.iter().for_each(|slice| digest.update(slice));
                    let written = self.check_size(digest.bytes()).and_then(|()| sinks.write_all(&slices));
                    if written.is_ok() && !self.say(Written::Block(block)) {
                        return;
                    }
                    written
                }
                Work::Check => sinks.check(),
                Work::End(end) => {
                    self.finish(sinks, end, digest.end());
                    return;
                }
                Work::Leave => Ok(()),
            };
            if let Err(error) = done {
                self.say(Written::Failed(Exit::SinkFailed, error));
                return;
            }
        }
    }

    fn finish(&self, sinks: Sinks, end: StreamEnd, written: StreamEnd) {
        if let Err(error) = verify(end, written) {
            self.say(Written::Failed(Exit::Integrity, error));
            return;
        }
        self.say(Written::Verified);
        if self.cancelled.load(Ordering::SeqCst) {
            self.say(Written::Failed(Exit::Aborted, "given up before the end".to_owned()));
            return;
        }
        let archived = |name| _ = self.say(Written::Archived(name));
        let finished = sinks.finish(end, &self.cancelled, archived);
        self.say(finished.map_or_else(|error| Written::Failed(Exit::SinkFailed, error), |()| Written::Done));
    }

    /// Refuses a stream whose first `bytes` bytes are too many.
    fn check_size(&self, bytes: u64) -> Result<(), String> {
        match self.max_size {
            Some(max_size) if bytes > max_size => Err(format!(
                "the stream is longer than --max-size ({max_size} bytes); raise that if such streams are expected"
            )),
            _ => Ok(()),
        }
    }

    /// True if somebody listens.
    fn say(&self, written: Written) -> bool {
        let heard = self.done.send(written).is_ok();
        (self.wake)();
        heard
    }
}

/// Blocks at the sink, at most: enough to keep it writing. The receiver holds the rest of its buffer.
const MOST_LENT: usize = 64;
/// Other pieces of work, or of news: one of each kind, and the ends of a few commands.
const MOST_WORDS: usize = 8;

fn verify(expected: StreamEnd, got: StreamEnd) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!(
        "the stream is not what the sender sent: {} bytes with digest {}, expected {} bytes with digest {}; discard the output",
        got.bytes, got.digest, expected.bytes, expected.digest
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::time::Duration;

    use super::super::file::Existing;
    use super::*;
    use crate::fec::Layout;

    fn block(bytes: &[u8]) -> Block {
        let mut block = Block::new(Layout { symbol_size: 4, head: 1, tail: 1 }, 4);
        block.set_len(bytes.len());
        for (symbol, part) in bytes.chunks(4).enumerate() {
            block.payload_mut(symbol).copy_from_slice(part);
        }
        block
    }

    fn start(path: &Path, wake: impl Fn() + Send + 'static) -> Writer {
        let writer = Writer::start(None, wake).unwrap();
        writer.open(vec![Plan::File {
            path: path.to_owned(),
            existing: Existing::Refuse,
            mode: None,
            then: None,
        }]);
        writer
    }

    fn next(writer: &mut Writer, woken: &Receiver<()>) -> Written {
        loop {
            if let Some(written) = writer.take() {
                return written;
            }
            woken.recv_timeout(Duration::from_secs(10)).expect("the writer hands something over");
        }
    }

    fn written(end: StreamEnd) -> (Written, bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let (wake, woken) = sync_channel(100);
        let mut writer = start(&path, move || _ = wake.try_send(()));
        writer.give(block(b"0123456789"));
        writer.end(end);
        assert!(matches!(next(&mut writer, &woken), Written::Block(_)));
        let mut last = next(&mut writer, &woken);
        if matches!(last, Written::Verified) {
            last = next(&mut writer, &woken);
        }
        (last, std::fs::read(&path).is_ok_and(|content| content == b"0123456789"))
    }

    #[test]
    fn a_file_appears_once_length_and_digest_agree() {
        let mut digest = StreamDigest::default();
        digest.update(b"0123456789");
        let (last, there) = written(digest.end());
        assert!(matches!(last, Written::Done) && there);
    }

    #[test]
    fn a_stream_that_is_given_up_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let (wake, woken) = sync_channel(100);
        let mut writer = start(&path, move || _ = wake.try_send(()));
        writer.cancel();
        let mut digest = StreamDigest::default();
        digest.update(b"0123456789");
        writer.give(block(b"0123456789"));
        writer.end(digest.end());
        while !matches!(next(&mut writer, &woken), Written::Verified) {}
        // The thread ends.
        while !matches!(next(&mut writer, &woken), Written::Failed(Exit::Aborted, _)) {}
        assert!(!path.exists());
    }

    #[test]
    fn a_thread_that_nobody_listens_to_any_more_ends() {
        let directory = tempfile::tempdir().unwrap();
        let (wake, woken) = sync_channel(100);
        let mut writer = start(&directory.path().join("out"), move || _ = wake.try_send(()));
        writer.give(block(b"0123456789"));
        assert!(matches!(next(&mut writer, &woken), Written::Block(_)));
        drop(writer);
        // With it goes what it wakes with.
        while woken.recv_timeout(Duration::from_secs(10)).is_ok() {}
        assert_eq!(woken.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }

    /// Fault 68.
    #[test]
    fn stream_that_is_longer_than_allowed_fails_and_leaves_no_file() {
        for (max_size, fails) in [(10, false), (9, true)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("out");
            let (wake, woken) = sync_channel(100);
            let mut writer = Writer::start(Some(max_size), move || _ = wake.try_send(())).unwrap();
            writer.open(vec![Plan::File {
                path: path.clone(),
                existing: Existing::Refuse,
                mode: None,
                then: None,
            }]);
            let mut digest = StreamDigest::default();
            digest.update(b"0123456789");
            writer.give(block(b"01234"));
            writer.give(block(b"56789"));
            writer.end(digest.end());
            let last = loop {
                match next(&mut writer, &woken) {
                    Written::Block(_) | Written::Verified => {}
                    last => break last,
                }
            };
            match last {
                Written::Done => assert!(!fails && path.exists()),
                Written::Failed(Exit::SinkFailed, error) => {
                    assert!(fails && error.contains("--max-size") && !path.exists(), "{error}");
                }
                last => panic!("{last:?}"),
            }
        }
    }

    #[test]
    fn a_stream_that_differs_leaves_no_file() {
        for bytes in [&b"0123456788"[..], b"012345678", b"01234567890"] {
            let mut digest = StreamDigest::default();
            digest.update(bytes);
            let (last, there) = written(digest.end());
            assert!(matches!(last, Written::Failed(Exit::Integrity, _)) && !there);
        }
    }

    #[test]
    fn sink_thread_that_panics_is_noticed_and_ends_the_session_with_1() {
        let directory = tempfile::tempdir().unwrap();
        let (wake, woken) = sync_channel(100);
        let mut writer = start(&directory.path().join("out"), move || {
            _ = wake.try_send(());
            panic!("this test has it so");
        });
        writer.give(block(b"0123456789"));
        assert!(matches!(next(&mut writer, &woken), Written::Block(_)));
        while woken.recv_timeout(Duration::from_secs(10)).is_ok() {}
        assert!(matches!(writer.take(), Some(Written::Failed(Exit::Internal, _))));
        assert!(writer.take().is_none());
    }

    #[test]
    fn sink_is_lent_no_more_blocks_than_its_queue_holds() {
        let mut writer = Writer::start(None, || ()).unwrap();
        let mut given = 0;
        while writer.wants_block() {
            writer.give(block(b"0"));
            given += 1;
        }
        assert_eq!(given, MOST_LENT);
    }
}
