//! Exit codes: the one table behind the programs' status, the help, docs/reference.md and the confirmations on the wire.

macro_rules! exit_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $meaning:literal;)+) => {
        /// How a session or a program ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Exit {
            $($(#[doc = $doc])+ $name,)+
            /// Ended by this signal; the status is 128 + n.
            Signal(u8),
        }

        impl Exit {
            /// Every code but the signals', in order, for help texts and docs.
            pub const TABLE: &[Self] = &[$(Self::$name,)+];

            /// The process exit status.
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$name => $code,)+
                    Self::Signal(n) => 128_u8.saturating_add(n),
                }
            }

            /// The meaning in a few words, as help and docs/reference.md show it.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                    Self::Signal(_) => "ended by a signal (128 + its number)",
                }
            }

            /// The entry of the table that has this code, if there is one.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    129.. => Some(Self::Signal(code - 128)),
                    _ => None,
                }
            }
        }
    };
}

exit_codes! {
    /// Complete and verified.
    Complete = 0, "complete and verified";
    /// Internal or unclassified error.
    Internal = 1, "internal or unclassified error";
    /// Usage or configuration.
    Usage = 2, "usage or configuration";
    /// Sender: at least one receiver succeeded and at least one failed, was evicted, or was missing at the start.
    Partial = 3, "partial: some receivers succeeded, some failed or were missing (sender)";
    /// Start window closed: too few receivers, no sender seen, or session already started.
    NotStarted = 4, "no start: too few receivers, no sender seen, or session already started";
    /// Peer lost in mid-session (sender: every receiver lost).
    PeerLost = 5, "peer lost in mid-session (sender: every receiver lost)";
    /// Length or digest differs, or data can no longer be repaired.
    Integrity = 6, "integrity: length or digest differs, or data cannot be repaired";
    /// Wrong, missing or unreadable key; replay refused.
    Authentication = 7, "authentication: wrong, missing or unreadable key; replay refused";
    /// Source failed: child's status, read error.
    SourceFailed = 8, "source failed: read error or the command's status";
    /// Sink failed: broken pipe, no space, fsync error, child's status.
    SinkFailed = 9, "sink failed: broken pipe, no space, fsync error, or the command's status";
    /// Local resource: interface, socket, permission.
    LocalResource = 10, "local resource: interface, socket, permission";
    /// Aborted by the peer.
    Aborted = 11, "aborted by the peer";
    /// Evicted by the sender.
    Evicted = 12, "evicted by the sender";
    /// Another sender holds this group, port and label.
    GroupTaken = 13, "another sender holds this group, port and label";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_over_the_wire() {
        for &exit in Exit::TABLE {
            assert_eq!(Exit::from_code(exit.code()), Some(exit));
        }
        assert_eq!(Exit::from_code(Exit::Signal(15).code()), Some(Exit::Signal(15)));
        assert_eq!(Exit::from_code(77), None);
        assert_eq!(Exit::from_code(128), None);
    }
}
