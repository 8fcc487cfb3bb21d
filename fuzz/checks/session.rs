//! What must hold whatever someone says into a session whose id he knows. The fuzz target runs it on what it invents,
//! `tests/corpus.rs` on the corpus and on a sweep.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{Hostile, Scenario};
use mcast::wire::Kind;

/// Hosts of the session: the sender and two receivers.
pub(crate) const HOSTS: usize = 3;

/// Panics if the session of [`play`] breaks a promise.
///
/// `bytes` are any number of records:
///
/// ```text
/// at, 20 µs (2) | to (1) | from (1) | length (2) | content
/// ```
///
/// Hosts count modulo [`HOSTS`]; `from` is 0 for an address of the author's own, else a host's number plus 1.
pub(crate) fn check(mut bytes: &[u8]) {
    let mut hostile = Vec::new();
    while let Some(([at_high, at_low, to, from, length @ ..], rest)) = bytes.split_first_chunk::<6>()
        && hostile.len() < MOST
    {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (content, rest) = rest.split_at(length);
        hostile.push(Hostile {
            at: Duration::from_micros(u64::from(u16::from_be_bytes([*at_high, *at_low])) * 20),
            to: usize::from(*to) % HOSTS,
            from: from.checked_sub(1).map(|host| usize::from(host) % HOSTS),
            content: content.to_vec(),
        });
        bytes = rest;
    }
    play(hostile);
}

/// Plays a small session that trickles for 40 ms after a start window of 5 ms, on a network that loses 5 %.
///
/// The simulator panics when a promise is broken, when a host spins, and when the session does not end.
pub(crate) fn play(hostile: Vec<Hostile>) {
    let powerless = hostile.iter().all(is_powerless);
    let mut scenario = Scenario::new(1, HOSTS - 1, 12_000).with_loss(0.05);
    scenario.hostile = hostile;
    scenario.symbol_size = 64;
    scenario.block_symbols = 4;
    scenario.source.trickle = Some((600, Duration::from_millis(2)));
    scenario.start.min_wait = Duration::from_millis(5);
    scenario.start_timeout = Some(Duration::from_secs(5));
    scenario.peer_timeout = Duration::from_millis(200);
    scenario.limit = Duration::from_secs(60);
    let history = scenario.run();
    if powerless {
        assert_eq!(history.sender, Some(Exit::Complete), "{:?}", history.sender_error);
    }
}

/// A stranger can say nothing into a session, but bring other receivers or sessions into being.
fn is_powerless(datagram: &Hostile) -> bool {
    let kind = datagram.content.get(1);
    datagram.from.is_none()
        && ![Kind::Announce, Kind::Join].iter().any(|brings| kind == Some(&(*brings as u8)))
}

/// Records in one input, at most.
const MOST: usize = 64;
