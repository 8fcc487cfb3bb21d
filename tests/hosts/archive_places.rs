//! Archives in places that cannot do what an archive needs: told at launch, with the remedy. `strace` plays file systems
//! that refuse a step; a real NFS server refuses less than it does here, and never more.

use std::fs;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::support::archive::{Archive, must_be};
use crate::support::{Lab, PATIENCE, Source};

/// Fault 48: a receiver that is not to wait for a sender at all.
fn refused_at_launch(lab: &Lab, inject: &str, words: &str) -> Archive {
    let archive = Archive::new();
    let inject = format!("inject={inject}");
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    let mut receiver = archive.recv_under(&wrapper, lab.host(1)).start();
    receiver.must_exit(&[9], PATIENCE);
    let said = receiver.stderr();
    let path = archive.path().display().to_string();
    assert!(said.contains(words) && said.contains(&path), "{inject}: {said}");
    assert!(!said.contains("waiting for a sender"), "{inject}: {said}");
    archive
}

#[test]
fn file_system_that_refuses_a_step_of_an_entry_is_refused_at_launch() {
    let lab = Lab::up(1);
    for (inject, words) in [
        ("mkdirat:error=EROFS", "cannot make a directory"),
        ("flock:error=ENOLCK", "locks (flock) do not work"),
        ("flock:error=EBADF", "locks (flock) do not work"),
        ("fdatasync:error=EIO", "nput/output error"),
        ("fsync:error=EIO", "cannot bring a directory to the disk"),
        ("renameat2:error=EACCES", "cannot rename a directory"),
    ] {
        let archive = refused_at_launch(&lab, inject, words);
        assert!(archive.names().is_empty(), "{inject}: {:?}", archive.names());
    }
    // The message names a directory that cannot be removed.
    let archive = refused_at_launch(&lab, "unlinkat:error=EACCES", "cannot remove a directory");
    assert_eq!(archive.names().len(), 1);
}

/// Fault 48.
#[test]
fn append_only_directory_is_refused_at_launch_with_the_remedy_and_left_empty() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let handle = fs::File::open(archive.path()).unwrap();
    let usual = ioctl_getflags(&handle).unwrap_or(IFlags::empty());
    if let Err(error) = ioctl_setflags(&handle, usual | IFlags::APPEND) {
        eprintln!("not tried: this file system or user has no append-only directories: {error}");
        return;
    }
    let mut receiver = archive.recv(lab.host(1)).start();
    receiver.must_exit(&[9], PATIENCE);
    let names = archive.names();
    ioctl_setflags(&handle, usual).unwrap();
    let said = receiver.stderr();
    assert!(said.contains("chattr -a") && !said.contains("waiting for a sender"), "{said}");
    assert!(names.is_empty(), "{names:?}");
}

/// Fault 49: without working locks `rm` and `prune` fail with the reason, and entries can be read.
#[test]
fn archive_without_locks_can_be_read_and_says_why_nothing_is_removed() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let name = archive.fill(&lab, Source::new(50, 1000), &[]);
    archive.fill(&lab, Source::new(51, 1000), &[]);
    for error in ["ENOLCK", "EBADF", "EOPNOTSUPP"] {
        let ask = |task: &str, rest: &[&str], code| {
            let inject = format!("inject=flock:error={error}");
            archive.ask_under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject], task, rest, code)
        };
        must_be(&ask("cat", &[&name], 0).stdout, Source::new(50, 1000));
        assert!(String::from_utf8(ask("list", &[], 0).stdout).unwrap().contains("2 complete"));
        for (task, rest) in [("rm", [name.as_str()]), ("prune", ["--keep-last=1"])] {
            let said = String::from_utf8(ask(task, &rest, 10).stderr).unwrap();
            assert!(said.contains(&name) && said.contains("locks (flock) do not work"), "{task}: {said}");
        }
    }
    assert_eq!(archive.states(), ["complete", "complete"]);
}

/// A snapshot or a disk with errors is mounted so; it does not make an entry damaged.
#[test]
fn archive_on_a_read_only_mount_can_be_read_and_rm_says_why_not() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let name = archive.fill(&lab, Source::new(52, 1000), &[]);
    archive.fill(&lab, Source::new(53, 1000), &[]);
    let path = archive.path().to_str().unwrap();
    let mount = format!("mount --bind {path} {path} && mount -o remount,ro,bind {path} && exec \"$@\"");
    let ask = |task: &str, rest: &[&str], code| {
        archive.ask_under(&["unshare", "--mount", "sh", "-c", &mount, "sh"], task, rest, code)
    };
    ask("verify", &[], 0);
    must_be(&ask("cat", &[&name], 0).stdout, Source::new(52, 1000));
    for (task, rest) in [("rm", [name.as_str()]), ("prune", ["--keep-last=1"])] {
        let said = String::from_utf8(ask(task, &rest, 10).stderr).unwrap();
        assert!(said.contains("ead-only file system") && !said.contains("damaged"), "{task}: {said}");
    }
    assert_eq!(archive.states(), ["complete", "complete"]);
}
