//! The end of a queue that the protocol thread polls, and on whose other side a thread works.

use std::sync::mpsc::{Receiver, TryRecvError};

/// Items that a thread hands over, in order. A thread that panics or returns without its last item is noticed: its queue is
/// then disconnected, which is something else than empty.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    queue: Receiver<T>,
    has_ended: bool,
}

impl<T> Handover<T> {
    pub(crate) const fn new(queue: Receiver<T>) -> Self {
        Self { queue, has_ended: false }
    }

    /// The next item, without waiting. `is_last` tells which item the thread may end after. If the thread has ended
    /// before, this gives `lost`, once.
    pub(crate) fn take(&mut self, is_last: impl FnOnce(&T) -> bool, lost: impl FnOnce() -> T) -> Option<T> {
        match self.queue.try_recv() {
            Ok(item) => {
                self.has_ended |= is_last(&item);
                Some(item)
            }
            Err(TryRecvError::Disconnected) if !self.has_ended => {
                self.has_ended = true;
                Some(lost())
            }
            Err(TryRecvError::Disconnected | TryRecvError::Empty) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn thread_that_ends_without_its_last_item_is_noticed_once() {
        let take = |handover: &mut Handover<i32>| handover.take(|item| *item == 9, || -1);
        let (give, queue) = sync_channel(2);
        let mut handover = Handover::new(queue);
        assert_eq!(take(&mut handover), None);
        give.send(1).unwrap();
        drop(give);
        assert_eq!(
            [take(&mut handover), take(&mut handover), take(&mut handover)],
            [Some(1), Some(-1), None]
        );
        let (give, queue) = sync_channel(2);
        let mut handover = Handover::new(queue);
        give.send(9).unwrap();
        drop(give);
        assert_eq!([take(&mut handover), take(&mut handover)], [Some(9), None]);
    }
}
