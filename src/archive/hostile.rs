//! What people and programs may have put into an archive: it is refused with a reason, or left alone, and nothing that it
//! points to is touched.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Error;
use super::directory::Directory;
use super::manifest::LARGEST_MANIFEST;
use super::name::EntryName;
use super::reader::Entry;
use super::sharing::add;
use super::shelf::{Item, State};
use super::store::Store;

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
    fs::create_dir(root.join("shop-20260301T010304Z")).unwrap();
    fs::write(root.join("shop-20260301T010304Z/data"), "no manifest").unwrap();
    symlink(&outside, root.join("shop-20260302T010304Z")).unwrap();
    symlink(&outside, root.join(".mcast-1-0.part")).unwrap();
    fs::create_dir(root.join(".mcast-2-0.part")).unwrap();
    fs::write(root.join(".mcast-2-0.part/precious"), "precious").unwrap();
    fs::create_dir(root.join(".mcast-3-0.part")).unwrap();
    symlink(outside.join("precious"), root.join(".mcast-3-0.part/data")).unwrap();
    fs::create_dir(root.join(".mcast-x.part")).unwrap();
    let mut before = tree(directory.path());
    assert!(Item::all(&archive).unwrap().is_empty());
    for name in ["shop-20260301T010304Z", "shop-20260302T010304Z", "notes.txt", "missing"] {
        let name = EntryName::new(name).unwrap();
        assert!(matches!(archive.hold(&name), Err(Error::Missing(_))), "{name}");
        assert!(matches!(archive.remove(&name), Err(Error::Missing(_))), "{name}");
    }
    archive.drafts().unwrap();
    archive.sweep().unwrap();
    // What is called like a draft, and has no manifest, has got an empty one while it was looked at.
    let mut after = tree(directory.path());
    let is_empty_manifest =
        |(path, content): &(PathBuf, Vec<u8>)| path.ends_with("manifest.json") && content.is_empty();
    after.retain(|entry| !is_empty_manifest(entry));
    before.retain(|entry| !is_empty_manifest(entry));
    assert_eq!(after, before);
}

#[test]
fn an_entry_with_something_else_in_it_is_shown_and_not_removed() {
    let (_directory, archive) = archive();
    let name = add(&archive, "shop", 1, b"stream");
    let stranger = archive.path().join(name.as_str()).join("README");
    fs::write(&stranger, "keep this").unwrap();
    assert!(matches!(look(&archive, &name), State::Complete(_)));
    let error = archive.remove(&name).unwrap_err().to_string();
    assert!(error.contains("README") && error.contains("move it away"), "{error}");
    fs::remove_file(stranger).unwrap();
    archive.remove(&name).unwrap();
    assert_eq!(tree(archive.path()), []);
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
        ("data:", &|entry| fs::remove_file(entry.join("data")).unwrap()),
        ("data: it is no file", &|entry| {
            fs::remove_file(entry.join("data")).unwrap();
            symlink(&secret, entry.join("data")).unwrap();
        }),
        ("SHA256SUMS:", &|entry| fs::remove_file(entry.join("SHA256SUMS")).unwrap()),
        ("do not agree", &|entry| fs::write(entry.join("SHA256SUMS"), "").unwrap()),
        ("do not agree", &|entry| {
            let manifest = fs::read_to_string(entry.join("manifest.json")).unwrap();
            fs::write(entry.join("manifest.json"), manifest.replace("files", "filed")).unwrap();
        }),
        ("no manifest", &|entry| fs::write(entry.join("manifest.json"), "{}").unwrap()),
        ("manifest.json has", &|entry| {
            let manifest = File::options().write(true).open(entry.join("manifest.json")).unwrap();
            manifest.set_len(LARGEST_MANIFEST + 1).unwrap();
        }),
        ("no manifest", &|entry| {
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
        assert!(reason.contains(object) && reason.contains("no file"), "{reason}");
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
