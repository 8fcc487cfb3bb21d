//! Who has held up the session of late: what a progress line names, since the moment itself changes a thousand times a
//! second.

use std::collections::BTreeMap;
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

impl LimitOfLate {
    const SPAN: Duration = Duration::from_secs(1);

    pub(super) const fn new(now: Time) -> Self {
        Self { since: now, before: BTreeMap::new(), named: None }
    }

    /// Whom to name: `source`, `network` or `receiver NAME`, and for how long it has held up the session in all.
    pub(super) fn name(&mut self, now: Time, sender: &Sender) -> Option<(String, Duration)> {
        let totals = totals(sender);
        if now.since(self.since) >= Self::SPAN {
            self.named = of_late(&self.before, &totals);
            (self.since, self.before) = (now, totals.clone());
        }
        let limiter = self.named?;
        let name = match limiter {
            Limiter::Source => "source".to_owned(),
            Limiter::Network => "network".to_owned(),
            Limiter::Receiver(id) => {
                format!("receiver {}", sender.members().find(|member| member.id == id)?.name)
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
