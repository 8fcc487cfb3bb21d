//! Modes of what a receiver makes: files and entries with `--mode` and without it, whatever the umask is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::archive::{Archive, HASTY, entry_of, sends};
use crate::support::wait::comes_true;
use crate::support::{Lab, MIB, PATIENCE, Source};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// An entry's directory must have the first mode, all that is in it the second.
fn must_have(entry: &Path, directory: u32, files: u32) {
    assert_eq!(mode(entry), directory, "{}", entry.display());
    let names: Vec<_> = fs::read_dir(entry).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for file in names {
        assert_eq!(mode(&file), files, "{}", file.display());
    }
}

/// A receiver under a umask that would take and one that would give more.
const STRICT: &[&str] = &["sh", "-c", "umask 077; exec \"$@\"", "sh"];
const LAX: &[&str] = &["sh", "-c", "umask 0; exec \"$@\"", "sh"];

#[test]
fn mode_is_that_of_the_flag_once_the_stream_is_complete() {
    let lab = Lab::up(1);
    let (archive, place) = (Archive::new(), Archive::new());
    let usual = mode(archive.path());
    for (umask, flags, directory, files) in [
        (STRICT, &["--mode", "0640"][..], 0o750, 0o640),
        (LAX, &["--mode", "0640"][..], 0o750, 0o640),
        (STRICT, &["--mode", "0644"][..], 0o755, 0o644),
        (LAX, &[][..], 0o700, 0o600),
    ] {
        let launch = archive.recv_under(umask, lab.host(1)).writes_file();
        let mut receiver = launch.args(&["--piece-size", "1M"]).args(flags).start();
        let mut sender = lab.sender().send().args(HASTY).args(&["-n", "1", "-l", "shop"]);
        sender = sender.source(Source::new(70, 2 * MIB));
        let mut sender = sender.start();
        sender.feed_to(3 * MIB / 2);
        let drafts =
            || archive.names().into_iter().filter(|name| name.starts_with(".mcast")).collect::<Vec<_>>();
        // A piece is complete, and the entry is not.
        let is_written = |draft: &String| archive.path().join(draft).join("data.000001").exists();
        assert!(comes_true(PATIENCE, || drafts().first().is_some_and(is_written)));
        assert_eq!(mode(&archive.path().join(&drafts()[0])), 0o700);
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        let entry = archive.path().join(entry_of(&receiver));
        must_have(&entry, directory, files);
        assert_eq!(mode(&receiver.file("output")), files);
        // An entry is restored to a file of its own mode.
        let restored = place.path().join("restored");
        let name = entry.file_name().unwrap().to_str().unwrap();
        let to = restored.to_str().unwrap();
        archive.ask_under(umask, "restore", &[&[name, "-o", to, "--overwrite"], flags].concat(), 0);
        assert_eq!(mode(&restored), files);
        fs::remove_file(&restored).unwrap();
        archive.ask("verify", &[], 0);
        assert_eq!(mode(archive.path()), usual);
    }
}

#[test]
fn file_that_is_replaced_keeps_its_mode_unless_another_is_asked_for() {
    let lab = Lab::up(1);
    for (flags, files) in [(&[][..], 0o604), (&["--mode", "0640"][..], 0o640)] {
        let launch = lab.host(1).recv_under(LAX, "r1").args(HASTY).writes_file();
        let path = launch.file("output");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let mut receiver = launch.arg("--overwrite").args(flags).start();
        let mut sender = sends(&lab, &["-n", "1"], Source::new(71, 1000));
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        assert_eq!(fs::metadata(&path).unwrap().len(), 1000);
        assert_eq!(mode(&path), files);
    }
}

#[test]
fn file_system_that_refuses_the_mode_is_refused_at_launch() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fchmod:error=EPERM"];
    let mut receiver = archive.recv_under(&wrapper, lab.host(1)).args(&["--mode", "0640"]).start();
    receiver.must_exit(&[9], PATIENCE);
    assert!(receiver.stderr().contains("leave out --mode"), "{}", receiver.stderr());
    assert!(archive.names().is_empty());
    let launch = lab.host(1).recv_under(&wrapper, "r1").writes_file();
    let mut receiver = launch.args(&["--mode", "0640"]).start();
    receiver.must_exit(&[9], PATIENCE);
    assert!(receiver.stderr().contains("leave out --mode"), "{}", receiver.stderr());
    receiver.must_leave_no_file();
}
