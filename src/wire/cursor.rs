//! A reader that cannot overrun and a writer that appends; all numbers are big-endian.

use std::time::Duration;

/// Why a datagram was dropped, and which field it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The datagram ends before the field does.
    #[error("cut off at {0}")]
    Cut(&'static str),
    /// The field has a value that the protocol does not know or allow.
    #[error("bad value in {0}")]
    Value(&'static str),
    /// Bytes are left over after the last field.
    #[error("trailing bytes")]
    Trailing,
}

/// Takes fields off the front of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len() }
    }

    pub(super) fn bytes(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Cut(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Cut(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A duration in whole microseconds, 32 bits: up to 71 minutes.
    pub(super) fn micros(&mut self, field: &'static str) -> Result<Duration, Malformed> {
        self.u32(field).map(|micros| Duration::from_micros(u64::from(micros)))
    }

    /// A duration in whole milliseconds, 32 bits: up to 49 days.
    pub(super) fn millis(&mut self, field: &'static str) -> Result<Duration, Malformed> {
        self.u32(field).map(|millis| Duration::from_millis(u64::from(millis)))
    }

    /// Whether nothing is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Zeros up to the end, which must come after `length` bytes in all.
    pub(super) fn zeros(&mut self, length: usize, field: &'static str) -> Result<(), Malformed> {
        let is_padding = self.rest.iter().all(|byte| *byte == 0);
        match self.length.cmp(&length) {
            std::cmp::Ordering::Less => Err(Malformed::Cut(field)),
            std::cmp::Ordering::Greater => Err(Malformed::Trailing),
            std::cmp::Ordering::Equal if !is_padding => Err(Malformed::Value(field)),
            std::cmp::Ordering::Equal => {
                self.rest = &[];
                Ok(())
            }
        }
    }

    pub(super) const fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

/// Appends fields to a datagram.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// Zeros, until `length` bytes have been written in all.
    pub(super) fn zeros(&mut self, length: usize) {
        self.out.resize(self.start.saturating_add(length).max(self.out.len()), 0);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn micros(&mut self, value: Duration) {
        self.u32(u32::try_from(value.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn millis(&mut self, value: Duration) {
        self.u32(u32::try_from(value.as_millis()).unwrap_or(u32::MAX));
    }
}
