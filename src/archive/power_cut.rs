//! Entries on a file system that loses what was not synced, and fails when it is told to.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::directory::Directory;
use super::draft::DirectoryDraft;
use super::manifest::{Heading, Timestamp};
use super::name::EntryName;
use super::reader::Entry;
use super::shelf::{Item, State};
use super::store::{DraftState, Store};
use super::writer::EntryWriter;
use crate::disk::FileMode;
use crate::disk::power_cut::{Frail, ROOT, World};
use crate::session::StreamDigest;

const STREAM: [&[u8]; 3] = [b"the first part, ", b"the second, ", b"the end"];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What an archive does with a session from its first step to its last.
fn archive(disk: &Frail, piece_size: Option<u64>) -> io::Result<EntryName> {
    let heading = Heading {
        label: "shop".to_owned(),
        session: "00".repeat(16),
        sender: "192.0.2.1:7767".to_owned(),
        source: Some("db1".to_owned()),
        receiver: "files".to_owned(),
        started: at("2026-03-01T01:03:04Z"),
    };
    let draft = DirectoryDraft::begin(disk.clone(), Path::new(ROOT), FileMode::new(0o640))?;
    let mut writer = EntryWriter::on(draft, heading, piece_size)?;
    let mut digest = StreamDigest::default();
    for part in STREAM {
        digest.update(part);
        writer.write_all(&mut [IoSlice::new(part)])?;
    }
    writer.finish(digest.end(), at("2026-03-01T01:04:00Z"), &AtomicBool::new(false))
}

/// Puts into a real directory what is there after the power has come back, and looks at it as users do.
fn inspect(world: &World) -> (tempfile::TempDir, Vec<Item>) {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in world {
        let path = directory.path().join(path.strip_prefix(ROOT).unwrap());
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::create_dir(path).unwrap(),
        }
    }
    let items = Item::all(&Directory::open(directory.path()).unwrap()).unwrap();
    (directory, items)
}

fn content(archive: &Directory, name: &EntryName) -> Vec<u8> {
    let mut stream = Vec::new();
    let entry: Entry<Directory> = Entry::open(archive, name).unwrap();
    entry
        .copy(|bytes| {
            stream.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    stream
}

fn every_way(mut check: impl FnMut(Option<u64>, u32)) {
    for piece_size in [None, Some(10)] {
        let disk = Frail::new(true);
        archive(&disk, piece_size).unwrap();
        assert!(disk.steps() >= 14, "{} steps", disk.steps());
        check(piece_size, disk.steps());
    }
}

/// Fault 28.
#[test]
fn a_power_cut_at_any_step_leaves_a_whole_entry_or_none_and_what_is_left_is_cleared_away() {
    every_way(|piece_size, steps| {
        for off_at in 0..=steps {
            let disk = Frail::new(true);
            disk.off_at(off_at);
            let confirmed = archive(&disk, piece_size).is_ok();
            assert_eq!(confirmed, off_at == steps);
            let worlds: BTreeSet<_> = disk.after_power_cut().into_iter().collect();
            for world in worlds {
                let (directory, items) = inspect(&world);
                let archive = Directory::open(directory.path()).unwrap();
                for item in &items {
                    assert!(matches!(item.state, State::Complete(_)), "off at step {off_at}: {item:?}");
                    assert_eq!(content(&archive, &item.name), STREAM.concat(), "off at step {off_at}");
                }
                assert!(
                    items.len() <= 1 && (items.len() == 1 || !confirmed),
                    "off at step {off_at}: {world:?}"
                );
                archive.sweep().unwrap();
                assert_eq!(fs::read_dir(directory.path()).unwrap().count(), items.len(), "{world:?}");
            }
        }
    });
}

/// Faults 18 and 48.
#[test]
fn a_step_that_fails_leaves_no_entry_and_nothing_beside_it_or_the_whole_stream_kept() {
    use io::ErrorKind::{Other, QuotaExceeded, StorageFull};
    every_way(|piece_size, steps| {
        let mut kept = 0;
        for fails_at in 0..steps {
            for kind in [StorageFull, QuotaExceeded, Other] {
                let disk = Frail::new(true);
                disk.fails_at(fails_at, kind);
                let error = archive(&disk, piece_size).unwrap_err();
                assert_eq!(error.kind(), kind, "step {fails_at}: {error}");
                if disk.now() == World::new() {
                    continue;
                }
                // The directory could not get its name, or the name did not get to the disk.
                kept += 1;
                assert!(fails_at + 2 >= steps, "step {fails_at}");
                let (directory, items) = inspect(&disk.now());
                assert_eq!(items, []);
                let archive = Directory::open(directory.path()).unwrap();
                let draft = archive.drafts().unwrap().remove(0);
                assert_eq!(draft.state, DraftState::Kept);
                assert_eq!(archive.sweep().unwrap().kept, [draft.name.as_str()]);
                // The command in the message makes it an entry.
                let to = EntryName::new("shop-20260301T010304Z").unwrap();
                let [from, to_path] = [&draft.name, to.as_str()].map(|name| format!("{ROOT}/{name}"));
                let told = format!("kept in \"{from}\"; mv it to \"{to_path}\"");
                assert!(error.to_string().contains(&told), "{error}");
                fs::rename(directory.path().join(&draft.name), directory.path().join(to.as_str())).unwrap();
                assert_eq!(content(&archive, &to), STREAM.concat());
                assert_eq!(archive.remove(&to).unwrap().remains, None);
                assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
            }
        }
        assert_eq!(kept, 6);
    });
}

/// A disk that is full or read-only refuses the mark too.
#[test]
fn whole_stream_that_can_be_neither_named_nor_marked_is_left_and_the_message_says_where() {
    every_way(|piece_size, steps| {
        for fails_from in [steps - 2, steps - 1] {
            let disk = Frail::new(true);
            disk.fails_from(fails_from, io::ErrorKind::StorageFull);
            let error = archive(&disk, piece_size).unwrap_err().to_string();
            let (directory, items) = inspect(&disk.now());
            let archive = Directory::open(directory.path()).unwrap();
            let to = EntryName::new("shop-20260301T010304Z").unwrap();
            if fails_from == steps - 2 {
                let draft = archive.drafts().unwrap().remove(0);
                let told = format!("kept in \"{ROOT}/{}\"; mv it to \"{ROOT}/{to}\"", draft.name);
                assert!(error.contains(&told) && error.contains("before the next session"), "{error}");
                fs::rename(directory.path().join(&draft.name), directory.path().join(to.as_str())).unwrap();
            } else {
                // It has its name, which could not be taken back.
                assert!(items.len() == 1 && error.contains(&format!("{ROOT}/{to}")), "{error}");
            }
            assert_eq!(content(&archive, &to), STREAM.concat());
        }
    });
}
