//! A receiver that takes part as it should, and lies in its reports about how much has arrived.

use std::rc::Rc;
use std::time::Duration;

use crate::seal;
use crate::time::Time;
use crate::wire::{self, Message, Report};

/// How many datagrams a receiver's report claims beyond those that the report before it claimed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lie {
    /// Every datagram that was sent.
    Everything,
    /// This share of those that have arrived. A share above 1 may claim more than were sent.
    Share(f64),
    /// A share of those that have arrived, drawn between nothing and this one for each report.
    Random(f64),
    /// A share of those that have arrived: it falls by half in each such time, as if the path became slower for ever.
    Shrinking(Duration),
}

/// How far a receiver is with its lies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Liar {
    /// Datagrams that had arrived, and those that should have, when it reported last.
    arrived: u64,
    due: u64,
    /// Datagrams that it has claimed so far.
    claimed: f64,
}

impl Liar {
    /// The datagram as the receiver sends it: a report with the lie in it, anything else unchanged.
    pub(super) fn twist(
        &mut self,
        lie: Lie,
        now: Time,
        datagram: &Rc<[u8]>,
        rng: &mut fastrand::Rng,
    ) -> Rc<[u8]> {
        let parsed = seal::open(datagram).and_then(|content| wire::parse(content).ok());
        let Some((header, Message::Report(report))) = parsed else { return Rc::clone(datagram) };
        let arrived = report.arrived.saturating_sub(self.arrived) as f64;
        let due = report.highest.plus(1).0;
        self.claimed += match lie {
            Lie::Everything => due.saturating_sub(self.due) as f64,
            Lie::Share(share) => arrived * share,
            Lie::Random(most) => arrived * most * rng.f64(),
            Lie::Shrinking(half) => {
                arrived * 0.5_f64.powf(now.since(Time::ZERO).as_secs_f64() / half.as_secs_f64())
            }
        };
        (self.arrived, self.due) = (report.arrived, due);
        let report = Report { arrived: self.claimed as u64, ..report };
        let mut bytes = Vec::new();
        Message::Report(report).write(header.session, header.number, &mut bytes);
        seal::seal_appended(&mut bytes, 0);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{BlockNumber, DatagramNumber, Needs, ReceiverId, SessionId};

    /// A report after `sent` datagrams, of which `arrived` have arrived.
    fn report(sent: u64, arrived: u64) -> Rc<[u8]> {
        let report = Report {
            receiver: ReceiverId(1),
            highest: DatagramNumber(sent - 1),
            settled: DatagramNumber(sent - 1),
            arrived,
            held: Duration::ZERO,
            waited: Duration::ZERO,
            received: BlockNumber(0),
            position: BlockNumber(0),
            bytes: 0,
            window: 1,
            credit: 1,
            lost_symbols: 0,
            dropped: 0,
            stalled: Duration::ZERO,
            needs: Needs::Given(&[]),
        };
        let mut bytes = Vec::new();
        Message::Report(report).write(SessionId([0; 16]), DatagramNumber(0), &mut bytes);
        seal::seal_appended(&mut bytes, 0);
        bytes.into()
    }

    /// The numbers that the reports claim when 100 datagrams are sent in each second and 80 of them arrive.
    fn claims(lie: Lie) -> Vec<u64> {
        let (mut liar, mut rng) = (Liar::default(), fastrand::Rng::with_seed(1));
        (1..=3)
            .map(|second| {
                let now = Time::ZERO + Duration::from_secs(second);
                let twisted = liar.twist(lie, now, &report(100 * second, 80 * second), &mut rng);
                match seal::open(&twisted).map(wire::parse) {
                    Some(Ok((_, Message::Report(report)))) => report.arrived,
                    other => unreachable!("{other:?}"),
                }
            })
            .collect()
    }

    #[test]
    fn each_lie_claims_what_it_says() {
        assert_eq!(claims(Lie::Everything), [100, 200, 300]);
        assert_eq!(claims(Lie::Share(2.0)), [160, 320, 480]);
        assert_eq!(claims(Lie::Share(0.5)), [40, 80, 120]);
        assert_eq!(claims(Lie::Shrinking(Duration::from_secs(1))), [40, 60, 70]);
        let random = claims(Lie::Random(1.0));
        assert!(random.is_sorted() && random[2] < 240, "{random:?}");
    }

    #[test]
    fn other_datagrams_pass_as_they_are() {
        let bytes: Rc<[u8]> = [1, 2, 3].as_slice().into();
        let twisted =
            Liar::default().twist(Lie::Everything, Time::ZERO, &bytes, &mut fastrand::Rng::with_seed(1));
        assert_eq!(twisted, bytes);
    }
}
