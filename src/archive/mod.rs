//! An archive of streams: each session an entry that is whole or not there, with a manifest that tells what it is.
//!
//! An entry is a set of objects under one name:
//!
//! ```text
//! DIR/shop-20260301T010304Z/     label, and when the session started (UTC)
//!     data                       the stream; or data.000000, data.000001 … where pieces were asked for
//!     SHA256SUMS                 for sha256sum -c, the manifest included
//!     manifest.json              what it is, and the digests that it must have
//! DIR/.mcast-BOOT-4711-0.part/   an entry in the making, or what a process that died has left
//! DIR/shop-20260301T010304Z.remains/   files of others in an entry that was removed
//! ```
//!
//! [`store::Store`] is all that the rest asks of the place where entries are kept: [`directory`] is one, a bucket could
//! be another. Above it, [`writer`] makes an entry of a stream, [`reader`] gives it back verified, [`shelf`] tells what is
//! there and what state it is in, and [`retention`] says what may go; it is a pure function of entries, rules and time.
//!
//! # What is never touched
//! The rules of retention never remove an entry that is damaged, and none whose name is not the one that it was given:
//! an operator who renames an entry keeps it for ever. A directory that has the name or the objects of an entry and no
//! manifest counts as a damaged entry, which only an operator removes; anything else is left alone. A process that makes or
//! reads an entry holds a lock on its manifest. The lock ends with the process, so a draft without one is a leftover. Locks
//! may not reach from one host to another, so a draft of another host (or of this one before it was restarted) must also
//! have been left unchanged for [`directory::UNTOUCHED`], by the file system's own clock.

pub mod directory;
pub mod draft;
mod draft_name;
#[cfg(test)]
mod hostile;
pub mod manifest;
pub mod name;
mod objects;
#[cfg(test)]
mod power_cut;
pub mod reader;
pub mod retention;
mod sha256;
#[cfg(test)]
pub(crate) mod sharing;
pub mod shelf;
pub mod sources;
pub mod store;
pub mod writer;

use std::io;

/// Why something could not be done with an archive. The message names the entry and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system said no.
    #[error("{action}: {source}")]
    System {
        /// What was tried, with the name of what it was tried on.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no entry of this name.
    #[error("no entry \"{0}\" in the archive; see mcast archive list")]
    Missing(String),
    /// The entry is not what its manifest says, or has none that can be read.
    #[error("entry \"{name}\" is damaged: {reason}")]
    Damaged {
        /// The entry.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody makes, reads or removes the entry.
    #[error("entry \"{0}\" is in use by another process; try again when that has ended")]
    InUse(String),
    /// The file system refuses locks, so an entry in use cannot be told from one that is not.
    #[error(
        "cannot lock entry \"{name}\": {source}; nothing is removed where locks (flock) do not work; use a host where they do"
    )]
    NoLocks {
        /// The entry.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Whoever was given the stream did not take it.
    #[error("the stream was not taken")]
    NotTaken,
    /// More than an archive may have.
    #[error("the archive has more than {} entries; divide it", store::MOST_ENTRIES)]
    TooMany,
}

impl Error {
    fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action: action.into(), source }
    }

    fn damaged(name: &name::EntryName, reason: impl Into<String>) -> Self {
        Self::Damaged { name: name.to_string(), reason: reason.into() }
    }
}
