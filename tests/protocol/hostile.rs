//! Bytes that nobody honest sends: cut, flipped, lying, huge. They are refused, and cost nothing.

use allocation_counter::measure;
use mcast::wire::{
    DatagramNumber, Entries, Kind, Message, Need, Needs, ReceiverId, Report, Roster, SessionId, Standing,
    VERSION, parse,
};
use mcast::{fec::SymbolSet, seal, wire::Malformed};

use super::examples::{datagrams, each_example};

/// What can be parsed is written again as it was. Returns whether it could.
fn is_canonical(content: &[u8]) -> bool {
    let Ok((header, message)) = parse(content) else { return false };
    let mut written = Vec::new();
    message.write(header.session, header.number, &mut written);
    assert_eq!(written, content, "{message:?} has two ways to be written");
    true
}

#[test]
fn a_datagram_cut_anywhere_is_refused() {
    for datagram in datagrams() {
        for length in 0..datagram.len() {
            assert_eq!(seal::open(&datagram[..length]), None, "{length} bytes of {datagram:?}");
        }
    }
}

#[test]
fn a_datagram_with_any_bit_flipped_is_refused() {
    for mut datagram in datagrams() {
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal::open(&datagram), None, "bit {bit} of {datagram:?}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn cut_and_sealed_again_only_a_shorter_payload_is_a_message() {
    for datagram in datagrams() {
        let content = seal::open(&datagram).unwrap();
        for length in 0..content.len() {
            let is_symbol = content[1] == Kind::Source as u8 || content[1] == Kind::Repair as u8;
            let has_payload = is_symbol && length > mcast::wire::SYMBOL_HEADER_LEN;
            assert_eq!(is_canonical(&content[..length]), has_payload, "{length} bytes of {content:?}");
        }
    }
}

#[test]
fn flipped_and_sealed_again_whatever_is_a_message_is_written_as_it_was() {
    for mut datagram in datagrams() {
        datagram.truncate(datagram.len() - seal::TRAILER_LEN);
        let mut read = 0;
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            read += usize::from(is_canonical(&datagram));
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        // Session and number may be anything.
        assert!(read >= 192, "{read}");
    }
}

#[test]
fn bytes_after_the_last_field_are_refused() {
    each_example(|name, number, message| {
        if matches!(message, Message::Source(_) | Message::Repair(_)) {
            return;
        }
        let mut content = Vec::new();
        message.write(SessionId([1; 16]), number, &mut content);
        content.push(0);
        assert!(parse(&content).is_err(), "{name}");
    });
}

#[test]
fn unknown_versions_and_kinds_are_refused() {
    for mut datagram in datagrams() {
        for version in (0..=255).filter(|version| *version != VERSION) {
            datagram[0] = version;
            assert_eq!(parse(&datagram), Err(Malformed::Value("version")));
        }
        datagram[0] = VERSION;
        for kind in (0..=255).filter(|kind| !Kind::ALL.iter().any(|known| *known as u8 == *kind)) {
            datagram[1] = kind;
            assert_eq!(parse(&datagram), Err(Malformed::Value("kind")));
        }
    }
}

/// The content of a roster with two entries, and of a report with two needs, and where their counts lie.
fn lists() -> [(Vec<u8>, usize); 2] {
    let entries = [(ReceiverId(1), Standing::Done); 2];
    let needs = [
        Need { offset: 0, missing: 1, symbols: None },
        Need { offset: 1, missing: 1, symbols: Some(SymbolSet::below(9)) },
    ];
    let mut report = None;
    each_example(|_, _, message| {
        if let Message::Report(found) = message {
            report = Some(Report { needs: Needs::Given(&[]), ..found });
        }
    });
    let report = Report { needs: Needs::Given(&needs), ..report.unwrap() };
    let roster = Roster { entries: Entries::Given(&entries) };
    [(Message::Roster(roster), 26), (Message::Report(report), 118)].map(|(message, count_at)| {
        let mut content = Vec::new();
        message.write(SessionId([1; 16]), DatagramNumber(1), &mut content);
        (content, count_at)
    })
}

#[test]
fn lists_that_lie_about_their_length_are_refused() {
    for (mut content, at) in lists() {
        for count in 0..=u16::MAX {
            content[at..at + 2].copy_from_slice(&count.to_be_bytes());
            assert_eq!(parse(&content).is_ok(), count == 2, "{count} claimed");
        }
    }
}

#[test]
fn strings_and_bitmaps_that_lie_about_their_length_are_refused() {
    let lengths =
        [("announce", 58), ("abort", 27), ("join", 46), ("leave", 71), ("report", 131), ("seek", 34)];
    each_example(|name, number, message| {
        let Some((_, at)) = lengths.iter().find(|(kind, _)| *kind == name) else { return };
        let mut content = Vec::new();
        message.write(SessionId([1; 16]), number, &mut content);
        let true_length = content[*at];
        assert!(true_length > 0, "{name}: {at} is no length");
        for length in 0..=255 {
            content[*at] = length;
            assert_eq!(parse(&content).is_ok(), length == true_length, "{name}: {length} claimed");
        }
    });
}

/// The largest content that a UDP datagram over IPv4 can have.
const LARGEST: usize = 65_507 - seal::TRAILER_LEN;

/// Datagrams of every kind, as large as can be, out of one byte repeated, with counts that claim the most.
fn giants() -> impl Iterator<Item = Vec<u8>> {
    [0x00, 0x01, 0x41, 0xff].into_iter().flat_map(|filler| {
        datagrams().into_iter().flat_map(move |start| {
            let cuts = [2, 26, 28, 40, start.len() - seal::TRAILER_LEN];
            cuts.map(|cut| {
                let mut giant = start[..cut].to_vec();
                giant.resize(LARGEST, filler);
                giant
            })
        })
    })
}

#[test]
fn the_largest_datagrams_are_read_or_refused_like_small_ones() {
    let read = giants().filter(|giant| is_canonical(giant)).count();
    // Symbols with large payloads.
    assert!(read > 0);
}

#[test]
fn the_longest_lists_that_fit_come_back() {
    let entries: Vec<_> = (0..7_000).map(|id| (ReceiverId(id), Standing::Admitted)).collect();
    let mut content = Vec::new();
    let roster = Message::Roster(Roster { entries: Entries::Given(&entries) });
    roster.write(SessionId([1; 16]), DatagramNumber(1), &mut content);
    assert!(is_canonical(&content) && content.len() < LARGEST);
    let (_, message) = parse(&content).unwrap();
    assert!(matches!(message, Message::Roster(roster) if roster.entries.iter().eq(entries.iter().copied())));
}

#[test]
fn opening_and_reading_any_datagram_allocates_nothing() {
    // The counting allocator sees what this thread asks for, here once to show that it counts at all.
    assert_eq!(measure(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1)))).count_total, 1);
    let mut all = datagrams();
    all.extend(lists().map(|(content, _)| content));
    all.extend(giants());
    for datagram in &mut all {
        let sealed_again = datagram.len() >= seal::TRAILER_LEN;
        for bit in (0..datagram.len().min(200) * 8).step_by(3) {
            datagram[bit / 8] ^= 1 << (bit % 8);
            if sealed_again {
                seal::seal(datagram);
            }
            let content = &datagram[..datagram.len() - seal::TRAILER_LEN];
            let used = measure(|| {
                std::hint::black_box(seal::open(datagram).map(parse).is_some_and(|read| read.is_ok()));
                std::hint::black_box(parse(content).is_ok());
            });
            assert_eq!((used.count_total, used.bytes_total), (0, 0), "{content:?}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
