//! What the archive asks of the place where entries are kept.
//!
//! All that it asks can be had of a bucket too: there objects are uploaded under the name of a draft, and copied to the
//! entry's name at the end, the manifest first.

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

    /// The names of all entries, sorted: of everything that has a name that mcast gives, and of every directory that has
    /// the objects of an entry. Some of these may have lost a part of their objects, or never have been an entry:
    /// [`Store::hold`] tells.
    ///
    /// # Errors
    /// When the place cannot be looked at, or has more than [`MOST_ENTRIES`].
    fn entries(&self) -> Result<Vec<EntryName>, Error>;

    /// What is in the making, or was when its process died.
    ///
    /// # Errors
    /// When the place cannot be looked at.
    fn drafts(&self) -> Result<Vec<Unfinished>, Error>;

    /// The names of directories that have the objects of an entry, but no name that an entry may have: somebody has given
    /// them one with a space in it, or one that is too long. Hidden ones do not count.
    ///
    /// # Errors
    /// When the place cannot be looked at.
    fn misnamed(&self) -> Result<Vec<String>, Error>;

    /// Keeps an entry from being removed, to look at it.
    ///
    /// # Errors
    /// When there is none of this name, or it is being removed, or it has no manifest.
    fn hold(&self, name: &EntryName) -> Result<Self::Held, Error>;

    /// Does once, small and undone, what will be done to make an entry and to remove one.
    ///
    /// # Errors
    /// With what the place refuses, and the remedy.
    fn try_out(&self) -> io::Result<()>;

    /// Removes an entry, durably, also one that has lost its manifest: first it is none any more, then its room is free.
    /// Files of others in it stay.
    ///
    /// # Errors
    /// When somebody holds it, or when the place does not allow it.
    fn remove(&self, name: &EntryName) -> Result<Removed, Error>;

    /// Removes what processes that have died have left, and nothing else.
    ///
    /// # Errors
    /// When the place cannot be looked at.
    fn sweep(&self) -> Result<Swept, Error>;

    /// Bytes that are free for this user; `None` where there is no such bound.
    ///
    /// # Errors
    /// When the place does not say.
    fn free(&self) -> io::Result<Option<u64>>;

    /// Size of the file system in bytes; `None` where there is no such bound.
    ///
    /// # Errors
    /// When the place does not say.
    fn capacity(&self) -> io::Result<Option<u64>>;
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

    /// Brings what was put so far to the disk, so that all of its room is taken. The object that was put last is ended.
    ///
    /// # Errors
    /// When the place fails.
    fn sync(&mut self) -> io::Result<()>;

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
    /// State of its process.
    pub state: DraftState,
}

/// State of the process that made a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftState {
    /// It works on the draft.
    Running,
    /// It has died.
    LeftOver,
    /// It ran on another host, or before this one was restarted, and may still run. [`Store::sweep`] removes the draft
    /// once it has not changed for a long time.
    Elsewhere,
    /// It has ended. The stream is whole but the directory could not get its name, and is kept until it is given one.
    Kept,
    /// The place does not tell.
    Unknown,
}

/// The result of removing an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files of others in the entry are left under this name, which is no entry's.
    pub remains: Option<String>,
}

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Drafts that were removed.
    pub removed: usize,
    /// Whole streams that are kept because they could not get their names, by the names that they have.
    pub kept: Vec<String>,
    /// Why a draft could not be removed, or not be told from one that a process works on.
    pub errors: Vec<String>,
}

/// The object that makes an entry of the others.
pub const MANIFEST: &str = "manifest.json";
/// Digests for `sha256sum -c`.
pub const SUMS: &str = "SHA256SUMS";
/// Marks a draft whose stream is whole but which could not get its name; it holds the reason.
pub const KEPT: &str = "KEPT";
/// Entries in one archive; a hundred a day for 27 years.
pub const MOST_ENTRIES: usize = 1_000_000;

/// The object that has this piece of the stream: all of it where `piece` is `None`.
pub fn data_object(piece: Option<usize>) -> String {
    piece.map_or_else(|| "data".to_owned(), |piece| format!("data.{piece:06}"))
}

/// Whether an entry has objects of this name.
pub fn is_object(name: &str) -> bool {
    let numbered = |digits: &str| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    [MANIFEST, SUMS, KEPT, "data"].contains(&name) || name.strip_prefix("data.").is_some_and(numbered)
}
