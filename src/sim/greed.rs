//! A receiver that takes part as it should, and asks for more than it needs.

use std::rc::Rc;

use crate::seal;
use crate::wire::{self, BlockNumber, Message, Need, Needs, Report};

/// What `copies` reports say instead of this one, if it is one: all blocks from some on lack all symbols, as of the latest
/// datagram. In turn, these are blocks that are there, that are long gone, and that are still to come.
pub(super) fn demands(datagram: &[u8], copies: u32) -> Vec<Rc<[u8]>> {
    let parsed = seal::open(datagram).and_then(|content| wire::parse(content).ok());
    let Some((header, Message::Report(report))) = parsed else { return vec![datagram.into()] };
    let everything: Vec<_> =
        (0..MOST_NEEDS).map(|offset| Need { offset, missing: 255, symbols: None }).collect();
    (0..copies)
        .map(|copy| {
            let from = match copy % 3 {
                0 => report.received,
                1 => BlockNumber(0),
                _ => BlockNumber(report.received.0 / 2),
            };
            let report = Report {
                settled: report.highest,
                received: from,
                position: from.min(report.position),
                needs: Needs::Given(&everything),
                ..report
            };
            let mut bytes = Vec::new();
            Message::Report(report).write(header.session, header.number, &mut bytes);
            seal::seal_appended(&mut bytes, 0);
            bytes.into()
        })
        .collect()
}

/// As many as fit into a report, or nearly.
const MOST_NEEDS: u32 = 180;
