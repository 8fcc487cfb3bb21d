//! Which key a program uses: from the flag, the environment, systemd, or the one place in /etc.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zeroize::Zeroizing;

use super::args::path;
use super::error::Failure;
use crate::exit::Exit;
use crate::seal::{Accept, GroupKey, Seal, Secret};

/// The key file that is used where none is named, if it exists.
pub const DEFAULT_KEY_FILE: &str = "/etc/mcast/key";

/// Whether there is a key, and where it is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Trust")]
pub(super) struct KeyArgs {
    /// Key file made by mcast keygen: all traffic is encrypted and authenticated. A receiver takes several, or a
    /// directory of them [default: $CREDENTIALS_DIRECTORY/mcast-key or /etc/mcast/key, if there is one]
    #[arg(short, long, env = "MCAST_KEY_FILE", value_name = "PATH", value_parser = path(), action = ArgAction::Append)]
    key_file: Vec<PathBuf>,

    /// No key, even where there is one: anyone on the network can read and disturb
    #[arg(long, env = "MCAST_NO_KEY", value_parser = BoolishValueParser::new())]
    no_key: bool,
}

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

impl KeyArgs {
    pub(super) fn config(self) -> Result<KeySource, Failure> {
        self.choose(std::env::var_os("CREDENTIALS_DIRECTORY"), Path::new(DEFAULT_KEY_FILE))
    }

    fn choose(self, credentials: Option<OsString>, default: &Path) -> Result<KeySource, Failure> {
        match (self.no_key, self.key_file.as_slice()) {
            (true, []) => return Ok(KeySource::None),
            (true, [file, ..]) => {
                return Err(Failure::usage(format!(
                    "--no-key and --key-file {} exclude each other; leave out one of them, or unset its variable \
                     (MCAST_NO_KEY, MCAST_KEY_FILE)",
                    file.display()
                )));
            }
            (false, []) => {}
            (false, _) => return Ok(KeySource::Files(self.key_file)),
        }
        if let Some(directory) = credentials.filter(|directory| !directory.is_empty()) {
            let path = Path::new(&directory).join("mcast-key");
            if is_there(&path) {
                return Ok(KeySource::Credential(path));
            }
        }
        Ok(if is_there(default) { KeySource::Files(vec![default.to_owned()]) } else { KeySource::None })
    }
}

/// Whether something has that name. What cannot be looked at counts as there: reading it then fails with a message,
/// instead of the session going on without a key.
fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path)
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

impl KeySource {
    /// Reads the one key by which a sender seals.
    ///
    /// # Errors
    /// With exit code 7 and the remedy, when there is none where one was named, more than one, or one that others can
    /// read.
    pub fn seal(&self) -> Result<Seal, Failure> {
        let Some(keys) = self.read_all()? else { return Ok(Seal::Crc) };
        match <[GroupKey; 1]>::try_from(keys) {
            Ok([key]) => Ok(Seal::Aead(key)),
            Err(keys) => Err(refused(format!(
                "a sender uses one key, and {} were given; name one file with --key-file",
                keys.len()
            ))),
        }
    }

    /// Reads all keys that a receiver accepts.
    ///
    /// # Errors
    /// With exit code 7 and the remedy, when there is none where one was named, or one that others can read.
    pub fn accept(&self) -> Result<Accept, Failure> {
        Ok(self.read_all()?.map_or(Accept::Crc, Accept::Aead))
    }

    /// `None` in plain mode.
    fn read_all(&self) -> Result<Option<Vec<GroupKey>>, Failure> {
        let files = match self {
            Self::None => {
                tracing::warn!(
                    "no key: anyone on this network can read and forge this session; mcast keygen makes a key"
                );
                return Ok(None);
            }
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
        Ok(Some(keys))
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

    fn args(key_file: &[&Path], no_key: bool) -> KeyArgs {
        KeyArgs { key_file: key_file.iter().map(|path| (*path).to_owned()).collect(), no_key }
    }

    fn key_text(byte: u8) -> Vec<u8> {
        Secret::new([byte; 32]).to_text().as_bytes().to_vec()
    }

    fn files(paths: &[&Path]) -> KeySource {
        KeySource::Files(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn the_flag_comes_before_systemd_and_systemd_before_etc() {
        let credentials = directory(&[("mcast-key", b"")]);
        let etc = directory(&[("key", b"")]);
        let (default, given) = (etc.path().join("key"), Path::new("given"));
        let directory = || Some(credentials.path().as_os_str().to_owned());
        let chosen = |args: KeyArgs, credentials| args.choose(credentials, &default).unwrap();
        assert_eq!(chosen(args(&[given], false), directory()), files(&[given]));
        let credential = KeySource::Credential(credentials.path().join("mcast-key"));
        assert_eq!(chosen(args(&[], false), directory()), credential);
        assert_eq!(chosen(args(&[], false), Some(etc.path().into())), files(&[&default]));
        assert_eq!(chosen(args(&[], false), None), files(&[&default]));
        assert_eq!(chosen(args(&[], true), directory()), KeySource::None);
        let nowhere = etc.path().join("missing/key");
        assert_eq!(args(&[], false).choose(None, &nowhere).unwrap(), KeySource::None);
        let contradiction = args(&[given], true).choose(None, &nowhere).unwrap_err();
        assert_eq!(contradiction.exit, Exit::Usage);
    }

    #[test]
    fn a_key_file_that_is_there_and_cannot_be_used_never_means_plain_mode() {
        let etc = directory(&[("key", b"")]);
        let dangling = etc.path().join("dangling");
        std::os::unix::fs::symlink("nothing", &dangling).unwrap();
        for path in [etc.path().join("key"), dangling] {
            let source = args(&[], false).choose(None, &path).unwrap();
            assert_eq!(source.seal().unwrap_err().exit, Exit::Authentication, "{}", path.display());
        }
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
        assert!(at("good").seal().is_ok());
        for (name, remedy) in [
            ("empty", "mcast keygen"),
            ("cut", "copy it again"),
            ("crlf", "CRLF"),
            ("huge", "mcast keygen"),
            ("other", "mcast keygen"),
            ("missing", "mcast keygen"),
        ] {
            let failure = at(name).seal().unwrap_err();
            assert_eq!(failure.exit, Exit::Authentication, "{failure}");
            assert!(failure.message.contains(remedy) && failure.message.contains(name), "{failure}");
        }
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
            fs::set_permissions(files.path().join("good"), fs::Permissions::from_mode(mode)).unwrap();
            let failure = at("good").seal().unwrap_err();
            assert!(
                failure.exit == Exit::Authentication && failure.message.contains("chmod 600"),
                "{failure}"
            );
        }
        // What systemd shares with a service by an access list looks as if the group could read it.
        fs::set_permissions(files.path().join("good"), fs::Permissions::from_mode(0o440)).unwrap();
        assert!(KeySource::Credential(files.path().join("good")).seal().is_ok());
        assert!(at(".").seal().is_err(), "a directory of several keys is no sender's");
        assert!(KeySource::Files(vec!["/dev/null".into()]).seal().is_err());
    }

    #[test]
    fn a_receiver_takes_all_keys_of_a_directory_and_a_sender_one() {
        let files = directory(&[("a", &key_text(1)), ("b", &key_text(2)), ("c", &key_text(1)), (".d", b"")]);
        let source = KeySource::Files(vec![files.path().to_owned()]);
        assert!(matches!(source.accept(), Ok(Accept::Aead(keys)) if keys.len() == 2));
        let failure = source.seal().unwrap_err();
        assert!(failure.exit == Exit::Authentication && failure.message.contains("--key-file"), "{failure}");
        let empty = directory(&[]);
        assert!(KeySource::Files(vec![empty.path().to_owned()]).accept().is_err());
        keygen::run(Some(empty.path().join("key"))).unwrap();
        assert!(
            KeySource::Files(vec![empty.path().to_owned()]).seal().is_ok_and(|seal| seal.key().is_some())
        );
    }
}
