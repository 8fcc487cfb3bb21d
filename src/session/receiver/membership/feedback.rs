//! What a receiver says to its sender, and when: joins, reports, confirmations, leaves.

use std::time::Duration;

use super::reporting::{self, Reported};
use super::{Membership, Step};
use crate::exit::Exit;
use crate::session::CONTROL;
use crate::session::ceiling::spacing;
use crate::time::Time;
use crate::wire::{Confirm, Join, Leave, Message, Needs, Outcome, Report, Text};

impl Membership {
    /// Settles losses, and sees to it that they are reported.
    pub(super) fn settle(&mut self, now: Time) {
        self.horizon.settle(now);
        let settled = self.horizon.settled().block;
        let received = self.assembly.received();
        let missing = self.assembly.first_missing(self.reporting.unasked(), settled);
        let (group, grtt, rng) = (self.group_size, self.grtt, &mut self.rng);
        let due = || now + reporting::backoff(group, grtt, rng.f64());
        self.reporting.note_blocks(received, missing, settled, due);
        self.note_news(now);
    }

    /// Sees to it that the sender hears of a used quarter of the credit, or eighth of the window, and several times a
    /// round trip of what arrives while the path is new.
    pub(super) fn note_news(&mut self, now: Time) {
        let moved = self.assembly.position().0 - self.reporting.position.0;
        if self.reporting.is_news(now, self.arrived, self.credit)
            || moved >= (self.assembly.window() as u64 / 8).max(1)
        {
            self.reporting.note_news(now, self.group_size, &mut self.rng);
        }
    }

    /// When a report is due.
    fn report_due(&self) -> Time {
        if self.allowance() < Report::FIXED_LEN + self.seal.trailer_len() {
            // The sender's next datagram makes room for a report.
            return Time::NEVER;
        }
        let room = self.taken_at.filter(|_| self.has_stopped_the_sender());
        self.reporting.due(self.group_size, self.heartbeat, room.map(|taken| taken + Self::TAKEN_DELAY))
    }

    /// Everything that there was room for at the last report has come: the sender can send nothing more.
    fn has_stopped_the_sender(&self) -> bool {
        self.assembly.received().0 >= self.reporting.position.0 + self.assembly.window() as u64
    }

    pub(in crate::session::receiver) fn poll_transmit(&mut self, now: Time) -> Option<&[u8]> {
        if !self.prepared {
            self.prepare(now);
        }
        self.is_prepared().then_some(self.scratch.as_slice())
    }

    /// Whether a datagram waits for room in the network.
    pub(in crate::session::receiver) fn is_prepared(&self) -> bool {
        self.prepared && self.scratch.len() <= self.allowance()
    }

    /// Bytes that may be sent to the sender now. With a key, nobody is admitted to a session that another has invented.
    fn allowance(&self) -> usize {
        if self.has_key() { usize::MAX } else { self.allowance.left() }
    }

    pub(in crate::session::receiver) fn handle_transmitted(&mut self) {
        self.allowance.note_said(self.scratch.len());
        self.prepared = false;
    }

    fn prepare(&mut self, now: Time) {
        match &mut self.step {
            Step::Joining { asked } => {
                if now < self.ask_due {
                    return;
                }
                *asked += 1;
                let asked = *asked;
                let most = match self.started {
                    Some(_) => Self::ASK_STARTED.max(spacing(self.group_size)),
                    None => Self::ASK_MAX,
                };
                let usual = backoff(asked, Self::ASK_MIN.max(self.grtt * 2)).min(self.heartbeat).min(most);
                // A recording may bear any address, so joins to a sender that has not answered become rare.
                let pause =
                    self.doubtful_for(now).map_or(usual, |doubt| doubt.clamp(usual, Self::ASK_LONGEST));
                self.ask_due = now + pause.mul_f64(0.75 + 0.5 * self.rng.f64());
                self.prepare_join();
            }
            Step::Admitted => {
                if now >= self.ask_due {
                    self.ask_due = now + self.heartbeat;
                    self.prepare_join();
                }
            }
            Step::Receiving | Step::Verifying => {
                if now >= self.report_due() {
                    self.prepare_report(now);
                }
            }
            Step::Confirming { stage, heard, asked } => {
                if now < self.ask_due {
                    return;
                }
                let stage = *stage;
                if *heard >= Some(stage) {
                    // Heard; from now on only a sign of life, until the sink is done.
                    self.ask_due = now + self.heartbeat;
                } else {
                    *asked += 1;
                    let pause = backoff(*asked, Self::ASK_MIN.max(self.grtt * 2)).min(self.heartbeat);
                    self.ask_due = now + pause.mul_f64(0.75 + 0.5 * self.rng.f64());
                }
                let outcome = self.outcome(Exit::Complete);
                self.write(&Message::Confirm(Confirm { receiver: self.id, stage, outcome }));
            }
            Step::Leaving { ended, .. } => {
                if now < self.ask_due {
                    return;
                }
                self.ask_due =
                    now + (self.grtt * 2).clamp(Duration::from_millis(20), Duration::from_millis(200));
                let ended = ended.clone();
                let outcome = self.outcome(ended.exit);
                // What the sender has said itself it need not be told.
                let reason = ended.error.as_deref().filter(|_| ended.exit != Exit::Aborted);
                let text = Text::truncated(reason.unwrap_or_default());
                self.write(&Message::Leave(Leave { receiver: self.id, outcome, text }));
            }
            Step::Abandoned | Step::Ended(_) => {}
        }
    }

    fn write(&mut self, message: &Message<'_>) {
        self.scratch.clear();
        message.write(self.session, self.next_number, &mut self.scratch);
        self.sealer.seal_appended(&mut self.scratch, 0);
        self.next_number = self.next_number.plus(1);
        self.prepared = true;
    }

    fn prepare_join(&mut self) {
        let join = Join {
            receiver: self.id,
            window: u32::try_from(self.assembly.window()).unwrap_or(u32::MAX),
            credit: self.credit,
            peer_timeout: self.peer_timeout,
            name: self.name,
        };
        self.write(&Message::Join(join));
    }

    fn prepare_report(&mut self, now: Time) {
        let settled = self.horizon.settled();
        let mut needs = std::mem::take(&mut self.needs);
        let room = CONTROL.min(self.allowance()).saturating_sub(self.seal.trailer_len() + Report::FIXED_LEN);
        self.assembly.needs(settled.block, room, &mut needs);
        if !needs.is_empty() {
            self.nacks += 1;
            self.symbol_missed_since.get_or_insert(now);
        }
        self.watch_sink(now);
        let report = Report {
            receiver: self.id,
            highest: self.horizon.highest(),
            settled: settled.number,
            arrived: self.arrived,
            held: now.since(self.highest_at),
            waited: self.highest_waited,
            received: self.assembly.received(),
            position: self.assembly.position(),
            bytes: self.bytes,
            window: u32::try_from(self.assembly.window()).unwrap_or(u32::MAX),
            credit: self.credit,
            lost_symbols: self.lost(),
            dropped: self.dropped,
            stalled: self.stalled,
            needs: Needs::Given(&needs),
        };
        // `write` takes `self` whole; the report borrows only `needs`.
        self.write(&Message::Report(report));
        let reported = Reported {
            arrived: self.arrived,
            position: self.assembly.position(),
            settled: settled.number,
            settled_block: settled.block,
            needs: !needs.is_empty(),
        };
        let backoff = reporting::backoff(self.group_size, self.grtt, self.rng.f64());
        self.reporting.handle_report(now, self.group_size, self.grtt, backoff, &reported);
        self.taken_at = None;
        self.needs = needs;
    }

    fn outcome(&self, exit: Exit) -> Outcome {
        Outcome {
            exit,
            bytes: self.bytes,
            lost_symbols: self.lost(),
            dropped: self.dropped,
            nacks: self.nacks,
            stalled: self.stalled,
        }
    }

    /// Datagrams of the sender that never came.
    pub(super) fn lost(&self) -> u64 {
        self.horizon.highest().plus(1).0.saturating_sub(self.first_number.0).saturating_sub(self.arrived)
    }

    /// When something is to be sent; never while something waits for room in the network, or for the
    /// allowance.
    pub(super) fn transmit_due(&self) -> Time {
        match &self.step {
            _ if self.prepared => Time::NEVER,
            Step::Receiving | Step::Verifying => self.report_due(),
            Step::Abandoned | Step::Ended(_) => Time::NEVER,
            _ => self.ask_due,
        }
    }
}

/// The pause after the `asked`-th copy: doubled from `first` up to [`Membership::ASK_MAX`].
fn backoff(asked: u32, first: Duration) -> Duration {
    (first * 2_u32.saturating_pow(asked.saturating_sub(1).min(16))).min(Membership::ASK_MAX)
}
