//! The bytes that a receiver without a key may send to the address of its sender.

/// A count of the bytes from and to one address that no key vouches for.
///
/// Anyone can announce a session under an address that is not his own. All that a receiver sends in that session then
/// goes to a host that has asked for nothing, so it is bound to a small multiple of what came from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    heard: u64,
    said: u64,
}

impl Allowance {
    /// Bytes that may be sent for each byte that has come: as many as QUIC allows (RFC 9000, section 8.1).
    const MOST_FOR_ONE: u64 = 3;

    /// `heard` bytes have come already.
    pub(super) const fn new(heard: usize) -> Self {
        Self { heard: heard as u64, said: 0 }
    }

    pub(super) const fn note_heard(&mut self, bytes: usize) {
        self.heard = self.heard.saturating_add(bytes as u64);
    }

    pub(super) const fn note_said(&mut self, bytes: usize) {
        self.said = self.said.saturating_add(bytes as u64);
    }

    /// Bytes that may be sent now.
    pub(super) fn left(&self) -> usize {
        let left = self.heard.saturating_mul(Self::MOST_FOR_ONE).saturating_sub(self.said);
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_may_be_sent_for_each_that_has_come() {
        let mut allowance = Allowance::new(100);
        allowance.note_said(299);
        assert_eq!(allowance.left(), 1);
        allowance.note_said(2);
        assert_eq!(allowance.left(), 0);
        allowance.note_heard(1);
        assert_eq!(allowance.left(), 2);
        allowance.note_heard(usize::MAX);
        allowance.note_heard(usize::MAX);
        assert!(allowance.left() > usize::MAX / 2, "it saturates");
    }
}
