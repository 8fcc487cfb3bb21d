//! How much may be under way to socket buffers.

use super::members::{Limits, Member};
use super::{Flow, Sender};
use crate::session::ceiling::spacing;
use crate::time::Time;

impl Sender {
    /// So few receivers are never sent more than their socket buffers hold: each reports every 2 ms and more often, so that
    /// even the 208 KiB which Linux grants without privileges let 500 Mbit/s through, and what is dropped there would hold
    /// up everybody.
    const FEW: u32 = 4;

    /// Datagrams that may go now; `datagram` is the size of a full one on the wire.
    ///
    /// The count is exact while receivers report fast enough for it: then nothing is dropped in a socket buffer, however
    /// long its owner is kept from the CPU. A crowd may not report that often. There, no news are good news as long as none
    /// is overdue, and what a buffer drops is lost like anything else.
    pub(super) fn credit(&mut self, now: Time, datagram: usize, limits: &Limits) -> u64 {
        let Some((edge, holder)) = limits.credit_edge else { return 0 };
        let exact = edge.0.saturating_sub(self.next_number.0);
        let Some(holder) = self.members.get(holder) else { return exact };
        let (half, spacing) = (f64::from(holder.credit) / 2.0, spacing(self.group));
        // Not before somebody has answered: until then nobody knows how far away they are, nor what the path does.
        let exact_will_do = self.group <= Self::FEW || !self.flow.answered || exact as f64 >= half;
        if exact_will_do || self.datagrams_per_second(now, datagram) * spacing.as_secs_f64() < half {
            return exact;
        }
        // Two reports in a row may be lost; one comes within two spacings.
        let patience = spacing * 4 + self.grtt.get() * 2;
        let (next, since) = (self.next_number, self.flow.since);
        let holds_up = |member: &Member| {
            member.credit_edge <= next && now.since(member.last_heard.max(since)) > patience
        };
        let overdue = holds_up(holder) || self.members.most_silent().is_some_and(holds_up);
        if overdue { 0 } else { u64::MAX }
    }

    /// Of late, or since data began to flow.
    fn datagrams_per_second(&self, now: Time, datagram: usize) -> f64 {
        let Flow { since, first, .. } = self.flow;
        self.recent.2.map_or_else(
            || {
                let time = now.since(since).as_secs_f64().max(1e-6);
                self.next_number.0.saturating_sub(first.0) as f64 / time
            },
            |rate| rate.bits_per_second() as f64 / (8 * datagram) as f64,
        )
    }
}
