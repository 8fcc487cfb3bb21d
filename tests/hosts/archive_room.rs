//! Archives on disks without room.

use std::fs;

use rustix::process::Signal;

use crate::support::archive::{Archive, sends};
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source};

/// On a file system of one megabyte, with the archive in its root.
const ON_A_MEGABYTE: &str = "mount -t tmpfs -o size=1m tmpfs /mnt && \
    { \"$@\"; code=$?; echo \"left: [$(ls -A /mnt)]\" >&2; exit $code; }";

/// Fault 18.
#[test]
fn full_disk_fails_with_9_and_leaves_nothing_in_the_archive() {
    let lab = Lab::up(2);
    let wrapper = ["unshare", "--mount", "sh", "-c", ON_A_MEGABYTE, "sh"];
    let mut fails = lab.host(1).recv_under(&wrapper, "files").args(&["--archive", "/mnt"]).start();
    let mut other = lab.host(2).recv("r2").start();
    let source = Source::new(19, 4 * MIB);
    let mut sender = sends(&lab, &["-n", "2"], source);
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(source);
    fails.must_exit(&[9], PATIENCE);
    let said = fails.stderr();
    assert!(said.contains("make room") && said.contains("left: []"), "{said}");
}

#[test]
fn too_little_room_is_told_before_anything_is_joined() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let mut sender =
        lab.sender().send().args(&["-n", "1", "--start-timeout", "3s"]).source(Source::new(20, MIB)).start();
    sender.must_say("waiting for receivers", PATIENCE);
    let mut receiver = archive.recv(lab.host(1)).args(&["--min-free", "1000T"]).start();
    receiver.must_exit(&[9], PATIENCE);
    let said = receiver.stderr();
    assert!(said.contains("--min-free") && said.contains("make room") && !said.contains("joined"), "{said}");
    sender.must_exit(&[4], PATIENCE);
    archive.recv(lab.host(1)).args(&["--min-free", "lots"]).start().must_exit(&[2], PATIENCE);
}

#[test]
fn service_without_room_joins_nobody_and_goes_on_when_there_is_some() {
    let lab = Lab::up(1);
    let fill = "mount -t tmpfs -o size=8m tmpfs /mnt && mkdir /mnt/archive && \
        head -c 6m /dev/zero >/mnt/other && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", fill, "sh"];
    let mut receiver = lab
        .host(1)
        .recv_under(&wrapper, "files")
        .args(&["--archive", "/mnt/archive", "--repeat", "--min-free", "4M", "--log-format", "json"])
        .start();
    receiver.must_say("less than --min-free", PATIENCE);
    // With -q too, a person learns of it.
    let said = receiver.stderr_so_far();
    let line = said.lines().find(|line| line.contains("less than --min-free")).unwrap();
    assert!(line.contains("\"ERROR\""), "{line}");
    let source = Source::new(21, MIB);
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.must_say("waiting for receivers", PATIENCE);
    sender.finish();
    let program = receiver.processes().must_have(env!("CARGO_BIN_EXE_mcast-recv"), PATIENCE);
    let root = format!("/proc/{}/root/mnt", program.as_raw_pid());
    assert_eq!(fs::read_dir(format!("{root}/archive")).unwrap().count(), 0);
    fs::remove_file(format!("{root}/other")).unwrap();
    sender.must_exit(&[0], PATIENCE);
    assert_eq!(receiver.stderr_so_far().matches("less than --min-free").count(), 1);
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], PATIENCE);
}

#[test]
fn service_waits_for_room_no_longer_than_its_start_timeout() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let limits = ["--repeat", "--start-timeout", "2s", "--min-free", "1000T"];
    let mut receiver = archive.recv(lab.host(1)).args(&limits).start();
    receiver.must_exit(&[9], PATIENCE);
    let said = receiver.stderr();
    assert!(said.contains("no session until then"), "{said}");
}

/// Fault 68: room is looked at while the stream is written too.
#[test]
fn stream_that_leaves_less_than_the_least_room_fails_with_9_and_leaves_nothing() {
    let lab = Lab::up(1);
    let small = "mount -t tmpfs -o size=96m tmpfs /mnt && \
        { \"$@\"; code=$?; echo \"left: [$(ls -A /mnt)]\" >&2; exit $code; }";
    let wrapper = ["unshare", "--mount", "sh", "-c", small, "sh"];
    // The second stream is too short for a look at the room while it is written.
    for (min_free, bytes) in [("48M", 80 * MIB), ("94M", 6 * MIB)] {
        let options = ["--archive", "/mnt", "--min-free", min_free];
        let mut fails = lab.host(1).recv_under(&wrapper, "files").args(&options).start();
        let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(22, bytes)).start();
        sender.finish();
        sender.must_exit(&[9], PATIENCE);
        fails.must_exit(&[9], PATIENCE);
        let said = fails.stderr();
        assert!(said.contains("less than --min-free") && said.contains("left: []"), "{said}");
    }
}

/// Fault 68: a bound on the stream holds for every kind of sink.
#[test]
fn stream_that_is_longer_than_allowed_fails_with_9_whatever_it_is_written_to() {
    let lab = Lab::up(4);
    let archive = Archive::new();
    let bound = ["--max-size", "1M"];
    let mut receivers = [
        archive.recv(lab.host(1)).args(&bound).start(),
        lab.host(2).recv("r2").args(&bound).writes_file().start(),
        lab.host(3).recv("r3").args(&bound).start(),
        lab.host(4).recv("r4").args(&bound).runs("cat >$D/copy; touch $D/end").start(),
    ];
    let source = Source::new(23, 3 * MIB);
    let mut sender = lab.sender().send().args(&["-n", "4"]).source(source).start();
    sender.finish();
    sender.must_exit(&[9], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[9], PATIENCE);
        assert!(receiver.stderr().contains("longer than --max-size"), "{}", receiver.stderr());
    }
    assert!(archive.names().is_empty());
    receivers[1].must_leave_no_file();
    receivers[2].must_have_delivered_a_prefix(source);
    assert!(!receivers[3].file("end").exists());
    // A stream of exactly that length passes.
    let mut receiver = lab.host(1).recv("r1").args(&bound).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(24, MIB)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
}

/// A disk that goes and comes again, as one of a file server does.
#[test]
fn service_whose_disk_has_gone_waits_for_it_and_goes_on() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let gone = archive.path().with_extension("gone");
    let mut receiver = archive.recv(lab.host(1)).args(&["--repeat"]).start();
    // A receiver waits for its first sender, and again after each session and after each return of its disk.
    let waits = |receiver: &Program, times| {
        assert!(comes_true(PATIENCE, || receiver.stderr_so_far().matches("waiting for a sender").count()
            == times));
    };
    // The receiver has joined before its disk goes, so the sender counts on it and has to hear what happened.
    let loses_it = |receiver: &Program, times| {
        let mut sender = sends(&lab, &["-n", "1", "--min-wait", "2s"], Source::new(26, MIB));
        sender.must_say("joined", PATIENCE);
        fs::rename(archive.path(), &gone).unwrap();
        sender.must_exit(&[9], PATIENCE);
        assert!(comes_true(PATIENCE, || {
            receiver.stderr_so_far().matches("no session until that works again").count() == times
        }));
    };
    sends(&lab, &["-n", "1"], Source::new(25, MIB)).must_exit(&[0], PATIENCE);
    waits(&receiver, 2);
    loses_it(&receiver, 1);
    fs::rename(&gone, archive.path()).unwrap();
    waits(&receiver, 3);
    sends(&lab, &["-n", "1"], Source::new(27, MIB)).must_exit(&[0], PATIENCE);
    waits(&receiver, 4);
    assert_eq!(receiver.stderr_so_far().matches("no session until").count(), 1);
    assert_eq!(archive.states(), ["complete", "complete"]);
    // A signal ends the wait.
    loses_it(&receiver, 2);
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    fs::rename(&gone, archive.path()).unwrap();
}
