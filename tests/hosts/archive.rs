//! Archives on real hosts: what a session becomes, and what is made of it later.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::archive::{Archive, damage, entry_of, must_be, sends};
use crate::support::wait::comes_true;
use crate::support::{Lab, MIB, PATIENCE, Source, all_exit};

#[test]
fn session_becomes_an_entry_that_any_system_can_check() {
    let lab = Lab::with(1, &["--loss", "1=1%"]);
    let (archive, source) = (Archive::new(), Source::new(1, 5 * MIB + 1));
    let name = archive.fill(&lab, source, &["--piece-size", "2M", "--keep-last", "3"]);
    assert!(name.starts_with("shop-20") && name.ends_with('Z'), "{name}");
    let entry = archive.only();
    assert_eq!(entry.file_name(), Some(OsStr::new(&name)));
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(&entry);
    assert!(check.output().unwrap().status.success());
    let pieces = [0, 1, 2].map(|piece| fs::read(entry.join(format!("data.{piece:06}"))).unwrap());
    must_be(&pieces.concat(), source);
    must_be(&archive.ask("cat", &[&name], 0).stdout, source);
    let listing = archive.json("list", &[], 0);
    let listed = &listing["entries"][0];
    assert_eq!((&listed["name"], &listed["state"]), (&name.as_str().into(), &"complete".into()));
    assert_eq!((&listed["bytes"], &listed["receiver"]), (&source.len().into(), &"files".into()));
    assert_eq!(archive.json("verify", &[], 0)["damaged"], 0);
    assert_eq!(archive.json("verify", &["--sample", "40%"], 0)["entries"][0]["pieces"], 3);
    let shown = String::from_utf8(archive.ask("list", &[], 0).stdout).unwrap();
    assert!(shown.contains("complete") && shown.contains("5 MiB"), "{shown}");
}

#[test]
fn empty_stream_becomes_an_entry_too() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    for options in [&[][..], &["--piece-size", "1M"]] {
        let name = archive.fill(&lab, Source::new(1, 0), options);
        must_be(&archive.ask("cat", &[&name], 0).stdout, Source::new(1, 0));
    }
    assert_eq!(archive.json("verify", &[], 0)["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn backup_in_the_archive_reaches_many_hosts_at_once() {
    let lab = Lab::up(3);
    let (archive, source) = (Archive::new(), Source::new(2, 4 * MIB));
    let name = archive.fill(&lab, source, &[]);
    // Behind --, and through a pipe.
    for by_pipe in [false, true] {
        let mut receivers = [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).writes_file().start());
        let launch = lab.host(1).send().args(&["-n", "2", "-l", "again"]);
        let mut child = None;
        let launch = if by_pipe {
            let cat = archive.command("cat", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
            launch.stdin(child.insert(cat).stdout.take().unwrap())
        } else {
            let path = archive.path().to_str().unwrap();
            let program = env!("CARGO_BIN_EXE_mcast");
            launch.runs(&format!("exec {program} archive cat {path} latest --label shop"))
        };
        let mut sender = launch.start();
        sender.must_exit(&[0], PATIENCE);
        all_exit(&mut receivers, 0, PATIENCE);
        receivers.iter().for_each(|receiver| receiver.must_have_written(source));
        assert!(child.is_none_or(|mut child| child.wait().unwrap().success()));
    }
}

#[test]
fn damaged_entry_is_found_and_ends_at_no_host_as_a_file() {
    let lab = Lab::up(2);
    let archive = Archive::new();
    let name = archive.fill(&lab, Source::new(3, 4 * MIB), &[]);
    damage(&archive.only());
    let verified = archive.json("verify", &[], 6);
    assert_eq!(verified["damaged"], 1, "{verified}");
    let mut receiver = lab.host(2).recv("r2").writes_file().start();
    let path = archive.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_mcast");
    let launch = lab.host(1).send().args(&["-n", "1"]);
    let mut sender = launch.runs(&format!("exec {program} archive cat {path} {name}")).start();
    sender.must_exit(&[8], PATIENCE);
    receiver.must_exit(&[11], PATIENCE);
    receiver.must_leave_no_file();
    assert!(sender.stderr().contains("not what was written"), "{}", sender.stderr());
    let output = archive.path().join("../restored-by-mistake");
    let restored = archive.ask("restore", &[&name, "-o", output.to_str().unwrap()], 6);
    assert!(!output.exists(), "{}", String::from_utf8_lossy(&restored.stderr));
}

#[test]
fn entry_is_restored_to_a_file_and_by_a_command_and_only_whole() {
    let lab = Lab::up(1);
    let (archive, place) = (Archive::new(), Archive::new());
    let source = Source::new(4, 3 * MIB);
    let name = archive.fill(&lab, source, &["--piece-size", "1M"]);
    let file = place.path().join("file");
    let output = file.to_str().unwrap();
    archive.ask("restore", &["latest", "-o", output], 0);
    must_be(&fs::read(&file).unwrap(), source);
    let refused = archive.ask("restore", &[&name, "-o", output], 9);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--overwrite"));
    archive.ask("restore", &[&name, "-o", output, "--overwrite"], 0);
    let copy = place.path().join("copy");
    let script = format!("cat >{}; touch {}.end", copy.display(), copy.display());
    archive.ask("restore", &[&name, "--", "sh", "-c", &script], 0);
    must_be(&fs::read(&copy).unwrap(), source);
    archive.ask("restore", &[&name, "--", "sh", "-c", "cat >/dev/null; exit 3"], 9);
    // A command whose input is damaged never sees its end.
    fs::remove_file(place.path().join("copy.end")).unwrap();
    let piece = archive.only().join("data.000002");
    fs::write(&piece, vec![0; fs::metadata(&piece).unwrap().len() as usize]).unwrap();
    archive.ask("restore", &[&name, "--", "sh", "-c", &script], 6);
    assert!(!place.path().join("copy.end").exists());
}

#[test]
fn running_session_is_not_disturbed_by_another_receiver_of_the_same_archive() {
    let lab = Lab::up(1);
    let (archive, source) = (Archive::new(), Source::new(15, 4 * MIB));
    let mut running = archive.recv(lab.host(1)).start();
    let mut sender = lab.sender().send().args(&["-n", "1", "-l", "long"]).source(source).start();
    sender.feed_to(MIB);
    // Not the trial of its launch.
    running.must_say("receiving: receiving", PATIENCE);
    assert!(comes_true(PATIENCE, || archive.states() == ["in the making"]));
    // Another one comes, clears away, takes part in a session of its own, and prunes.
    let port = ["-p", "7800"];
    let mut other = archive.recv(lab.host(1)).args(&port).args(&["--keep-last", "1"]).start();
    let mut short = sends(&lab, &["-n", "1", "-l", "short", "-p", "7800"], Source::new(16, 1000));
    short.must_exit(&[0], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    archive.ask("prune", &["--keep-last", "1"], 0);
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    running.must_exit(&[0], PATIENCE);
    must_be(&archive.ask("cat", &["latest", "--label", "long"], 0).stdout, source);
    assert_eq!(archive.states(), ["complete", "complete"]);
}

#[test]
fn one_sink_that_fails_does_not_take_the_entry_or_the_file_with_it() {
    let lab = Lab::up(1);
    let (archive, source) = (Archive::new(), Source::new(17, 2 * MIB));
    let mut receiver = archive.recv(lab.host(1)).writes_file().runs("cat >$D/copy; exit 3").start();
    let mut sender = sends(&lab, &["-n", "1"], source);
    sender.must_exit(&[9], PATIENCE);
    receiver.must_exit(&[9], PATIENCE);
    receiver.must_have_written(source);
    must_be(&archive.ask("cat", &[&entry_of(&receiver)], 0).stdout, source);
}

#[test]
fn line_for_later_finds_the_stream_of_the_entry() {
    let lab = Lab::up(1);
    let (archive, source) = (Archive::new(), Source::new(18, MIB));
    let launch = archive.recv(lab.host(1));
    let copy = launch.file("copy");
    let line = format!("cp {{file}} {}", copy.display());
    let mut receiver = launch.arg("--then").arg(line).start();
    let mut sender = sends(&lab, &["-n", "1"], source);
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    must_be(&fs::read(copy).unwrap(), source);
}

/// Without its capabilities root obeys modes, as an ordinary user does.
const OBEYS_MODES: &[&str] = &["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

#[test]
fn entry_that_cannot_be_read_does_not_keep_the_others_from_being_verified() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let [closed, shut, whole] = [40, 41, 42].map(|seed| archive.fill(&lab, Source::new(seed, 1000), &[]));
    let close =
        |path: std::path::PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
    close(archive.path().join(&closed));
    close(archive.path().join(&shut).join("manifest.json"));
    let verify = |code| {
        let output = archive.ask_under(OBEYS_MODES, "verify", &["--json"], code);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let verified = verify(10);
    assert_eq!((&verified["damaged"], &verified["unreadable"]), (&0.into(), &2.into()), "{verified}");
    assert_eq!(verified["entries"].as_array().unwrap().len(), 3, "{verified}");
    damage(&archive.path().join(&whole));
    let verified = verify(6);
    assert_eq!((&verified["damaged"], &verified["unreadable"]), (&1.into(), &2.into()), "{verified}");
    let text = String::from_utf8(archive.ask_under(OBEYS_MODES, "verify", &[], 6).stderr).unwrap();
    assert!(text.contains(&format!("{closed}: unreadable: ")) && text.contains("ermission denied"), "{text}");
    let listing = String::from_utf8(archive.ask_under(OBEYS_MODES, "list", &[], 0).stdout).unwrap();
    assert!(listing.contains("; 2 unreadable; "), "{listing}");
}
