//! Clocks that disagree, and clocks that are set while a session is under way: fault 25.
//!
//! `libfaketime` shows a program another time of day. Its monotonic clock stays what it is, as on a real host.

use std::path::{Path, PathBuf};

use crate::support::program::Launch;
use crate::support::{Lab, MIB, PATIENCE, Source, all_exit};

/// Debian puts it into a directory of the architecture's.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists()).expect("libfaketime; apt-get install faketime")
}

/// A program whose clock shows what `shift` says, which may change: `+1h`, `-2d`.
pub(crate) fn shifted(launch: Launch, shift: &str) -> Launch {
    let file = launch.file("clock");
    set(&file, shift);
    launch
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

fn set(file: &Path, shift: &str) {
    // Whole at once: it is read all the time.
    let new = file.with_extension("new");
    std::fs::write(&new, shift).unwrap();
    std::fs::rename(&new, file).unwrap();
}

#[test]
fn clocks_an_hour_apart_have_no_effect() {
    let lab = Lab::up(3);
    let source = Source::new(1, 4 * MIB);
    let mut receivers: Vec<_> = [(1, "+1h"), (2, "-1h"), (3, "+0")]
        .map(|(h, shift)| shifted(lab.host(h).recv(&format!("r{h}")), shift).start())
        .into();
    let mut sender = shifted(lab.sender().send().args(&["-n", "3"]), "-2h").source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
        let elapsed = receiver.report()["elapsed_s"].as_f64().unwrap();
        assert!((0.0..60.0).contains(&elapsed), "{elapsed}");
    }
}

#[test]
fn clocks_set_in_mid_session_have_no_effect() {
    let lab = Lab::up(2);
    let source = Source::new(2, 8 * MIB);
    let mut receivers: Vec<_> =
        [1, 2].map(|h| shifted(lab.host(h).recv(&format!("r{h}")), "+0").start()).into();
    let mut sender = shifted(lab.sender().send().args(&["-n", "2"]), "+0").source(source).start();
    for (round, (ahead, behind)) in
        (1..).zip([("+1h", "-1h"), ("-3d", "+3d"), ("+1h", "+2h"), ("-1h", "-9d")])
    {
        let fed = round * 2 * MIB;
        sender.feed_to(fed);
        for receiver in &receivers {
            receiver.must_deliver(fed, PATIENCE);
        }
        set(&sender.file("clock"), ahead);
        set(&receivers[0].file("clock"), behind);
    }
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
}
