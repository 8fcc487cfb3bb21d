//! With a key: AES-128-GCM, keys by HKDF, nonces out of datagram numbers.
//!
//! - key and iv = HKDF-Expand(group key, party ‖ session ‖ number ÷ [`DATAGRAMS_A_KEY`]): stateless, so that lost
//!   datagrams, late ones and those of a party heard for the first time need no agreement on keys.
//! - nonce = iv ⊕ number, as in TLS 1.3 (RFC 8446, section 5.3). A sealer takes rising numbers only, so no nonce comes
//!   twice under a key.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::KeyType;
use zeroize::Zeroizing;

use super::key::KEY_ID_LEN;
use super::{GroupKey, Party, crc};
use crate::wire::{DatagramNumber, HEADER_LEN, Header, Kind, ReceiverId, SessionId};

/// Bytes of the tag, all of what GCM can give.
pub(super) const TAG_LEN: usize = MAX_TAG_LEN;

/// Datagrams that are sealed under one key, at most: an eighth of what RFC 9001, section 6.6, allows AES-GCM.
pub const DATAGRAMS_A_KEY: u64 = 1 << 20;

/// Seals what one party says in one session.
#[derive(Debug)]
pub struct Sealer(Option<Box<Sealing>>);

#[derive(Debug)]
struct Sealing {
    stream: Stream,
    key: Option<SpanKey>,
    /// Numbers before this one have been used up.
    next: u64,
}

/// Opens what one party says in one session.
#[derive(Debug)]
pub struct Opener(Option<Box<Opening>>);

#[derive(Debug)]
struct Opening {
    stream: Stream,
    /// Keys under which something has been opened: the last one, and the one before it.
    keys: [Option<SpanKey>; 2],
}

impl Sealer {
    pub(super) const fn crc() -> Self {
        Self(None)
    }

    pub(super) fn aead(key: &GroupKey, session: SessionId, party: Party) -> Self {
        let stream = Stream { group: key.clone(), session, party };
        Self(Some(Box::new(Sealing { stream, key: None, next: 0 })))
    }

    /// Seals a whole datagram in place: its last bytes are room for the trailer.
    ///
    /// What cannot be sealed, because its number is not above all before it or it is not this party's to say, becomes
    /// zeros, which nobody takes for anything: no fault of ours must lead to a nonce that comes twice.
    pub fn seal(&mut self, datagram: &mut [u8]) {
        let Some(sealing) = &mut self.0 else { return crc::seal(datagram) };
        if sealing.seal(datagram).is_none() {
            tracing::error!(length = datagram.len(), "a datagram could not be sealed and does not go out");
            datagram.fill(0);
        }
    }

    /// Appends the trailer to what has been written to `datagram` from `start` on, and seals it.
    pub fn seal_appended(&mut self, datagram: &mut Vec<u8>, start: usize) {
        if self.0.is_none() {
            return crc::seal_appended(datagram, start);
        }
        let kind = datagram.get(start..).and_then(Header::peek).map(|header| header.kind);
        let trailer = TAG_LEN + kind.map_or(0, key_id_len);
        datagram.resize(datagram.len() + trailer, 0);
        self.seal(datagram.get_mut(start..).unwrap_or_default());
    }
}

impl Sealing {
    fn seal(&mut self, datagram: &mut [u8]) -> Option<()> {
        let header = Header::peek(datagram)?;
        let number = header.number.0;
        if number < self.next || !self.stream.speaks(&header) {
            return None;
        }
        let parts = Parts::of(datagram, &header, Some(&self.stream.group))?;
        if self.key.as_ref().is_none_or(|key| key.span != span(header.number)) {
            self.key = Some(self.stream.key(span(header.number))?);
        }
        let key = self.key.as_ref()?;
        self.next = number.checked_add(1)?;
        let Parts { associated, body, tag } = parts;
        let made =
            key.key.seal_in_place_separate_tag(key.nonce(header.number), Aad::from(associated), body).ok()?;
        tag.copy_from_slice(made.as_ref());
        Some(())
    }
}

impl Opener {
    pub(super) const fn crc() -> Self {
        Self(None)
    }

    pub(super) fn aead(key: &GroupKey, session: SessionId, party: Party) -> Self {
        let stream = Stream { group: key.clone(), session, party };
        Self(Some(Box::new(Opening { stream, keys: [None, None] })))
    }

    /// Header and body of a datagram that this party has sealed in this session; `None` for any other, of which no more
    /// can be said than that its bytes are now worthless.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let Some(opening) = &mut self.0 else { return crc::open(datagram) };
        let length = opening.open(datagram)?;
        datagram.get(..length)
    }
}

impl Opening {
    /// Bytes of header and body.
    fn open(&mut self, datagram: &mut [u8]) -> Option<usize> {
        let header = Header::peek(datagram)?;
        if !self.stream.speaks(&header) {
            return None;
        }
        let content = datagram.len().checked_sub(TAG_LEN + key_id_len(header.kind))?;
        let wanted = span(header.number);
        let nonce_and = |key: &SpanKey, datagram: &mut [u8]| {
            let Parts { associated, body, tag } = Parts::of(datagram, &header, None)?;
            let tag = (&*tag).try_into().ok()?;
            let (nonce, associated) = (key.nonce(header.number), Aad::from(associated));
            key.key.open_in_place_separate_tag(nonce, associated, tag, body, 0..).ok().map(|_| ())
        };
        if let Some(key) = self.keys.iter().flatten().find(|key| key.span == wanted) {
            nonce_and(key, datagram)?;
            return Some(content);
        }
        // Kept only once it has opened something: garbage that names other numbers must not push out the keys in use.
        let key = self.stream.key(wanted)?;
        nonce_and(&key, datagram)?;
        self.keys.swap(0, 1);
        self.keys[0] = Some(key);
        Some(content)
    }
}

/// What one party says in one session.
#[derive(Debug)]
struct Stream {
    group: GroupKey,
    session: SessionId,
    party: Party,
}

impl Stream {
    /// Whether this header is the party's in this session. Only saves work: the tag decides.
    fn speaks(&self, header: &Header) -> bool {
        header.session == self.session
            && matches!(self.party, Party::Sender) != header.kind.comes_from_receivers()
    }

    fn key(&self, span: u64) -> Option<SpanKey> {
        let span_bytes = span.to_be_bytes();
        let mut material = Zeroizing::new([0; KEY_LEN + NONCE_LEN]);
        let prk = self.group.prk();
        let expanded = match self.party {
            Party::Sender => {
                let info = [b"mcast sender".as_slice(), &self.session.0, &span_bytes];
                prk.expand(&info, Material).and_then(|okm| okm.fill(&mut *material))
            }
            Party::Receiver(ReceiverId(receiver)) => {
                let receiver = receiver.to_be_bytes();
                let info = [b"mcast receiver".as_slice(), &self.session.0, &receiver, &span_bytes];
                prk.expand(&info, Material).and_then(|okm| okm.fill(&mut *material))
            }
        };
        // Neither can fail: both lengths are constants that fit.
        expanded.ok()?;
        let (key, iv) = material.split_first_chunk::<KEY_LEN>()?;
        let key = UnboundKey::new(&AES_128_GCM, key).ok()?;
        Some(SpanKey { span, key: LessSafeKey::new(key), iv: iv.try_into().ok()? })
    }
}

/// The key for a span of numbers.
#[derive(Debug)]
struct SpanKey {
    span: u64,
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

impl SpanKey {
    fn nonce(&self, number: DatagramNumber) -> Nonce {
        let mut nonce = self.iv;
        for (byte, of_number) in nonce.iter_mut().rev().zip(number.0.to_be_bytes().iter().rev()) {
            *byte ^= of_number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// AES-128.
const KEY_LEN: usize = 16;

struct Material;

impl KeyType for Material {
    fn len(&self) -> usize {
        KEY_LEN + NONCE_LEN
    }
}

const fn span(number: DatagramNumber) -> u64 {
    number.0 / DATAGRAMS_A_KEY
}

/// A datagram taken apart for the cipher.
struct Parts<'a> {
    associated: Associated,
    body: &'a mut [u8],
    tag: &'a mut [u8],
}

impl<'a> Parts<'a> {
    /// `group` is whose id is to be written where the datagram names its key.
    fn of(datagram: &'a mut [u8], header: &Header, group: Option<&GroupKey>) -> Option<Self> {
        let (content, tag) = datagram.split_at_mut_checked(datagram.len().checked_sub(TAG_LEN)?)?;
        let body_end = content.len().checked_sub(key_id_len(header.kind))?;
        let (content, key_id) = content.split_at_mut_checked(body_end)?;
        if let (Some(group), false) = (group, key_id.is_empty()) {
            key_id.copy_from_slice(&group.id().0);
        }
        let clear =
            if header.kind.comes_from_receivers() { HEADER_LEN + RECEIVER_ID_LEN } else { HEADER_LEN };
        let (head, body) = content.split_at_mut_checked(clear)?;
        let mut associated = Associated { bytes: [0; MOST_ASSOCIATED], length: head.len() + key_id.len() };
        associated.bytes.get_mut(..head.len())?.copy_from_slice(head);
        associated.bytes.get_mut(head.len()..associated.length)?.copy_from_slice(key_id);
        Some(Self { associated, body, tag })
    }
}

/// All that is not encrypted.
struct Associated {
    bytes: [u8; MOST_ASSOCIATED],
    length: usize,
}

impl AsRef<[u8]> for Associated {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

const RECEIVER_ID_LEN: usize = size_of::<ReceiverId>();
const MOST_ASSOCIATED: usize = HEADER_LEN + RECEIVER_ID_LEN + KEY_ID_LEN;

/// Messages that reach those who may have another key say which one it takes.
const fn key_id_len(kind: Kind) -> usize {
    match kind {
        Kind::Announce | Kind::Seek => KEY_ID_LEN,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::seal::{Seal, Secret};

    const SESSION: SessionId = SessionId([7; 16]);
    const RECEIVER: ReceiverId = ReceiverId(0x0123_4567_89ab_cdef);

    fn key(byte: u8) -> Seal {
        Seal::Aead(GroupKey::new(&Secret::new([byte; 32])))
    }

    /// Header and a body of this length; receivers' bodies begin with their id.
    fn content(kind: Kind, session: SessionId, number: u64, length: usize) -> Vec<u8> {
        let mut content = vec![crate::wire::VERSION, kind as u8];
        content.extend(session.0);
        content.extend(number.to_be_bytes());
        if kind.comes_from_receivers() {
            content.extend(RECEIVER.0.to_be_bytes());
        }
        content.extend((0..length).map(|at| at as u8));
        content
    }

    fn party(kind: Kind) -> Party {
        if kind.comes_from_receivers() { Party::Receiver(RECEIVER) } else { Party::Sender }
    }

    fn sealed(seal: &Seal, content: &[u8]) -> Vec<u8> {
        let header = Header::peek(content).unwrap();
        let mut datagram = content.to_vec();
        seal.sealer(header.session, party(header.kind)).seal_appended(&mut datagram, 0);
        datagram
    }

    fn opened(seal: &Seal, session: SessionId, party: Party, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut datagram = datagram.to_vec();
        seal.opener(session, party).open(&mut datagram).map(<[u8]>::to_vec)
    }

    #[test]
    fn every_kind_opens_as_it_was_and_shows_no_more_than_header_receiver_and_key_id() {
        let seal = key(1);
        for &kind in Kind::ALL {
            let content = content(kind, SESSION, 3, 40);
            let datagram = sealed(&seal, &content);
            assert_eq!(opened(&seal, SESSION, party(kind), &datagram).as_ref(), Some(&content), "{kind:?}");
            let clear = content.len() - 40;
            assert_eq!(datagram[..clear], content[..clear], "{kind:?}");
            assert_ne!(datagram[clear..content.len()], content[clear..], "{kind:?}");
            assert_eq!(datagram.len(), content.len() + TAG_LEN + key_id_len(kind), "{kind:?}");
        }
    }

    #[test]
    fn any_flipped_bit_closes_a_datagram_and_so_does_every_cut() {
        let seal = key(1);
        for &kind in Kind::ALL {
            let mut datagram = sealed(&seal, &content(kind, SESSION, 3, 20));
            for bit in 0..datagram.len() * 8 {
                datagram[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(opened(&seal, SESSION, party(kind), &datagram), None, "{kind:?}, bit {bit}");
                datagram[bit / 8] ^= 1 << (bit % 8);
            }
            for length in 0..datagram.len() {
                assert_eq!(opened(&seal, SESSION, party(kind), &datagram[..length]), None, "{kind:?}");
            }
        }
    }

    #[test]
    fn only_who_has_the_key_opens_only_what_that_party_said_in_that_session() {
        let (seal, other) = (key(1), key(2));
        let up = sealed(&seal, &content(Kind::Report, SESSION, 0, 20));
        let down = sealed(&seal, &content(Kind::Source, SESSION, 0, 20));
        let (receiver, neighbour) = (Party::Receiver(RECEIVER), Party::Receiver(ReceiverId(1)));
        assert!(opened(&seal, SESSION, receiver, &up).is_some());
        for (seal, session, party) in [
            (&other, SESSION, receiver),
            (&seal, SessionId([8; 16]), receiver),
            (&seal, SESSION, neighbour),
            (&seal, SESSION, Party::Sender),
            (&Seal::Crc, SESSION, receiver),
        ] {
            assert_eq!(opened(seal, session, party, &up), None, "{session} {party:?}");
        }
        assert!(opened(&seal, SESSION, Party::Sender, &down).is_some());
        assert_eq!(opened(&seal, SESSION, receiver, &down), None);
        assert_eq!(opened(&seal, SESSION, Party::Sender, &sealed(&Seal::Crc, &down)), None);
    }

    #[test]
    fn a_number_is_sealed_once_and_a_second_time_nothing_of_it_goes_out() {
        let mut sealer = key(1).sealer(SESSION, Party::Sender);
        let mut datagram = sealed_by(&mut sealer, Kind::Source, 5);
        assert!(datagram.iter().any(|byte| *byte != 0));
        for number in [5, 4, 0] {
            datagram = sealed_by(&mut sealer, Kind::Source, number);
            assert!(datagram.iter().all(|byte| *byte == 0), "{number}");
        }
        assert!(
            sealed_by(&mut sealer, Kind::Join, 6).iter().all(|byte| *byte == 0),
            "not the sender's to say"
        );
        assert!(sealed_by(&mut sealer, Kind::Source, 7).iter().any(|byte| *byte != 0));
    }

    fn sealed_by(sealer: &mut Sealer, kind: Kind, number: u64) -> Vec<u8> {
        let mut datagram = content(kind, SESSION, number, 20);
        sealer.seal_appended(&mut datagram, 0);
        datagram
    }

    #[test]
    fn keys_change_with_the_numbers_and_either_is_there_at_the_border() {
        let seal = key(1);
        let mut sealer = seal.sealer(SESSION, Party::Sender);
        let border = DATAGRAMS_A_KEY;
        let numbers = [0, border - 1, border, border + 1, 2 * border, u64::MAX - 1];
        let mut datagrams = numbers.map(|number| sealed_by(&mut sealer, Kind::Source, number));
        let mut opener = seal.opener(SESSION, Party::Sender);
        for at in [5, 2, 1, 3, 0, 4] {
            assert!(opener.open(&mut datagrams[at]).is_some(), "{}", numbers[at]);
        }
        assert!(sealed_by(&mut sealer, Kind::Source, u64::MAX).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn garbage_of_other_numbers_leaves_the_keys_in_use_where_they_are() {
        let seal = key(1);
        let mut sealer = seal.sealer(SESSION, Party::Sender);
        let mut opener = seal.opener(SESSION, Party::Sender);
        assert!(opener.open(&mut sealed_by(&mut sealer, Kind::Source, 0)).is_some());
        for number in 1..100 {
            let mut garbage = content(Kind::Source, SESSION, number * DATAGRAMS_A_KEY, 60);
            assert!(opener.open(&mut garbage).is_none());
        }
        let Some(opening) = &opener.0 else { panic!("a key") };
        assert_eq!(opening.keys.each_ref().map(|key| key.as_ref().map(|key| key.span)), [Some(0), None]);
    }

    /// All that decides a key and a nonce: whose it is, in which session, and the number.
    fn key_and_nonce(seal: &Seal, session: SessionId, party: Party, number: u64) -> Vec<u8> {
        let stream = Stream { group: seal.key().unwrap().clone(), session, party };
        let key = stream.key(span(DatagramNumber(number))).unwrap();
        // The key itself cannot be looked at; what it makes of nothing under a fixed nonce stands for it.
        let tag = key.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key([0; NONCE_LEN]),
            Aad::empty(),
            &mut [],
        );
        [tag.unwrap().as_ref(), key.nonce(DatagramNumber(number)).as_ref()].concat()
    }

    #[test]
    fn no_two_datagrams_share_key_and_nonce() {
        let mut seen = BTreeMap::new();
        for group in 1..4 {
            for session in 0..4 {
                for party in [Party::Sender, Party::Receiver(ReceiverId(0)), Party::Receiver(ReceiverId(1))] {
                    for number in [0, 1, DATAGRAMS_A_KEY - 1, DATAGRAMS_A_KEY, DATAGRAMS_A_KEY + 1, 1 << 48] {
                        let session = SessionId([session; 16]);
                        let what = (group, session, format!("{party:?}"), number);
                        let pair = key_and_nonce(&key(group), session, party, number);
                        assert_eq!(seen.insert(pair, what.clone()), None, "{what:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_an_opener_panic(bytes: Vec<u8>, kind in 0..20_u8) {
            let seal = key(1);
            for mut datagram in [bytes.clone(), [&[crate::wire::VERSION, kind], SESSION.0.as_slice(), &bytes].concat()] {
                for party in [Party::Sender, Party::Receiver(RECEIVER)] {
                    prop_assert!(seal.opener(SESSION, party).open(&mut datagram).is_none());
                }
                let mut sealer = seal.sealer(SESSION, Party::Sender);
                sealer.seal(&mut datagram);
                sealer.seal_appended(&mut datagram, 3);
            }
        }
    }
}
