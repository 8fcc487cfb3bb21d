//! Who has held up the session of late: what a progress line names, since the moment itself changes a thousand times a
//! second.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::session::{Limiter, Sender};
use crate::time::Time;

/// Compares how long each limiter has held with what it was a second ago.
#[derive(Debug)]
pub(super) struct LimitOfLate {
    since: Time,
    before: BTreeMap<Limiter, Duration>,
    named: Option<Limiter>,
}

/// The part of a session that holds it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The source: it gave no data.
    Source,
    /// The network: line, losses and rate control.
    Network,
    /// The operator's `--rate`.
    Rate,
    /// This receiver.
    Receiver(String),
    /// The output of this receiver.
    Sink,
}

impl Limit {
    /// Its name for programs, as in the report.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Source => "source".to_owned(),
            Self::Network => "network".to_owned(),
            Self::Rate => "rate".to_owned(),
            Self::Receiver(name) => format!("receiver:{name}"),
            Self::Sink => "sink".to_owned(),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => f.write_str("--rate"),
            Self::Receiver(name) => write!(f, "receiver {name}"),
            _ => f.write_str(&self.key()),
        }
    }
}

impl LimitOfLate {
    const SPAN: Duration = Duration::from_secs(1);

    pub(super) const fn new(now: Time) -> Self {
        Self { since: now, before: BTreeMap::new(), named: None }
    }

    /// Whom to name, and for how long it has held up the session in all.
    pub(super) fn name(&mut self, now: Time, sender: &Sender) -> Option<(Limit, Duration)> {
        let totals = totals(sender);
        if now.since(self.since) >= Self::SPAN {
            self.named = of_late(&self.before, &totals);
            (self.since, self.before) = (now, totals.clone());
        }
        let limiter = self.named?;
        let name = match limiter {
            Limiter::Source => Limit::Source,
            // Time at the operator's rate counts as time of the network.
            Limiter::Network if sender.config().rate.is_some_and(|rate| sender.rate() >= rate) => Limit::Rate,
            Limiter::Network => Limit::Network,
            Limiter::Receiver(id) => {
                Limit::Receiver(sender.members().find(|member| member.id == id)?.name.clone())
            }
        };
        Some((name, totals.get(&limiter).copied().unwrap_or_default()))
    }
}

fn totals(sender: &Sender) -> BTreeMap<Limiter, Duration> {
    let (source, network) = sender.limited_by();
    let receivers = sender.members().map(|member| (Limiter::Receiver(member.id), member.limited));
    receivers.chain([(Limiter::Source, source), (Limiter::Network, network)]).collect()
}

/// Who has held longest between the two; `None` if nobody has.
fn of_late(before: &BTreeMap<Limiter, Duration>, now: &BTreeMap<Limiter, Duration>) -> Option<Limiter> {
    let grown = |limiter: &Limiter, total: Duration| {
        total.saturating_sub(before.get(limiter).copied().unwrap_or_default())
    };
    let longest = now.iter().max_by_key(|(limiter, total)| grown(limiter, **total))?;
    (!grown(longest.0, *longest.1).is_zero()).then_some(*longest.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ReceiverId;

    #[test]
    fn who_held_longest_of_late_is_named_and_not_who_did_in_all() {
        let receiver = Limiter::Receiver(ReceiverId(7));
        let totals = |times: [u64; 3]| -> BTreeMap<_, _> {
            let limiters = [Limiter::Source, Limiter::Network, receiver];
            limiters.into_iter().zip(times.map(Duration::from_millis)).collect()
        };
        assert_eq!(of_late(&totals([90_000, 5, 0]), &totals([90_100, 5, 900])), Some(receiver));
        assert_eq!(of_late(&BTreeMap::new(), &totals([1, 2, 0])), Some(Limiter::Network));
        assert_eq!(of_late(&totals([1, 2, 3]), &totals([1, 2, 3])), None);
    }
}
