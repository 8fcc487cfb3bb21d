//! Plain mode: four bytes against accidents.
//!
//! The trailer is the CRC-32 (IEEE 802.3, as in zlib) of everything before it, big-endian. It catches what the UDP
//! checksum lets through; it is no protection against anyone who wants to forge.

/// Bytes after the body.
pub const TRAILER_LEN: usize = 4;

/// Writes the trailer into the last bytes of `datagram`, over all that comes before them.
///
/// A datagram shorter than its trailer is left alone.
pub fn seal(datagram: &mut [u8]) {
    if let Some((content, trailer)) = datagram.split_last_chunk_mut::<TRAILER_LEN>() {
        *trailer = crc32fast::hash(content).to_be_bytes();
    }
}

/// Appends the trailer to what has been written to `datagram` from `start` on.
pub fn seal_appended(datagram: &mut Vec<u8>, start: usize) {
    let crc = crc32fast::hash(datagram.get(start..).unwrap_or_default());
    datagram.extend_from_slice(&crc.to_be_bytes());
}

/// The content of a datagram whose trailer is right; `None` for any other.
pub fn open(datagram: &[u8]) -> Option<&[u8]> {
    let (content, trailer) = datagram.split_last_chunk::<TRAILER_LEN>()?;
    (crc32fast::hash(content).to_be_bytes() == *trailer).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_datagram_opens_and_any_flipped_bit_closes_it() {
        let mut datagram = b"a symbol's worth of stream".to_vec();
        seal_appended(&mut datagram, 0);
        assert_eq!(open(&datagram), Some(&b"a symbol's worth of stream"[..]));
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&datagram), None, "bit {bit}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..TRAILER_LEN {
            assert_eq!(open(&datagram[..length]), None);
        }
    }
}
