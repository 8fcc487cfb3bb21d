//! The thread that reads: fills coding blocks where they lie, and computes the digest on the way.

use std::io::{self, IoSliceMut};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Input, Source, SourceError};
use crate::fec::Block;
use crate::session::{StreamDigest, StreamEnd};
use crate::sink::handover::Handover;

/// What the source gave.
#[derive(Debug)]
pub enum Given {
    /// The source is open; size in bytes where it is a regular file.
    Opened(Option<u64>),
    /// The next bytes of the stream.
    Block(Block),
    /// The end of the stream, after its last block.
    End(StreamEnd),
    /// The stream is broken off.
    Failed(SourceError),
    /// The thread has ended without a word, which is a bug. Nothing follows.
    Lost,
}

/// A source on a thread of its own. Buffers go in, filled ones come out.
#[derive(Debug)]
pub struct Reader {
    buffers: SyncSender<Block>,
    given: Handover<Given>,
    /// Buffers that the thread has, or has filled and not been rid of: [`MOST_LENT`] at most.
    lent: usize,
}

impl Reader {
    /// Starts to read as soon as there are buffers; a file is opened and a command started then. `wake` is called after
    /// each handover.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(source: Source, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (buffers, empty) = sync_channel(MOST_LENT);
        // All buffers, word of the opening, and the last word: sending never waits.
        let (filled, given) = sync_channel(MOST_LENT + 2);
        thread::Builder::new().name("source".to_owned()).spawn(move || read(wake, source, empty, filled))?;
        Ok(Self { buffers, given: Handover::new(given), lent: 0 })
    }

    /// Whether the source may have one more buffer.
    pub const fn wants_buffer(&self) -> bool {
        self.lent < MOST_LENT
    }

    /// A buffer to fill, where [`Reader::wants_buffer`].
    pub fn offer(&mut self, buffer: Block) {
        self.lent += 1;
        // A reader that has ended needs none.
        let _ = self.buffers.try_send(buffer);
    }

    /// The next thing that the source gave, in order, without waiting.
    pub fn take(&mut self) -> Option<Given> {
        let is_last = |given: &Given| matches!(given, Given::End(_) | Given::Failed(_));
        let given = self.given.take(is_last, || Given::Lost);
        if matches!(given, Some(Given::Block(_))) {
            self.lent = self.lent.saturating_sub(1);
        }
        given
    }
}

/// The thread's work. The queues are dropped before `wake`, also in a panic, since arguments are dropped from the last to the
/// first: the thread that hears of the end then finds the queue disconnected.
fn read(wake: impl Fn(), source: Source, empty: Receiver<Block>, filled: SyncSender<Given>) {
    let mut digest = StreamDigest::default();
    let Ok(mut block) = empty.recv() else { return };
    let input = match source.open() {
        Ok(input) => input,
        Err(error) => {
            let _ = filled.send(Given::Block(block)).and_then(|()| filled.send(Given::Failed(error)));
            return wake();
        }
    };
    if filled.send(Given::Opened(input.size())).is_err() {
        return;
    }
    loop {
        let filling = fill(&input, &mut block);
        for payload in block.payloads() {
            digest.update(payload);
        }
        let end = match filling {
            Ok(false) => None,
            Ok(true) => {
                let end = digest.end();
                Some(input.end(end.bytes).map_or_else(Given::Failed, |()| Given::End(end)))
            }
            Err(error) => Some(Given::Failed(error)),
        };
        let ended = end.is_some();
        let handed_over =
            filled.send(Given::Block(block)).is_ok() && end.is_none_or(|end| filled.send(end).is_ok());
        wake();
        if ended || !handed_over {
            return;
        }
        let Ok(next) = empty.recv() else { return };
        block = next;
    }
}

/// Reads until the block is full, the stream has ended (which is told), or the source pauses: then what there is goes.
fn fill(input: &Input, block: &mut Block) -> Result<bool, SourceError> {
    let mut length = 0;
    let mut pauses = 0;
    while length < block.capacity_bytes() {
        let mut slices: Vec<_> = block.spare_mut(length).map(IoSliceMut::new).collect();
        let read = input.read(&mut slices);
        block.set_len(length);
        let read = read?;
        if read == 0 {
            return Ok(true);
        }
        length += read;
        block.set_len(length);
        if length < block.capacity_bytes() && !input.has_more(Duration::ZERO) {
            pauses += 1;
            if pauses > MOST_PAUSES || !input.has_more(PAUSE) {
                return Ok(false);
            }
        }
    }
    Ok(false)
}

/// Buffers at the source, at most: enough to keep it reading, few enough to stay in the processor's cache.
const MOST_LENT: usize = 16;
/// A source that gives nothing for so long has paused.
const PAUSE: Duration = Duration::from_millis(5);
/// One that always gives a little before that has what it gave sent after at most so many pauses: 50 ms.
const MOST_PAUSES: u32 = 10;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::{RecvTimeoutError, sync_channel};

    use super::*;
    use crate::fec::Layout;

    const LAYOUT: Layout = Layout { symbol_size: 10, head: 3, tail: 2 };

    fn next(reader: &mut Reader, woken: &Receiver<()>) -> Given {
        loop {
            if let Some(given) = reader.take() {
                return given;
            }
            woken.recv_timeout(Duration::from_secs(10)).expect("the reader hands something over");
        }
    }

    #[test]
    fn a_line_is_handed_over_while_the_pipe_stays_open() {
        let (read, mut write) = io::pipe().unwrap();
        let (wake, woken) = sync_channel(100);
        let input = Input::new(read.into(), "pipe".to_owned()).unwrap();
        let mut reader = Reader::start(Source::Input(input), move || _ = wake.try_send(())).unwrap();
        for _ in 0..3 {
            reader.offer(Block::new(LAYOUT, 4));
        }
        write.write_all(b"a line of the log\n").unwrap();
        assert!(matches!(next(&mut reader, &woken), Given::Opened(None)));
        let Given::Block(block) = next(&mut reader, &woken) else { panic!("a block") };
        assert_eq!(block.payloads().flatten().copied().collect::<Vec<_>>(), b"a line of the log\n");
        write.write_all(&[7; 45]).unwrap();
        drop(write);
        let Given::Block(block) = next(&mut reader, &woken) else { panic!("a block") };
        assert_eq!(block.len(), 40);
        let Given::Block(block) = next(&mut reader, &woken) else { panic!("a block") };
        assert_eq!(block.len(), 5);
        let Given::End(end) = next(&mut reader, &woken) else { panic!("the end") };
        let mut digest = StreamDigest::default();
        digest.update(b"a line of the log\n");
        digest.update(&[7; 45]);
        assert_eq!(end, digest.end());
    }

    #[test]
    fn source_thread_that_panics_is_noticed_after_all_that_it_gave() {
        let (read, mut write) = io::pipe().unwrap();
        let (wake, woken) = sync_channel(100);
        let input = Input::new(read.into(), "pipe".to_owned()).unwrap();
        let wake = move || {
            _ = wake.try_send(());
            panic!("this test has it so");
        };
        let mut reader = Reader::start(Source::Input(input), wake).unwrap();
        reader.offer(Block::new(LAYOUT, 4));
        reader.offer(Block::new(LAYOUT, 4));
        write.write_all(b"line").unwrap();
        woken.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(woken.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected)));
        let mut told = Vec::new();
        while let Some(given) = reader.take() {
            told.push(given);
        }
        assert!(matches!(told[..], [Given::Opened(None), Given::Block(_), Given::Lost]), "{told:?}");
    }
}
