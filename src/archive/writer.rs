//! Makes an entry of a stream.

use std::io::{self, IoSlice};
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::manifest::{Heading, MOST_PIECES, Manifest, Piece};
use super::name::EntryName;
use super::sha256::Sha256;
use super::store::{Draft, SUMS, data_object};
use crate::session::StreamEnd;

/// A stream on its way into an archive. Dropped before [`EntryWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct EntryWriter<D: Draft> {
    draft: D,
    heading: Heading,
    piece_size: Option<u64>,
    pieces: Vec<Piece>,
    current: Sha256,
    /// Bytes in the piece that is being written.
    filled: u64,
}

impl<D: Draft> EntryWriter<D> {
    /// Makes an entry of this draft, of pieces of so many bytes, or of one.
    ///
    /// # Errors
    /// When the store takes nothing.
    pub fn on(mut draft: D, heading: Heading, piece_size: Option<u64>) -> io::Result<Self> {
        draft.put(&data_object(piece_size.map(|_| 0)))?;
        Ok(Self { draft, heading, piece_size, pieces: Vec::new(), current: Sha256::default(), filled: 0 })
    }

    /// Writes all bytes of all slices, in order.
    ///
    /// # Errors
    /// When there is no space, or the store fails.
    pub fn write_all(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let room = self.room();
            if room == 0 {
                self.next_piece()?;
                continue;
            }
            let length: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
            if length <= room {
                slices.iter().for_each(|slice| self.current.update(slice));
                self.filled += length;
                return self.draft.write_all(slices);
            }
            // The piece ends in one of them.
            let Some(first) = slices.first() else { break };
            let part = usize::try_from(room).unwrap_or(usize::MAX).min(first.len());
            let bytes = first.get(..part).unwrap_or_default();
            self.current.update(bytes);
            self.filled += bytes.len() as u64;
            self.draft.write_all(&mut [IoSlice::new(bytes)])?;
            IoSlice::advance_slices(&mut slices, part);
        }
        Ok(())
    }

    /// Makes it an entry, durably, if the stream was what `end` says, which the caller has made sure of.
    ///
    /// # Errors
    /// When the store fails, or `given_up` is set before the entry has its name. Then there is no entry.
    pub fn finish(
        mut self,
        end: StreamEnd,
        finished: Timestamp,
        given_up: &AtomicBool,
    ) -> io::Result<EntryName> {
        self.end_piece();
        let names = EntryName::candidates(&self.heading.label, self.heading.started)
            .ok_or_else(|| io::Error::other("the label is no part of a file name"))?;
        let whole = (end.bytes, end.digest.to_string());
        let manifest = Manifest::new(self.heading, finished, whole, self.piece_size, self.pieces);
        let json = manifest.to_json()?;
        self.draft.put(SUMS)?;
        self.draft.write_all(&mut [IoSlice::new(manifest.sums(&json).as_bytes())])?;
        self.draft.finish(names, &json, given_up)
    }

    /// Brings the whole stream to the disk; nothing can be written after this.
    ///
    /// # Errors
    /// When there is no space, or the store fails.
    pub fn sync(&mut self) -> io::Result<()> {
        self.draft.sync()
    }

    /// Bytes that the piece still takes. The last one that there may be takes all.
    fn room(&self) -> u64 {
        match self.piece_size {
            Some(size) if self.pieces.len() + 1 < MOST_PIECES => size.saturating_sub(self.filled),
            _ => u64::MAX,
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        self.end_piece();
        self.draft.put(&data_object(Some(self.pieces.len())))
    }

    fn end_piece(&mut self) {
        let digest = std::mem::take(&mut self.current).finish();
        self.pieces.push(Piece {
            file: data_object(self.piece_size.map(|_| self.pieces.len())),
            bytes: std::mem::take(&mut self.filled),
            sha256: digest,
        });
    }
}
