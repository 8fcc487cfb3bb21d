//! Which key a program uses: from the flag, the environment, systemd, or the one place in /etc.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};
use zeroize::Zeroizing;

use super::args::path;
use super::environment::Environment;
use super::error::{Failure, visible};
use super::values::first_repeated;
use crate::exit::Exit;
use crate::seal::{Accept, GroupKey, Seal, Secret};

/// The key file that is used where none is named, if it exists.
pub const DEFAULT_KEY_FILE: &str = "/etc/mcast/key";

/// Whether there is a key, and where it is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Trust")]
pub(super) struct KeyArgs {
    /// Key file made by mcast keygen [default: /etc/mcast/key, if it exists]
    #[arg(short, long, long_help = "Key file made by mcast keygen: all traffic is encrypted and authenticated. A receiver accepts several, or a directory of them [default: $CREDENTIALS_DIRECTORY/mcast-key or /etc/mcast/key, if one of them exists]", env = "MCAST_KEY_FILE", value_name = "PATH", value_parser = path(), action = ArgAction::Append)]
    key_file: Vec<PathBuf>,

    /// Use no key: anyone on the network can read and disturb
    #[arg(long, long_help = "Use no key, even where there is one: anyone on the network can read and disturb", env = "MCAST_NO_KEY", value_parser = BoolishValueParser::new())]
    no_key: bool,

    /// Refuse to run without a key, instead of continuing without encryption
    #[arg(long, env = "MCAST_REQUIRE_KEY", value_parser = BoolishValueParser::new())]
    require_key: bool,
}

/// Where keys are to be read from. Which of them exist shows when they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// Nowhere, as `--no-key` asks: plain mode.
    #[default]
    None,
    /// None was named, and none of the usual places has one.
    Absent {
        /// `--require-key`: then there is no session. Without it, plain mode.
        required: bool,
    },
    /// From these files, or all files of these directories.
    Files(Vec<PathBuf>),
    /// From the file that systemd provides for this service.
    Credential(PathBuf),
}

impl KeyArgs {
    pub(super) fn config(self, environment: &Environment) -> Result<KeySource, Failure> {
        let credentials = environment.get("CREDENTIALS_DIRECTORY").map(ToOwned::to_owned);
        self.choose(credentials, environment.default_key_file())
    }

    fn choose(self, credentials: Option<OsString>, default: &Path) -> Result<KeySource, Failure> {
        if self.no_key && self.require_key {
            return Err(Failure::usage(
                "--no-key and --require-key exclude each other; leave out one of them, or unset its variable \
                 (MCAST_NO_KEY, MCAST_REQUIRE_KEY)",
            ));
        }
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
            (false, files) => {
                let mut sorted = files.to_vec();
                sorted.sort();
                if let Some(twice) = first_repeated(&sorted) {
                    let twice = twice.display();
                    return Err(Failure::usage(format!("--key-file {twice} is given twice; leave out one")));
                }
                return Ok(KeySource::Files(self.key_file));
            }
        }
        if let Some(directory) = credentials {
            let path = Path::new(&directory).join("mcast-key");
            if is_there(&path) {
                return Ok(KeySource::Credential(path));
            }
        }
        Ok(if is_there(default) {
            KeySource::Files(vec![default.to_owned()])
        } else {
            KeySource::Absent { required: self.require_key }
        })
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

    /// Warns if there is no key. The programs call it last at launch: a mistake that ends them earlier has no warning beside
    /// it.
    pub(super) fn warn_if_plain(&self) {
        const PLAIN: &str = "no key: anyone on this network can read and forge this session";
        match self {
            Self::None => tracing::warn!("{PLAIN}"),
            // As an error, which -q shows too: a key file that has gone must not go unnoticed.
            Self::Absent { .. } => tracing::error!(
                "{PLAIN}; mcast keygen makes a key, --require-key insists on one, --no-key says that none is meant"
            ),
            Self::Files(_) | Self::Credential(_) => {}
        }
    }

    /// The keys without repetition; `None` in plain mode.
    fn read_all(&self) -> Result<Option<Vec<GroupKey>>, Failure> {
        let paths = match self {
            Self::None | Self::Absent { required: false } => return Ok(None),
            Self::Absent { required: true } => {
                return Err(refused(format!("--require-key: {}, --key-file names another place", nowhere())));
            }
            Self::Credential(path) => std::slice::from_ref(path),
            Self::Files(paths) => paths,
        };
        let mut keys: Vec<GroupKey> = Vec::new();
        for (path, key) in self.read(paths)? {
            tracing::debug!("uses key {} of \"{}\"", key.id(), path.display());
            if keys.iter().all(|other| other.id() != key.id()) {
                keys.push(key);
            }
        }
        Ok(Some(keys))
    }

    /// The keys of these files and directories, in their order.
    fn read(&self, paths: &[PathBuf]) -> Result<Vec<(PathBuf, GroupKey)>, Failure> {
        // The service manager guards its directory, and lets the service in by an access list, which shows as group.
        let forbidden = if matches!(self, Self::Credential(_)) { 0o007 } else { 0o077 };
        hide_memory();
        let mut files = Vec::new();
        for path in paths {
            let file = open(CWD, path, path)?;
            if metadata(&file, path)?.is_dir() {
                files.extend(files_in(&file, path)?);
            } else {
                files.push((path.clone(), file));
            }
        }
        if files.len() > MOST_KEYS {
            return Err(refused(format!("{} key files are too many; keep {MOST_KEYS} at most", files.len())));
        }
        files.into_iter().map(|(path, file)| read(&path, file, forbidden).map(|key| (path, key))).collect()
    }
}

/// The id of the key in this file, or of the one that the programs use if they are given none. Of a directory, the id and
/// the file of each key.
pub(super) fn ids(path: Option<PathBuf>, environment: &Environment) -> Result<String, Failure> {
    let search = KeyArgs { key_file: path.into_iter().collect(), no_key: false, require_key: true };
    let source = search.config(environment)?;
    let paths = match &source {
        KeySource::Credential(path) => std::slice::from_ref(path),
        KeySource::Files(paths) => paths,
        KeySource::None | KeySource::Absent { .. } => {
            return Err(refused(format!("{}, mcast key id PATH looks at another place", nowhere())));
        }
    };
    let keys = source.read(paths)?;
    let line = |(path, key): &(PathBuf, GroupKey)| match paths.contains(path) {
        true => format!("{}\n", key.id()),
        false => format!("{}  {}\n", key.id(), visible(&path.display().to_string())),
    };
    Ok(keys.iter().map(line).collect())
}

fn nowhere() -> String {
    format!(
        "no key found, neither $CREDENTIALS_DIRECTORY/mcast-key nor {DEFAULT_KEY_FILE}; mcast keygen makes one"
    )
}

/// From here on, this process leaves no core dump, and no other of the same user may look into its memory.
pub(super) fn hide_memory() {
    // Fails only on systems that do not know the call, which Linux does.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// The files of a directory of keys, in the order of their names; those whose names begin with a dot are left alone.
fn files_in(directory: &File, path: &Path) -> Result<Vec<(PathBuf, File)>, Failure> {
    let shown = path.display();
    let cannot = |errno: Errno| {
        refused(format!(
            "cannot list key directory \"{shown}\": {}; check its owner and mode",
            io::Error::from(errno)
        ))
    };
    let there = metadata(directory, path)?;
    check_owner("key directory", path, there.uid())?;
    if there.mode() & 0o022 != 0 {
        return Err(refused(format!(
            "key directory \"{shown}\" has mode {:04o}: others may put keys there; chmod 700 it, and look for keys \
             that are not yours",
            there.mode() & 0o7777
        )));
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(cannot)? {
        let name = OsStr::from_bytes(entry.map_err(cannot)?.file_name().to_bytes()).to_owned();
        if !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
        // More than may be used need not all be remembered, and directories are not counted yet.
        if names.len() > 2 * MOST_KEYS {
            break;
        }
    }
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let path = path.join(&name);
        let file = open(directory, Path::new(&name), &path)?;
        if !metadata(&file, &path)?.is_dir() {
            files.push((path, file));
        }
    }
    if files.is_empty() {
        return Err(refused(format!("no key file in \"{shown}\"; mcast keygen makes one")));
    }
    Ok(files)
}

/// Opens a key file, or a directory of them, called `name` in `directory`; `path` is what people call it.
fn open(directory: impl AsFd, name: &Path, path: &Path) -> Result<File, Failure> {
    // Not blocking: a pipe without a writer would hold the program up for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(directory, name, flags, Mode::empty());
    file.map(File::from).map_err(|errno| unreadable(path, &errno.into()))
}

fn metadata(file: &File, path: &Path) -> Result<Metadata, Failure> {
    file.metadata().map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "mcast keygen makes one",
        _ => "it must belong to the user that runs this; --no-key goes without",
    };
    refused(format!("cannot read key file \"{}\": {error}; {remedy}", path.display()))
}

/// Refuses what another user than root or the one that runs this owns: its owner knows the key, or may add one.
fn check_owner(what: &str, path: &Path, owner: u32) -> Result<(), Failure> {
    if owner == 0 || owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(refused(format!(
        "{what} \"{}\" belongs to user {owner}, who knows what is in it or may change it; chown it to root or to the \
         user that runs this",
        path.display()
    )))
}

/// Reads a key file that must have none of these permissions.
fn read(path: &Path, file: File, forbidden: u32) -> Result<GroupKey, Failure> {
    let metadata = metadata(&file, path)?;
    if !metadata.is_file() {
        return Err(refused(format!(
            "\"{}\" is not a file; name a key file made by mcast keygen",
            path.display()
        )));
    }
    check_owner("key file", path, metadata.uid())?;
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        let path = path.display();
        return Err(refused(format!(
            "key file \"{path}\" has mode {mode:04o}: others may have read it; chmod 600 it, and make a new key if they should not have"
        )));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
    let taken = file.take(MOST_BYTES as u64).read_to_end(&mut text);
    taken.map_err(|error| unreadable(path, &error))?;
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
    use std::os::unix::fs::PermissionsExt;

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
        let key_file = key_file.iter().map(|path| (*path).to_owned()).collect();
        KeyArgs { key_file, no_key, require_key: false }
    }

    fn key_text(byte: u8) -> Vec<u8> {
        Secret::new([byte; 32]).to_text().as_bytes().to_vec()
    }

    fn files(paths: &[&Path]) -> KeySource {
        KeySource::Files(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn process_that_has_read_a_key_leaves_no_core_dump() {
        let directory = directory(&[("key", &key_text(1))]);
        files(&[&directory.path().join("key")]).accept().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
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
        let absent = KeySource::Absent { required: false };
        assert_eq!(args(&[], false).choose(None, &nowhere).unwrap(), absent);
        let contradiction = args(&[given], true).choose(None, &nowhere).unwrap_err();
        assert_eq!(contradiction.exit, Exit::Usage);
    }

    #[test]
    fn a_required_key_that_is_nowhere_is_refused_and_excludes_plain_mode() {
        let nowhere = Path::new("/nowhere/key");
        let required = |no_key| KeyArgs { require_key: true, ..args(&[], no_key) };
        let failure = required(false).choose(None, nowhere).unwrap().seal().unwrap_err();
        assert!(
            failure.exit == Exit::Authentication && failure.message.contains(DEFAULT_KEY_FILE),
            "{failure}"
        );
        assert_eq!(required(true).choose(None, nowhere).unwrap_err().exit, Exit::Usage);
        let key = directory(&[("key", &key_text(1))]);
        let found = required(false).choose(None, &key.path().join("key")).unwrap();
        assert!(found.accept().is_ok_and(|accept| matches!(accept, Accept::Aead(_))));
        let absent = args(&[], false).choose(None, nowhere).unwrap();
        assert!(matches!(absent.accept(), Ok(Accept::Crc)), "without the flag it is plain mode");
    }

    #[test]
    fn key_of_another_user_is_refused_and_one_of_root_taken() {
        let path = Path::new("key");
        check_owner("key file", path, 0).unwrap();
        check_owner("key file", path, geteuid().as_raw()).unwrap();
        let failure = check_owner("key file", path, geteuid().as_raw() + 1).unwrap_err();
        assert!(failure.exit == Exit::Authentication && failure.message.contains("chown"), "{failure}");
    }

    #[test]
    fn key_directory_that_others_may_write_to_is_refused() {
        let files = directory(&[("a", &key_text(1))]);
        for mode in [0o770, 0o702, 0o1777] {
            fs::set_permissions(files.path(), fs::Permissions::from_mode(mode)).unwrap();
            let failure = KeySource::Files(vec![files.path().to_owned()]).accept().unwrap_err();
            assert!(failure.message.contains("chmod 700"), "{failure}");
        }
    }

    #[test]
    fn pipe_or_device_as_a_key_file_is_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for source in [
            KeySource::Files(vec![fifo]),
            KeySource::Files(vec![directory.path().to_owned()]),
            KeySource::Files(vec!["/dev/zero".into()]),
        ] {
            let failure = source.accept().unwrap_err();
            assert!(failure.message.contains("is not a file"), "{failure}");
        }
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
    fn id_of_a_key_is_told_alone_and_with_its_file_in_a_directory() {
        let id = |byte| GroupKey::new(&Secret::new([byte; 32])).id().to_string();
        let etc = directory(&[("one", &key_text(1)), ("two", &key_text(2))]);
        let of = |path: PathBuf| ids(Some(path), &Environment::none());
        assert_eq!(of(etc.path().join("two")), Ok(format!("{}\n", id(2))));
        let shown = etc.path().display();
        let both = format!("{}  {shown}/one\n{}  {shown}/two\n", id(1), id(2));
        assert_eq!(of(etc.path().to_owned()), Ok(both));
        for missing in [Some(etc.path().join("three")), None] {
            let failure = ids(missing, &Environment::none()).unwrap_err();
            assert!(
                failure.exit == Exit::Authentication && failure.message.contains("mcast keygen"),
                "{failure}"
            );
        }
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
