//! Where the bytes go, and what happens when they cannot.

use std::fs::{File, OpenOptions};

use crate::support::program::Launch;
use crate::support::{KIB, Lab, MIB, PATIENCE, Source, all_exit};

#[test]
fn output_file_appears_whole_under_its_name_and_alone() {
    let lab = Lab::with(3, &["--loss", "2=1%"]);
    let source = Source::new(1, 8 * MIB);
    let mut receivers = [1, 2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).writes_file().start());
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(receiver.output()).unwrap()).unwrap();
        assert_eq!(hasher.finalize(), source.digest());
        std::fs::remove_file(receiver.output()).unwrap();
        receiver.must_leave_no_file();
        receiver.must_have_delivered(Source::new(1, 0));
    }
}

#[test]
fn file_may_be_the_source() {
    let lab = Lab::up(1);
    let source = Source::new(2, 3 * MIB + 1);
    let mut receiver = lab.host(1).recv("r1").start();
    let path = receiver.directory().join("source");
    std::io::copy(&mut source.bytes(0..source.len()), &mut File::create(&path).unwrap()).unwrap();
    let mut sender = lab.sender().send().args(&["-n", "1", "--file"]).arg(&path).start();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
}

#[test]
fn sink_that_closes_early_fails_its_receiver_and_no_other() {
    let lab = Lab::up(3);
    let source = Source::new(3, 8 * MIB);
    let mut closes = lab.host(1).recv("r1").takes_and_closes(MIB).start();
    let mut others = [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.finish();
    closes.must_exit(&[9], PATIENCE);
    closes.must_have_delivered_a_prefix(source);
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut others, 0, PATIENCE);
    for receiver in &others {
        receiver.must_have_delivered(source);
    }
    assert_eq!(sender.report_of("r1")["exit_code"], 9, "{}", sender.report());
    assert!(
        closes.stderr().contains("roken pipe") || closes.stderr().contains("closed"),
        "{}",
        closes.stderr()
    );
}

#[test]
fn sink_without_space_fails_with_9() {
    let lab = Lab::up(2);
    let source = Source::new(4, 4 * MIB);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut fails = lab.host(1).recv("r1").stdout(full).start();
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    fails.must_exit(&[9], PATIENCE);
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(source);
    assert!(fails.stderr().contains("o space left"), "{}", fails.stderr());
}

#[test]
fn sink_without_space_for_a_single_byte_fails_with_9() {
    // A stream that fits into any buffer: only the last write or flush can fail.
    let lab = Lab::up(1);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut receiver = lab.host(1).recv("r1").stdout(full).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(5, 1)).start();
    sender.finish();
    receiver.must_exit(&[9], PATIENCE);
    // Its one receiver failed: lost, not partial.
    sender.must_exit(&[3, 5, 9], PATIENCE);
}

#[test]
fn output_on_a_full_filesystem_fails_with_9_and_leaves_nothing() {
    // The file system exists for this receiver alone, which therefore also has to say what it left there.
    const ON_A_MEGABYTE: &str = "mount -t tmpfs -o size=1m tmpfs /mnt && cd /mnt && { \"$@\"; code=$?; echo \"left: [$(ls -A)]\" >&2; exit $code; }";
    let lab = Lab::up(2);
    let source = Source::new(7, 4 * MIB);
    let mut command = lab.host(1).command("unshare");
    command.args(["--mount", "sh", "-c", ON_A_MEGABYTE, "receiver", env!("CARGO_BIN_EXE_mcast-recv")]);
    let mut fails = Launch::new(command, "receiver r1").args(&["--name", "r1", "-o", "copy"]).start();
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    fails.must_exit(&[9], PATIENCE);
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(source);
    assert!(fails.stderr().contains("o space left"), "{}", fails.stderr());
    assert!(fails.stderr().contains("left: []"), "{}", fails.stderr());
}

#[test]
fn sink_that_pauses_holds_the_stream_and_all_arrive() {
    let lab = Lab::up(2);
    let source = Source::new(6, 160 * MIB);
    let mut pauses = lab.host(1).recv("r1").takes(64 * KIB).start();
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    other.must_deliver(MIB, PATIENCE);
    // The windows of both sides are full before the source is at its end.
    assert!(!other.delivers(source.len(), std::time::Duration::from_secs(1)), "nothing held the stream back");
    pauses.take_all();
    sender.must_exit(&[0], PATIENCE);
    pauses.must_exit(&[0], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    pauses.must_have_delivered(source);
    other.must_have_delivered(source);
}
