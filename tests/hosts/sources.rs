//! Files, FIFOs and devices as the source: when they are read, and whether they are still what they were.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::support::obey::WAYS;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source};

fn write(path: &Path, source: Source) {
    std::io::copy(&mut source.bytes(0..source.len()), &mut File::create(path).unwrap()).unwrap();
}

fn place(name: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::Builder::new().prefix("mcast-test-").tempdir().unwrap();
    let path = directory.path().join(name);
    (directory, path)
}

/// A sender of this file by its name, or as its standard input.
fn sends(lab: &Lab, path: &Path, by_name: bool, options: &[&str]) -> Program {
    let sender = lab.sender().send().args(&["-n", "1"]).args(options);
    if by_name { sender.arg("-f").arg(path).start() } else { sender.stdin(File::open(path).unwrap()).start() }
}

/// Fault 39.
#[test]
fn file_rewritten_while_its_sender_waits_is_sent_as_it_is_at_the_start() {
    let lab = Lab::up(1);
    let (before, after) = (Source::new(1, 3 * MIB), Source::new(2, 2 * MIB));
    for by_name in [true, false] {
        let (_directory, path) = place("dump");
        write(&path, before);
        let mut sender = sends(&lab, &path, by_name, &[]);
        sender.must_say("waiting for receivers", PATIENCE);
        // In place: a sender that had read ahead would send a mixture.
        write(&path, after);
        let mut receiver = lab.host(1).recv("r1").start();
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(after);
    }
}

/// Exit codes of the sender and of its receiver, whose file is of this source, when this happens to the sent file halfway.
fn halfway(by_name: bool, source: Source, happens: impl Fn(&Path)) -> (Program, Program) {
    let lab = Lab::up(1);
    let (_directory, path) = place("dump");
    write(&path, source);
    let mut sender = sends(&lab, &path, by_name, &["--window", "1M"]);
    let mut receiver = lab.host(1).recv("r1").args(&["--buffer", "1M"]).takes(MIB).start();
    receiver.must_deliver(MIB, PATIENCE);
    happens(&path);
    receiver.take_all();
    sender.ends(PATIENCE).expect("an end");
    receiver.ends(PATIENCE).expect("an end");
    (sender, receiver)
}

fn open(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn file_that_changes_while_it_is_read_fails_with_8_and_its_receiver_with_11() {
    let source = Source::new(3, 24 * MIB);
    let append = |path: &Path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap();
    let cut = |path: &Path| open(path).set_len(20 * MIB).unwrap();
    let rewrite = |path: &Path| open(path).write_all(b"x").unwrap();
    for (by_name, happens) in
        [(true, &append as &dyn Fn(&Path)), (true, &cut), (true, &rewrite), (false, &rewrite)]
    {
        let (mut sender, mut receiver) = halfway(by_name, source, happens);
        sender.must_exit(&[8], AT_ONCE);
        receiver.must_exit(&[11], AT_ONCE);
        for program in [&sender, &receiver] {
            assert!(program.stderr().contains("changed while it was read"), "{}", program.stderr());
        }
    }
}

#[test]
fn file_that_is_replaced_while_it_is_read_is_sent_as_it_was() {
    let source = Source::new(4, 24 * MIB);
    for by_name in [true, false] {
        let (mut sender, mut receiver) = halfway(by_name, source, |path| {
            let new = path.with_extension("new");
            fs::write(&new, "new").unwrap();
            fs::rename(new, path).unwrap();
        });
        sender.must_exit(&[0], AT_ONCE);
        receiver.must_exit(&[0], AT_ONCE);
        receiver.must_have_delivered(source);
    }
}

#[test]
fn file_that_is_gone_at_the_start_aborts_every_receiver() {
    let lab = Lab::up(1);
    let (_directory, path) = place("dump");
    write(&path, Source::new(6, MIB));
    let mut sender = sends(&lab, &path, true, &[]);
    sender.must_say("waiting for receivers", PATIENCE);
    fs::remove_file(&path).unwrap();
    let mut receiver = lab.host(1).recv("r1").start();
    sender.must_exit(&[8], PATIENCE);
    receiver.must_exit(&[11], PATIENCE);
    assert!(sender.stderr().contains("check the path"), "{}", sender.stderr());
}

fn fifo() -> (TempDir, PathBuf) {
    let (directory, path) = place("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    (directory, path)
}

/// Fault 44.
#[test]
fn fifo_without_a_writer_holds_up_neither_a_signal_nor_the_start_timeout() {
    let lab = Lab::up(1);
    let (_directory, path) = fifo();
    let mut sender = sends(&lab, &path, true, &["--start-timeout", "1s"]);
    sender.must_exit(&[4], PATIENCE);
    for way in WAYS {
        let mut sender = sends(&lab, &path, true, &[]);
        let mut receiver = lab.host(1).recv("r1").start();
        sender.must_say("session starts", PATIENCE);
        way.stops(&mut sender);
        receiver.must_exit(&[11], AT_ONCE);
    }
}

#[test]
fn fifo_is_sent_from_its_first_writer_to_the_end_of_its_last() {
    let lab = Lab::up(1);
    let (_directory, path) = fifo();
    let source = Source::new(5, 3 * MIB);
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender = sends(&lab, &path, true, &[]);
    sender.must_say("session starts", PATIENCE);
    let mut first = open(&path);
    std::io::copy(&mut source.bytes(0..MIB), &mut first).unwrap();
    let mut second = open(&path);
    drop(first);
    std::io::copy(&mut source.bytes(MIB..source.len()), &mut second).unwrap();
    drop(second);
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
}

#[test]
fn directories_and_sockets_are_refused_at_launch_and_endless_devices_obey() {
    let lab = Lab::up(1);
    let (directory, socket) = place("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, words) in [(directory.path(), "tar -c"), (&socket, "socket")] {
        let mut sender = sends(&lab, path, true, &[]);
        sender.must_exit(&[8], AT_ONCE);
        assert!(sender.stderr().contains(words), "{}", sender.stderr());
    }
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender = sends(&lab, Path::new("/dev/zero"), true, &[]);
    receiver.must_deliver(MIB, PATIENCE);
    WAYS[0].stops(&mut sender);
    receiver.must_exit(&[11], AT_ONCE);
}

#[test]
fn file_of_proc_that_claims_to_be_empty_is_sent_whole() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").writes_file().start();
    let mut sender = sends(&lab, Path::new("/proc/version"), true, &[]);
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    let mut version = Vec::new();
    File::open("/proc/version").unwrap().read_to_end(&mut version).unwrap();
    assert_eq!(fs::read(receiver.output()).unwrap(), version);
}
