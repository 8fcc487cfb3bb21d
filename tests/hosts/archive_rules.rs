//! Rules of an archive, and entries that they must not lose or keep for ever: sources, wrong clocks, droppings.

use std::fs;
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::clocks::shifted;
use crate::support::archive::{Archive, entry_of, must_be, sends};
use crate::support::inject::Injection;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Lab, PATIENCE, Source};

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
    // Beside them the damaged and the foreign one.
    let visible = || archive.names().iter().filter(|name| !name.starts_with('.')).count();
    assert!(comes_true(PATIENCE, || visible() == sessions.len() + 2), "{:?}", archive.names());
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

/// Fault 43.
#[test]
fn senders_that_share_a_label_do_not_take_each_others_places() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let mut entries = Vec::new();
    for (seed, name) in [(30, "db1"), (31, "db2"), (32, "db1")] {
        let mut receiver = archive.recv(lab.host(1)).args(&["--keep-last", "1"]).start();
        let mut sender = sends(&lab, &["-n", "1", "-l", "shop", "--name", name], Source::new(seed, 1000));
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        entries.push(entry_of(&receiver));
    }
    // Only the older one of db1 went.
    assert_eq!(archive.complete().into_keys().collect::<Vec<_>>(), entries[1..]);
    let listing = String::from_utf8(archive.ask("list", &[], 0).stdout).unwrap();
    assert!(listing.contains("SOURCE") && listing.contains("db1") && listing.contains("db2"), "{listing}");
    let of_db2 = archive.json("list", &["--source", "db2"], 0);
    assert_eq!(of_db2["entries"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&of_db2["entries"][0]["name"], &of_db2["entries"][0]["source"]),
        (&entries[1].as_str().into(), &"db2".into())
    );
    // The newest of all, with a word about that; or of the one that was asked for.
    let latest = archive.ask("cat", &["latest", "--label", "shop"], 0);
    must_be(&latest.stdout, Source::new(32, 1000));
    let said = String::from_utf8(latest.stderr).unwrap();
    assert!(said.contains("db1, db2") && said.contains("--source"), "{said}");
    let latest = archive.ask("cat", &["latest", "--source", "db2"], 0);
    must_be(&latest.stdout, Source::new(31, 1000));
    assert!(latest.stderr.is_empty());
    archive.ask("cat", &[&entries[1], "--source", "db2"], 2);
    archive.ask("prune", &["--keep-last", "1", "--source", "not a name"], 2);
}

/// Fault 40.
#[test]
fn entry_that_is_dated_in_the_future_is_not_the_latest_and_moves_no_other() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let past = archive.fill(&lab, Source::new(33, 1000), &[]);
    // One night with a wrong clock.
    let mut receiver = shifted(archive.recv(lab.host(1)), "+400d").start();
    let mut sender = sends(&lab, &["-n", "1", "-l", "shop"], Source::new(34, 1000));
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    let future = entry_of(&receiver);
    assert!(past < future, "{past} {future}");
    for task in [&["cat", "latest"][..], &["cat", "latest", "--label", "shop"]] {
        let latest = archive.ask(task[0], &task[1..], 0);
        must_be(&latest.stdout, Source::new(33, 1000));
        assert!(String::from_utf8(latest.stderr).unwrap().contains("dated in the future"));
    }
    let listing = String::from_utf8(archive.ask("list", &[], 0).stdout).unwrap();
    assert!(listing.contains("complete, dated in the future"), "{listing}");
    assert_eq!(archive.json("list", &[], 0)["entries"][1]["future"], true);
    assert_eq!(archive.json("verify", &[], 0)["damaged"], 0);
    must_be(&archive.ask("cat", &[&future], 0).stdout, Source::new(34, 1000));
    let would = archive.json("prune", &["--keep-last", "1", "--dry-run"], 0);
    assert_eq!(would["removed"].as_array().unwrap().len(), 0, "{would}");
    let next = archive.fill(&lab, Source::new(35, 1000), &["--keep-last", "1"]);
    let mut left = [future, next];
    left.sort();
    assert_eq!(archive.complete().into_keys().collect::<Vec<_>>(), left);
    assert!(!left.contains(&past));
}

/// Fault 51: a receiver whose session succeeds and whose pruning does not.
#[test]
fn pruning_that_fails_is_told_also_when_quiet_and_the_session_is_a_success() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let old = archive.fill(&lab, Source::new(36, 1000), &[]);
    let mut receiver =
        archive.recv(lab.host(1)).args(&["--keep-last", "1"]).env("MCAST_LOG", "mcast=info").start();
    let _strace = Injection::into(&receiver, "unlinkat:error=EACCES:when=1+");
    let mut sender = sends(&lab, &["-n", "1", "-l", "shop"], Source::new(37, 1000));
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    let said = receiver.stderr();
    let line =
        said.lines().find(|line| line.contains("could not be pruned")).unwrap_or_else(|| panic!("{said}"));
    // Lines of errors are those that -q leaves.
    assert!(line.contains("ERROR") && line.contains(&old) && line.contains("ermission denied"), "{line}");
    let error = receiver.report()["archive"]["prune_error"].as_str().unwrap().to_owned();
    assert!(error.contains(&old), "{error}");
    // It is none any more, and the next session removes the rest.
    assert_eq!(archive.states(), ["complete", "left over"]);
    archive.fill(&lab, Source::new(38, 1000), &[]);
    assert_eq!(archive.states(), ["complete", "complete"]);
}

/// Fault 51.
#[test]
fn droppings_of_a_file_server_stay_in_sight_and_keep_no_entry() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let old = archive.fill(&lab, Source::new(39, 1000), &[]);
    let entry = archive.only();
    fs::create_dir(entry.join("@eaDir")).unwrap();
    fs::write(entry.join("\u{1b}[2J"), "a name that clears a terminal").unwrap();
    let mut receiver = archive.recv(lab.host(1)).args(&["--keep-last", "1"]).start();
    let mut sender = sends(&lab, &["-n", "1", "-l", "shop"], Source::new(40, 1000));
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    assert_eq!(receiver.report()["archive"]["removed"][0], old.as_str());
    let remains = format!("{old}.remains");
    let said = receiver.stderr();
    assert!(said.contains(&remains) && !said.contains('\u{1b}'), "{said}");
    let mut left: Vec<_> = fs::read_dir(archive.path().join(&remains))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["\u{1b}[2J", "@eaDir"]);
    assert_eq!(archive.states(), ["complete"]);
    // By hand the same, in words.
    let name = archive.complete().into_keys().next().unwrap();
    fs::write(archive.path().join(&name).join(".DS_Store"), "dropping").unwrap();
    let shown = String::from_utf8(archive.ask("rm", &[&name], 0).stdout).unwrap();
    assert!(
        shown.contains(&format!("{name}: removed")) && shown.contains(&format!("{name}.remains: left")),
        "{shown}"
    );
}

/// Fault 52.
#[test]
fn watchdog_is_fed_while_one_entry_takes_long_to_remove() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let old = archive.fill(&lab, Source::new(41, 1000), &[]);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut receiver = archive
        .recv(lab.host(1))
        .args(&["--repeat", "--keep-last", "1"])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "1000000")
        .start();
    let strace = Injection::into(&receiver, "unlinkat:delay_enter=4000000:when=1");
    let mut sender = sends(&lab, &["-n", "1", "-l", "shop"], Source::new(42, 1000));
    sender.must_exit(&[0], PATIENCE);
    // An entry is removed under the name of a draft.
    let is_draft = |name: &String| name.starts_with(".mcast-");
    let is_removing = || {
        let names = archive.names();
        !names.contains(&old) && names.iter().any(is_draft)
    };
    assert!(comes_true(PATIENCE, is_removing));
    let mut buffer = [0; 256];
    while manager.recv(&mut buffer).is_ok() {}
    // Half a second apart, all within the one call.
    let mut fed = 0;
    assert!(comes_true(PATIENCE, || {
        if let Ok(length) = manager.recv(&mut buffer) {
            fed += usize::from(&buffer[..length] == b"WATCHDOG=1");
        }
        fed >= 4 || !is_removing()
    }));
    assert!(fed >= 4, "{fed}");
    drop(strace);
    // A signal meanwhile would be obeyed too.
    assert!(comes_true(PATIENCE, || archive.states() == ["complete"]));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
}
