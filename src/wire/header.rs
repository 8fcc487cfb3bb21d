//! What every datagram begins with.

use super::cursor::{Malformed, Reader, Writer};
use super::ids::{DatagramNumber, SessionId};

/// The version of the protocol that this crate speaks.
pub const VERSION: u8 = 1;

/// Bytes before the body.
pub const HEADER_LEN: usize = 26;

/// The first 26 bytes.
///
/// ```text
///  0        1        2                 18                26
/// +--------+--------+-----------------+-----------------+
/// | version| kind   | session (16)    | number (8)      |
/// +--------+--------+-----------------+-----------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: Kind,
    /// Which session the datagram belongs to.
    pub session: SessionId,
    /// Which of its author's datagrams in this session it is.
    pub number: DatagramNumber,
}

macro_rules! kinds {
    ($($name:ident = $code:literal,)+) => {
        /// The kinds of datagram; 1 to 15 come from the sender, 16 to 31 from receivers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "`Message` documents each")]
        pub enum Kind { $($name = $code,)+ }

        impl Kind {
            /// All kinds, for tests and tables.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Receivers say it, to the sender or to whom it may concern.
            pub const fn comes_from_receivers(self) -> bool {
                self as u8 >= 16
            }

            const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    Announce = 1,
    Source = 2,
    Repair = 3,
    KeepAlive = 4,
    End = 5,
    Roster = 6,
    Abort = 7,
    Join = 16,
    Report = 17,
    Confirm = 18,
    Leave = 19,
    Seek = 20,
}

impl Header {
    /// The header of a datagram, whatever follows it.
    pub fn peek(datagram: &[u8]) -> Option<Self> {
        Self::read(&mut Reader::new(datagram)).ok()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8("version")? != VERSION {
            return Err(Malformed::Value("version"));
        }
        let kind = Kind::from_code(reader.u8("kind")?).ok_or(Malformed::Value("kind"))?;
        let session = SessionId(reader.array("session")?);
        let number = DatagramNumber(reader.u64("number")?);
        Ok(Self { kind, session, number })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(VERSION);
        writer.u8(self.kind as u8);
        writer.bytes(&self.session.0);
        writer.u64(self.number.0);
    }
}
