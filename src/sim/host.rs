//! What every simulated host has: datagrams that wait to be read, and an alarm.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::session::{Landed, Origin, Wake};
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) inbox: VecDeque<(Origin, Rc<[u8]>)>,
    pub(super) inbox_bytes: usize,
    pub(super) wake: Option<Time>,
    pub(super) dropped: u64,
}

impl Host {
    pub(super) fn arrive(&mut self, origin: Origin, bytes: Rc<[u8]>, room: usize) {
        if self.inbox_bytes + bytes.len() > room {
            self.dropped += 1;
            return;
        }
        self.inbox_bytes += bytes.len();
        self.inbox.push_back((origin, bytes));
    }

    /// Moves what has arrived into `rooms`, as GRO does: datagrams of one origin and size become a batch, which a shorter
    /// one ends.
    pub(super) fn land(&mut self, rooms: Vec<&mut [u8]>) -> Vec<Landed> {
        let mut landed = Vec::new();
        for (number, room) in rooms.into_iter().enumerate() {
            let Some((origin, first)) = self.inbox.front() else { break };
            let mut batch = Landed { room: number, origin: *origin, len: 0, segment: first.len() };
            while let Some((origin, bytes)) = self.inbox.front()
                && origin.address == batch.origin.address
                && bytes.len() <= batch.segment
                && batch.len.is_multiple_of(batch.segment.max(1))
                && let Some(space) = room.get_mut(batch.len..batch.len + bytes.len())
            {
                space.copy_from_slice(bytes);
                batch.len += bytes.len();
                self.inbox_bytes -= bytes.len();
                let alone = bytes.is_empty();
                self.inbox.pop_front();
                if alone {
                    break;
                }
            }
            if batch.len == 0 && batch.segment > 0 {
                // Too large for any room: the kernel cuts it, so nobody can read it.
                self.inbox_bytes -= batch.segment;
                self.inbox.pop_front();
            }
            landed.push(batch);
        }
        landed
    }

    pub(super) fn schedule(&mut self, now: Time, wake: Wake, roomy_at: Time) {
        let writable = wake.writable.then(|| roomy_at.max(now + Duration::from_nanos(1)));
        self.wake = [wake.at.map(|at| at.max(now)), writable].into_iter().flatten().min();
    }

    pub(super) fn wake_no_later(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
