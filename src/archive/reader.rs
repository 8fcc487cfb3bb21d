//! Gives an entry back, and notices what has happened to it since it was written.

use std::io::{self, Read};

use super::Error;
use super::manifest::{LARGEST_MANIFEST, Manifest, Piece};
use super::name::EntryName;
use super::objects::wrong_object;
use super::sha256::Sha256;
use super::store::{Held, MANIFEST, SUMS, Store};
use crate::session::{StreamDigest, StreamEnd};

/// An entry that is held while it is read.
#[derive(Debug)]
pub struct Entry<S: Store> {
    name: EntryName,
    held: S::Held,
    manifest: Manifest,
}

impl<S: Store> Entry<S> {
    /// Holds an entry and looks at all of it but the stream: manifest, digests, and the lengths of the pieces.
    ///
    /// # Errors
    /// When there is no such entry, this user may not read it, or it is damaged.
    pub fn open(store: &S, name: &EntryName) -> Result<Self, Error> {
        let held = store.hold(name)?;
        let damaged = |reason: String| Error::damaged(name, reason);
        let wrong = |object: &str, error: io::Error| unreadable(name, object, error);
        let json = small(&held, MANIFEST, LARGEST_MANIFEST).map_err(|error| wrong(MANIFEST, error))?;
        let manifest = Manifest::parse(&json).map_err(damaged)?;
        let sums = manifest.sums(&json);
        let listed = small(&held, SUMS, sums.len() as u64).map_err(|error| wrong(SUMS, error))?;
        if listed != sums.as_bytes() {
            return Err(damaged(format!("{SUMS} and {MANIFEST} do not agree")));
        }
        for piece in &manifest.pieces {
            let file = &piece.file;
            let bytes = held.size(file).map_err(|error| wrong(file, error))?;
            if bytes != piece.bytes {
                return Err(damaged(format!("{file} has {bytes} bytes instead of {}", piece.bytes)));
            }
        }
        Ok(Self { name: name.clone(), held, manifest })
    }

    /// What it says of itself.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Gives the whole stream to `take`, part by part, and compares every piece and the whole with their digests. What
    /// was given is right only if this returns without an error. Returns what the stream looked like.
    ///
    /// # Errors
    /// When the stream cannot be read, is not what it was, or `take` does not take it.
    pub fn copy(&self, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<StreamEnd, Error> {
        let mut whole = StreamDigest::default();
        for piece in &self.manifest.pieces {
            self.read(piece, |bytes| {
                whole.update(bytes);
                take(bytes)
            })?;
        }
        let end = whole.end();
        let digest = end.digest.to_string();
        if digest != self.manifest.digest {
            let reason = format!("the stream has digest {digest} instead of {}", self.manifest.digest);
            return Err(Error::damaged(&self.name, reason));
        }
        Ok(end)
    }

    /// Reads a piece and compares it with its digest.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it was.
    pub fn verify_piece(&self, number: usize) -> Result<(), Error> {
        self.manifest.pieces.get(number).map_or(Ok(()), |piece| self.read(piece, |_| Ok(())))
    }

    fn read(&self, piece: &Piece, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let file = &piece.file;
        let broken = |error: io::Error| unreadable(&self.name, file, error);
        let (mut object, _) = self.held.open(file).map_err(broken)?;
        let mut digest = Sha256::default();
        let mut buffer = vec![0; BUFFER];
        let mut left = piece.bytes;
        loop {
            let read = match object.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            digest.update(bytes);
            // Not more than it had, whoever still writes to it.
            let Some(rest) = left.checked_sub(read as u64) else {
                return Err(Error::damaged(&self.name, format!("{file} has grown")));
            };
            left = rest;
            take(bytes)?;
        }
        if digest.finish() != piece.sha256 {
            return Err(Error::damaged(&self.name, format!("{file} is not what was written")));
        }
        Ok(())
    }
}

/// An object that cannot be read: this user may not read it, or it is damaged.
fn unreadable(name: &EntryName, object: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::system(format!("cannot open {object} of entry \"{name}\""))(error)
        }
        _ => Error::damaged(name, wrong_object(object, &error)),
    }
}

/// A small object, whole.
fn small<H: Held>(held: &H, object: &str, most: u64) -> io::Result<Vec<u8>> {
    let (file, bytes) = held.open(object)?;
    if bytes > most {
        return Err(io::Error::other(format!("it has {bytes} bytes, and at most {most} are expected")));
    }
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

/// Enough for a read to cost more than its call.
const BUFFER: usize = 256 << 10;
