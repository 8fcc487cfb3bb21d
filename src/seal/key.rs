//! The key that a group of hosts shares, and its name.

use std::fmt;
use std::sync::Arc;

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use super::aead::TAG_LEN;
use super::key_text::Secret;

/// Bytes in a key id.
pub(super) const KEY_ID_LEN: usize = 8;

/// What a key file is for: everything else follows from it. Cheap to clone.
#[derive(Clone)]
pub struct GroupKey(Arc<Inner>);

struct Inner {
    prk: Prk,
    id: KeyId,
}

/// The name of a key, which may be shown to anyone: 64 bits that follow from it and do not lead back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; KEY_ID_LEN]);

impl GroupKey {
    /// The key out of 32 bytes that nobody can guess (RFC 5869: extract).
    pub fn new(secret: &Secret) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"mcast 1").extract(secret.bytes());
        let mut id = KeyId([0; KEY_ID_LEN]);
        // Cannot fail: the length is a constant that fits.
        let _ = prk.expand(&[b"mcast key id"], IdLen).and_then(|okm| okm.fill(&mut id.0));
        Self(Arc::new(Inner { prk, id }))
    }

    /// What messages and people call it.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    pub(super) fn prk(&self) -> &Prk {
        &self.0.prk
    }
}

impl KeyId {
    /// The key that an announce names; whatever stands there in other datagrams.
    pub fn named_by(announce: &[u8]) -> Option<Self> {
        let (rest, _tag) = announce.split_last_chunk::<TAG_LEN>()?;
        rest.last_chunk().copied().map(Self)
    }
}

/// Names the key and shows nothing of it.
impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({})", self.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

struct IdLen;

impl KeyType for IdLen {
    fn len(&self) -> usize {
        KEY_ID_LEN
    }
}
