//! What the archive asks of the place where entries are kept.
//!
//! All that it asks can be had of a bucket too: there objects are uploaded under the entry's name, and the manifest comes
//! last; an entry without one is none.

use std::fmt::Debug;
use std::io::{self, IoSlice, Read};
use std::sync::atomic::AtomicBool;

use super::Error;
use super::name::EntryName;

/// A place for entries. An entry is there whole, or not at all.
pub trait Store: Debug {
    /// An entry in the making.
    type Draft: Draft;
    /// An entry that stays while it is looked at.
    type Held: Held;

    /// Begins an entry. Until it is finished it is none; dropped, it leaves nothing behind.
    ///
    /// # Errors
    /// When the place takes nothing.
    fn begin(&self) -> io::Result<Self::Draft>;

    /// The names of all entries, sorted: of everything that has an object [`MANIFEST`], whatever is in it.
    ///
    /// # Errors
    /// When the place cannot be looked at, or has more than [`MOST_ENTRIES`].
    fn entries(&self) -> Result<Vec<EntryName>, Error>;

    /// What is in the making, or was when its process died.
    ///
    /// # Errors
    /// When the place cannot be looked at.
    fn drafts(&self) -> Result<Vec<Unfinished>, Error>;

    /// Keeps an entry from being removed, to look at it.
    ///
    /// # Errors
    /// When there is none of this name, or it is being removed.
    fn hold(&self, name: &EntryName) -> Result<Self::Held, Error>;

    /// Removes an entry, durably: first it is none any more, then its room is free.
    ///
    /// # Errors
    /// When somebody holds it, when it has objects that are not of an archive, or when the place does not allow it.
    fn remove(&self, name: &EntryName) -> Result<(), Error>;

    /// Removes what processes that have died have left, and nothing else. Returns how many drafts that were.
    ///
    /// # Errors
    /// When the place cannot be looked at. What cannot be removed stays, and is shown by [`Store::drafts`].
    fn sweep(&self) -> Result<usize, Error>;

    /// Bytes that are free for this user; `None` where there is no such bound.
    ///
    /// # Errors
    /// When the place does not say.
    fn free(&self) -> io::Result<Option<u64>>;
}

/// An entry in the making: objects are put one after the other.
pub trait Draft: Debug {
    /// Ends the object before, and begins one of this name, see [`is_object`].
    ///
    /// # Errors
    /// When the place does not take the one before or this one.
    fn put(&mut self, object: &str) -> io::Result<()>;

    /// Appends to the object.
    ///
    /// # Errors
    /// When there is no space, or the place fails.
    fn write_all(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Makes an entry of what was put and of this manifest, under the first name that is free. Once this returns, the
    /// entry is there even if the power fails; before, it is whole or not there.
    ///
    /// # Errors
    /// When the place fails, or no name is free, or `given_up` is set before the entry has its name. Then there is no
    /// entry.
    fn finish(
        self,
        names: impl Iterator<Item = EntryName>,
        manifest: &[u8],
        given_up: &AtomicBool,
    ) -> io::Result<EntryName>;
}

/// An entry that is not removed while this lives.
pub trait Held: Debug {
    /// What an object is read from.
    type Object: Read + Debug;

    /// An object's content, and its length in bytes.
    ///
    /// # Errors
    /// When the entry has no such object, or it cannot be read.
    fn open(&self, object: &str) -> io::Result<(Self::Object, u64)>;

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// As for [`Held::open`].
    fn size(&self, object: &str) -> io::Result<u64>;
}

/// Something that is no entry yet, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What it is called there.
    pub name: String,
    /// Bytes in it.
    pub bytes: u64,
    /// A process works on it; else it is what a dead one has left.
    pub is_running: bool,
}

/// The object that makes an entry of the others.
pub const MANIFEST: &str = "manifest.json";
/// Digests for `sha256sum -c`.
pub const SUMS: &str = "SHA256SUMS";
/// Entries in one archive; a hundred a day for 27 years.
pub const MOST_ENTRIES: usize = 1_000_000;

/// The object that has this piece of the stream: all of it where `piece` is `None`.
pub fn data_object(piece: Option<usize>) -> String {
    piece.map_or_else(|| "data".to_owned(), |piece| format!("data.{piece:06}"))
}

/// Whether an entry has objects of this name.
pub fn is_object(name: &str) -> bool {
    let numbered = |digits: &str| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    name == MANIFEST || name == SUMS || name == "data" || name.strip_prefix("data.").is_some_and(numbered)
}
