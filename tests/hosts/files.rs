//! Output files when a step of making them fails, or is the receiver's last one.
//!
//! `strace` makes any system call fail, take its time, or be the moment of death. It counts the calls of each thread by
//! itself: the first of each kind is that of the rehearsal (tests/hosts/destinations.rs), which the main thread has at
//! launch and the sink's thread as it begins, and the second that of the file itself.

use std::path::PathBuf;

use rustix::process::{Signal, kill_process};

use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source};

/// A receiver with a file whose system calls are tampered with, one that is left alone, and the sender, all ended.
fn tampered(inject: &str) -> (Program, Program, Program, Source) {
    let lab = Lab::up(2);
    let source = Source::new(1, 2 * MIB);
    let inject = format!("inject={inject}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    let mut fails = lab.host(1).recv_under(&wrapper, "r1").writes_file().start();
    let mut other = lab.host(2).recv("r2").writes_file().start();
    let mut sender = lab.sender().send().args(&["-n", "2", "--peer-timeout", "2s"]).source(source).start();
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_written(source);
    fails.ends(PATIENCE).expect("an end");
    (fails, other, sender, source)
}

/// Fault 18.
fn fails_with_9(inject: &str, words: &str) {
    let (mut fails, _other, sender, _source) = tampered(inject);
    fails.must_exit(&[9], AT_ONCE);
    fails.must_leave_no_file();
    assert!(fails.stderr().contains(words), "{}", fails.stderr());
    let entry = sender.report_of("r1");
    assert_eq!(entry["exit_code"], 9, "{entry}");
    assert!(entry["error"].as_str().is_some_and(|error| error.contains(words)), "{entry}");
}

#[test]
fn quota_that_is_used_up_fails_with_9_and_leaves_nothing() {
    fails_with_9("writev:error=EDQUOT:when=5+", "uota exceeded");
}

/// `ulimit -f`, which answers with a signal that ends a program unless it says otherwise.
#[test]
fn limit_on_the_size_of_a_file_fails_with_9_and_leaves_nothing() {
    let lab = Lab::up(3);
    let source = Source::new(6, 4 * MIB);
    let limited = ["prlimit", "--fsize=1048576"];
    let mut filed = lab.host(1).recv_under(&limited, "r1").writes_file().start();
    let mut redirected = lab.host(2).recv_under(&limited, "r2").stdout(tempfile::tempfile().unwrap()).start();
    let mut other = lab.host(3).recv("r3").writes_file().start();
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.finish();
    for fails in [&mut filed, &mut redirected] {
        fails.must_exit(&[9], PATIENCE);
        assert!(fails.stderr().contains("ile too large"), "{}", fails.stderr());
        fails.must_leave_no_file();
    }
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_written(source);
}

#[test]
fn disk_that_cannot_be_written_to_fails_with_9_and_leaves_nothing() {
    fails_with_9("writev:error=EIO:when=5+", "nput/output error");
}

#[test]
fn content_that_cannot_be_brought_to_the_disk_fails_with_9_and_leaves_nothing() {
    fails_with_9("fdatasync:error=EIO:when=2", "nput/output error");
}

#[test]
fn file_that_gets_no_name_fails_with_9_and_leaves_nothing() {
    fails_with_9("linkat:error=ENOSPC:when=2+", "o space left");
}

#[test]
fn name_that_cannot_be_brought_to_the_disk_fails_with_9_and_leaves_nothing() {
    fails_with_9("fsync:error=EIO:when=2", "nput/output error");
}

/// Faults 15 and 28: nothing is confirmed before it is durable, so who dies on the way there has failed.
fn killed_in(call: &str) -> (Program, Source) {
    let (mut killed, _other, sender, source) = tampered(&format!("{call}:signal=KILL:when=2"));
    assert!(!killed.ends(AT_ONCE).unwrap().success());
    assert_ne!(sender.report_of("r1")["exit_code"], 0, "{}", sender.report());
    (killed, source)
}

#[test]
fn receiver_killed_while_content_goes_to_the_disk_leaves_nothing_and_has_failed() {
    killed_in("fdatasync").0.must_leave_no_file();
}

#[test]
fn receiver_killed_before_the_file_has_its_name_leaves_nothing_and_has_failed() {
    killed_in("linkat").0.must_leave_no_file();
}

#[test]
fn receiver_killed_before_the_name_is_on_the_disk_has_failed_and_what_has_the_name_is_whole() {
    let (killed, source) = killed_in("fsync");
    killed.must_have_written(source);
}

#[test]
fn receiver_killed_while_it_writes_leaves_nothing() {
    let (killed, _) = killed_in("writev");
    killed.must_leave_no_file();
}

#[test]
fn signal_while_content_goes_to_the_disk_ends_the_receiver_and_leaves_nothing() {
    let lab = Lab::up(1);
    let slow =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:delay_enter=4000000:when=2"];
    let mut receiver = lab.host(1).recv_under(&slow, "r1").writes_file().start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(2, MIB)).start();
    sender.finish();
    // The sender hears that all is verified when the disk is waited for.
    sender.must_say("has verified the whole stream", PATIENCE);
    let program = receiver.processes().must_have(env!("CARGO_BIN_EXE_mcast-recv"), PATIENCE);
    kill_process(program, Signal::TERM).unwrap();
    sender.must_exit(&[5, 11], AT_ONCE);
    receiver.must_exit(&[143], PATIENCE);
    receiver.must_leave_no_file();
}

#[test]
fn file_of_that_name_is_refused_before_anything_is_received() {
    let lab = Lab::up(1);
    let launch = lab.host(1).recv("r1").writes_file();
    std::fs::write(launch.file("output"), "old").unwrap();
    let mut receiver = launch.start();
    receiver.must_exit(&[9], PATIENCE);
    assert!(receiver.stderr().contains("--overwrite"), "{}", receiver.stderr());
    assert_eq!(std::fs::read(receiver.output()).unwrap(), b"old");
}

#[test]
fn file_that_appears_in_between_is_not_replaced() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").writes_file().start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(3, MIB)).start();
    receiver.must_say("receiving", PATIENCE);
    // The file has no name yet, which its descriptor shows.
    let directory = receiver.directory().display().to_string();
    let is_open = || {
        let is_ours = |file: &String| file.starts_with(&directory) && file.ends_with("(deleted)");
        receiver.descriptors().iter().any(is_ours)
    };
    assert!(comes_true(PATIENCE, is_open), "{:?}", receiver.descriptors());
    std::fs::write(receiver.output(), "other").unwrap();
    sender.finish();
    receiver.must_exit(&[9], PATIENCE);
    sender.must_exit(&[9], PATIENCE);
    assert_eq!(std::fs::read(receiver.output()).unwrap(), b"other");
    std::fs::rename(kept_file(&receiver), receiver.output()).unwrap();
    receiver.must_have_written(Source::new(3, MIB));
    std::fs::remove_file(receiver.output()).unwrap();
    receiver.must_leave_no_file();
}

/// The file that the receiver has kept under another name, which it must have told.
fn kept_file(receiver: &Program) -> PathBuf {
    let entries = std::fs::read_dir(receiver.directory()).unwrap();
    let mut kept = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "verified"));
    let path = kept.next().expect("a file that is kept");
    assert_eq!(kept.next(), None);
    assert!(receiver.stderr().contains(path.to_str().unwrap()), "{}", receiver.stderr());
    path
}

#[test]
fn verified_file_that_gets_no_name_is_kept_under_another_that_is_told() {
    let (mut fails, _other, sender, source) = tampered("linkat:error=EIO:when=2");
    fails.must_exit(&[9], AT_ONCE);
    std::fs::rename(kept_file(&fails), fails.output()).unwrap();
    fails.must_have_written(source);
    assert_eq!(sender.report_of("r1")["exit_code"], 9, "{}", sender.report());
}

#[test]
fn overwrite_replaces_a_file_only_by_a_whole_one() {
    let lab = Lab::up(1);
    let launch = lab.host(1).recv("r1").arg("--overwrite").writes_file();
    std::fs::write(launch.file("output"), "old").unwrap();
    let mut receiver = launch.start();
    let source = Source::new(4, 2 * MIB);
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.feed_to(MIB);
    receiver.must_say("receiving", PATIENCE);
    assert_eq!(std::fs::read(receiver.output()).unwrap(), b"old");
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_written(source);
}

#[test]
fn name_of_the_file_tells_label_name_and_start() {
    let lab = Lab::up(1);
    let launch = lab.host(1).recv("db2");
    let path = launch.file("{label}-{name}-{start:%Y}.dump");
    let mut receiver = launch.arg("-o").arg(path).start();
    let mut sender = lab.sender().send().args(&["-n", "1", "-l", "shop"]).source(Source::new(5, 1)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    let names: Vec<_> = std::fs::read_dir(receiver.directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("shop-db2-20") && name.ends_with(".dump"))
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
}
