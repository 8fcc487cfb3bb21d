//! Sessions with a key, beside somebody who plays recordings: at their own pace, as fast as he can, or in answer to what
//! receivers say. Nothing of it may end or delay what is honest (faults 57, 61, 62 and 63).

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{Disguise, History, PlayedBack, Reaction, Recorded, Replayer, Scenario, seeds};
use mcast::time::Time;
use mcast::wire::{Header, Kind, ReceiverId};

use crate::all_complete;
use crate::lines::counted;

/// Seeds that the ordinary test command plays.
const SEEDS: u64 = 120;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Datagrams of a sender, and when they were sent.
type Recording = Vec<(Duration, Rc<[u8]>)>;

/// A session of another day: the same key, other ids.
fn recording(seed: u64, change: impl FnOnce(&mut Scenario)) -> Recording {
    let mut scenario = Scenario::new(0xDEAD_0000 + seed, 2, 20_000).with_key();
    (scenario.records, scenario.first_id) = (true, 0x5000);
    change(&mut scenario);
    let recorded = scenario.run().recorded;
    let of_sender = |datagram: &Recorded| datagram.host == 0;
    let timed = |datagram: Recorded| (Duration::from_nanos(datagram.at.as_nanos()), datagram.bytes);
    recorded.into_iter().filter(of_sender).map(timed).collect()
}

/// Recordings of sessions that ended in all the ways in which sessions end.
fn recordings() -> Vec<Recording> {
    let mut recordings = vec![
        // It waits for half a minute and gives up.
        recording(0, |scenario| {
            scenario.start.min_receivers = 3;
            scenario.start_timeout = Some(seconds(30));
        }),
        // It waits for three seconds, and trickles for four.
        recording(1, |scenario| {
            scenario.receivers[1].launched = seconds(3);
            scenario.source.trickle = Some((500, ms(100)));
        }),
        recording(2, |scenario| scenario.source.fails_after = Some(10_000)),
        recording(3, |scenario| scenario.sender_killed = Some(Duration::from_micros(1_500))),
        recording(4, |scenario| {
            scenario.receivers[1].launched = seconds(2);
            scenario.sender_stopped = Some(seconds(1));
        }),
    ];
    recordings.extend((5..30).map(|seed| {
        recording(seed, |scenario| {
            scenario.source.bytes = 500;
            scenario.sender_stopped = (seed % 2 == 0).then(|| Duration::from_micros(400));
        })
    }));
    recordings
}

fn is(datagram: &[u8], kind: Kind) -> bool {
    datagram[1] == kind as u8
}

/// A replayer as `rng` draws one. He goes on for `lasts`.
fn replayer(rng: &mut fastrand::Rng, recordings: &[Recording], lasts: Duration) -> Replayer {
    let announces =
        || recordings.iter().flat_map(|it| it.iter().filter(|(_, bytes)| is(bytes, Kind::Announce)));
    let spread = |datagrams: Vec<Rc<[u8]>>, every: Duration| {
        let times = (lasts.as_nanos() / every.as_nanos()) as u32;
        let datagrams = datagrams.into_iter().cycle();
        (0..times).map(|time| every * time).zip(datagrams).collect::<Vec<_>>()
    };
    let fast = Duration::from_micros([300, 1_000, 3_000, 10_000][rng.usize(0..4)]);
    let playlist = match rng.u8(0..5) {
        // At their own pace, beginning at any time.
        0 => (0..8)
            .flat_map(|_| {
                let (from, recording) = (ms(rng.u64(0..4_000)), &recordings[rng.usize(0..recordings.len())]);
                recording.iter().map(move |(at, bytes)| (from + *at, Rc::clone(bytes)))
            })
            .filter(|(at, _)| *at < lasts)
            .collect(),
        // All that there is, as fast as he can.
        1 => spread(recordings.iter().flatten().map(|(_, bytes)| Rc::clone(bytes)).collect(), fast),
        2 => spread(announces().map(|(_, bytes)| Rc::clone(bytes)).collect(), fast),
        // Announce and abort in turn.
        3 => {
            let pairs = recordings.iter().filter_map(|recording| {
                let first = |kind| recording.iter().find(|(_, bytes)| is(bytes, kind));
                let (announce, abort) = (first(Kind::Announce)?, first(Kind::Abort)?);
                Some([Rc::clone(&announce.1), Rc::clone(&abort.1)])
            });
            spread(pairs.flatten().collect(), fast)
        }
        _ => Vec::new(),
    };
    let sessions = recordings.iter().map(|it| it.iter().map(|(_, bytes)| Rc::clone(bytes)).collect());
    let reaction = Reaction { sessions: sessions.collect(), abort_after: ms(rng.u64(0..1_000)) };
    Replayer {
        reacts: (playlist.is_empty() || rng.bool()).then_some(reaction),
        playlist,
        disguise: [Disguise::Own, Disguise::PortZero, Disguise::Sender][rng.usize(0..3)],
    }
}

/// Receivers that wait for a sender that comes after some seconds, or come after it.
fn honest(seed: u64, rng: &mut fastrand::Rng) -> Scenario {
    let mut scenario = Scenario::new(seed, rng.usize(1..4), 30_000).with_key();
    scenario.sender_launched = ms(rng.u64(0..5_000));
    for receiver in &mut scenario.receivers {
        receiver.launched = ms(rng.u64(0..6_000));
    }
    if rng.bool() {
        scenario.source.trickle = Some((3_000, ms(50)));
    }
    scenario
}

/// Datagrams of a kind that this receiver sent, to whomever.
fn sent(history: &History, receiver: usize, kind: Kind) -> usize {
    history.recorded.iter().filter(|it| it.host == receiver + 1 && is(&it.bytes, kind)).count()
}

#[test]
fn replays_neither_end_nor_delay_an_honest_session() {
    let recordings = recordings();
    for seed in seeds(SEEDS) {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x0DD);
        let scenario = honest(seed, &mut rng);
        let undisturbed = scenario.run();
        all_complete(&undisturbed);
        let mut attacked = scenario.clone();
        attacked.replayer = Some(replayer(&mut rng, &recordings, seconds(9)));
        attacked.records = true;
        for receiver in &mut attacked.receivers {
            receiver.unreachable = (0..rng.usize(0..20)).map(|_| ms(rng.u64(0..9_000))).collect();
        }
        let played = std::panic::catch_unwind(|| counted(|| attacked.run()));
        let (history, lines) = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        assert_eq!(history.sender, Some(Exit::Complete), "seed {seed}: {:?}", history.sender_error);
        for receiver in &history.receivers {
            assert_eq!(receiver.exit, Some(Exit::Complete), "seed {seed}: {:?}", receiver.error);
        }
        let delayed = |honest: Option<Time>, attacked: Option<Time>| {
            let (honest, attacked) = (honest.expect("it has started"), attacked.expect("it has started"));
            assert!(attacked <= honest + seconds(1), "seed {seed}: {honest} became {attacked}");
        };
        delayed(undisturbed.started, history.started);
        delayed(Some(undisturbed.sender_ended), Some(history.sender_ended));
        assert!(lines <= 300, "seed {seed}: {lines} lines");
        let mut used = BTreeSet::new();
        for datagram in history.recorded.iter().filter(|it| it.host > 0) {
            let header = Header::peek(&datagram.bytes).expect("a header");
            let fresh = used.insert((header.session, ReceiverId::peek(&datagram.bytes), header.number));
            assert!(fresh, "seed {seed}: a key meets number {} twice", header.number.0);
        }
    }
}

#[test]
fn replays_end_no_waiting_receiver_before_its_start_timeout() {
    let recordings = recordings();
    let timeout = seconds(20);
    for seed in seeds(SEEDS / 2) {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0xE4D);
        let mut scenario = Scenario::new(seed, 2, 30_000).with_key();
        scenario.sender_killed = Some(Duration::ZERO);
        scenario.start_timeout = Some(timeout);
        scenario.records = true;
        scenario.replayer = Some(replayer(&mut rng, &recordings, seconds(30)));
        let played = std::panic::catch_unwind(|| counted(|| scenario.run()));
        let (history, lines) = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        for (index, receiver) in history.receivers.iter().enumerate() {
            assert_eq!((receiver.bytes, receiver.exit), (0, Some(Exit::NotStarted)), "seed {seed}");
            assert!(receiver.ended >= Time::ZERO + timeout, "seed {seed}: {:?}", receiver.error);
            // To the group by its schedule, and to each recorded session some questions.
            let asked = sent(&history, index, Kind::Seek);
            assert!(asked <= 7 + 8 * recordings.len(), "seed {seed}: {asked} seeks and questions");
            let joins = sent(&history, index, Kind::Join);
            assert!(joins <= 10 * 20 + 10 * recordings.len(), "seed {seed}: {joins} joins");
        }
        assert!(lines <= 300, "seed {seed}: {lines} lines");
    }
}

#[test]
fn abort_just_after_a_join_ends_receivers_with_and_without_a_key_alike() {
    for keyed in [false, true] {
        for micros in (100..5_000).step_by(100) {
            let mut scenario = Scenario::new(3, 3, 20_000);
            scenario.keyed = keyed;
            scenario.start.min_receivers = 4;
            scenario.sender_launched = seconds(2);
            let stopped = scenario.sender_launched + Duration::from_micros(micros);
            scenario.sender_stopped = Some(stopped);
            let history = scenario.run();
            for receiver in &history.receivers {
                let told = (receiver.exit, receiver.error.as_deref());
                assert_eq!(receiver.exit, Some(Exit::Aborted), "{micros} µs, key {keyed}: {told:?}");
                assert!(
                    receiver.ended < Time::ZERO + stopped + seconds(1),
                    "{micros} µs: {}",
                    receiver.ended
                );
            }
        }
    }
}

#[test]
fn late_receiver_with_a_key_is_refused_at_once_beside_replays() {
    let recordings = recordings();
    for seed in seeds(20) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut scenario = Scenario::new(seed, 2, 60_000).with_key();
        scenario.start.min_receivers = 1;
        scenario.source.trickle = Some((1_000, ms(100)));
        scenario.receivers[1].launched = seconds(2);
        scenario.replayer = Some(replayer(&mut rng, &recordings, seconds(9)));
        let history = scenario.run();
        let late = &history.receivers[1];
        assert_eq!(late.exit, Some(Exit::NotStarted), "seed {seed}: {:?}", late.error);
        let told = late.error.as_deref().is_some_and(|error| error.contains("already started"));
        assert!(told && late.ended < Time::ZERO + seconds(5), "seed {seed}: {:?} {}", late.error, late.ended);
    }
}

#[test]
fn crowd_that_waits_at_a_recording_joins_todays_session_within_a_second() {
    let recordings = recordings();
    let mut scenario = Scenario::new(1, 500, 10_000).with_key();
    scenario.sender_launched = seconds(3);
    let honest = scenario.run().started.expect("it has started");
    // The recording that waits for half a minute.
    let (pace, long) = (ms(500), &recordings[0]);
    let playlist = (0..40).map(|time| pace * time).zip(long.iter().map(|(_, bytes)| Rc::clone(bytes)));
    let playlist = playlist.collect();
    scenario.replayer = Some(Replayer { playlist, reacts: None, disguise: Disguise::Own });
    let history = scenario.run();
    all_complete(&history);
    let started = history.started.expect("it has started");
    assert!(started <= honest + seconds(1), "{honest} became {started}");
}

#[test]
fn recording_that_is_kept_alive_brings_few_joins_to_the_address_that_it_bears() {
    let recordings = recordings();
    // One that waits, and one that has started: an announce, and then something newer every nine seconds.
    for kind in [Kind::Announce, Kind::Source] {
        let recording = &recordings[usize::from(kind == Kind::Source)];
        let (_, first) = &recording[0];
        let newer = recording[1..].iter().filter(|(_, bytes)| is(bytes, kind)).step_by(2);
        let mut playlist = vec![(seconds(1), Rc::clone(first))];
        playlist
            .extend((0..13).map(|turn| seconds(2 + 9 * turn)).zip(newer.map(|(_, bytes)| Rc::clone(bytes))));
        assert!(playlist.len() > 10, "{}", playlist.len());
        let mut scenario = Scenario::new(1, 2, 30_000).with_key();
        scenario.sender_killed = Some(Duration::ZERO);
        scenario.start_timeout = Some(seconds(120));
        scenario.records = true;
        scenario.replayer = Some(Replayer { playlist, reacts: None, disguise: Disguise::Sender });
        let history = scenario.run();
        for receiver in 0..2 {
            let joins = sent(&history, receiver, Kind::Join);
            assert!((2..=50).contains(&joins), "{kind:?}: {joins} joins");
        }
    }
}

/// A sender of today that comes while receivers wait at a recording, and what it and they have said.
fn asked(seed: u64) -> (Scenario, History) {
    let (pace, long) = (
        ms(500),
        recording(0, |scenario| {
            scenario.start.min_receivers = 3;
            scenario.start_timeout = Some(seconds(30));
        }),
    );
    let playlist = (0..40).map(|time| pace * time).zip(long.iter().map(|(_, bytes)| Rc::clone(bytes)));
    let mut scenario = Scenario::new(seed, 2, 60_000).with_key();
    (scenario.records, scenario.sender_launched) = (true, seconds(3));
    scenario.source.trickle = Some((1_000, ms(100)));
    scenario.replayer =
        Some(Replayer { playlist: playlist.collect(), reacts: None, disguise: Disguise::Own });
    let history = scenario.run();
    all_complete(&history);
    (scenario, history)
}

/// The session that the sender of today announced.
#[expect(clippy::expect_used, reason = "a helper of tests fails the test")]
fn session_of(history: &History) -> mcast::wire::SessionId {
    let first = history.recorded.iter().find(|it| it.host == 0).expect("the sender has said something");
    Header::peek(&first.bytes).expect("a header").session
}

#[test]
fn question_that_is_played_back_to_a_live_sender_is_answered_once() {
    let (mut scenario, undisturbed) = asked(1);
    let today = session_of(&undisturbed);
    let is_question = |it: &&Recorded| {
        is(&it.bytes, Kind::Seek) && Header::peek(&it.bytes).is_some_and(|header| header.session == today)
    };
    let question = undisturbed.recorded.iter().find(is_question).expect("it was asked");
    scenario.played_back = (0..4_000_u32)
        .map(|copy| PlayedBack {
            at: seconds(4) + Duration::from_micros(500) * copy,
            to: 0,
            from: Some(question.host),
            bytes: Rc::clone(&question.bytes),
        })
        .collect();
    let attacked = scenario.run();
    all_complete(&attacked);
    for kind in [Kind::Roster, Kind::Announce] {
        let said = |history: &History| {
            history.recorded.iter().filter(|it| it.host == 0 && is(&it.bytes, kind)).count()
        };
        let (before, now) = (said(&undisturbed), said(&attacked));
        assert!(now <= before + 10, "{kind:?}: {before} became {now}");
    }
}

#[test]
fn announces_of_todays_session_from_elsewhere_delay_its_start_by_moments_at_most() {
    for seed in seeds(20) {
        let (mut scenario, undisturbed) = asked(seed);
        // Before the true ones, and now and then only, so that receivers turn to and fro.
        let announces =
            undisturbed.recorded.iter().filter(|it| it.host == 0 && is(&it.bytes, Kind::Announce));
        let early = announces.step_by(2).flat_map(|it| {
            let at = Duration::from_nanos(it.at.as_nanos());
            (1..=2).map(move |to| PlayedBack { at, to, from: None, bytes: Rc::clone(&it.bytes) })
        });
        scenario.played_back = early.collect();
        assert!(!scenario.played_back.is_empty());
        let attacked = scenario.run();
        all_complete(&attacked);
        let started = |history: &History| history.started.expect("it has started");
        let (before, now) = (started(&undisturbed), started(&attacked));
        assert!(now <= before + ms(500), "seed {seed}: {before} became {now}");
    }
}

/// A receiver that comes late to a session of which datagrams are played back that it has not heard.
#[test]
fn late_receiver_is_refused_though_todays_session_is_played_back_to_it() {
    for seed in seeds(20) {
        let mut scenario = Scenario::new(seed, 2, 60_000).with_key();
        (scenario.start.min_receivers, scenario.records) = (1, true);
        scenario.source.trickle = Some((1_000, ms(100)));
        scenario.receivers[1].launched = seconds(2);
        let undisturbed = scenario.run();
        let of_sender = |it: &&Recorded| it.host == 0 && it.at < Time::ZERO + seconds(2);
        let heard = undisturbed.recorded.iter().filter(of_sender);
        scenario.played_back = (0..)
            .zip(heard)
            .map(|(turn, it)| PlayedBack {
                at: seconds(2) + ms(2) * turn,
                to: 2,
                from: None,
                bytes: Rc::clone(&it.bytes),
            })
            .collect();
        let history = scenario.run();
        let late = &history.receivers[1];
        assert_eq!(
            (history.sender, late.exit),
            (Some(Exit::Complete), Some(Exit::NotStarted)),
            "seed {seed}"
        );
        let told = late.error.as_deref().is_some_and(|error| error.contains("already started"));
        assert!(told && late.ended < Time::ZERO + seconds(5), "seed {seed}: {:?} {}", late.error, late.ended);
    }
}

#[test]
fn recording_at_the_start_timeout_changes_neither_its_time_nor_its_cause() {
    let recordings = recordings();
    let mut scenario = Scenario::new(1, 2, 30_000).with_key();
    scenario.sender_killed = Some(Duration::ZERO);
    scenario.start_timeout = Some(seconds(8));
    let playlist = (1..40).map(|time| ms(200) * time);
    let playlist = playlist.zip(recordings[0].iter().map(|(_, bytes)| Rc::clone(bytes))).collect();
    scenario.replayer = Some(Replayer { playlist, reacts: None, disguise: Disguise::Own });
    let history = scenario.run();
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::NotStarted));
        let error = receiver.error.as_deref().expect("it is told");
        assert!(error.contains("no session started"), "{error}");
        assert!(receiver.ended <= Time::ZERO + seconds(8) + ms(100), "{}", receiver.ended);
    }
}

#[test]
fn sender_with_a_key_that_is_heard_and_does_not_answer_is_told_to_the_operator() {
    // Data flows, and no join gets through.
    let recording = &recordings()[1];
    let playlist: Vec<_> =
        (1..).zip(recording).map(|(at, (_, bytes))| (ms(150) * at, Rc::clone(bytes))).collect();
    let mut scenario = Scenario::new(1, 2, 30_000).with_key();
    scenario.sender_killed = Some(Duration::ZERO);
    scenario.peer_timeout = seconds(3);
    scenario.start_timeout = Some(seconds(90));
    scenario.replayer = Some(Replayer { playlist, reacts: None, disguise: Disguise::Own });
    let history = scenario.run();
    for receiver in &history.receivers {
        let error = receiver.error.as_deref().expect("it is told");
        assert!(error.contains("answered none of the joins"), "{error}");
    }
}
