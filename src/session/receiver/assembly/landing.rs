//! Rooms in coding blocks where whole batches of datagrams land, and stay if that is where they belong.
//!
//! A block has the shape of the batches that it is sent in. On a path without loss it is known what comes next: the
//! kernel copies it there, and nobody has to copy it again.

use std::ops::Range;

use super::{Assembly, Partial, Slot, fits};
use crate::fec::Block;
use crate::seal::Opener;
use crate::session::{Landed, batch_of};
use crate::wire::{
    self, BlockNumber, DatagramNumber, HEADER_LEN, Header, Kind, Message, SYMBOL_HEADER_LEN, SessionId,
    Symbol,
};

/// Source symbols that lie where they belong, in datagrams with numbers in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Run {
    /// Number of the first datagram.
    pub(in super::super) number: DatagramNumber,
    pub(in super::super) block: BlockNumber,
    /// Bytes of stream in the block.
    pub(in super::super) block_len: u32,
    /// Which symbols.
    pub(in super::super) places: Range<usize>,
    /// Bytes of their datagrams.
    pub(in super::super) bytes: usize,
    /// The block ends with this run.
    pub(in super::super) ends_block: bool,
}

impl Assembly {
    /// Rooms offered at a time, half a megabyte: on a fast path they fill while the ones before are looked at, and they
    /// fit into a processor's second-level cache.
    const ROOMS: usize = 8;

    /// Where the next batches will probably belong, in order. None while the stream does not stand at the start of a
    /// batch, for then it does not come in the sender's batches.
    pub(in super::super) fn landing(&mut self) -> Vec<&mut [u8]> {
        self.rooms.clear();
        let (batch, capacity) = (batch_of(self.layout.stride()), usize::from(self.block_symbols));
        let (block, start) = self.next;
        if batch > capacity || start % batch != 0 || block < self.first {
            return Vec::new();
        }
        let begin = (block.0 - self.first.0) as usize;
        // The window counts from the sink's position, slots from the front.
        let end = self.window.saturating_sub((self.first.0 - self.position.0) as usize);
        let (mut at, mut places) = (begin, start..capacity);
        while self.rooms.len() < Self::ROOMS && at < end && self.reserve(at) {
            let starts = places.clone().step_by(batch).filter(|start| start + batch <= capacity);
            self.rooms.extend(starts.map(|start| (self.first.plus(at as u64), start..start + batch)));
            (at, places) = (at + 1, 0..capacity);
        }
        self.rooms.truncate(Self::ROOMS);
        let room = batch * self.layout.stride();
        let slots = self.slots.range_mut(begin.min(at)..at);
        let starts = std::iter::once(start).chain(std::iter::repeat(0));
        let rooms = slots.zip(starts).filter_map(|(slot, start)| Some((slot.buffer_mut()?, start)));
        rooms
            .flat_map(|(buffer, start)| buffer.landing_mut(start..capacity).chunks_exact_mut(room))
            .take(Self::ROOMS)
            .collect()
    }

    /// What has landed in a room that was offered last.
    pub(in super::super) fn landed(&mut self, room: usize, len: usize) -> &mut [u8] {
        let landed = self.rooms.get(room).and_then(|(block, places)| {
            let at = usize::try_from(block.0.checked_sub(self.first.0)?).ok()?;
            self.slots.get_mut(at)?.buffer_mut()?.landing_mut(places.clone()).get_mut(..len)
        });
        landed.unwrap_or_default()
    }

    /// Opens the datagrams from the front of a batch that are what was expected in its room, and have numbers after
    /// `newest`. Others are left as they came, so that they can be handled elsewhere; but with a key, one that turns out
    /// to be of another place only once it is open counts as lost.
    pub(in super::super) fn open_run(
        &mut self,
        room: usize,
        batch: &Landed,
        session: SessionId,
        newest: Option<DatagramNumber>,
        opener: &mut Opener,
    ) -> Option<Run> {
        let (block, room_places) = self.rooms.get(room)?.clone();
        let (full, symbol_size, start) = (self.layout.stride(), self.layout.symbol_size, room_places.start);
        let most = usize::from(self.block_symbols);
        let segment = batch.segment.max(1);
        let alone = batch.len <= segment;
        if segment != full && !alone {
            return None;
        }
        // The first is opened in a copy: only it tells whether the batch is what was expected.
        let mut copy = std::mem::take(&mut self.first_landed);
        copy.clear();
        copy.extend_from_slice(self.landed(room, batch.len.min(segment)));
        let run = Header::peek(&copy).filter(|header| Some(header.number) > newest).and_then(|_| {
            let (header, message) = wire::parse(opener.open(&mut copy)?).ok()?;
            let Message::Source(symbol) = message else { return None };
            let symbols = (symbol.block_len as usize).div_ceil(symbol_size);
            let expected = header.session == session
                && (symbol.block, usize::from(symbol.symbol)) == (block, start)
                && symbols <= most
                && fits(Kind::Source, &symbol, symbols, symbol_size);
            expected.then_some(Run {
                number: header.number,
                block,
                block_len: symbol.block_len,
                places: start..start,
                bytes: 0,
                ends_block: false,
            })
        });
        self.first_landed = copy;
        let mut run = run?;
        let length = run.block_len as usize;
        let slot = self.slots.get(usize::try_from(block.0.checked_sub(self.first.0)?).ok()?)?;
        // Mending the block would write into rooms that have not been looked at.
        let unclear = |partial: &Partial| partial.block.len() != length || !partial.repairs.is_empty();
        if matches!(slot, Slot::Partial(partial) if unclear(partial)) {
            return None;
        }
        for datagram in self.landed(room, batch.len).chunks_mut(segment) {
            let place = run.places.end;
            let number = run.number.plus((place - start) as u64);
            let mut head = [0; SYMBOL_HEADER_LEN];
            let code = u8::try_from(place).ok()?;
            Symbol::write_header(Kind::Source, session, number, block, run.block_len, code, &mut head);
            let payload = symbol_size.min(length.saturating_sub(place * symbol_size));
            let right = payload > 0 && datagram.len() == full - symbol_size + payload;
            if !right
                || datagram.get(..HEADER_LEN) != head.get(..HEADER_LEN)
                || !opener.open(datagram).is_some_and(|content| content.starts_with(&head))
            {
                break;
            }
            run.places.end += 1;
            run.bytes += datagram.len();
        }
        run.ends_block = run.places.end == length.div_ceil(symbol_size);
        (!run.places.is_empty()).then_some(run)
    }

    /// The symbols of a run that was found in the last rooms are there.
    pub(in super::super) fn take_run(&mut self, run: &Run) {
        let at = (run.block.0.saturating_sub(self.first.0)) as usize;
        if matches!(self.slots.get(at), Some(Slot::Reserved(_))) {
            self.begin(at, run.block_len as usize);
        }
        let Some(Slot::Partial(partial)) = self.slots.get_mut(at) else { return };
        for place in run.places.clone() {
            partial.have.insert(place);
        }
        partial.contradictions = 0;
        let (symbols, complete) = (partial.block.symbols(), partial.missing() == 0);
        self.advance(run.block, run.places.end, symbols);
        if complete {
            self.complete(at);
        }
    }

    /// Makes sure that the slot has a buffer to land in; false if it is complete.
    fn reserve(&mut self, at: usize) -> bool {
        while self.slots.len() <= at {
            self.slots.push_back(Slot::Unseen);
        }
        if matches!(self.slots[at], Slot::Unseen) {
            self.slots[at] = Slot::Reserved(self.buffer());
        }
        !matches!(self.slots[at], Slot::Complete(_))
    }
}

impl Slot {
    fn buffer_mut(&mut self) -> Option<&mut Block> {
        match self {
            Self::Reserved(block) => Some(block),
            Self::Partial(partial) => Some(&mut partial.block),
            // A short block leaves rooms of its buffer to others.
            Self::Complete(block) => Some(block),
            Self::Unseen => None,
        }
    }
}
