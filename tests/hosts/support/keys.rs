//! Key files for programs of a test.
//!
//! The tests run in two passes, one without and one with a key for all programs that the test itself gives none. What a
//! test claims holds in both, unless it says why not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mcast::seal::{GroupKey, Secret};
use tempfile::TempDir;

/// One of the two passes of these tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// No program has a key.
    Plain,
    /// Every program has the key [`OF_THE_PASS`].
    WithKey,
}

/// The pass that the variable `HOSTS_WITH_KEY` asks for: `scripts/test` sets it.
pub(crate) fn pass() -> Pass {
    match std::env::var_os("HOSTS_WITH_KEY") {
        Some(value) if !value.is_empty() => Pass::WithKey,
        _ => Pass::Plain,
    }
}

/// The key of all programs in the second pass, see [`Keys::file`].
pub(crate) const OF_THE_PASS: u8 = 0xaa;

/// A directory of key files, each named after the byte that it is made of.
pub(crate) struct Keys(TempDir);

impl Keys {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("mcast-test-keys-").tempdir().unwrap())
    }

    /// A key file as `mcast keygen` makes them, of 32 such bytes.
    pub(crate) fn file(&self, byte: u8) -> PathBuf {
        self.put(&format!("{byte}"), text(byte).as_bytes(), 0o600)
    }

    /// Any file.
    pub(crate) fn put(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The content of that key file.
pub(crate) fn text(byte: u8) -> String {
    Secret::new([byte; 32]).to_text().to_string()
}

/// What people call that key.
pub(crate) fn id(byte: u8) -> String {
    GroupKey::new(&Secret::new([byte; 32])).id().to_string()
}
