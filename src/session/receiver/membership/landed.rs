//! What arrives in whole batches, right where it belongs.

use super::super::super::{Landed, Origin, WireStats};
use super::super::assembly::Run;
use super::Membership;
use crate::time::Time;
use crate::wire::BlockNumber;

impl Membership {
    /// Where the next batches will probably belong.
    pub(in super::super) fn landing(&mut self) -> Vec<&mut [u8]> {
        if self.has_started() { self.assembly.landing() } else { Vec::new() }
    }

    /// Takes the datagrams from the front of a batch that are what was expected in this room. What else lies there, and
    /// everything once something has been a surprise, moves to `spilled` before a block is touched.
    pub(in super::super) fn handle_landed(
        &mut self,
        now: Time,
        batch: &Landed,
        stats: &mut WireStats,
        spilled: &mut Spilled,
    ) {
        let expected = self.listens_to(batch.origin.address) && spilled.is_empty();
        let newest = self.numbers.highest();
        let open = || self.assembly.open_run(batch.room, batch, self.session, newest, &mut self.opener);
        let run = expected.then(open).flatten();
        let run = run.filter(|run| self.numbers.insert_newest(run.number, run.places.len() as u64));
        let bytes = run.as_ref().map_or(0, |run| run.bytes);
        if bytes < batch.len || batch.len == 0 {
            let rest = self.assembly.landed(batch.room, batch.len).get(bytes..).unwrap_or_default();
            spilled.push(batch, rest);
        }
        if let Some(run) = run {
            self.note_sender(now, batch.origin.address);
            self.take_run(now, batch.origin.arrived, &run, stats);
        }
    }

    fn take_run(&mut self, now: Time, arrived: Time, run: &Run, stats: &mut WireStats) {
        let count = run.places.len() as u64;
        tracing::trace!(number = run.number.0, datagrams = count, block = run.block.0, "received in place");
        stats.datagrams += count;
        stats.source_symbols += count;
        stats.bytes += run.bytes as u64;
        self.note_heard(run.bytes);
        self.last_heard = now;
        self.unreachable = None;
        self.first_number = self.first_number.min(run.number);
        self.arrived += count;
        self.highest_at = now;
        self.highest_waited = now.since(arrived);
        self.start(now);
        self.assembly.take_run(run);
        self.begun = self.begun.max(run.block.plus(1));
        self.watch_sink_if_waiting(now);
        self.symbol_missed_since = None;
        let proof = BlockNumber(run.block.0.saturating_add(u64::from(run.ends_block)));
        self.horizon.handle_proof(now, run.number.plus(count - 1), proof);
        self.settle(now);
    }
}

/// Datagrams that have landed where they do not belong: batches one after the other. No more than the rooms hold.
#[derive(Debug, Default)]
pub(in super::super) struct Spilled {
    bytes: Vec<u8>,
    batches: Vec<Landed>,
}

impl Spilled {
    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn push(&mut self, batch: &Landed, bytes: &[u8]) {
        self.batches.push(Landed { len: bytes.len(), ..*batch });
        self.bytes.extend_from_slice(bytes);
    }

    /// Gives out the datagrams in order, with where they came from, and forgets them.
    pub(in super::super) fn drain(&mut self, mut each: impl FnMut(Origin, &mut [u8])) {
        let mut bytes = self.bytes.as_mut_slice();
        for batch in self.batches.drain(..) {
            let (now, later) = bytes.split_at_mut(batch.len.min(bytes.len()));
            bytes = later;
            if now.is_empty() {
                each(batch.origin, now);
            }
            now.chunks_mut(batch.segment.max(1)).for_each(|datagram| each(batch.origin, datagram));
        }
        self.bytes.clear();
    }
}
