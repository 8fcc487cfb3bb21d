//! Which key a program uses: from the flag, the environment, systemd, or the one place in /etc.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zeroize::Zeroizing;

use super::error::Failure;
use crate::exit::Exit;
use crate::seal::{GroupKey, Secret};

/// The key file that is used where none is named, if it exists.
pub const DEFAULT_KEY_FILE: &str = "/etc/mcast/key";

/// Where keys are to be read from. Which of them exist shows when they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// Nowhere: plain mode.
    #[default]
    None,
    /// From these files, or all files of these directories.
    Files(Vec<PathBuf>),
    /// From the file that systemd provides for this service.
    Credential(PathBuf),
}

impl KeySource {
    /// Reads the one key that a sender uses; `None` in plain mode.
    ///
    /// # Errors
    /// With exit code 7 and the remedy, when there is none, more than one, or one that others can read.
    pub fn one(&self) -> Result<Option<GroupKey>, Failure> {
        let mut keys = self.all()?;
        match (keys.pop(), keys.is_empty()) {
            (key, true) => Ok(key),
            _ => Err(refused(format!(
                "a sender uses one key, and {} were given; name one file with --key-file",
                keys.len() + 1
            ))),
        }
    }

    /// Reads all keys that a receiver accepts; empty in plain mode. From the first key on, this process leaves no core
    /// dump and lets no other of the same user look into its memory.
    ///
    /// # Errors
    /// With exit code 7 and the remedy, when there is none where one was named, or one that others can read.
    pub fn all(&self) -> Result<Vec<GroupKey>, Failure> {
        let files = match self {
            Self::None => return Ok(Vec::new()),
            Self::Credential(path) => vec![path.clone()],
            Self::Files(paths) => {
                let mut files = Vec::new();
                for path in paths {
                    if path.is_dir() { files.extend(files_in(path)?) } else { files.push(path.clone()) }
                }
                files
            }
        };
        if files.len() > MOST_KEYS {
            return Err(refused(format!("{} key files are too many; keep {MOST_KEYS} at most", files.len())));
        }
        hide_memory();
        // The service manager guards its directory, and lets the service in by an access list, which shows as group.
        let forbidden = if matches!(self, Self::Credential(_)) { 0o007 } else { 0o077 };
        let mut keys: Vec<GroupKey> = Vec::new();
        for file in &files {
            let key = read(file, forbidden)?;
            tracing::debug!(id = %key.id(), file = %file.display(), "key");
            if keys.iter().all(|other| other.id() != key.id()) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// From here on, this process leaves no core dump, and no other of the same user may look into its memory.
pub(super) fn hide_memory() {
    // Fails only on systems that do not know the call, which Linux does.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// The files of a directory of keys, in the order of their names; those whose names begin with a dot are left alone.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error: io::Error| {
        refused(format!(
            "cannot list key directory \"{}\": {error}; check its owner and mode",
            directory.display()
        ))
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && !path.is_dir() {
            files.push(path);
        }
        // More than may be used need not all be remembered.
        if files.len() > MOST_KEYS {
            break;
        }
    }
    if files.is_empty() {
        return Err(refused(format!("no key file in \"{}\"; mcast keygen makes one", directory.display())));
    }
    files.sort();
    Ok(files)
}

/// Reads a key file that must have none of these permissions.
fn read(path: &Path, forbidden: u32) -> Result<GroupKey, Failure> {
    let cannot = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "mcast keygen makes one",
            _ => "it must belong to the user that runs this; --no-key goes without",
        };
        refused(format!("cannot read key file \"{}\": {error}; {remedy}", path.display()))
    };
    // Not blocking: a pipe without a writer would hold the program up for ever.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let file =
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| cannot(errno.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(refused(format!(
            "\"{}\" is no file; name a key file made by mcast keygen",
            path.display()
        )));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        let path = path.display();
        return Err(refused(format!(
            "key file \"{path}\" has mode {mode:04o}: others may have read it; chmod 600 it, and make a new key if they should not have"
        )));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
    file.take(MOST_BYTES as u64).read_to_end(&mut text).map_err(cannot)?;
    let secret = Secret::parse(&text)
        .map_err(|error| refused(format!("key file \"{}\" cannot be used: {error}", path.display())))?;
    Ok(GroupKey::new(&secret))
}

fn refused(message: String) -> Failure {
    Failure::new(Exit::Authentication, message)
}

/// Keys that a receiver accepts, at most: one in use and a few that come and go.
const MOST_KEYS: usize = 64;
/// A key file is much shorter; what is longer is none.
const MOST_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::keygen;

    /// A directory, and files in it with these names and contents that only their owner can read.
    fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        directory
    }

    fn key_text(byte: u8) -> Vec<u8> {
        Secret::new(Zeroizing::new([byte; 32])).to_text().as_bytes().to_vec()
    }

    #[test]
    fn bad_key_files_are_refused_with_exit_code_7_the_file_and_the_remedy() {
        let good = key_text(1);
        let crlf = [&good[..good.len() - 1], b"\r\n"].concat();
        let files = directory(&[
            ("good", &good),
            ("empty", b""),
            ("cut", &good[..30]),
            ("crlf", &crlf),
            ("huge", &[b'a'; 100_000]),
            ("other", b"-----BEGIN PRIVATE KEY-----\n"),
        ]);
        let at = |name: &str| KeySource::Files(vec![files.path().join(name)]);
        assert!(at("good").one().unwrap().is_some());
        for (name, remedy) in [
            ("empty", "mcast keygen"),
            ("cut", "copy it again"),
            ("crlf", "CRLF"),
            ("huge", "mcast keygen"),
            ("other", "mcast keygen"),
            ("missing", "mcast keygen"),
        ] {
            let failure = at(name).one().unwrap_err();
            assert_eq!(failure.exit, Exit::Authentication, "{failure}");
            assert!(failure.message.contains(remedy) && failure.message.contains(name), "{failure}");
        }
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
            fs::set_permissions(files.path().join("good"), fs::Permissions::from_mode(mode)).unwrap();
            let failure = at("good").one().unwrap_err();
            assert!(
                failure.exit == Exit::Authentication && failure.message.contains("chmod 600"),
                "{failure}"
            );
        }
        // What systemd shares with a service by an access list looks as if the group could read it.
        fs::set_permissions(files.path().join("good"), fs::Permissions::from_mode(0o440)).unwrap();
        assert!(KeySource::Credential(files.path().join("good")).one().is_ok());
        assert!(at(".").one().is_err(), "a directory of several keys is no sender's");
        assert!(KeySource::Files(vec!["/dev/null".into()]).one().is_err());
    }

    #[test]
    fn a_receiver_takes_all_keys_of_a_directory_and_a_sender_one() {
        let files = directory(&[("a", &key_text(1)), ("b", &key_text(2)), ("c", &key_text(1)), (".d", b"")]);
        let source = KeySource::Files(vec![files.path().to_owned()]);
        assert_eq!(source.all().unwrap().len(), 2);
        let failure = source.one().unwrap_err();
        assert!(failure.exit == Exit::Authentication && failure.message.contains("--key-file"), "{failure}");
        let empty = directory(&[]);
        assert!(KeySource::Files(vec![empty.path().to_owned()]).all().is_err());
        keygen::run(Some(empty.path().join("key"))).unwrap();
        assert!(KeySource::Files(vec![empty.path().to_owned()]).one().unwrap().is_some());
    }
}
