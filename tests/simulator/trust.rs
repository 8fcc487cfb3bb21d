//! Sessions with a key, and those who would disturb them.

use std::collections::BTreeSet;
use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{Echo, PlayedBack, Recorded, Scenario, seeds};
use mcast::time::Time;
use mcast::wire::{Header, Kind, ReceiverId, SessionId};

use crate::all_complete;
use crate::random::{is_survivable, random_scenario, rare_scenario};

#[test]
fn with_a_key_everybody_gets_every_byte_all_the_same() {
    for seed in seeds(20) {
        all_complete(&Scenario::new(seed, 3, 300_000).with_loss(0.02).with_key().run());
    }
}

#[test]
fn with_a_key_the_promises_hold_whatever_the_network_does() {
    for seed in seeds(400) {
        let scenario = random_scenario(seed).with_key();
        let played = std::panic::catch_unwind(|| scenario.run());
        let history = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        if is_survivable(&scenario) {
            assert_eq!(history.sender, Some(Exit::Complete), "seed {seed}: {:?}", history.sender_error);
        }
    }
}

#[test]
fn who_lies_without_the_key_changes_nothing() {
    for seed in seeds(400) {
        let mut scenario = rare_scenario(seed).with_key();
        let played = std::panic::catch_unwind(|| scenario.run());
        let told = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        scenario.hostile.clear();
        if is_survivable(&scenario) {
            assert_eq!(told.sender, Some(Exit::Complete), "seed {seed}: {:?}", told.sender_error);
        }
    }
}

/// What a key and a nonce follow from: session and party are in the key, the number in both.
#[expect(clippy::expect_used, reason = "a helper of tests fails the test")]
fn key_and_nonce(datagram: &Recorded) -> (SessionId, Option<ReceiverId>, u64) {
    let header = Header::peek(&datagram.bytes).expect("nobody sends what has no header");
    let receiver =
        header.kind.comes_from_receivers().then(|| ReceiverId::peek(&datagram.bytes).expect("an id"));
    (header.session, receiver, header.number.0)
}

/// Thousands of sessions under one key: with loss, duplication, full queues, pauses, deaths, receivers that are evicted
/// before the start and join again, and restarts, which are other sessions of the same receivers.
#[test]
fn no_key_and_nonce_are_ever_used_twice_restarts_included() {
    let mut parties = BTreeSet::new();
    let mut datagrams = 0;
    for seed in seeds(1_000) {
        let mut rare = rare_scenario(seed).with_key();
        // Like any launch, a simulated one draws its session's id: out of its seed.
        rare.seed |= 1 << 40;
        let mut restarted = rare.clone();
        restarted.seed |= 1 << 41;
        for mut scenario in [random_scenario(seed).with_key(), rare, restarted] {
            scenario.records = true;
            let history = scenario.run();
            let (mut seen, mut speakers) = (BTreeSet::new(), BTreeSet::new());
            for datagram in &history.recorded {
                let (session, receiver, number) = key_and_nonce(datagram);
                speakers.insert((session, receiver));
                let fresh = seen.insert((session, receiver, number));
                assert!(fresh, "seed {seed}: {receiver:?} uses {number} twice");
            }
            datagrams += seen.len();
            for speaker in speakers {
                assert!(parties.insert(speaker), "seed {seed}: {speaker:?} has been there before");
            }
        }
    }
    if seeds(2).count() > 1 {
        // It would be easy to find nothing in nothing.
        assert!(datagrams > 300_000, "{datagrams}");
    }
}

#[test]
fn what_is_played_back_within_a_session_counts_once() {
    for seed in seeds(60) {
        let mut scenario = Scenario::new(seed, 3, 200_000).with_loss(0.02).with_key();
        scenario.source.trickle = Some((4_000, Duration::from_millis(5)));
        scenario.echo = Some(Echo { share: 0.5, delay: Duration::from_millis(300), flipped: 0.2 });
        let history = scenario.run();
        all_complete(&history);
        // Nothing but the loss had to be repaired.
        assert!(history.transmissions() < 1.4, "seed {seed}: {}", history.transmissions());
    }
}

#[test]
fn who_sends_again_what_was_lost_is_believed_for_moments_at_most() {
    for seed in seeds(100) {
        let mut scenario = Scenario::new(seed, 3, 400_000).with_loss(0.1).with_key();
        scenario.rate = Some(Rate::from_bits_per_second(4_000_000));
        scenario.echo = Some(Echo { share: 1.0, delay: Duration::ZERO, flipped: 0.0 });
        let history = scenario.run();
        all_complete(&history);
        let reports = history.to_strangers.iter().filter(|it| it.bytes.get(1) == Some(&(Kind::Report as u8)));
        let reports = reports.count();
        assert!(reports <= 5, "seed {seed}: {reports} reports went to a stranger");
    }
}

#[test]
fn with_a_key_the_promises_hold_whatever_is_played_back() {
    for seed in seeds(300) {
        let mut scenario = random_scenario(seed).with_key();
        scenario.echo = Some(Echo { share: 0.3, delay: Duration::from_secs(2), flipped: 0.1 });
        let played = std::panic::catch_unwind(|| scenario.run());
        let history = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        if is_survivable(&scenario) {
            assert_eq!(history.sender, Some(Exit::Complete), "seed {seed}: {:?}", history.sender_error);
        }
    }
}

#[test]
fn what_was_held_back_and_comes_later_keeps_no_dead_sender_alive() {
    let seconds = Duration::from_secs;
    let scenario = || {
        let mut scenario = Scenario::new(8, 2, 20_000).with_key();
        scenario.source.trickle = Some((1_000, Duration::from_secs(1)));
        scenario.receivers[0].deaf = vec![(seconds(1), seconds(3))];
        scenario.sender_killed = Some(seconds(4));
        scenario
    };
    let mut recording = scenario();
    recording.records = true;
    let missed = |at: &Time| (Time::ZERO + seconds(1)..Time::ZERO + seconds(3)).contains(at);
    let missed: Vec<_> =
        (recording.run().recorded.into_iter()).filter(|it| it.host == 0 && missed(&it.at)).collect();
    assert!(missed.len() >= 10, "{}", missed.len());
    let mut attacked = scenario();
    attacked.played_back = (missed.iter().zip(5..))
        .map(|(datagram, at)| PlayedBack {
            at: seconds(at),
            to: 1,
            from: None,
            bytes: datagram.bytes.clone(),
        })
        .collect();
    let history = attacked.run();
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::PeerLost), "{:?}", receiver.error);
        assert!(receiver.ended < Time::ZERO + seconds(15), "{}", receiver.ended);
    }
}

#[test]
fn the_last_word_of_a_dead_receiver_played_back_keeps_it_not_alive() {
    let seconds = Duration::from_secs;
    let scenario = || {
        let mut scenario = Scenario::new(9, 2, 40_000).with_key();
        scenario.source.trickle = Some((1_000, Duration::from_secs(1)));
        scenario.receivers[1].killed = Some(seconds(4));
        scenario
    };
    let mut recording = scenario();
    recording.records = true;
    let recorded = recording.run().recorded;
    let last = recorded.iter().rfind(|it| it.host == 2).expect("it has said something");
    let mut attacked = scenario();
    attacked.played_back = (9..80)
        .map(|half| {
            let at = Duration::from_millis(500 * half);
            PlayedBack { at, to: 0, from: Some(2), bytes: last.bytes.clone() }
        })
        .collect();
    let history = attacked.run();
    assert_eq!(history.sender, Some(Exit::Partial));
    // It was given up long before the stream came to its end, and nobody had to wait for it there.
    assert!(history.sender_ended < Time::ZERO + seconds(41), "{}", history.sender_ended);
    assert!(history.sender_error.as_deref().is_some_and(|error| error.contains("silent")), "{history:?}");
}

/// A whole session of yesterday: the same hosts, the same key, other ids.
fn yesterday(seed: u64, ends_with: impl FnOnce(&mut Scenario)) -> Vec<Recorded> {
    let mut scenario = Scenario::new(seed ^ 0xdead, 2, 60_000).with_key();
    (scenario.records, scenario.first_id) = (true, 0x5000);
    ends_with(&mut scenario);
    scenario.run().recorded
}

/// The same datagrams, sent to everyone again and again from the address they came from or from another.
fn again(recorded: &[Recorded], from: Option<usize>, times: u64) -> Vec<PlayedBack> {
    let mut all = Vec::new();
    for time in 0..times {
        for datagram in recorded {
            let at = Duration::from_nanos(datagram.at.as_nanos()) + Duration::from_millis(250 * time);
            let to: &[usize] = if datagram.host == 0 { &[1, 2] } else { &[0] };
            let bytes = datagram.bytes.clone();
            all.extend(to.iter().map(|&to| PlayedBack { at, to, from, bytes: bytes.clone() }));
        }
    }
    all
}

/// Fault 35, without a sender of today.
#[test]
fn a_recorded_session_touches_no_sink() {
    for seed in seeds(10) {
        for from in [None, Some(0)] {
            let mut recorded = yesterday(seed, |_| {});
            recorded.extend(yesterday(seed ^ 1, |scenario| scenario.source.fails_after = Some(30_000)));
            let mut scenario = Scenario::new(seed, 2, 60_000).with_key();
            scenario.start_timeout = Some(Duration::from_secs(20));
            scenario.sender_killed = Some(Duration::ZERO);
            scenario.played_back = again(&recorded, from, 40);
            let history = scenario.run();
            for receiver in &history.receivers {
                assert_eq!(
                    (receiver.bytes, receiver.exit),
                    (0, Some(Exit::NotStarted)),
                    "{:?}",
                    receiver.error
                );
                // Its own timeout ended it, and not the recording.
                assert!(receiver.ended >= Time::ZERO + Duration::from_secs(20), "{}", receiver.ended);
            }
        }
    }
}

/// Fault 35, with one: neither held up nor turned away.
#[test]
fn a_recorded_session_keeps_nobody_from_todays() {
    for seed in seeds(10) {
        for from in [None, Some(0)] {
            let mut recorded = yesterday(seed, |_| {});
            // Another one that was aborted, and one whose sender was killed.
            recorded.extend(yesterday(seed ^ 1, |scenario| scenario.source.fails_after = Some(30_000)));
            recorded.extend(yesterday(seed ^ 2, |scenario| {
                scenario.sender_killed = Some(Duration::from_micros(1_500));
            }));
            let mut scenario = Scenario::new(seed, 2, 100_000).with_key();
            scenario.played_back = again(&recorded, from, 40);
            let history = scenario.run();
            all_complete(&history);
            // Three sessions that are dead, a second each at most, and the time of day.
            let started = history.started.expect("it has started");
            assert!(started.as_nanos() < 6_000_000_000, "seed {seed}: started at {started}");
        }
    }
}

#[test]
fn a_receiver_that_left_before_the_start_is_not_brought_back_by_its_own_old_join() {
    // What the receiver said before it left, as somebody has recorded it.
    let scenario = |records| {
        let mut scenario = Scenario::new(7, 2, 20_000).with_key();
        scenario.records = records;
        scenario.receivers[0].stopped = Some(Duration::from_millis(50));
        scenario.receivers[1].launched = Duration::from_secs(2);
        scenario.start_timeout = Some(Duration::from_secs(30));
        scenario.start.min_receivers = 2;
        scenario
    };
    let joins: Vec<_> = (scenario(true).run().recorded.into_iter())
        .filter(|datagram| datagram.host == 1 && datagram.bytes[1] == Kind::Join as u8)
        .collect();
    assert!(!joins.is_empty());
    let mut attacked = scenario(false);
    for at in 1..100 {
        let at = Duration::from_millis(100 * at);
        let bytes = joins[0].bytes.clone();
        attacked.played_back.push(PlayedBack { at, to: 0, from: Some(1), bytes });
    }
    let history = attacked.run();
    assert_eq!(history.sender, Some(Exit::NotStarted), "{:?}", history.sender_error);
    assert_eq!(history.admitted, ["r1"]);
}
