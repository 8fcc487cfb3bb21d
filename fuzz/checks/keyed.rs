//! What must hold whatever somebody says into a session that has a key: without the key nothing at all comes of it, with
//! it the session still ends. The fuzz target runs it on what it invents, `tests/corpus.rs` on the corpus and on a sweep.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::seal::{GroupKey, Party, Seal, Secret};
use mcast::sim::{Echo, PlayedBack, Scenario};
use mcast::wire::{DatagramNumber, Header, Kind, ReceiverId};

/// Hosts of the session: the sender and two receivers.
pub(crate) const HOSTS: usize = 3;

/// Panics if the session breaks a promise.
///
/// `bytes` say how the session's own datagrams are echoed, then any number of records:
///
/// ```text
/// share, 1/256 (1) | delay, ms (1) | flipped, 1/256 (1)
/// at, 20 µs (2) | to (1) | from (1) | seal (1) | length (2) | content
/// ```
///
/// Hosts count modulo [`HOSTS`]; `from` is 0 for an address of the author's own, else a host's number plus 1. The seal,
/// modulo 8: 0 the session's, by somebody who has its key; 1 another key's; 2 and 3 the CRC-32 of plain mode; else
/// none. Under a seal, the session's id is put in its place.
pub(crate) fn check(bytes: &[u8]) {
    let Some(([share, delay, flipped], bytes)) = bytes.split_first_chunk::<3>() else { return };
    let mut scenario = small_session();
    scenario.echo = Some(Echo {
        share: f64::from(*share) / 256.0,
        delay: Duration::from_millis((*delay).into()),
        flipped: f64::from(*flipped) / 256.0,
    });
    take_records(bytes, &mut scenario);
    let history = scenario.run();
    if scenario.insider {
        return;
    }
    let error = &history.sender_error;
    assert_eq!((history.sender, history.succeeded.len()), (Some(Exit::Complete), HOSTS - 1), "{error:?}");
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::Complete), "{:?}", receiver.error);
    }
    // Where the newest announce came from, lost on its own way, is where a receiver asks to join until the next.
    let joins = *share > 0;
    for answer in &history.to_strangers {
        assert!(joins && answer.bytes.get(1) == Some(&(Kind::Join as u8)), "answered: {answer:?}");
    }
}

fn take_records(mut bytes: &[u8], scenario: &mut Scenario) {
    while let Some(([at_high, at_low, to, from, seal, length @ ..], rest)) = bytes.split_first_chunk::<7>()
        && scenario.played_back.len() < MOST
    {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (content, rest) = rest.split_at(length);
        bytes = rest;
        let seal = match seal % 8 {
            0 => Some(scenario.seal()),
            1 => Some(Seal::Aead(GroupKey::new(&Secret::new([0x55; 32])))),
            2 | 3 => Some(Seal::Crc),
            _ => None,
        };
        let datagram =
            seal.as_ref().map_or_else(|| Some(content.to_vec()), |seal| sealed(scenario, seal, content));
        let Some(datagram) = datagram else { continue };
        scenario.insider |= seal.is_some_and(|seal| seal.key().is_some_and(|key| is_ours(scenario, key)));
        scenario.played_back.push(PlayedBack {
            at: Duration::from_micros(u64::from(u16::from_be_bytes([*at_high, *at_low])) * 20),
            to: usize::from(*to) % HOSTS,
            from: from.checked_sub(1).map(|host| usize::from(host) % HOSTS),
            bytes: datagram.into(),
        });
    }
}

fn is_ours(scenario: &Scenario, key: &GroupKey) -> bool {
    scenario.seal().key().is_some_and(|ours| ours.id() == key.id())
}

/// `None` for what nobody could seal.
fn sealed(scenario: &Scenario, seal: &Seal, content: &[u8]) -> Option<Vec<u8>> {
    let mut datagram = content.to_vec();
    datagram.get_mut(2..18)?.copy_from_slice(&scenario.session().0);
    let header = Header::peek(&datagram)?;
    if header.number == DatagramNumber(u64::MAX) {
        return None;
    }
    let receiver = ReceiverId::peek(&datagram);
    let party = if header.kind.comes_from_receivers() { Party::Receiver(receiver?) } else { Party::Sender };
    seal.sealer(header.session, party).seal_appended(&mut datagram, 0);
    Some(datagram)
}

/// As in the checks without a key: a stream that trickles for 40 ms after a start window of 5 ms, with 5 % lost.
fn small_session() -> Scenario {
    let mut scenario = Scenario::new(1, HOSTS - 1, 12_000).with_loss(0.05).with_key();
    scenario.symbol_size = 64;
    scenario.block_symbols = 4;
    scenario.source.trickle = Some((600, Duration::from_millis(2)));
    scenario.start.min_wait = Duration::from_millis(5);
    scenario.start_timeout = Some(Duration::from_secs(5));
    scenario.peer_timeout = Duration::from_millis(500);
    scenario.limit = Duration::from_secs(60);
    scenario
}

/// Records in one input, at most.
const MOST: usize = 64;
