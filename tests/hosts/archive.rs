//! Archives on real hosts: what a session becomes, what is made of it later, and what a receiver that dies leaves behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::program::Launch;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Host, Lab, MIB, PATIENCE, Program, Source, all_exit};

const HASTY: &[&str] = &["--peer-timeout", "2s"];

/// An archive on a file server.
struct Archive(TempDir);

impl Archive {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("mcast-archive-").tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A receiver that fills it.
    fn recv(&self, host: &Host) -> Launch {
        host.recv("files").args(HASTY).arg("--archive").arg(self.path())
    }

    /// The same under this program.
    fn recv_under(&self, wrapper: &[&str], host: &Host) -> Launch {
        host.recv_under(wrapper, "files").args(HASTY).arg("--archive").arg(self.path())
    }

    /// Everything that is in it, hidden or not.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The only entry, which is all there is.
    fn only(&self) -> PathBuf {
        let names = self.names();
        assert_eq!(names.len(), 1, "{names:?}");
        self.path().join(&names[0])
    }

    /// `mcast archive TASK DIR REST…`.
    fn command(&self, task: &str, rest: &[&str]) -> Command {
        let mut command = crate::blind::command(env!("CARGO_BIN_EXE_mcast"));
        command.args(["archive", task]).arg(self.path()).args(rest);
        command
    }

    fn ask(&self, task: &str, rest: &[&str], code: i32) -> Output {
        let output = self.command(task, rest).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{task} {rest:?}: {said}");
        output
    }

    fn json(&self, task: &str, rest: &[&str], code: i32) -> serde_json::Value {
        let output = self.ask(task, &[rest, &["--json"]].concat(), code);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The entries and what is in the making or left over, each with its state.
    fn states(&self) -> Vec<String> {
        let listing = self.json("list", &[], 0);
        let all = [&listing["entries"], &listing["unfinished"]];
        let items = all.iter().flat_map(|items| items.as_array().unwrap());
        items.map(|item| item["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The complete entries, each with its session.
    fn complete(&self) -> BTreeMap<String, String> {
        let listing = self.json("list", &[], 0);
        let complete =
            listing["entries"].as_array().unwrap().iter().filter(|item| item["state"] == "complete");
        let text = |item: &serde_json::Value, key: &str| item[key].as_str().unwrap().to_owned();
        complete.map(|item| (text(item, "name"), text(item, "session"))).collect()
    }

    /// A session from the sender's host, which becomes an entry; gives its name, as the report has it.
    fn fill(&self, lab: &Lab, source: Source, options: &[&str]) -> String {
        let mut receiver = self.recv(lab.host(1)).args(options).start();
        let mut sender = sends(lab, &["-n", "1", "-l", "shop"], source);
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        entry_of(&receiver)
    }
}

fn entry_of(receiver: &Program) -> String {
    let report = receiver.report();
    report["archive"]["entry"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned()
}

/// A sender that has all of its source.
fn sends(lab: &Lab, options: &[&str], source: Source) -> Program {
    let mut sender = lab.sender().send().args(HASTY).args(options).source(source).start();
    sender.finish();
    sender
}

fn must_be(bytes: &[u8], source: Source) {
    assert!(bytes.len() as u64 == source.len() && blake3::hash(bytes) == source.digest());
}

fn damage(entry: &Path) {
    let data = entry.join("data");
    let mut bytes = fs::read(&data).unwrap();
    let last = bytes.last_mut().unwrap();
    *last ^= 1;
    fs::write(data, bytes).unwrap();
}

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
    assert!(shown.contains("complete") && shown.contains("5.24 MB"), "{shown}");
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
fn pruning_after_a_success_keeps_what_the_rules_say_and_touches_nothing_else() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let foreign = archive.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("data"), "not ours").unwrap();
    let first = archive.fill(&lab, Source::new(5, 1000), &[]);
    fs::rename(archive.path().join(&first), archive.path().join("before-migration")).unwrap();
    archive.fill(&lab, Source::new(6, 1000), &[]);
    let damaged = archive.fill(&lab, Source::new(7, 1000), &[]);
    fs::remove_file(archive.path().join(&damaged).join("data")).unwrap();
    let mut receiver = archive.recv(lab.host(1)).args(&["--repeat", "--keep-last", "2"]).start();
    let mut sessions = vec![archive.complete()["before-migration"].clone()];
    for seed in 8..11 {
        let mut sender = sends(&lab, &["-n", "1", "-l", "shop"], Source::new(seed, 1000));
        sender.must_exit(&[0], PATIENCE);
        sessions.push(sender.report()["session"].as_str().unwrap().to_owned());
    }
    // All but the renamed one and the last two; the rules are applied after the sender has its answer.
    sessions.remove(1);
    sessions.sort();
    let kept = || {
        let mut kept: Vec<_> = archive.complete().into_values().collect();
        kept.sort();
        kept
    };
    assert!(comes_true(PATIENCE, || kept() == sessions), "{:?}, {sessions:?}", kept());
    assert!(comes_true(PATIENCE, || receiver.file("report.json").exists()));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    assert!(archive.names().contains(&damaged));
    // By hand too, in words and for programs.
    let before = archive.names();
    let would = archive.json("prune", &["--keep-last", "1", "--dry-run"], 0);
    assert_eq!(would["removed"].as_array().unwrap().len(), 1, "{would}");
    assert_eq!(archive.names(), before);
    archive.ask("prune", &["--keep-last", "1"], 0);
    assert_eq!(archive.names().len(), before.len() - 1);
    archive.ask("rm", &[&damaged, "before-migration"], 0);
    assert_eq!(archive.names().len(), before.len() - 3);
    archive.ask("rm", &["foreign"], 2);
    assert_eq!(fs::read(foreign.join("data")).unwrap(), b"not ours");
}

/// Faults 15 and 28: a receiver killed at this system call, and one that comes after it.
fn killed_in(call: &str, when: &str) -> (Archive, bool) {
    let lab = Lab::up(2);
    let (archive, source) = (Archive::new(), Source::new(11, 3 * MIB));
    let inject = format!("inject={call}:signal=KILL:when={when}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    let mut killed = archive.recv_under(&wrapper, lab.host(1)).args(&["--piece-size", "2M"]).start();
    let mut other = lab.host(2).recv("r2").writes_file().start();
    let mut sender = sends(&lab, &["-n", "2", "-l", "shop"], source);
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    assert!(!killed.ends(AT_ONCE).unwrap().success());
    assert_ne!(sender.report_of("files")["exit_code"], 0, "{}", sender.report());
    let entries = archive.json("list", &[], 0);
    let entries = entries["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["state"] == "complete"), "{entries:?}");
    assert_eq!(archive.json("verify", &[], 0)["entries"].as_array().unwrap().len(), entries.len());
    let had_entry = !entries.is_empty();
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

/// Fault 18.
fn fails_with_9(inject: &str, words: &str) {
    let lab = Lab::up(2);
    let archive = Archive::new();
    let inject = format!("inject={inject}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    let mut fails = archive.recv_under(&wrapper, lab.host(1)).start();
    let mut other = lab.host(2).recv("r2").writes_file().start();
    let mut sender = sends(&lab, &["-n", "2"], Source::new(12, 2 * MIB));
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    fails.must_exit(&[9], PATIENCE);
    assert!(fails.stderr().contains(words), "{}", fails.stderr());
    assert!(archive.names().is_empty(), "{:?}", archive.names());
    let entry = sender.report_of("files");
    assert_eq!(entry["exit_code"], 9, "{entry}");
    assert!(entry["error"].as_str().is_some_and(|error| error.contains(words)), "{entry}");
}

#[test]
fn quota_that_is_used_up_fails_with_9_and_leaves_nothing_in_the_archive() {
    fails_with_9("writev:error=EDQUOT:when=5+", "uota exceeded");
}

#[test]
fn entry_that_cannot_be_brought_to_the_disk_fails_with_9_and_leaves_nothing() {
    fails_with_9("fdatasync:error=EIO:when=1", "nput/output error");
}

#[test]
fn entry_that_gets_no_name_fails_with_9_and_leaves_nothing() {
    fails_with_9("renameat2:error=ENOSPC:when=1", "o space left");
}

#[test]
fn name_of_an_entry_that_cannot_be_brought_to_the_disk_fails_with_9_and_leaves_nothing() {
    fails_with_9("fsync:error=EIO:when=2", "nput/output error");
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
    assert!(comes_true(PATIENCE, || archive.states() == ["in the making"]));
    sender.kill();
    receiver.must_exit(&[5], PATIENCE);
    assert!(archive.names().is_empty());
}

#[test]
fn running_session_is_not_disturbed_by_another_receiver_of_the_same_archive() {
    let lab = Lab::up(1);
    let (archive, source) = (Archive::new(), Source::new(15, 4 * MIB));
    let mut running = archive.recv(lab.host(1)).start();
    let mut sender = lab.sender().send().args(&["-n", "1", "-l", "long"]).source(source).start();
    sender.feed_to(MIB);
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
        .args(&["--archive", "/mnt/archive", "--repeat", "--min-free", "4M"])
        .start();
    receiver.must_say("less than --min-free", PATIENCE);
    let source = Source::new(21, MIB);
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.must_say("waiting for receivers", PATIENCE);
    sender.finish();
    let program = receiver.processes().must_have(env!("CARGO_BIN_EXE_mcast-recv"), PATIENCE);
    let root = format!("/proc/{}/root/mnt", program.as_raw_pid());
    assert_eq!(fs::read_dir(format!("{root}/archive")).unwrap().count(), 0);
    fs::remove_file(format!("{root}/other")).unwrap();
    sender.must_exit(&[0], PATIENCE);
    assert!(!receiver.stderr_so_far().contains("error"));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], PATIENCE);
}
