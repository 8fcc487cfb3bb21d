//! A session with a key keeps its promises whatever recordings of other days somebody plays to it, and whenever. The fuzz target
//! runs it on what it invents, `tests/corpus.rs` on the corpus and on a sweep.

use std::rc::Rc;
use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{Disguise, PlayedBack, Reaction, Replayer, Scenario};
use mcast::time::Time;

/// When today's sender is launched; its receivers have waited since the beginning.
const LAUNCHED: Duration = Duration::from_millis(1_200);

/// Panics if replays end or delay the session.
///
/// ```text
/// disguise (1) | abort after, 4 ms (1), 0: he does not react | unreachable, 20 ms (1), 0: never
/// and any number of records: at, ms (2) | to (1) | recording (1) | datagram (1)
/// ```
pub(crate) fn check(bytes: &[u8]) {
    let Some(([disguise, abort_after, unreachable], mut bytes)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let recordings = RECORDINGS.with(Rc::clone);
    let disguise = [Disguise::Own, Disguise::PortZero, Disguise::Sender][usize::from(*disguise) % 3];
    let mut scenario = Scenario::new(1, 2, 6_000).with_key();
    scenario.sender_launched = LAUNCHED;
    scenario.start_timeout = Some(Duration::from_secs(30));
    scenario.limit = Duration::from_secs(60);
    let mut playlist = Vec::new();
    while let Some(([high, low, to, recording, datagram], rest)) = bytes.split_first_chunk::<5>()
        && playlist.len() + scenario.played_back.len() < MOST
    {
        bytes = rest;
        let at = Duration::from_millis(u64::from(u16::from_be_bytes([*high, *low]) % 4_000));
        let recording = &recordings[usize::from(*recording) % recordings.len()];
        let bytes = Rc::clone(&recording[usize::from(*datagram) % recording.len()]);
        match to % 4 {
            3 => playlist.push((at, bytes)),
            to => scenario.played_back.push(PlayedBack { at, to: usize::from(to), from: None, bytes }),
        }
    }
    for receiver in &mut scenario.receivers {
        receiver.unreachable = (*unreachable > 0)
            .then(|| Duration::from_millis(20 * u64::from(*unreachable)))
            .into_iter()
            .collect();
    }
    let reacts = (*abort_after > 0).then(|| Reaction {
        sessions: Rc::clone(&recordings),
        abort_after: Duration::from_millis(4 * u64::from(*abort_after)),
    });
    scenario.replayer = Some(Replayer { playlist, reacts, disguise });
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::Complete), "{:?}", history.sender_error);
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::Complete), "{:?}", receiver.error);
    }
    let started = history.started.map(|started| started.since(Time::ZERO));
    let latest = LAUNCHED + Duration::from_millis(1_100);
    assert!(started.is_some_and(|started| started <= latest), "{started:?}");
}

type Recordings = Rc<[Vec<Rc<[u8]>>]>;

thread_local! {
    static RECORDINGS: Recordings = (0..4).map(recording).collect();
}

/// What the sender of another day's session said: it was started and completed, gave up waiting, failed, or was killed.
fn recording(way: u64) -> Vec<Rc<[u8]>> {
    let mut scenario = Scenario::new(0xDEAD + way, 2, 2_000).with_key();
    (scenario.records, scenario.first_id) = (true, 0x5000);
    match way {
        0 => scenario.receivers[1].launched = Duration::from_secs(1),
        1 => {
            scenario.start.min_receivers = 3;
            scenario.start_timeout = Some(Duration::from_secs(8));
        }
        2 => scenario.source.fails_after = Some(1_000),
        _ => scenario.sender_killed = Some(Duration::from_micros(1_500)),
    }
    let recorded = scenario.run().recorded;
    recorded.into_iter().filter(|datagram| datagram.host == 0).map(|datagram| datagram.bytes).collect()
}

/// Datagrams that are played, at most.
const MOST: usize = 512;
