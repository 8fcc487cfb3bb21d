//! What people and programs may have put into an archive: it is refused with a reason, or left alone, and nothing that it
//! points to is touched.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Error;
use super::directory::Directory;
use super::draft_name::draft_names;
use super::manifest::LARGEST_MANIFEST;
use super::name::EntryName;
use super::reader::Entry;
use super::sharing::add;
use super::shelf::{Item, State};
use super::store::{Draft, Store, Swept};

fn archive() -> (tempfile::TempDir, Directory) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    fs::create_dir(&path).unwrap();
    let archive = Directory::open(&path).unwrap();
    (directory, archive)
}

/// Every path below, links as links, with the content of files.
fn tree(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let content = if kind.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            found.push((entry.path(), content));
            if kind.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn look(archive: &Directory, name: &EntryName) -> State {
    Item::look(archive, name.clone()).unwrap().unwrap().state
}

fn damage(archive: &Directory, name: &EntryName) -> String {
    match look(archive, name) {
        State::Damaged(reason) => reason,
        state => panic!("{state:?}"),
    }
}

#[test]
fn what_nobody_of_ours_has_put_there_is_no_entry_and_is_left_alone() {
    let (directory, archive) = archive();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["manifest.json", "data", "precious"] {
        fs::write(outside.join(name), "precious").unwrap();
    }
    let root = archive.path();
    fs::write(root.join("notes.txt"), "notes").unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::create_dir(root.join("database")).unwrap();
    fs::write(root.join("database/data"), "of anything").unwrap();
    symlink(&outside, root.join("elsewhere")).unwrap();
    let drafts: Vec<_> = draft_names().take(3).map(|name| root.join(name)).collect();
    symlink(&outside, &drafts[0]).unwrap();
    fs::create_dir(&drafts[1]).unwrap();
    fs::write(drafts[1].join("precious"), "precious").unwrap();
    fs::create_dir(&drafts[2]).unwrap();
    symlink(outside.join("precious"), drafts[2].join("data")).unwrap();
    fs::create_dir(root.join(".mcast-x.part")).unwrap();
    let before = tree(directory.path());
    assert!(Item::all(&archive).unwrap().is_empty());
    assert!(archive.misnamed().unwrap().is_empty());
    for name in ["database", "elsewhere", "notes.txt", "missing"] {
        let name = EntryName::new(name).unwrap();
        assert!(matches!(archive.hold(&name), Err(Error::Missing(_))), "{name}");
        assert!(matches!(archive.remove(&name), Err(Error::Missing(_))), "{name}");
    }
    archive.drafts().unwrap();
    archive.sweep().unwrap();
    assert_eq!(tree(directory.path()), before);
}

/// A step that puts something in place of an entry, words of the reason that is given then, and whether `rm` removes it.
type Place<'a> = (&'a dyn Fn(&Path), &'a str, bool);

#[test]
fn name_of_an_entry_behind_which_there_is_none_is_told_and_kept_until_rm() {
    let (directory, archive) = archive();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("manifest.json"), "precious").unwrap();
    let places: [Place<'_>; 7] = [
        (&|entry| fs::create_dir(entry).unwrap(), "manifest.json is missing", true),
        (&|entry| fs::write(entry, "file").unwrap(), "it is a file and not a directory", false),
        (&|entry| symlink(&outside, entry).unwrap(), "it is a symbolic link and not a directory", false),
        (
            &|entry| {
                fs::create_dir(entry).unwrap();
                symlink(outside.join("manifest.json"), entry.join("manifest.json")).unwrap();
            },
            "manifest.json: it is a symbolic link",
            true,
        ),
        (
            &|entry| fs::create_dir_all(entry.join("manifest.json")).unwrap(),
            "manifest.json: it is not a file",
            true,
        ),
        (
            &|entry| {
                fs::create_dir(entry).unwrap();
                fs::write(entry.join("manifest.json"), "").unwrap();
            },
            "manifest.json is not a manifest",
            true,
        ),
        (
            &|entry| {
                fs::create_dir(entry).unwrap();
                fs::write(entry.join("data"), "stream").unwrap();
                fs::write(entry.join("SHA256SUMS"), "sums").unwrap();
            },
            "manifest.json is missing",
            true,
        ),
    ];
    for (number, (put, words, goes)) in places.into_iter().enumerate() {
        let name = EntryName::new(&format!("shop-2026030{}T010304Z", number + 1)).unwrap();
        put(&archive.path().join(name.as_str()));
        let reason = damage(&archive, &name);
        assert!(reason.contains(words), "{words}: {reason}");
        assert_eq!(archive.entries().unwrap(), [name.clone()]);
        assert_eq!(archive.sweep().unwrap(), Swept::default());
        let removed = archive.remove(&name);
        assert_eq!(removed.is_ok(), goes, "{words}: {removed:?}");
        if !goes {
            fs::remove_file(archive.path().join(name.as_str())).unwrap();
        }
        assert!(archive.entries().unwrap().is_empty(), "{words}");
    }
    // Files of others stay in sight, and nothing outside was touched.
    let left: Vec<_> = tree(archive.path()).into_iter().map(|(path, _)| path).collect();
    let remains = |name: &str| archive.path().join(format!("{name}.remains"));
    let (link, folder) = (remains("shop-20260304T010304Z"), remains("shop-20260305T010304Z"));
    assert_eq!(
        left,
        [link.clone(), link.join("manifest.json"), folder.clone(), folder.join("manifest.json")]
    );
    assert_eq!(fs::read(outside.join("manifest.json")).unwrap(), b"precious");
}

#[test]
fn renamed_entry_that_has_lost_its_manifest_is_a_damaged_entry() {
    let (_directory, archive) = archive();
    let name = add(&archive, "shop", 1, b"stream");
    let renamed = EntryName::new("before-migration").unwrap();
    let path = archive.path().join(renamed.as_str());
    fs::rename(archive.path().join(name.as_str()), &path).unwrap();
    assert!(matches!(look(&archive, &renamed), State::Complete(_)));
    fs::remove_file(path.join("manifest.json")).unwrap();
    assert_eq!(archive.entries().unwrap(), [renamed.clone()]);
    assert_eq!(damage(&archive, &renamed), "manifest.json is missing");
    // A name that no entry may have does not hide it.
    fs::rename(&path, archive.path().join("before the migration")).unwrap();
    assert!(archive.entries().unwrap().is_empty());
    assert_eq!(archive.misnamed().unwrap(), ["before the migration"]);
}

/// Fault 51.
#[test]
fn removed_entry_leaves_what_is_not_of_mcast_under_a_name_that_is_no_entry() {
    let (_directory, archive) = archive();
    let name = add(&archive, "shop", 1, b"stream");
    let entry = archive.path().join(name.as_str());
    fs::write(entry.join(".DS_Store"), "dropping").unwrap();
    fs::create_dir(entry.join("@eaDir")).unwrap();
    fs::write(entry.join("@eaDir/data@SynoEAStream"), "dropping").unwrap();
    assert!(matches!(look(&archive, &name), State::Complete(_)));
    let remains = archive.remove(&name).unwrap().remains.unwrap();
    assert_eq!(remains, format!("{name}.remains"));
    let left = [".DS_Store", "@eaDir", "@eaDir/data@SynoEAStream"]
        .map(|left| archive.path().join(&remains).join(left));
    let paths: Vec<_> = tree(archive.path()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [&[archive.path().join(&remains)][..], &left].concat());
    // It is neither an entry nor a draft, so nothing tries it again.
    assert_eq!(Item::all(&archive).unwrap(), []);
    assert_eq!(archive.drafts().unwrap(), []);
    assert_eq!(archive.sweep().unwrap(), Swept::default());
    assert!(matches!(archive.remove(&name), Err(Error::Missing(_))));
    assert_eq!(fs::read(&left[0]).unwrap(), b"dropping");
}

/// Fault 51, at what a dead process has left.
#[test]
fn swept_draft_leaves_what_is_not_of_mcast_in_sight() {
    let (_directory, archive) = archive();
    let draft = archive.path().join(draft_names().next().unwrap());
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join("manifest.json"), "").unwrap();
    fs::write(draft.join("data"), "half").unwrap();
    fs::write(draft.join(".DS_Store"), "dropping").unwrap();
    assert_eq!(archive.sweep().unwrap(), Swept { removed: 1, ..Swept::default() });
    let remains = archive.path().join("unfinished.remains");
    assert_eq!(
        tree(archive.path()),
        [(remains.clone(), vec![]), (remains.join(".DS_Store"), b"dropping".to_vec())]
    );
    assert_eq!(archive.sweep().unwrap(), Swept::default());
}

/// Fault 65.
#[test]
fn entry_and_draft_are_open_to_their_owner_only() {
    let (_directory, archive) = archive();
    let name = add(&archive, "shop", 1, b"stream");
    let mut draft = archive.begin().unwrap();
    draft.put("data").unwrap();
    for (path, _) in tree(archive.path()) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    drop(draft);
    archive.remove(&name).unwrap();
}

#[test]
fn draft_whose_place_was_taken_by_a_link_removes_nothing_behind_it() {
    let (directory, archive) = archive();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["manifest.json", "data"] {
        fs::write(outside.join(name), "precious").unwrap();
    }
    let mut draft = archive.begin().unwrap();
    draft.put("data").unwrap();
    let name = archive.drafts().unwrap().remove(0).name;
    fs::rename(archive.path().join(&name), directory.path().join("elsewhere")).unwrap();
    symlink(&outside, archive.path().join(&name)).unwrap();
    draft.put("SHA256SUMS").unwrap();
    drop(draft);
    for name in ["manifest.json", "data"] {
        assert_eq!(fs::read(outside.join(name)).unwrap(), b"precious");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    assert_eq!(fs::read_dir(directory.path().join("elsewhere")).unwrap().count(), 0);
}

/// What is done to an entry, and words of the reason that is given then.
type Change<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn whatever_has_become_of_an_entry_is_told_with_the_reason() {
    let (directory, archive) = archive();
    let secret = directory.path().join("secret");
    fs::write(&secret, "stream").unwrap();
    let changes: [Change<'_>; 10] = [
        ("data has 3 bytes instead of 6", &|entry| fs::write(entry.join("data"), "str").unwrap()),
        ("data is missing", &|entry| fs::remove_file(entry.join("data")).unwrap()),
        ("data: it is not a file", &|entry| {
            fs::remove_file(entry.join("data")).unwrap();
            symlink(&secret, entry.join("data")).unwrap();
        }),
        ("SHA256SUMS is missing", &|entry| fs::remove_file(entry.join("SHA256SUMS")).unwrap()),
        ("do not agree", &|entry| fs::write(entry.join("SHA256SUMS"), "").unwrap()),
        ("do not agree", &|entry| {
            let manifest = fs::read_to_string(entry.join("manifest.json")).unwrap();
            fs::write(entry.join("manifest.json"), manifest.replace("files", "filed")).unwrap();
        }),
        ("not a manifest", &|entry| fs::write(entry.join("manifest.json"), "{}").unwrap()),
        ("manifest.json: it has", &|entry| {
            let manifest = File::options().write(true).open(entry.join("manifest.json")).unwrap();
            manifest.set_len(LARGEST_MANIFEST + 1).unwrap();
        }),
        ("not a manifest", &|entry| {
            // As deep as a parser could be made to fall.
            fs::write(entry.join("manifest.json"), "[".repeat(1 << 20)).unwrap();
        }),
        ("symbolic link", &|entry| {
            fs::remove_file(entry.join("manifest.json")).unwrap();
            symlink("/dev/zero", entry.join("manifest.json")).unwrap();
        }),
    ];
    for (number, (words, change)) in changes.into_iter().enumerate() {
        let name = add(&archive, "shop", number as i64, b"stream");
        change(&archive.path().join(name.as_str()));
        let reason = damage(&archive, &name);
        assert!(reason.contains(words), "{words}: {reason}");
        assert!(matches!(Entry::<Directory>::open(&archive, &name), Err(Error::Damaged { .. })));
    }
    assert_eq!(fs::read(secret).unwrap(), b"stream");
}

#[test]
fn a_pipe_in_place_of_a_file_blocks_nobody() {
    let (_directory, archive) = archive();
    for (number, object) in ["manifest.json", "SHA256SUMS", "data"].into_iter().enumerate() {
        let name = add(&archive, "shop", number as i64, b"stream");
        let path = archive.path().join(name.as_str()).join(object);
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
        let reason = damage(&archive, &name);
        assert!(reason.contains(object) && reason.contains("not a file"), "{reason}");
    }
}

#[test]
fn a_bit_that_has_fallen_over_is_found_by_reading_and_only_by_that() {
    let (_directory, archive) = archive();
    let name = add(&archive, "shop", 1, b"stream");
    fs::write(archive.path().join(name.as_str()).join("data"), "strEam").unwrap();
    assert!(matches!(look(&archive, &name), State::Complete(_)));
    let entry: Entry<Directory> = Entry::open(&archive, &name).unwrap();
    for error in [entry.copy(|_| Ok(())).map(|_| ()).unwrap_err(), entry.verify_piece(0).unwrap_err()] {
        assert!(error.to_string().contains("data is not what was written"), "{error}");
    }
}
