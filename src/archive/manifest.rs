//! What an entry says of itself.

use std::fmt::Write;

pub use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::EntryName;
use super::sha256::Sha256;
use super::store::{MANIFEST, data_object};

/// The manifest of an entry, `manifest.json` in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: Format,
    schema: u32,
    /// Name of the stream.
    pub label: String,
    /// Session id in hexadecimal digits.
    pub session: String,
    /// Address and port of the sender.
    pub sender: String,
    /// Name that the sender gives itself. `None` where it had no name, and in entries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What the receiver calls itself.
    pub receiver: String,
    /// When the session started, by the receiver's clock.
    pub started: Timestamp,
    /// When the stream was complete.
    pub finished: Timestamp,
    /// Bytes of the stream.
    pub bytes: u64,
    /// Digest of the whole stream, `algorithm:hex`, as reports have it.
    pub digest: String,
    /// The stream is cut into pieces of so many bytes.
    pub piece_size: Option<u64>,
    /// The objects that hold the stream, in order.
    pub pieces: Vec<Piece>,
}

/// A part of the stream, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The object that has it.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest, in hexadecimal digits.
    pub sha256: String,
}

/// What a session is called, when its stream is archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Name of the stream.
    pub label: String,
    /// Session id in hexadecimal digits.
    pub session: String,
    /// Address and port of the sender.
    pub sender: String,
    /// Name that the sender gives itself.
    pub source: Option<String>,
    /// What the receiver calls itself.
    pub receiver: String,
    /// When the session started, by the receiver's clock.
    pub started: Timestamp,
}

/// So that no other JSON document is taken for a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "mcast archive entry")]
    Entry,
}

impl Manifest {
    /// What an entry says of itself: `heading`, and what has become of the stream.
    pub fn new(
        heading: Heading,
        finished: Timestamp,
        (bytes, digest): (u64, String),
        piece_size: Option<u64>,
        pieces: Vec<Piece>,
    ) -> Self {
        let Heading { label, session, sender, source, receiver, started } = heading;
        Self {
            format: Format::Entry,
            schema: SCHEMA,
            label,
            session,
            sender,
            source,
            receiver,
            started,
            finished,
            bytes,
            digest,
            piece_size,
            pieces,
        }
    }

    /// The document, for people and programs.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads a document that may come from anywhere, of at most [`LARGEST_MANIFEST`] bytes.
    ///
    /// # Errors
    /// With what is wrong with it: no manifest, one of a newer program, or one that contradicts itself.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            #[expect(dead_code, reason = "it must be there")]
            format: Format,
            schema: u32,
        }
        let wrong = |error: serde_json::Error| format!("{MANIFEST} is not a manifest: {error}");
        let Version { schema, .. } = serde_json::from_slice(json).map_err(wrong)?;
        if schema != SCHEMA {
            return Err(format!(
                "{MANIFEST} has schema {schema}, and this program knows {SCHEMA}; update it"
            ));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(wrong)?;
        manifest.check().map_err(|error| format!("{MANIFEST}: {error}"))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if EntryName::candidates(&self.label, self.started).is_none() {
            return Err("its label is no label".to_owned());
        }
        let texts = [&self.session, &self.sender, &self.receiver, &self.digest];
        if texts
            .into_iter()
            .chain(&self.source)
            .any(|text| text.len() > LONGEST_TEXT || !text.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err("one of its texts has spaces, or no end".to_owned());
        }
        if self.pieces.len() > MOST_PIECES || (self.piece_size.is_none() && self.pieces.len() != 1) {
            return Err(format!("it has {} pieces", self.pieces.len()));
        }
        let mut sum = 0_u64;
        for (number, piece) in self.pieces.iter().enumerate() {
            let expected = data_object(self.piece_size.map(|_| number));
            // Nothing else is ever opened, whatever a manifest says.
            if piece.file != expected {
                return Err(format!("piece {number} is not in a file of its own name, {expected}"));
            }
            if piece.sha256.len() != 64 || !piece.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!("{expected} has no SHA-256"));
            }
            sum = sum.checked_add(piece.bytes).ok_or("its pieces are more than there can be")?;
        }
        if sum != self.bytes {
            return Err(format!("its pieces have {sum} bytes, the stream has {}", self.bytes));
        }
        Ok(())
    }

    /// What `sha256sum -c` wants to read, `json` being this manifest's document.
    pub fn sums(&self, json: &[u8]) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}  {}", piece.sha256, piece.file);
        }
        let _ = writeln!(text, "{}  {MANIFEST}", Sha256::of(json));
        text
    }
}

const SCHEMA: u32 = 1;
/// Names have 64 bytes, addresses with a port 56, digests 41.
const LONGEST_TEXT: usize = 200;
/// Pieces of one entry: 6.4 TB at 64 MiB. What a stream has beyond that is in the last one.
pub const MOST_PIECES: usize = 100_000;
/// Bytes of a manifest: a piece takes 160 of them.
pub const LARGEST_MANIFEST: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> Manifest {
        let heading = Heading {
            label: "shop".to_owned(),
            session: "00112233445566778899aabbccddeeff".to_owned(),
            sender: "192.0.2.1:7767".to_owned(),
            source: Some("db1".to_owned()),
            receiver: "files".to_owned(),
            started: "2026-03-01T01:03:04Z".parse().unwrap(),
        };
        let piece = |number, bytes| Piece { file: data_object(Some(number)), bytes, sha256: "0a".repeat(32) };
        let finished = "2026-03-01T01:13:04Z".parse().unwrap();
        let whole = (1_500_000, "xxh3-128:99aa06d3014798d86001c324468d497f".to_owned());
        Manifest::new(heading, finished, whole, Some(1 << 20), vec![piece(0, 1 << 20), piece(1, 451_424)])
    }

    fn changed(from: &str, to: &str) -> Result<Manifest, String> {
        let text = String::from_utf8(manifest().to_json().unwrap()).unwrap();
        assert!(text.contains(from), "{from}");
        Manifest::parse(text.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let json = manifest().to_json().unwrap();
        assert_eq!(Manifest::parse(&json), Ok(manifest()));
        insta::assert_snapshot!("manifest", String::from_utf8(json.clone()).unwrap());
        insta::assert_snapshot!("sums", manifest().sums(&json));
    }

    #[test]
    fn manifest_of_an_earlier_version_names_no_source() {
        let earlier = changed("\"source\": \"db1\",", "").unwrap();
        assert_eq!(earlier, Manifest { source: None, ..manifest() });
        assert!(!String::from_utf8(earlier.to_json().unwrap()).unwrap().contains("source"));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused_with_the_reason() {
        for (from, to, reason) in [
            ("data.000001", "../../etc/passwd", "file of its own name"),
            ("data.000001", "data.000000", "file of its own name"),
            ("\"bytes\": 1500000", "\"bytes\": 1500001", "1500000 bytes"),
            ("\"bytes\": 1048576", "\"bytes\": 18446744073709551615", "more than there can be"),
            ("\"schema\": 1", "\"schema\": 2", "update"),
            ("mcast archive entry", "another thing", "not a manifest"),
            ("\"shop\"", "\"../shop\"", "label"),
            ("192.0.2.1:7767", "\\u001b[2J", "texts"),
            ("db1", "\\u001b[2J", "texts"),
            ("0a0a0a", "0x0a0a", "SHA-256"),
            ("\"piece_size\": 1048576", "\"piece_size\": null", "2 pieces"),
            ("2026-03-01T01:03:04Z", "yesterday", "not a manifest"),
            ("}", "", "not a manifest"),
        ] {
            let error = changed(from, to).unwrap_err();
            assert!(error.contains(reason), "{from} -> {to}: {error}");
        }
        assert!(Manifest::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(cut in 0..2_000_usize, at in 0..2_000_usize, byte in any::<u8>()) {
            let mut json = manifest().to_json().unwrap();
            json.truncate(cut);
            if let Some(there) = json.get_mut(at) {
                *there = byte;
            }
            let _ = Manifest::parse(&json);
        }
    }

    #[test]
    fn the_largest_manifest_is_not_too_large() {
        let mut largest = manifest();
        let piece =
            |number| Piece { file: data_object(Some(number)), bytes: 1 << 40, sha256: "0a".repeat(32) };
        largest.pieces = (0..MOST_PIECES).map(piece).collect();
        largest.bytes = (MOST_PIECES as u64) << 40;
        let json = largest.to_json().unwrap();
        assert!((json.len() as u64) < LARGEST_MANIFEST, "{}", json.len());
        assert_eq!(Manifest::parse(&json).unwrap().pieces.len(), MOST_PIECES);
    }
}
