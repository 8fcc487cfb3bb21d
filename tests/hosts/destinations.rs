//! Destinations that cannot do what they must do at the end: told at launch where that can be known, and else in time.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::support::program::Launch;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, KIB, Lab, MIB, PATIENCE, Source};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Fault 48.
#[test]
fn directory_that_refuses_a_step_of_the_end_is_told_at_launch() {
    let lab = Lab::up(1);
    for (inject, overwrite, word) in [
        ("linkat:error=EPERM", false, "name"),
        ("rename:error=EPERM", true, "rename"),
        ("unlink:error=EACCES", false, "remove"),
        ("fdatasync:error=EIO", false, "fsync"),
        ("fsync:error=EIO", true, "fsync"),
    ] {
        let inject = format!("inject={inject}");
        let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        let mut launch = lab.host(1).recv_under(&wrapper, "r1").writes_file();
        if overwrite {
            launch = launch.arg("--overwrite");
        }
        let mut receiver = launch.start();
        receiver.must_exit(&[9], PATIENCE);
        let said = receiver.stderr();
        assert!(said.contains(word) && said.contains("output"), "{inject}: {said}");
        if !inject.contains("unlink") {
            receiver.must_leave_no_file();
        }
    }
}

/// Fault 48: with places in its name, a file is known by its directory only.
#[test]
fn directory_of_a_template_that_takes_no_file_is_told_at_launch() {
    let lab = Lab::up(1);
    let launch = lab.host(1).recv("r1");
    let path = launch.file("missing/{label}.dump");
    let mut receiver = launch.arg("--repeat").arg("-o").arg(path).start();
    receiver.must_exit(&[9], AT_ONCE);
    assert!(receiver.stderr().contains("create the directory first"), "{}", receiver.stderr());
}

/// Fault 48. Only root of the machine can make a directory append-only; elsewhere this shows nothing, and says so.
#[test]
fn append_only_directory_takes_a_new_file_and_is_refused_at_launch_for_another() {
    let lab = Lab::up(1);
    let directory = tempfile::tempdir().unwrap();
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(directory.path()).status();
    if !chattr("+a").is_ok_and(|status| status.success()) {
        eprintln!("this user, or the file system of {}, has no chattr +a", directory.path().display());
        return;
    }
    let path = directory.path().join("a.dump");
    let mut refused = lab.host(1).recv("r1").arg("--overwrite").arg("-o").arg(&path).start();
    let refused_in_time = refused.ends(PATIENCE).is_some();
    let mut receiver = lab.host(1).recv("r1").arg("-o").arg(&path).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(1, KIB)).start();
    sender.finish();
    let ended = receiver.ends(PATIENCE).is_some();
    assert!(chattr("-a").unwrap().success());
    assert!(ended && refused_in_time);
    refused.must_exit(&[9], AT_ONCE);
    assert!(refused.stderr().contains("append-only"), "{}", refused.stderr());
    receiver.must_exit(&[0], AT_ONCE);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, [path]);
}

/// Fault 54: a host without /proc, where no file is without a name. The umask takes nothing away.
#[test]
fn file_that_needs_a_name_while_it_is_written_is_its_owners_alone() {
    const WITHOUT_PROC: &str = "umask 0; mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let lab = Lab::up(1);
    let mut receiver =
        lab.host(1).recv_under(&["unshare", "--mount", "sh", "-c", WITHOUT_PROC], "r1").writes_file().start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(2, MIB)).start();
    sender.feed_to(MIB / 2);
    receiver.must_say("receiving", PATIENCE);
    let modes = || {
        let entries = fs::read_dir(receiver.directory()).unwrap().map(Result::unwrap);
        let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
        parts
            .filter_map(|entry| Some(entry.metadata().ok()?.permissions().mode() & 0o777))
            .collect::<Vec<_>>()
    };
    assert!(comes_true(PATIENCE, || modes() == [0o600]), "{:?}", modes());
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    assert_eq!(fs::metadata(receiver.output()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn output_that_is_no_file_is_refused_at_launch_and_left_alone() {
    let lab = Lab::up(1);
    let places = tempfile::tempdir().unwrap();
    let place = |name: &str| places.path().join(name);
    fifo(&place("fifo"));
    let _listener = UnixListener::bind(place("socket")).unwrap();
    fs::create_dir(place("directory")).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    symlink("loop", place("loop")).unwrap();
    for (path, word) in [
        (place("fifo"), "pipe"),
        (place("socket"), "socket"),
        (place("directory"), "directory"),
        (place("dangling"), "link to nothing"),
        (place("loop"), "ymbolic links"),
        ("/dev/null".into(), "device"),
        ("/dev/stdout".into(), "-o -"),
        ("/proc/self/fd/1".into(), "-o -"),
    ] {
        let mut receiver = lab.host(1).recv("r1").arg("--overwrite").arg("-o").arg(&path).start();
        receiver.must_exit(&[9], AT_ONCE);
        let said = receiver.stderr();
        assert!(said.contains(word) && said.contains(path.to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::read_dir(places.path()).unwrap().count(), 5);
}

/// Fault 38: what the kernel has taken for a disk, and cannot bring there.
///
/// The disk is a loop device on a file system that is too small. If there are no loop devices (they belong to root of
/// the machine), a file stands for it whose `fdatasync` fails.
#[test]
fn disk_on_standard_output_that_fails_late_fails_with_9_at_both_ends() {
    const ON_A_SMALL_DISK: &str = "mount -t tmpfs -o size=8m none /mnt && truncate -s 64m /mnt/disk \
        && disk=$(losetup --find --show /mnt/disk) && exec 3<>\"$disk\" && losetup -d \"$disk\" \
        && exec \"$0\" \"$@\" >&3 3>&-";
    let lab = Lab::up(2);
    let source = Source::new(3, 24 * MIB);
    let has_loops = File::open("/dev/loop-control").is_ok();
    let mut fails = if has_loops {
        lab.host(1).recv_under(&["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK], "r1").start()
    } else {
        eprintln!("no loop devices here: a file whose fdatasync fails stands for a disk");
        let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO"];
        lab.host(1).recv_under(&inject, "r1").stdout(tempfile::tempfile().unwrap()).start()
    };
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    fails.must_exit(&[9], PATIENCE);
    assert!(fails.stderr().contains("nput/output error"), "{}", fails.stderr());
    sender.must_exit(&[3], PATIENCE);
    assert_eq!(sender.report_of("r1")["exit_code"], 9, "{}", sender.report());
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(source);
}

/// Runs a session after `plant` has put something where the report is to go, in a directory where everybody may write.
fn with_something_in_the_place_of_the_report(plant: impl Fn(&Path), words: &str) {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    let launch = lab.sender().send().args(&["-n", "1"]);
    fs::set_permissions(launch.file(""), Permissions::from_mode(0o1777)).unwrap();
    plant(&launch.file("report.json"));
    let source = Source::new(4, KIB);
    let mut sender = launch.source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
    assert!(sender.stderr().contains(words), "{words:?} is not in: {}", sender.stderr());
}

/// Fault 66.
#[test]
fn report_whose_name_others_have_taken_is_told_and_stops_no_session() {
    with_something_in_the_place_of_the_report(fifo, "reader");
    with_something_in_the_place_of_the_report(|path| fs::create_dir(path).unwrap(), "it is a directory");
    let victim = tempfile::NamedTempFile::new().unwrap();
    fs::write(victim.path(), "precious").unwrap();
    if chown(victim.path(), Some(12_345), None).is_err() {
        eprintln!("this user can give no file to another: a pipe and a link of another user are not tried");
        return;
    }
    let of_a_stranger = |path: &Path| {
        rustix::fs::chownat(
            CWD,
            path,
            Some(rustix::fs::Uid::from_raw(12_345)),
            None,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
    };
    with_something_in_the_place_of_the_report(
        |path| {
            fifo(path);
            of_a_stranger(path).unwrap();
        },
        "of user 12345",
    );
    with_something_in_the_place_of_the_report(
        |path| {
            symlink(victim.path(), path).unwrap();
            of_a_stranger(path).unwrap();
        },
        "of user 12345",
    );
    assert_eq!(fs::read(victim.path()).unwrap(), b"precious");
}

/// Fault 44: TERM ends a program within two seconds, also one whose report nobody reads.
#[test]
fn report_into_a_pipe_that_nobody_reads_delays_the_end_after_a_signal_by_less_than_a_second() {
    let lab = Lab::up(1);
    let launch = lab.sender().send();
    fifo(&launch.file("report.json"));
    let mut sender = launch.source(Source::new(5, KIB)).start();
    sender.must_catch_signals();
    sender.signal(Signal::TERM);
    sender.must_exit(&[143], AT_ONCE);
    assert!(sender.stderr().contains("reader"), "{}", sender.stderr());
}

#[test]
fn report_of_the_last_session_goes_when_the_next_one_starts() {
    let lab = Lab::up(1);
    let launch: Launch = lab.host(1).recv("r1").arg("--repeat").runs("cat >/dev/null");
    let path = launch.file("report.json");
    let mut receiver = launch.start();
    let send = |seed| lab.sender().send().args(&["-n", "1"]).source(Source::new(seed, MIB)).start();
    let mut first = send(6);
    first.finish();
    first.must_exit(&[0], PATIENCE);
    assert!(comes_true(PATIENCE, || path.exists()), "no report of the first session");
    let mut second = send(7);
    second.feed_to(KIB);
    assert!(
        comes_true(PATIENCE, || !path.exists()),
        "the first session's report outlives the second's start"
    );
    second.finish();
    second.must_exit(&[0], PATIENCE);
    assert!(comes_true(PATIENCE, || path.exists()), "no report of the second session");
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
}
