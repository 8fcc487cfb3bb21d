//! The key that a program uses, and its end where there is no key or one of another user.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use crate::support::keys::{self, Keys};
use crate::support::program::Launch;
use crate::support::{AT_ONCE, KIB, Lab, PATIENCE, Source};

/// A host without /etc, so that this machine's own key is not found.
const WITHOUT_ETC: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /etc && exec \"$0\" \"$@\""];

/// Sender and receiver on hosts without a key, without the `-v` that the other tests give them.
fn keyless(lab: &Lab) -> [Launch; 2] {
    [(0, env!("CARGO_BIN_EXE_mcast-send")), (1, env!("CARGO_BIN_EXE_mcast-recv"))].map(|(host, program)| {
        let mut command = lab.host(host).command(WITHOUT_ETC[0]);
        command.args(&WITHOUT_ETC[1..]).arg(program);
        Launch::new(command, program).arg("-q").looks_for_key()
    })
}

/// Fault 64: a key file that has gone.
#[test]
fn program_that_requires_a_key_and_finds_none_exits_7() {
    let lab = Lab::up(1);
    for launch in keyless(&lab) {
        let mut program = launch.env("MCAST_REQUIRE_KEY", "1").start();
        program.must_exit(&[7], AT_ONCE);
        assert!(program.stderr().contains("/etc/mcast/key"), "{}", program.stderr());
        assert_eq!(program.report()["exit_code"], 7, "{}", program.report());
    }
    for launch in keyless(&lab) {
        let mut program = launch.args(&["--require-key", "--no-key"]).start();
        program.must_exit(&[2], AT_ONCE);
        assert!(program.stderr().contains("MCAST_REQUIRE_KEY"), "{}", program.stderr());
    }
}

/// Fault 64: under cron, which mails what `-q` leaves.
#[test]
fn program_that_falls_back_to_plain_mode_says_so_also_when_it_is_quiet() {
    let lab = Lab::up(1);
    let [sender, receiver] = keyless(&lab);
    let mut receiver = receiver.start();
    let mut sender = sender.args(&["-n", "1"]).source(Source::new(1, KIB)).start();
    sender.finish();
    for program in [&mut sender, &mut receiver] {
        program.must_exit(&[0], PATIENCE);
        assert_eq!(program.stderr().matches("no key").count(), 1, "{}", program.stderr());
        assert!(program.report()["key"].is_null(), "{}", program.report());
    }
    let [sender, receiver] = keyless(&lab).map(|launch| launch.arg("--no-key"));
    let mut receiver = receiver.start();
    let mut sender = sender.args(&["-n", "1"]).source(Source::new(2, KIB)).start();
    sender.finish();
    for program in [&mut sender, &mut receiver] {
        program.must_exit(&[0], PATIENCE);
        assert_eq!(program.stderr(), "", "plain mode was asked for");
    }
}

#[test]
fn reports_name_the_key_of_the_session() {
    let lab = Lab::up(1);
    let keys = Keys::new();
    let file = keys.file(2);
    keys.file(1);
    let mut receiver = lab.host(1).recv("r1").arg("--require-key").arg("-k").arg(keys.path()).start();
    let sender = lab.sender().send().arg("--require-key").arg("-k").arg(file);
    let mut sender = sender.args(&["-n", "1"]).source(Source::new(3, KIB)).start();
    sender.finish();
    for program in [&mut sender, &mut receiver] {
        program.must_exit(&[0], PATIENCE);
        assert_eq!(program.report()["key"], keys::id(2), "{}", program.report());
    }
}

/// As root any file can be read; a key that somebody else owns is one that somebody else knows.
#[test]
fn key_file_of_another_user_is_refused_by_root_too() {
    let lab = Lab::up(1);
    let keys = Keys::new();
    let file = keys.file(1);
    std::fs::set_permissions(keys.path(), Permissions::from_mode(0o700)).unwrap();
    for path in [&file, &keys.path().to_owned()] {
        let launch = lab.host(1).recv("r1").arg("-k").arg(of_another_user(path)).start();
        let mut receiver = launch;
        receiver.must_exit(&[7], AT_ONCE);
        assert!(receiver.stderr().contains("belongs to user"), "{}", receiver.stderr());
        assert_eq!(receiver.report()["exit_code"], 7);
    }
}

/// This path, owned by somebody else; in a user namespace that knows no other user, a file or directory of the system,
/// which there belongs to nobody that it knows.
fn of_another_user(path: &PathBuf) -> PathBuf {
    match chown(path, Some(ANOTHER), None) {
        Ok(()) => path.clone(),
        Err(_) => {
            let system = PathBuf::from(if path.is_dir() { "/usr" } else { "/etc/passwd" });
            assert_ne!(std::fs::metadata(&system).unwrap().uid(), 0, "this user can change no owner");
            system
        }
    }
}

const ANOTHER: u32 = 12_345;
