//! Archives whose receiver, sender or disk fails: what is left is a whole entry, a whole stream that is kept, or nothing.

use std::fs;

use rustix::process::Signal;

use crate::support::archive::{Archive, HASTY, must_be, sends};
use crate::support::inject::Injection;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Source};

/// Faults 15 and 28: a receiver killed at this system call, and one that comes after it.
fn killed_in(call: &str, when: &str) -> (Archive, bool) {
    let lab = Lab::up(2);
    let (archive, source) = (Archive::new(), Source::new(11, 3 * MIB));
    let mut killed = archive.recv(lab.host(1)).args(&["--piece-size", "2M"]).start();
    let _strace = Injection::into(&killed, &format!("{call}:signal=KILL:when={when}"));
    let mut other = lab.host(2).recv("r2").writes_file().start();
    let mut sender = sends(&lab, &["-n", "2", "-l", "shop"], source);
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    assert!(!killed.ends(AT_ONCE).unwrap().success());
    assert_ne!(sender.report_of("files")["exit_code"], 0, "{}", sender.report());
    let entries = archive.json("list", &[], 0);
    let entries = entries["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["state"] == "complete"), "{entries:?}");
    let had_entry = !entries.is_empty();
    // A verification of no entries fails.
    let verified = archive.json("verify", &[], if had_entry { 0 } else { 6 });
    assert_eq!(verified["entries"].as_array().unwrap().len(), entries.len());
    if !had_entry {
        assert_eq!(archive.states(), ["left over"]);
    }
    // The next session clears away what is left of this one.
    let name = archive.fill(&lab, source, &[]);
    assert_eq!(archive.states(), vec!["complete"; 1 + usize::from(had_entry)]);
    must_be(&archive.ask("cat", &[&name], 0).stdout, source);
    (archive, had_entry)
}

#[test]
fn receiver_killed_when_it_begins_an_entry_leaves_none() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=flock:signal=KILL:when=1"];
    let mut killed = archive.recv_under(&wrapper, lab.host(1)).start();
    assert!(!killed.ends(PATIENCE).unwrap().success());
    assert_eq!(archive.states(), ["left over"]);
    archive.fill(&lab, Source::new(11, MIB), &[]);
    assert_eq!(archive.states(), ["complete"]);
}

#[test]
fn receiver_killed_while_it_writes_an_entry_leaves_none() {
    assert!(!killed_in("writev", "3").1);
}

#[test]
fn receiver_killed_between_two_pieces_of_an_entry_leaves_none() {
    assert!(!killed_in("fdatasync", "1").1);
}

#[test]
fn receiver_killed_before_the_manifest_is_on_the_disk_leaves_no_entry() {
    // Two pieces and the digests come before it.
    assert!(!killed_in("fdatasync", "4").1);
}

#[test]
fn receiver_killed_before_the_entry_has_its_name_leaves_none() {
    assert!(!killed_in("renameat2", "1").1);
}

#[test]
fn receiver_killed_before_the_name_is_on_the_disk_has_failed_and_leaves_a_whole_entry() {
    assert!(killed_in("fsync", "2").1);
}

/// Fault 18: a receiver whose system call fails after the launch. Gives its archive.
fn fails_with_9(inject: &str, words: &str) -> Archive {
    let lab = Lab::up(2);
    let archive = Archive::new();
    let mut fails = archive.recv(lab.host(1)).start();
    let _strace = Injection::into(&fails, inject);
    let mut other = lab.host(2).recv("r2").writes_file().start();
    let mut sender = sends(&lab, &["-n", "2", "-l", "shop"], Source::new(12, 2 * MIB));
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    fails.must_exit(&[9], PATIENCE);
    assert!(fails.stderr().contains(words), "{}", fails.stderr());
    let entry = sender.report_of("files");
    assert_eq!(entry["exit_code"], 9, "{entry}");
    assert!(entry["error"].as_str().is_some_and(|error| error.contains(words)), "{entry}");
    archive
}

fn fails_with_9_and_leaves_nothing(inject: &str, words: &str) {
    let archive = fails_with_9(inject, words);
    assert!(archive.names().is_empty(), "{:?}", archive.names());
}

/// Fault 48: what cannot be known at launch loses no verified byte.
fn fails_with_9_and_is_kept(inject: &str, words: &str) {
    let archive = fails_with_9(inject, words);
    let draft = archive.only();
    assert_eq!(archive.states(), ["kept: whole but without its name"]);
    let why = fs::read_to_string(draft.join("KEPT")).unwrap();
    assert!(why.contains(words), "{why}");
    // The next session says so, and leaves it alone.
    let lab = Lab::up(1);
    let mut receiver = archive.recv(lab.host(1)).start();
    let mut sender = sends(&lab, &["-n", "1", "-l", "crm"], Source::new(11, MIB));
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    assert!(receiver.stderr().contains("could not get its name"), "{}", receiver.stderr());
    // The command in the message makes it an entry.
    fs::rename(&draft, archive.path().join("shop-20260301T010304Z")).unwrap();
    must_be(&archive.ask("cat", &["shop-20260301T010304Z"], 0).stdout, Source::new(12, 2 * MIB));
    assert_eq!(archive.states(), ["complete", "complete"]);
}

#[test]
fn quota_that_is_used_up_fails_with_9_and_leaves_nothing_in_the_archive() {
    fails_with_9_and_leaves_nothing("writev:error=EDQUOT:when=5+", "uota exceeded");
}

#[test]
fn entry_that_cannot_be_brought_to_the_disk_fails_with_9_and_leaves_nothing() {
    fails_with_9_and_leaves_nothing("fdatasync:error=EIO:when=1", "nput/output error");
}

#[test]
fn entry_that_gets_no_name_fails_with_9_and_is_kept() {
    fails_with_9_and_is_kept("renameat2:error=ENOSPC:when=1", "o space left");
}

#[test]
fn entry_whose_name_cannot_be_brought_to_the_disk_fails_with_9_and_is_kept() {
    fails_with_9_and_is_kept("fsync:error=EIO:when=2", "nput/output error");
}

/// Fault 24.
#[test]
fn signal_in_mid_session_leaves_nothing_in_the_archive() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        for times in [1, 2] {
            let lab = Lab::up(1);
            let archive = Archive::new();
            let mut receiver = archive.recv(lab.host(1)).args(&["--piece-size", "1M"]).start();
            let mut sender =
                lab.sender().send().args(HASTY).args(&["-n", "1"]).source(Source::new(13, 8 * MIB)).start();
            sender.feed_to(4 * MIB);
            // Not the trial of its launch.
            receiver.must_say("receiving: receiving", PATIENCE);
            assert!(comes_true(PATIENCE, || archive.states() == ["in the making"]));
            (0..times).for_each(|_| receiver.signal(signal));
            receiver.must_exit(&[code], AT_ONCE);
            assert!(archive.names().is_empty(), "{signal:?} {times}: {:?}", archive.names());
            sender.must_exit(&[5, 11], PATIENCE);
        }
    }
}

/// Faults 14 and 21.
#[test]
fn sender_that_fails_or_dies_leaves_nothing_in_the_archive() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let mut receiver = archive.recv(lab.host(1)).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).runs("printf half; exit 3").start();
    sender.must_exit(&[8], PATIENCE);
    receiver.must_exit(&[11], PATIENCE);
    assert!(archive.names().is_empty());
    let mut receiver = archive.recv(lab.host(1)).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(14, 4 * MIB)).start();
    sender.feed_to(2 * MIB);
    // Not the trial of its launch.
    receiver.must_say("receiving: receiving", PATIENCE);
    assert!(comes_true(PATIENCE, || archive.states() == ["in the making"]));
    sender.kill();
    receiver.must_exit(&[5], PATIENCE);
    assert!(archive.names().is_empty());
}
