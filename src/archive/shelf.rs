//! What is in an archive, and in what state.

use jiff::{SignedDuration, Timestamp};

use super::manifest::Manifest;
use super::name::EntryName;
use super::reader::Entry;
use super::store::Store;
use super::{Error, sources};

/// An entry, as a look from outside tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: EntryName,
    /// Whether it is all there.
    pub state: State,
    /// The sender that it comes from, if it is complete: see [`super::sources`].
    pub source: Option<String>,
}

/// What a look at an entry tells without reading the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is all there: the manifest agrees with itself, with SHA256SUMS and with the lengths of the pieces.
    Complete(Box<Manifest>),
    /// It is being removed.
    InUse,
    /// Something is missing or wrong.
    Damaged(String),
    /// The system does not let this user look, so nothing is known about it.
    Unreadable(String),
}

impl Item {
    /// Looks at an entry. `None` if it is not there any more.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn look<S: Store>(store: &S, name: EntryName) -> Result<Option<Self>, Error> {
        let state = match Entry::open(store, &name) {
            Ok(entry) => State::Complete(Box::new(entry.manifest().clone())),
            Err(Error::Missing(_)) => return Ok(None),
            Err(Error::InUse(_)) => State::InUse,
            Err(Error::Damaged { reason, .. }) => State::Damaged(reason),
            Err(Error::System { action, source }) => State::Unreadable(format!("{action}: {source}")),
            Err(error) => return Err(error),
        };
        Ok(Some(Self { name, state, source: None }))
    }

    /// All entries, the oldest first, those of which no time is known before them.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn all<S: Store>(store: &S) -> Result<Vec<Self>, Error> {
        let mut items = Vec::new();
        for name in store.entries()? {
            items.extend(Self::look(store, name)?);
        }
        sources::assign(&mut items);
        items.sort_by_key(|item| (item.started(), item.name.clone()));
        Ok(items)
    }

    /// What it says of itself, if it is complete.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.state {
            State::Complete(manifest) => Some(manifest),
            State::InUse | State::Damaged(_) | State::Unreadable(_) => None,
        }
    }

    /// Whether it is dated later than `now`, by more than clocks of hosts differ: a clock was wrong when it was made, or
    /// is wrong now.
    pub fn is_of_the_future(&self, now: Timestamp) -> bool {
        let latest = now.saturating_add(LARGEST_OFFSET).unwrap_or(Timestamp::MAX);
        self.manifest().is_some_and(|manifest| manifest.started.max(manifest.finished) > latest)
    }

    /// When its session started: what the manifest says, else the end of the second that is in its name.
    pub fn started(&self) -> Option<Timestamp> {
        let named = || self.name.given().and_then(|(_, second)| second.checked_add(END_OF_SECOND).ok());
        self.manifest().map(|manifest| manifest.started).or_else(named)
    }

    /// Whether it still has a name that it was given, and not one of an owner who wants to keep it.
    pub fn has_own_name(&self) -> bool {
        self.manifest().is_some_and(|manifest| self.name.is_given_to(&manifest.label, manifest.started))
    }
}

/// A name has whole seconds. A damaged entry, of which only the name is known, is sorted as the newest of its second.
const END_OF_SECOND: SignedDuration = SignedDuration::from_millis(999);
/// Clocks of hosts that differ by less count as equal; Kerberos allows as much.
const LARGEST_OFFSET: SignedDuration = SignedDuration::from_mins(5);
