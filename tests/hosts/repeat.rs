//! Session after session, and what the service manager is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Host, Lab, MIB, PATIENCE, Program, Source};

const HASTY: &[&str] = &["--peer-timeout", "2s"];

fn repeating(host: &Host) -> Program {
    let launch = host.recv("r1").args(HASTY).args(&["--repeat", "-o"]);
    let path = launch.file("{label}.dump");
    launch.arg(path).start()
}

fn must_have(receiver: &Program, label: &str, source: Source) {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(receiver.file(&format!("{label}.dump"))).unwrap()).unwrap();
    assert_eq!(hasher.finalize(), source.digest());
}

fn sends(lab: &Lab, label: &str, source: Source) -> Program {
    let launch = lab.sender().send().args(HASTY).args(&["-n", "1", "-l", label]);
    launch.source(source).start()
}

#[test]
fn session_follows_session_until_a_signal() {
    let lab = Lab::up(1);
    let mut receiver = repeating(lab.host(1));
    for (seed, label) in [(1, "one"), (2, "two"), (3, "three")] {
        let source = Source::new(seed, MIB);
        let mut sender = sends(&lab, label, source);
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        must_have(&receiver, label, source);
    }
    assert!(comes_true(PATIENCE, || receiver.file("report.json").exists()));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
}

#[test]
fn report_of_the_last_session_outlives_stop_and_restart_of_a_service() {
    let lab = Lab::up(1);
    let wrapper = ["sh", "-c", "\"$@\"; exec \"$@\"", "sh"];
    let launch = lab.host(1).recv_under(&wrapper, "r1").args(HASTY).args(&["--repeat", "-o"]);
    let (path, log) = (launch.file("{label}.dump"), launch.file("reports.jsonl"));
    let mut receiver = launch.arg(path).arg("--report-log").arg(&log).start();
    let mut sender = sends(&lab, "shop", Source::new(20, MIB));
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    let must_wait_again = |receiver: &Program, times| {
        let waits = || receiver.stderr_so_far().matches("waiting for a sender").count() == times;
        assert!(comes_true(PATIENCE, waits), "{}", receiver.stderr_so_far());
    };
    must_wait_again(&receiver, 2);
    let report = receiver.report();
    assert_eq!(report["outcome"], "complete");
    kill_process(receiver.processes().must_have(env!("CARGO_BIN_EXE_mcast-recv"), PATIENCE), Signal::TERM)
        .unwrap();
    must_wait_again(&receiver, 3);
    assert_eq!(receiver.report(), report);
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    assert_eq!(receiver.report(), report);
    assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 1);
}

/// Sessions that complete, are aborted, and fail at the command.
#[test]
fn many_sessions_leave_no_descriptor_membership_process_or_file_behind() {
    let lab = Lab::up(1);
    let launch = lab.host(1).recv("r1").args(HASTY).args(&["--repeat", "-o"]);
    let path = launch.file("{label}.dump");
    let mut receiver = launch.arg(path).runs("[ $(wc -c) = 1000 ]").start();
    let mut after_first = None;
    for round in 0..6 {
        for (label, bytes, codes) in [("whole", 1_000, 0), ("other", 999, 9), ("aborted", 1_000, 143)] {
            let label = format!("{label}-{round}");
            let source = Source::new(round as u64, bytes);
            let mut sender = sends(&lab, &label, source);
            if codes == 143 {
                sender.feed_to(bytes / 2);
                // A receiver that hears the end before it knows that it is admitted searches on, and keeps its sockets.
                let joined = |line: &str| line.contains("joined the session") && line.contains(&label);
                assert!(comes_true(PATIENCE, || receiver.stderr_so_far().lines().any(joined)));
                sender.signal(Signal::TERM);
            } else {
                sender.finish();
            }
            sender.must_exit(&[codes], PATIENCE);
        }
        // It waits for the next session, with a socket for the group and one that looks for a sender.
        let begun = || receiver.stderr_so_far().matches("waiting for a sender on ").count() == 4 + 3 * round;
        let has_sockets = || (lab.host(1).memberships(), lab.host(1).udp_sockets()) == (1, 2);
        let waits = || begun() && has_sockets() && receiver.processes().living().len() == 1;
        assert!(comes_true(PATIENCE, waits), "round {round}: {:?}", receiver.processes().living());
        let few: &Vec<_> = after_first.get_or_insert_with(|| receiver.descriptors());
        let no_more = comes_true(PATIENCE, || receiver.descriptors().len() <= few.len());
        assert!(no_more, "round {round}: {:?} where there were {few:?}", receiver.descriptors());
    }
    let count = |ending: &str| {
        let entries = std::fs::read_dir(receiver.directory()).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    // The file stays where the command beside it failed; nothing stays of what was aborted.
    assert_eq!((count(".dump"), count("")), (12, 13));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    assert_eq!(lab.host(1).memberships(), 0);
}

#[test]
fn failed_session_is_followed_by_the_next_and_never_continued() {
    let lab = Lab::up(1);
    let receiver = repeating(lab.host(1));
    let source = Source::new(4, 4 * MIB);
    for signal in [Signal::KILL, Signal::TERM] {
        let mut fails = sends(&lab, "shop", Source::new(5, 4 * MIB));
        fails.feed_to(MIB);
        fails.must_say("starts", PATIENCE);
        fails.signal(signal);
        fails.ends(AT_ONCE).unwrap();
        // The receiver may still wait for the dead one when the next one comes, which then waits for it.
    }
    let mut sender = sends(&lab, "shop", source);
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    must_have(&receiver, "shop", source);
}

#[test]
fn sink_that_fails_in_one_session_does_not_end_the_next() {
    let lab = Lab::up(1);
    let script = "[ -e $D/again ] || { touch $D/again; exit 3; }; cat >$D/copy";
    let mut receiver = lab.host(1).recv("r1").arg("--repeat").runs(script).start();
    let mut first = sends(&lab, "a", Source::new(6, 4 * MIB));
    first.finish();
    first.must_exit(&[9], PATIENCE);
    let mut second = sends(&lab, "b", Source::new(7, MIB));
    second.finish();
    second.must_exit(&[0], PATIENCE);
    receiver.signal(Signal::INT);
    receiver.must_exit(&[130], AT_ONCE);
    assert_eq!(std::fs::metadata(receiver.file("copy")).unwrap().len(), MIB);
    receiver.processes().must_be_gone(AT_ONCE);
}

/// Fault 16.
#[test]
fn restarted_receiver_that_was_refused_joins_the_next_session() {
    let lab = Lab::up(2);
    let mut stays = lab.host(2).recv("r2").start();
    let mut running = sends(&lab, "shop", Source::new(8, 4 * MIB));
    running.feed_to(MIB);
    stays.must_deliver(MIB, PATIENCE);
    let receiver = repeating(lab.host(1));
    receiver.must_say("already started", PATIENCE);
    running.finish();
    running.must_exit(&[0], PATIENCE);
    stays.must_exit(&[0], PATIENCE);
    let source = Source::new(9, MIB);
    let mut next = sends(&lab, "shop", source);
    next.finish();
    next.must_exit(&[0], PATIENCE);
    must_have(&receiver, "shop", source);
    // It was told once, and did not ask again and again.
    assert_eq!(receiver.stderr_so_far().matches("already started").count(), 1);
}

/// Fault 16.
#[test]
fn receiver_killed_and_restarted_joins_the_next_session_cleanly() {
    let lab = Lab::up(2);
    let mut stays = lab.host(2).recv("r2").start();
    let dies = lab.host(1).recv("r1").start();
    let mut running = lab
        .sender()
        .send()
        .args(HASTY)
        .args(&["-n", "2", "-l", "shop"])
        .source(Source::new(10, 4 * MIB))
        .start();
    running.feed_to(MIB);
    dies.must_deliver(MIB, PATIENCE);
    dies.kill();
    running.finish();
    running.must_exit(&[3], PATIENCE);
    stays.must_exit(&[0], PATIENCE);
    let source = Source::new(11, 2 * MIB);
    let mut restarted = lab.host(1).recv("r1").start();
    let mut next = sends(&lab, "shop", source);
    next.finish();
    next.must_exit(&[0], PATIENCE);
    restarted.must_exit(&[0], PATIENCE);
    restarted.must_have_delivered(source);
}

/// What came to the service manager's socket so far.
fn heard(manager: &UnixDatagram, words: &mut Vec<String>) {
    let mut buffer = [0; 256];
    while let Ok(length) = manager.recv(&mut buffer) {
        words.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
    }
}

#[test]
fn service_manager_hears_that_it_is_ready_alive_receiving_and_stopping() {
    let lab = Lab::up(1);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut words = Vec::new();
    let mut receiver = lab
        .host(1)
        .recv("r1")
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .arg("--repeat")
        .runs("cat >/dev/null; printf %s \"$NOTIFY_SOCKET\" >$D/socket")
        .start();
    let mut hears = |word: &str, count: usize, within: Duration| {
        comes_true(within, || {
            heard(&manager, &mut words);
            words.iter().filter(|heard| *heard == word).count() >= count
        })
    };
    assert!(hears("READY=1", 1, PATIENCE));
    assert!(hears("WATCHDOG=1", 5, PATIENCE));
    let mut sender = sends(&lab, "shop", Source::new(12, MIB));
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    assert!(hears("STATUS=receiving shop", 1, PATIENCE));
    assert!(hears("STATUS=waiting for a sender", 2, PATIENCE));
    assert!(!hears("STOPPING=1", 1, Duration::ZERO));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    assert!(hears("STOPPING=1", 1, PATIENCE));
    assert_eq!(words.iter().filter(|word| *word == "READY=1").count(), 1);
    // A command is not the service.
    assert_eq!(std::fs::read_to_string(receiver.file("socket")).unwrap(), "");
}
