//! The page's tables and examples against the code.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mcast::exit::Exit;
use mcast::fec::{Block, Codec, Layout, SymbolSet};
use mcast::seal;
use mcast::wire::{
    Abort, AbortReason, Announce, BlockNumber, Confirm, DatagramNumber, Digest, End, Entries, Join, Kind,
    Label, Leave, Message, Name, Need, Needs, Outcome, Phase, ReceiverId, Report, Roster, Seek, SessionId,
    Stage, Standing, Status, Symbol, Text, parse,
};

use super::page::{self, Field};

const SESSION: SessionId = SessionId(*b"\x5e\x55\x10\xa0\0\0\0\0\0\0\0\0\xc0\xff\xee\x01");
const RECEIVER: ReceiverId = ReceiverId(0x0123_4567_89ab_cdef);
const STATUS: Status = Status {
    next_block: BlockNumber(9),
    released: BlockNumber(7),
    grtt: Duration::from_micros(800),
    group_size: 3,
};
const OUTCOME: Outcome = Outcome {
    exit: Exit::Complete,
    bytes: 1_005_005,
    lost_symbols: 11,
    dropped: 2,
    nacks: 4,
    stalled: Duration::from_millis(1_500),
};
const STANDINGS: [(ReceiverId, Standing); 2] =
    [(RECEIVER, Standing::Admitted), (ReceiverId(0x0fed_cba9_8765_4321), Standing::RefusedFull)];

/// Hands `check` the messages of the page's examples: name, datagram number, message.
pub(super) fn each_example(mut check: impl FnMut(&str, DatagramNumber, Message<'_>)) {
    let needs = [
        Need { offset: 0, missing: 2, symbols: None },
        Need { offset: 3, missing: 3, symbols: Some(SymbolSet::from_iter([0, 9, 15])) },
    ];
    let announce = Announce {
        phase: Phase::Waiting,
        block_symbols: 88,
        symbol_size: 1428,
        join_spread: Duration::from_millis(3),
        peer_timeout: Duration::from_secs(10),
        age: Duration::from_millis(142),
        grtt: Duration::from_millis(10),
        group_size: 2,
        echo: ReceiverId(0),
        label: Label::new("nightly").unwrap(),
        name: None,
    };
    let join = Join {
        receiver: RECEIVER,
        window: 258,
        credit: 2849,
        peer_timeout: Duration::from_secs(10),
        name: Name::new("db2.example.org").unwrap(),
    };
    let symbol = |symbol, block_len, block| Symbol {
        substream: 0,
        symbol,
        block_len,
        block: BlockNumber(block),
        payload: b"hello",
    };
    let end = End {
        status: Status { released: BlockNumber(9), ..STATUS },
        bytes: 1_005_005,
        digest: Digest(std::array::from_fn(|at| 0xa0 + at as u8)),
    };
    let report = Report {
        receiver: RECEIVER,
        highest: DatagramNumber(1000),
        settled: DatagramNumber(990),
        arrived: 980,
        held: Duration::from_micros(120),
        waited: Duration::from_micros(3_900),
        received: BlockNumber(7),
        position: BlockNumber(6),
        bytes: 753_984,
        window: 258,
        credit: 2849,
        lost_symbols: 11,
        dropped: 0,
        stalled: Duration::ZERO,
        needs: Needs::Given(&needs),
    };
    let failed = Outcome { exit: Exit::SinkFailed, bytes: 1 << 33, ..OUTCOME };
    let messages = [
        ("announce", 3, Message::Announce(announce)),
        ("source", 21, Message::Source(symbol(1, 1433, 7))),
        ("repair", 22, Message::Repair(symbol(1, 5, 8))),
        ("keep-alive", 23, Message::KeepAlive(STATUS)),
        ("end", 24, Message::End(end)),
        ("roster", 4, Message::Roster(Roster { entries: Entries::Given(&STANDINGS) })),
        (
            "abort",
            25,
            Message::Abort(Abort {
                reason: AbortReason::SourceFailed,
                text: Text::truncated("pg_dump: status 1"),
            }),
        ),
        ("join", 0, Message::Join(join)),
        ("report", 5, Message::Report(report)),
        (
            "confirm",
            6,
            Message::Confirm(Confirm { receiver: RECEIVER, stage: Stage::Done, outcome: OUTCOME }),
        ),
        (
            "leave",
            7,
            Message::Leave(Leave {
                receiver: RECEIVER,
                outcome: failed,
                text: Text::truncated("no space left on device"),
            }),
        ),
        ("seek", 0, Message::Seek(Seek { receiver: STANDINGS[1].0, name: Name::new("db3").unwrap() })),
    ];
    assert_eq!(messages.len(), Kind::ALL.len());
    for (name, number, message) in messages {
        check(name, DatagramNumber(number), message);
    }
}

/// The whole datagrams of the examples.
pub(super) fn datagrams() -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    each_example(|_, number, message| datagrams.push(sealed(SESSION, number, &message)));
    datagrams
}

/// Header, body and trailer.
pub(super) fn sealed(session: SessionId, number: DatagramNumber, message: &Message<'_>) -> Vec<u8> {
    // Into what another datagram has left behind: every byte is written.
    let mut bytes = vec![0xee; 7];
    message.write(session, number, &mut bytes);
    seal::seal_appended(&mut bytes, 7);
    bytes.split_off(7)
}

#[test]
fn the_page_has_an_example_of_every_message_and_the_code_writes_and_reads_just_these_bytes() {
    let page = page::text();
    let mut examples = page::examples(&page);
    each_example(|name, number, message| {
        let example = examples.remove(name).unwrap_or_else(|| panic!("no example of {name}")).datagram();
        assert_eq!(hex(&sealed(SESSION, number, &message)), hex(&example), "{name}");
        let content = seal::open(&example).expect("the example's trailer is right");
        let (header, read) = parse(content).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((header.kind, header.session, header.number), (message.kind(), SESSION, number));
        assert_eq!(described(&read), described(&message), "{name}");
    });
    assert!(examples.is_empty(), "examples of no message: {:?}", examples.keys());
}

#[test]
fn every_example_is_a_seed_of_the_fuzz_target() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse");
    each_example(|name, number, message| {
        let datagram = sealed(SESSION, number, &message);
        let content = seal::open(&datagram).unwrap();
        let path = directory.join(name);
        if std::env::var_os("MCAST_WRITE_SEEDS").is_some() {
            fs::write(&path, content).unwrap();
        }
        let seed = fs::read(&path).unwrap_or_default();
        assert_eq!(
            hex(&seed),
            hex(content),
            "{}: MCAST_WRITE_SEEDS=1 cargo test --test protocol writes it",
            path.display()
        );
    });
}

/// A message as text, its lists as what they hold.
pub(super) fn described(message: &Message<'_>) -> String {
    match message {
        Message::Report(report) => {
            let needs: Vec<_> = report.needs.iter().collect();
            format!("{:?} {needs:?}", Report { needs: Needs::Given(&[]), ..*report })
        }
        Message::Roster(roster) => format!("{:?}", roster.entries.iter().collect::<Vec<_>>()),
        message => format!("{message:?}"),
    }
}

#[test]
fn every_field_of_an_example_is_the_tables_next_field() {
    let page = page::text();
    let header = page::layouts(page::section(&page, "### Header")).remove(0);
    for (name, example) in page::examples(&page) {
        let mut layouts = page::layouts(page::section(&page, &format!("### {name}"))).into_iter();
        let body = layouts.next().unwrap_or_else(|| panic!("{name} has no layout"));
        let entry = layouts.next().unwrap_or_default();
        let mut walk = Walk { name, rest: &example.fields, offset: 0 };
        walk.fields(&header, 0);
        walk.fields(&body, 0);
        // The examples have two entries each.
        for _ in 0..2 {
            walk.fields(&entry, walk.offset);
        }
        let [(said, bytes, _)] = walk.rest else { panic!("{name}: {:?} is in no table", walk.rest) };
        assert_eq!((*said, bytes.len()), ("CRC-32", seal::TRAILER_LEN), "{name}");
    }
}

/// A way through an example, field by field.
struct Walk<'a> {
    name: &'a str,
    rest: &'a [(&'a str, Vec<u8>, &'a str)],
    offset: usize,
}

impl Walk<'_> {
    fn fields(&mut self, layout: &[Field<'_>], base: usize) {
        for field in layout {
            let name = self.name;
            let Some(((said, bytes, meaning), rest)) = self.rest.split_first() else {
                panic!("{name} has no {}", field.name)
            };
            if *said != field.name && field.size.fits(0) {
                continue;
            }
            assert_eq!(*said, field.name, "{name}: order of fields");
            assert!(field.size.fits(bytes.len()), "{name}: {said} has {} bytes", bytes.len());
            assert!(!meaning.is_empty(), "{name}: {said} is not explained");
            let expected = field.offset.map_or(self.offset, |offset| base + offset);
            assert_eq!(self.offset, expected, "{name}: offset of {said}");
            self.offset += bytes.len();
            self.rest = rest;
        }
    }
}

#[test]
fn the_page_lists_the_kinds_as_the_code_numbers_them() {
    let page = page::text();
    let listed: Vec<_> = page::tables(page::section(&page, "### Header"))
        .into_iter()
        .filter(|rows| rows[0][0] == "kind")
        .flat_map(|rows| {
            rows[1..].iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let mut expected = Vec::new();
    each_example(|name, _, message| {
        expected.push(((message.kind() as u8).to_string(), format!("[{name}](#{name})")));
    });
    assert_eq!(listed, expected);
}

#[test]
fn a_symbol_header_written_in_place_is_the_one_that_a_message_writes() {
    each_example(|name, number, message| {
        let (Message::Source(symbol) | Message::Repair(symbol)) = message else { return };
        let whole = sealed(SESSION, number, &message);
        let mut datagram = vec![0xee; whole.len()];
        let start = mcast::wire::SYMBOL_HEADER_LEN;
        datagram[start..start + symbol.payload.len()].copy_from_slice(symbol.payload);
        let Symbol { symbol, block_len, block, .. } = symbol;
        Symbol::write_header(message.kind(), SESSION, number, block, block_len, symbol, &mut datagram);
        seal::seal(&mut datagram);
        assert_eq!(hex(&datagram), hex(&whole), "{name}");
    });
}

#[test]
fn repair_symbols_are_the_values_that_the_page_gives() {
    let page = page::text();
    let section = page::section(&page, "### repair");
    let tables = page::tables(section);
    let rows = tables.iter().find(|rows| rows[0][0] == "source symbols").expect("a table of repair symbols");
    for row in &rows[1..] {
        let [sources, first, second, ..] = row.as_slice() else { panic!("{row:?}") };
        let sources: Vec<_> = sources.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let mut block = Block::new(Layout { symbol_size: 1, head: 0, tail: 0 }, sources.len());
        block.append(&sources);
        for (repair, expected) in [first, second].into_iter().enumerate() {
            let mut value = [0];
            Codec::new().encode(&block, repair, &mut value).unwrap();
            assert_eq!(hex(&value), **expected, "repair symbol {repair} of {sources:?}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
