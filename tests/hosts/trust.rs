//! Strangers on the LAN. With a key they change nothing and hear no answer; without one, what they can spoil is bounded.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::keys::{self, Keys};
use crate::support::stranger::Stranger;
use crate::support::wait::{comes_true, for_as_long_as};
use crate::support::{Host, Lab, MIB, PATIENCE, Program, Source};

const PORT: u16 = 7767;
/// No key in either pass: the test is about plain mode itself.
const PLAIN: [&str; 1] = ["--no-key"];

/// A stranger at work, on a thread of his own.
struct Attack {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Stranger>,
}

impl Attack {
    /// He does this again and again, a thousand times a second at most.
    fn start(mut stranger: Stranger, mut act: impl FnMut(&mut Stranger) + Send + 'static) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, done) = (stop.clone(), rounds.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                act(&mut stranger);
                done.fetch_add(1, Ordering::Relaxed);
                for_as_long_as(Duration::from_millis(1));
            }
            stranger
        });
        Self { stop, rounds, thread }
    }

    /// Waits until he has done it so many times more.
    fn must_go_on_for(&self, rounds: u64) {
        let until = self.rounds.load(Ordering::Relaxed) + rounds;
        assert!(comes_true(PATIENCE, || self.rounds.load(Ordering::Relaxed) >= until), "he does nothing");
    }

    fn stop(self) -> Stranger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn at(host: &Host) -> SocketAddrV4 {
    SocketAddrV4::new(host.ipv4(), PORT)
}

/// On host 3, with his own address and those of other hosts.
fn stranger(lab: &Lab, borrowed: &[SocketAddrV4]) -> Stranger {
    let (here, sender) = (lab.host(3).ipv4(), at(lab.sender()));
    let group = SocketAddrV4::new("239.255.77.67".parse().unwrap(), PORT);
    lab.host(3).here(|| Stranger::new(here, group, sender, borrowed)).unwrap()
}

/// Two receivers on hosts 1 and 2 and their sender, all with these options.
fn session(lab: &Lab, source: Source, options: &[&str]) -> (Program, [Program; 2]) {
    let receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).args(options).start());
    let sender = lab.sender().send().args(&["-n", "2"]).args(options).source(source).start();
    (sender, receivers)
}

fn must_complete(sender: &mut Program, receivers: &mut [Program], source: Source) {
    sender.must_exit(&[0], PATIENCE);
    for receiver in receivers {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

/// A session with a key from its launch to its end under this attack, from his own address and in everyone's name.
///
/// All that he says `is_dropped` as malformed. Returns what was sent to his own address, in datagrams and bytes.
fn with_a_key_nothing_comes_of(
    is_dropped: bool,
    act: impl FnMut(&mut Stranger) + Send + 'static,
) -> (u64, u64) {
    let lab = Lab::with(3, &["--rate", "500mbit"]);
    let (keys, source) = (Keys::new(), Source::new(31, 24 * MIB));
    let borrowed = [at(lab.sender()), at(lab.host(1)), at(lab.host(2))];
    let attack = Attack::start(stranger(&lab, &borrowed), act);
    let file = keys.file(1);
    let (mut sender, mut receivers) = session(&lab, source, &["-k", file.to_str().unwrap()]);
    sender.feed_to(8 * MIB);
    for receiver in &receivers {
        receiver.must_deliver(4 * MIB, PATIENCE);
    }
    // He has heard it by now. The receivers' sinks and the source wait, so that he finds an idle session, too.
    attack.must_go_on_for(100);
    sender.finish();
    attack.must_go_on_for(20);
    must_complete(&mut sender, &mut receivers, source);
    let mut stranger = attack.stop();
    assert!(stranger.recorded() > 100 && stranger.sent > 1_000, "{} {}", stranger.recorded(), stranger.sent);
    for program in [&sender, &receivers[0], &receivers[1]] {
        let dropped = program.report()["wire"]["dropped_malformed"].as_u64();
        assert!(dropped.is_some_and(|dropped| dropped >= 100 || !is_dropped), "{}", program.report());
    }
    stranger.answers()
}

/// Fault 31: announce, data, end, abort, roster with evictions, join, report, confirm, leave and seek, all forged.
#[test]
fn with_a_key_forged_messages_change_nothing_and_are_not_answered() {
    let answers = with_a_key_nothing_comes_of(true, |stranger| {
        stranger.listen();
        stranger.forge();
    });
    assert_eq!(answers, (0, 0), "somebody has answered a stranger");
}

/// Fault 30: empty, one byte, cut headers, 64 KiB, unknown versions and kinds.
#[test]
fn with_a_key_malformed_datagrams_change_nothing_and_are_not_answered() {
    let answers = with_a_key_nothing_comes_of(true, |stranger| {
        stranger.listen();
        stranger.malform();
    });
    assert_eq!(answers, (0, 0), "somebody has answered a stranger");
}

/// Fault 35: within the session, each datagram that he hears, at once and later, whole and damaged.
#[test]
fn with_a_key_what_is_played_back_within_a_session_changes_nothing() {
    let (answers, bytes) = with_a_key_nothing_comes_of(false, |stranger| {
        stranger.listen();
        stranger.play_back(40);
    });
    // A receiver that hears the session's announce from him first asks him, too, until it hears the next.
    assert!(answers <= 8 && bytes <= answers * 127, "{answers} answers of {bytes} bytes");
}

/// Fault 31: to a session under way.
#[test]
fn without_a_key_a_stranger_at_his_own_address_changes_nothing_under_way() {
    let lab = Lab::with(3, &["--rate", "500mbit"]);
    let source = Source::new(32, 24 * MIB);
    let (mut sender, mut receivers) = session(&lab, source, &PLAIN);
    sender.feed_to(8 * MIB);
    for receiver in &receivers {
        receiver.must_deliver(4 * MIB, PATIENCE);
    }
    let attack = Attack::start(stranger(&lab, &[]), |stranger| {
        stranger.listen();
        stranger.forge();
        stranger.malform();
        stranger.play_back(40);
    });
    attack.must_go_on_for(100);
    sender.finish();
    attack.must_go_on_for(20);
    must_complete(&mut sender, &mut receivers, source);
    let mut stranger = attack.stop();
    let (answers, bytes) = stranger.answers();
    assert!(
        bytes <= stranger.own_bytes(),
        "{answers} answers are {bytes} bytes for {}",
        stranger.own_bytes()
    );
}

/// Fault 31: he may end a session without a key, but nobody takes it for a success, and everybody ends.
#[test]
fn without_a_key_who_borrows_addresses_deceives_nobody() {
    let lab = Lab::with(3, &["--rate", "500mbit"]);
    let source = Source::new(33, 24 * MIB);
    let (mut sender, mut receivers) = session(&lab, source, &["--no-key", "--peer-timeout", "2s"]);
    sender.feed_to(8 * MIB);
    for receiver in &receivers {
        receiver.must_deliver(4 * MIB, PATIENCE);
    }
    let borrowed = [at(lab.sender()), at(lab.host(1)), at(lab.host(2))];
    let attack = Attack::start(stranger(&lab, &borrowed), |stranger| {
        stranger.listen();
        stranger.forge();
    });
    attack.must_go_on_for(100);
    sender.finish();
    assert!(sender.ends(PATIENCE).is_some(), "the sender does not end");
    for receiver in &mut receivers {
        let status = receiver.ends(PATIENCE).expect("a receiver does not end");
        // What he has put into the stream is found by the digest, unless he forges the end that carries it as well.
        assert!(status.code().is_some(), "{status}");
        if status.success() {
            receiver.must_have_delivered(source);
        }
    }
    attack.stop();
}

/// Fault 37: garbage, and what looks like the session's own, as fast as one processor sends it, to both ports.
#[test]
fn a_flood_on_both_ports_is_not_answered_and_the_transfer_completes() {
    let keys = Keys::new();
    let file = keys.file(1);
    for options in [&PLAIN[..], &["-k", file.to_str().unwrap()]] {
        let lab = Lab::with(3, &["--offload", "on"]);
        let source = Source::new(37, 48 * MIB);
        let (mut sender, mut receivers) = session(&lab, source, options);
        sender.feed_to(8 * MIB);
        for receiver in &receivers {
            receiver.must_deliver(4 * MIB, PATIENCE);
        }
        let watch = crate::support::wait::Stopwatch::start();
        let attack = Attack::start(stranger(&lab, &[]), |stranger| {
            stranger.listen();
            stranger.flood_at_speed(256).unwrap();
        });
        attack.must_go_on_for(50);
        for program in [&sender, &receivers[0], &receivers[1]] {
            let peak = program.peak_memory();
            assert!(peak < 128 * MIB, "{peak} bytes of memory");
        }
        sender.finish();
        must_complete(&mut sender, &mut receivers, source);
        let took = watch.elapsed();
        let mut stranger = attack.stop();
        eprintln!(
            "{options:?}: {:.0} datagrams of garbage a second",
            stranger.sent as f64 / took.as_secs_f64()
        );
        assert!(stranger.sent >= 100_000, "{}", stranger.sent);
        assert_eq!(stranger.answers(), (0, 0), "somebody has answered garbage");
    }
}

/// Fault 35: the next day, to receivers that wait; from the sender's address and from another.
#[test]
fn a_recorded_session_played_back_the_next_day_touches_no_sink() {
    let lab = Lab::up(3);
    let (keys, source) = (Keys::new(), Source::new(35, MIB));
    let file = keys.file(1);
    let key = ["-k", file.to_str().unwrap()];
    let mut stranger = stranger(&lab, &[at(lab.sender())]);
    let (mut sender, mut receivers) = session(&lab, source, &key);
    stranger.listen();
    sender.finish();
    assert!(comes_true(PATIENCE, || {
        stranger.listen();
        sender.ends(Duration::ZERO).is_some()
    }));
    must_complete(&mut sender, &mut receivers, source);
    stranger.listen();
    assert!(stranger.recorded() > 700, "{}", stranger.recorded());

    // Nobody sends: the recording is refused, and touches nothing.
    let attack = Attack::start(stranger, Stranger::play_all_back);
    let mut receiver =
        lab.host(1).recv("r1").args(&key).args(&["--start-timeout", "4s"]).writes_file().start();
    attack.must_go_on_for(2);
    receiver.must_exit(&[4], PATIENCE);
    receiver.must_leave_no_file();

    // Somebody does: the recording keeps nobody from it.
    let today = Source::new(36, MIB);
    let (mut sender, mut receivers) = session(&lab, today, &key);
    sender.finish();
    must_complete(&mut sender, &mut receivers, today);
    attack.stop();
}

/// Fault 34: who has another key than the sender, or none, or has one that the sender has not, exits 7 and says why; so
/// does a sender with whom nobody can join.
#[test]
fn ends_with_another_key_or_none_are_refused_from_both_sides_with_both_ids() {
    let keys = Keys::new();
    let files = [keys.file(1), keys.file(2)];
    let [one, two] = files.each_ref().map(|file| ["-k", file.to_str().unwrap()]);
    let ids = [keys::id(1), keys::id(2)];
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&one, &PLAIN, &[&ids[0]]),
        (&PLAIN, &one, &[&ids[0]]),
        (&PLAIN, &two, &[&ids[1]]),
        (&one, &two, &[&ids[0], &ids[1]]),
    ];
    thread::scope(|scope| {
        for (sending, receiving, words) in cases {
            scope.spawn(move || {
                let lab = Lab::up(1);
                let patience = ["--start-timeout", "3s"];
                let mut receiver = lab.host(1).recv("r1").args(receiving).args(&patience).start();
                let mut sender =
                    lab.sender().send().args(sending).args(&patience).source(Source::new(1, MIB)).start();
                for program in [&mut sender, &mut receiver] {
                    program.must_exit(&[7], PATIENCE);
                    let said = program.stderr();
                    for word in words {
                        assert!(said.contains(word), "{word:?} is not in: {said}");
                    }
                }
                assert_eq!(receiver.delivered().0, 0);
            });
        }
    });
}

/// Fault 34: the others of the session do not notice.
#[test]
fn receivers_with_another_key_or_none_disturb_nobody() {
    let lab = Lab::up(3);
    let (keys, source) = (Keys::new(), Source::new(34, 4 * MIB));
    let (file, other) = (keys.file(1), keys.file(2));
    let patience = ["--start-timeout", "5s"];
    let mut right = lab.host(1).recv("r1").arg("-k").arg(&file).start();
    let mut wrong = lab.host(2).recv("r2").arg("-k").arg(&other).args(&patience).start();
    let mut without = lab.host(3).recv("r3").arg("--no-key").args(&patience).start();
    let mut sender = lab.sender().send().arg("-k").arg(&file).args(&["-n", "1"]).source(source).start();
    sender.feed_to(MIB);
    right.must_deliver(MIB / 2, PATIENCE);
    // The session outlives their patience, so that they have heard it in every phase.
    for program in [&mut wrong, &mut without] {
        program.must_exit(&[7], PATIENCE);
        assert_eq!(program.delivered().0, 0);
        assert!(program.stderr().contains(&keys::id(1)), "{}", program.stderr());
    }
    sender.finish();
    must_complete(&mut sender, std::slice::from_mut(&mut right), source);
}

/// Fault 34: CRLF, readable by the group or by all, empty, cut, mistyped, missing, a directory without keys.
#[test]
fn key_files_that_cannot_be_used_are_refused_with_exit_7_by_both_programs() {
    let lab = Lab::up(1);
    let keys = Keys::new();
    let good = keys::text(1);
    let bad = [
        (keys.put("crlf", good.replace('\n', "\r\n").as_bytes(), 0o600), "CRLF"),
        (keys.put("group", good.as_bytes(), 0o640), "chmod"),
        (keys.put("all", good.as_bytes(), 0o604), "chmod"),
        (keys.put("empty", b"", 0o600), "empty"),
        (keys.put("cut", &good.as_bytes()[..40], 0o600), "cut"),
        (keys.put("typo", good.replacen("01", "02", 1).as_bytes(), 0o600), "checksum"),
        (keys.path().join("missing"), "keygen"),
        ("/dev/null".into(), "keygen"),
    ];
    for (path, word) in &bad {
        let programs = [
            lab.sender().send().arg("-k").arg(path).source(Source::new(1, MIB)).start(),
            lab.host(1).recv("r1").arg("-k").arg(path).start(),
        ];
        for mut program in programs {
            program.must_exit(&[7], PATIENCE);
            let said = program.stderr();
            assert!(said.contains(word) && said.contains(path.to_str().unwrap()), "{word:?}: {said}");
            assert!(!said.contains(&good[12..30]), "quotes the key: {said}");
        }
    }
}

/// Fault 29: three senders on one group and port, with one label: two keys, and none.
#[test]
fn senders_with_different_keys_share_a_group_and_port_and_are_kept_apart() {
    let lab = Lab::with(5, &["--rate", "500mbit"]);
    let keys = Keys::new();
    let files = [keys.file(1), keys.file(2)];
    let [one, two] = files.each_ref().map(|file| ["-k", file.to_str().unwrap()]);
    let options: [&[&str]; 3] = [&one, &two, &PLAIN];
    let sources = [Source::new(1, 8 * MIB), Source::new(2, 8 * MIB), Source::new(3, 8 * MIB)];
    let mut receivers = [0, 1, 2].map(|n| lab.host(n + 3).recv(&format!("r{n}")).args(options[n]).start());
    let mut senders = [0, 1, 2].map(|n| {
        let mut sender = lab.host(n).send().args(&["-n", "1"]).args(options[n]).source(sources[n]).start();
        sender.finish();
        sender
    });
    for n in 0..3 {
        must_complete(&mut senders[n], &mut receivers[n..=n], sources[n]);
    }
}
