//! Several processes at one archive: what one works on, no other removes, and nobody waits.

use std::fs::{self, File, FileTimes};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::Error;
use super::directory::{Directory, UNTOUCHED};
use super::draft_name::draft_names;
use super::manifest::{Heading, Timestamp};
use super::name::EntryName;
use super::shelf::{Item, State};
use super::store::{Draft, DraftState, MANIFEST, Store, Swept, Unfinished};
use super::writer::EntryWriter;
use crate::session::StreamDigest;

fn begin(archive: &Directory, label: &str, started: i64) -> EntryWriter<super::draft::DirectoryDraft> {
    let heading = Heading {
        label: label.to_owned(),
        session: "00".repeat(16),
        sender: "192.0.2.1:7767".to_owned(),
        source: Some("db1".to_owned()),
        receiver: "files".to_owned(),
        started: Timestamp::from_second(1_772_000_000 + started).unwrap(),
    };
    EntryWriter::on(archive.begin().unwrap(), heading, None).unwrap()
}

/// An entry of this stream.
pub(crate) fn add(archive: &Directory, label: &str, started: i64, stream: &[u8]) -> EntryName {
    let mut writer = begin(archive, label, started);
    writer.write_all(&mut [IoSlice::new(stream)]).unwrap();
    let mut digest = StreamDigest::default();
    digest.update(stream);
    let finished = Timestamp::from_second(1_772_000_060 + started).unwrap();
    let name = writer.finish(digest.end(), finished, &AtomicBool::new(false)).unwrap();
    // Tests beside this one start commands, and a child has copies of our locks until it has become another program.
    let mut looks = 0..100_000;
    while matches!(archive.hold(&name), Err(Error::InUse(_))) && looks.next().is_some() {
        thread::yield_now();
    }
    name
}

fn archive() -> (tempfile::TempDir, Directory) {
    let directory = tempfile::tempdir().unwrap();
    let archive = Directory::open(directory.path()).unwrap();
    (directory, archive)
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_in_the_making_is_shown_as_that_and_never_cleared_away() {
    let (directory, archive) = archive();
    let mut writer = begin(&archive, "shop", 1);
    writer.write_all(&mut [IoSlice::new(b"half a ")]).unwrap();
    assert_eq!(archive.sweep().unwrap(), Swept::default());
    assert!(matches!(
        archive.drafts().unwrap().as_slice(),
        [Unfinished { bytes: 7, state: DraftState::Running, .. }]
    ));
    assert!(archive.entries().unwrap().is_empty());
    drop(writer);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn what_a_dead_process_has_left_is_shown_as_that_and_cleared_away_at_any_stage() {
    let (directory, archive) = archive();
    for (name, objects) in draft_names().zip([
        &[][..],
        &[MANIFEST],
        &[MANIFEST, "data"],
        &["data"],
        &[MANIFEST, "data.000000", "SHA256SUMS"],
    ]) {
        let draft = directory.path().join(name);
        fs::create_dir(&draft).unwrap();
        objects.iter().for_each(|object| fs::write(draft.join(object), "half").unwrap());
        assert!(archive.drafts().unwrap().iter().all(|draft| draft.state == DraftState::LeftOver));
    }
    assert_eq!(archive.drafts().unwrap().len(), 5);
    assert_eq!(archive.sweep().unwrap(), Swept { removed: 5, ..Swept::default() });
    assert!(names(directory.path()).is_empty());
}

/// Makes all that is in a draft, and the draft itself, look as if it had been written so many seconds ago.
fn age(draft: &Path, seconds: u64) {
    // The clock of the file system, as the archive asks it.
    let now = tempfile::tempfile().unwrap().metadata().unwrap().modified().unwrap();
    let then = FileTimes::new().set_modified(now - Duration::from_secs(seconds));
    for object in fs::read_dir(draft).unwrap() {
        File::options().write(true).open(object.unwrap().path()).unwrap().set_times(then).unwrap();
    }
    File::open(draft).unwrap().set_times(then).unwrap();
}

/// Fault 50.
#[test]
fn draft_of_another_host_is_swept_only_when_it_has_not_changed_for_long() {
    const LONG: u64 = UNTOUCHED.as_secs();
    let (directory, archive) = archive();
    for (name, old, young) in
        [(".mcast-123456789abc-7-0.part", LONG + 60, LONG - 60), (".mcast-7-0.part", LONG + 60, 0)]
    {
        let draft = directory.path().join(name);
        fs::create_dir(&draft).unwrap();
        for object in [MANIFEST, "data"] {
            fs::write(draft.join(object), "half").unwrap();
        }
        age(&draft, young);
        assert_eq!(archive.sweep().unwrap(), Swept::default(), "{name}");
        // One object that grows is enough.
        age(&draft, old);
        fs::write(draft.join("data"), "half and more").unwrap();
        assert_eq!(archive.sweep().unwrap(), Swept::default(), "{name}");
        assert_eq!(archive.drafts().unwrap()[0].state, DraftState::Elsewhere);
        // A lock that reaches here says more than any time.
        age(&draft, old);
        let manifest = File::open(draft.join(MANIFEST)).unwrap();
        rustix::fs::flock(&manifest, FlockOperation::NonBlockingLockShared).unwrap();
        assert_eq!(archive.sweep().unwrap(), Swept::default(), "{name}");
        drop(manifest);
        assert_eq!(archive.sweep().unwrap(), Swept { removed: 1, ..Swept::default() }, "{name}");
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn trial_of_an_archive_leaves_nothing_and_disturbs_no_draft() {
    let (directory, archive) = archive();
    let mut writer = begin(&archive, "shop", 1);
    let before = names(directory.path());
    archive.try_out().unwrap();
    assert_eq!(names(directory.path()), before);
    writer.write_all(&mut [IoSlice::new(b"stream")]).unwrap();
    drop(writer);
    assert!(names(directory.path()).is_empty());
    fs::remove_dir(directory.path()).unwrap();
    assert_eq!(archive.try_out().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn an_entry_that_somebody_reads_is_not_removed() {
    let (directory, archive) = archive();
    let name = add(&archive, "shop", 1, b"stream");
    let held = archive.hold(&name).unwrap();
    // Several may read.
    let other = archive.hold(&name).unwrap();
    assert!(matches!(archive.remove(&name), Err(Error::InUse(_))));
    drop((held, other));
    archive.remove(&name).unwrap();
    assert!(matches!(archive.hold(&name), Err(Error::Missing(_))));
    assert!(names(directory.path()).is_empty());
}

#[test]
fn receivers_of_one_session_that_share_an_archive_each_make_an_entry() {
    let (directory, archive) = archive();
    let made = [1, 2, 3].map(|_| add(&archive, "shop", 1, b"stream").to_string());
    assert_eq!(made[1..], [2, 3].map(|number| format!("{}-{number}", made[0])));
    assert_eq!(names(directory.path()), made);
}

#[test]
fn a_stream_that_is_given_up_gets_no_name() {
    let (directory, archive) = archive();
    let mut draft = archive.begin().unwrap();
    draft.put("data").unwrap();
    let names_for = EntryName::new("shop").into_iter();
    assert!(draft.finish(names_for, b"{}", &AtomicBool::new(true)).is_err());
    assert!(names(directory.path()).is_empty());
}

#[test]
fn whoever_clears_away_and_removes_all_the_time_takes_nothing_that_others_make() {
    const EACH: i64 = 60;
    let (directory, archive) = archive();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    archive.sweep().unwrap();
                    archive.drafts().unwrap();
                    for name in archive.entries().unwrap() {
                        if name.as_str().starts_with("gone-") {
                            // The other one may have been faster.
                            let _ = archive.remove(&name);
                        }
                    }
                }
            });
        }
        let makers = ["shop", "crm", "gone"].map(|label| {
            let archive = &archive;
            scope.spawn(move || (0..EACH).for_each(|start| _ = add(archive, label, start, b"stream")))
        });
        let made = makers.map(|maker| maker.join());
        stop.store(true, Ordering::SeqCst);
        assert!(made.iter().all(Result::is_ok));
    });
    let items = Item::all(&archive).unwrap();
    assert!(items.iter().all(|item| matches!(item.state, State::Complete(_))));
    let stays = |item: &&Item| !item.name.as_str().starts_with("gone-");
    assert_eq!(items.iter().filter(stays).count() as i64, 2 * EACH);
    for name in archive.entries().unwrap() {
        archive.remove(&name).unwrap();
    }
    archive.sweep().unwrap();
    assert!(names(directory.path()).is_empty(), "{:?}", names(directory.path()));
}
