//! The thread that reads: fills coding blocks where they lie, and computes the digest on the way.

use std::io::{self, IoSliceMut};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::{Input, Source, SourceError};
use crate::fec::Block;
use crate::session::{StreamDigest, StreamEnd};

/// What the source gave.
#[derive(Debug)]
pub enum Given {
    /// The next bytes of the stream.
    Block(Block),
    /// The end of the stream, after its last block.
    End(StreamEnd),
    /// The stream is broken off.
    Failed(SourceError),
}

/// A source on a thread of its own. Buffers go in, filled ones come out, so that there are never more than exist.
#[derive(Debug)]
pub struct Reader {
    buffers: Sender<Block>,
    given: Receiver<Given>,
}

impl Reader {
    /// Starts to read as soon as there are buffers; a command is started then. `wake` is called after each handover.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(source: Source, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (buffers, empty) = channel();
        let (filled, given) = channel();
        thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || read(source, &empty, &filled, wake))?;
        Ok(Self { buffers, given })
    }

    /// A buffer to fill.
    pub fn offer(&self, buffer: Block) {
        // A reader that has ended needs none.
        let _ = self.buffers.send(buffer);
    }

    /// The next thing that the source gave, in order, without waiting.
    pub fn take(&self) -> Option<Given> {
        self.given.try_recv().ok()
    }
}

fn read(source: Source, empty: &Receiver<Block>, filled: &Sender<Given>, wake: impl Fn()) {
    let mut digest = StreamDigest::default();
    let Ok(mut block) = empty.recv() else { return };
    let opened = source.open().and_then(|input| input.await_writer().map(|()| input));
    let input = match opened {
        Ok(input) => input,
        Err(error) => {
            let _ = filled.send(Given::Block(block)).and_then(|()| filled.send(Given::Failed(error)));
            return wake();
        }
    };
    loop {
        let (ended, failed) = match fill(&input, &mut block) {
            Ok(false) => (false, None),
            Ok(true) => (true, input.end().err()),
            Err(error) => (true, Some(error)),
        };
        for payload in block.payloads() {
            digest.update(payload);
        }
        let end = match failed {
            Some(error) => Given::Failed(error),
            None => Given::End(digest.end()),
        };
        let handed_over = filled.send(Given::Block(block)).is_ok() && (!ended || filled.send(end).is_ok());
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

/// A source that gives nothing for so long has paused.
const PAUSE: Duration = Duration::from_millis(5);
/// One that always gives a little before that has what it gave sent after at most so many pauses: 50 ms.
const MOST_PAUSES: u32 = 10;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::fec::Layout;

    const LAYOUT: Layout = Layout { symbol_size: 10, head: 3, tail: 2 };

    fn next(reader: &Reader, woken: &Receiver<()>) -> Given {
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
        let reader = Reader::start(Source::Input(input), move || _ = wake.try_send(())).unwrap();
        for _ in 0..3 {
            reader.offer(Block::new(LAYOUT, 4));
        }
        write.write_all(b"a line of the log\n").unwrap();
        let Given::Block(block) = next(&reader, &woken) else { panic!("a block") };
        assert_eq!(block.payloads().flatten().copied().collect::<Vec<_>>(), b"a line of the log\n");
        write.write_all(&[7; 45]).unwrap();
        drop(write);
        let Given::Block(block) = next(&reader, &woken) else { panic!("a block") };
        assert_eq!(block.len(), 40);
        let Given::Block(block) = next(&reader, &woken) else { panic!("a block") };
        assert_eq!(block.len(), 5);
        let Given::End(end) = next(&reader, &woken) else { panic!("the end") };
        let mut digest = StreamDigest::default();
        digest.update(b"a line of the log\n");
        digest.update(&[7; 45]);
        assert_eq!(end, digest.end());
    }
}
