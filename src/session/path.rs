//! What the path to one receiver carries, from what it got of what was sent, and how long that took.
//!
//! Loss alone does not prove that a path is full: a lossy one loses the same share at any rate. Nor does delay: hosts are
//! late, too. So a sign of either, once it is worth it, makes the path's limit fall for a moment below what came through
//! lately, and what is still seen then is the path's own. What has gone by then was the rate's fault, and what came through is the path's
//! capacity: from there the rate probes upwards, slowly near the capacity, faster beyond it, until it meets it again or
//! has left it behind.

mod check;
mod limit;
mod noise;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use self::check::Check;
use self::check::Sign;
use self::limit::Limit;
pub(super) use self::noise::Common;
use self::noise::{Clumps, Compared, Noise};
use super::pacer::Rate;
use crate::time::Time;
use crate::wire::DatagramNumber;

/// What a report says of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    /// The highest number that has arrived.
    pub(super) highest: DatagramNumber,
    /// Datagrams that have arrived.
    pub(super) arrived: u64,
    /// When `highest` was sent.
    pub(super) sent_at: Time,
    /// When it had arrived, and a report could have been back from there.
    pub(super) seen_at: Time,
}

impl Echo {
    /// There and back.
    pub(super) fn round_trip(&self) -> Duration {
        self.seen_at.since(self.sent_at)
    }
}

/// What the sender is doing as a report comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) now: Time,
    /// Number of the next datagram.
    pub(super) next: DatagramNumber,
    /// Bits of a full datagram with its headers.
    pub(super) datagram: f64,
    /// The rate is still being looked for: signs come fast and plain.
    pub(super) starting: bool,
    /// The sender's own queue, or a receiver's socket buffer, has been full of late: then that is what delays.
    pub(super) held_back: bool,
    /// Some path is known to have a limit, or is being checked for one.
    pub(super) limited: bool,
    /// What was sent before the checks that are under way now took the rate down.
    pub(super) unchecked: Option<Rate>,
    /// Whether answers that are known may be put to the test again now: checks must leave time without any.
    pub(super) may_doubt: bool,
    /// A check of another path has just begun: who wants one, too, has it for nothing.
    pub(super) may_join: bool,
    /// Standard deviations that are still chance ([`chance`]).
    pub(super) chance: f64,
    /// Time until receivers have told of what is sent from now on.
    pub(super) answer: Duration,
    /// What paths of this crowd lose whatever the rate, if enough of them have been checked.
    pub(super) common: Option<Common>,
    /// How much more unevenly paths lose than by chance, in the mean of all: a factor of the variance.
    pub(super) clumps: f64,
}

/// What a report has brought to light of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finding {
    /// A check has found its limit.
    Limit,
    /// This rate, bits per second, has left a limit behind.
    LeftBehind(f64),
}

/// What came through of a part of a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Datagrams.
    pub(super) sent: f64,
    pub(super) lost: f64,
    /// Those that would be lost if as much were lost as before.
    pub(super) expected: f64,
}

/// Standard deviations that one of so many receivers will see by chance: two for one, three for a dozen, four for 400.
pub(super) fn chance(receivers: usize) -> f64 {
    (4.0 + 2.0 * (receivers.max(1) as f64).ln()).sqrt()
}

/// The path to one receiver.
#[derive(Clone, Debug)]
pub(super) struct Path {
    state: State,
    /// Start of the interval under way.
    since: Option<Echo>,
    /// The last report.
    last: Option<Echo>,
    /// Share lost in the last interval.
    lost: f64,
    /// The shortest round trip in this interval, and of all.
    least: Duration,
    base: Duration,
    noise: Noise,
    /// Intervals in a row with a sign that the path is full, and the last of them.
    signs: u32,
    sign: Interval,
    /// Seconds of the path's time that were lost in them with datagrams, beyond the usual.
    wasted: f64,
    /// What this path says of the present round of the start, and which one that is.
    pub(super) vote: (u64, Option<bool>),
    /// The last check of many paths in which this one was counted.
    pub(super) pooled: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is known that limits.
    Open,
    /// The rate is below what came through, to see what loss or delay that leaves.
    Checking(Check),
    /// The path was full.
    Limited(Limit),
}

/// What was sent and what arrived between two reports.
#[derive(Clone, Copy, Debug)]
struct Interval {
    sent: u64,
    arrived: u64,
    span: Duration,
    /// How much longer than ever the shortest round trip was.
    delay: Duration,
}

impl Path {
    /// An interval is as long as this, so that a late process is not taken for a full queue …
    const INTERVAL: Duration = Duration::from_millis(20);
    /// … and covers so many datagrams, so that one lost is a few per cent.
    const ENOUGH: u64 = 32;
    /// Signs in a row that make a check: a burst of loss, or a host that is late, gives one or two.
    const SIGNS: u32 = 3;
    /// The same for a path that is known to have a limit.
    const SIGNS_NEAR_LIMIT: u32 = 2;
    /// So many times as many where nothing is lost: a host without time is late again and again.
    const PATIENCE: u32 = 2;
    /// Where no limit is known, loss is checked once it has cost so many times what the check will cost if it is the
    /// path's own: so that checks of any path, in any crowd, take a small part of the time.
    const WORTH: f64 = 3.0;
    /// The same where a queue is not empty: both together are hardly ever the path's own.
    const WORTH_DELAYED: f64 = 0.25;
    /// A queue that takes longer than this is a sign; shallower ones overflow. A busy host is late by less.
    const DEEP: Duration = Duration::from_millis(50);
    /// A queue that takes less is as good as drained.
    const DRAINED: Duration = Duration::from_millis(12);
    /// While checking, this share of what came through is sent: queues drain, and a difference shows …
    const CHECK: f64 = 0.8;
    /// … and this one where nothing but an old answer is put to the test again.
    const DOUBT: f64 = 0.9;
    /// One check takes the rate down to this share of what was sent at least, whatever a receiver says.
    const DEEPEST: f64 = 0.1;
    /// Queues have this long to drain.
    const MOST_DRAINING: Duration = Duration::from_secs(2);

    pub(super) const fn new() -> Self {
        Self {
            state: State::Open,
            since: None,
            last: None,
            lost: 0.0,
            least: Duration::MAX,
            base: Duration::MAX,
            noise: Noise::NONE,
            signs: 0,
            wasted: 0.0,
            sign: Interval { sent: 0, arrived: 0, span: Duration::ZERO, delay: Duration::ZERO },
            vote: (0, None),
            pooled: 0,
        }
    }

    /// What the path is thought to carry; `None`: any rate.
    pub(super) fn limit(&self) -> Option<Rate> {
        let bits = match &self.state {
            State::Open => return None,
            State::Checking(check) => check.now,
            State::Limited(limit) => limit.rate(),
        };
        Some(Rate::from_bits_per_second(bits as u64))
    }

    /// What was sent before a check took the rate down, if one does.
    pub(super) fn unchecked(&self) -> Option<Rate> {
        match &self.state {
            State::Checking(check) => Some(Rate::from_bits_per_second(check.rate as u64)),
            State::Open | State::Limited(_) => None,
        }
    }

    /// How much longer than ever the last round trip took.
    pub(super) fn delay(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |echo| echo.round_trip().saturating_sub(self.base))
    }

    /// Share lost since the interval under way began, or in the last one if this report has ended it.
    pub(super) fn loss(&self) -> f64 {
        let (Some(since), Some(last)) = (self.since, self.last) else { return 0.0 };
        let sent = last.highest.0.saturating_sub(since.highest.0);
        if sent == 0 { self.lost } else { 1.0 - (last.arrived - since.arrived) as f64 / sent as f64 }
    }

    /// How much more unevenly this path loses than by chance, as far as it shows.
    pub(super) fn clumped(&self) -> f64 {
        self.noise.clumps.factor()
    }

    /// By how much the variance of what is lost exceeds chance, where that is beyond doubt.
    fn clumps(&self, sending: &Sending) -> f64 {
        let clumps = self.clumped().max(sending.clumps);
        if clumps < Clumps::MANY { 1.0 } else { clumps }
    }

    /// What a report will add to a check of loss, if that is what this path is in.
    pub(super) fn sample(&self, echo: &Echo) -> Option<Sample> {
        let State::Checking(Check { sign: Sign::Loss(seen), follows: 0, before: None, .. }) = self.state
        else {
            return None;
        };
        let last = self.last.filter(|_| self.since.is_some())?;
        let sent = echo.highest.0.checked_sub(last.highest.0).filter(|sent| *sent > 0)?;
        let arrived = echo.arrived.checked_sub(last.arrived)?;
        Some(Sample {
            sent: sent as f64,
            // What overtakes may come with the next; nobody says more than there is.
            lost: (sent as f64 - arrived as f64).max(-(sent as f64)),
            expected: sent as f64 * seen.lost(),
        })
    }

    /// Takes a report into account. Returns what it has brought to light.
    pub(super) fn handle_echo(&mut self, echo: Echo, sending: &Sending) -> Option<Finding> {
        if self.last.is_some_and(|last| echo.highest <= last.highest || echo.arrived < last.arrived) {
            return None;
        }
        self.base = self.base.min(echo.round_trip());
        let stale = matches!(&self.state, State::Checking(check) if echo.highest < check.from);
        self.last = Some(echo);
        let Some(since) = self.since.filter(|_| !stale) else {
            self.since = (!stale).then_some(echo);
            self.least = Duration::MAX;
            return None;
        };
        self.least = self.least.min(echo.round_trip());
        let sent = echo.highest.0 - since.highest.0;
        // A burst that arrives at once has not come through faster than it was sent.
        let span = echo.sent_at.since(since.sent_at).max(echo.seen_at.since(since.seen_at));
        let (enough, long_enough) = match &self.state {
            State::Checking(check) => (check.sample(sending, self.clumps(sending)), Self::INTERVAL * 2),
            State::Open if sending.starting => (Self::ENOUGH, Duration::ZERO),
            _ => (Self::ENOUGH, Self::INTERVAL),
        };
        if span < long_enough || (sent < enough && (sent < Self::ENOUGH || span < Check::LONGEST)) {
            return None;
        }
        let interval = Interval {
            sent,
            arrived: echo.arrived - since.arrived,
            span,
            delay: self.least.saturating_sub(self.base),
        };
        self.noise.note_late(&interval);
        self.lost = interval.lost();
        self.since = Some(echo);
        self.least = Duration::MAX;
        match self.state {
            State::Checking(check) => self.judge(check, &interval, sending),
            State::Open | State::Limited(_) => self.watch(interval, sending),
        }
    }

    fn watch(&mut self, interval: Interval, sending: &Sending) -> Option<Finding> {
        let (before, enough, starting) = match self.state {
            State::Limited(limit) => (Some(limit), Self::SIGNS_NEAR_LIMIT, false),
            _ => (None, Self::SIGNS, sending.starting),
        };
        if interval.delay < Self::DRAINED / 4 {
            self.noise.clumps.note(&interval, self.signs);
        } else {
            // A queue may have been full.
            self.noise.clumps.forget();
        }
        let clumps = self.clumps(sending);
        let is_common = before.is_none()
            && sending.common.is_some_and(|common| common.explains(&interval, sending.chance, clumps));
        let lossy = !is_common && self.noise.is_exceeded(&interval, starting, clumps);
        let delayed = interval.delay > Self::DEEP && !sending.held_back;
        if lossy || delayed {
            self.signs += 1;
            // The first sign may be from when it began; two say more than one.
            let evidence = if self.signs > 2 { interval.joined(&self.sign) } else { interval };
            self.sign = interval;
            self.wasted += (interval.lost() - self.noise.share) * interval.span.as_secs_f64();
            let enough = if lossy { enough } else { enough * Self::PATIENCE };
            // Longer than it takes to send a batch or two.
            let batch = interval.span.mul_f64(Self::ENOUGH as f64 / interval.sent as f64);
            let waited = interval.delay > batch.max(Self::DRAINED / 8);
            let worth = if waited { Self::WORTH_DELAYED } else { Self::WORTH };
            let plain = before.is_some()
                || delayed
                || self.wasted >= Check::cost(&evidence, Self::CHECK, sending, clumps) * worth;
            if (self.signs >= enough && plain) || (lossy && !starting && sending.may_join) {
                // What a deep queue loses is less than what it holds up, and the path's own losses would hide it.
                let sign = if delayed { Sign::Delay(evidence) } else { Sign::Loss(evidence) };
                self.check(sign, before, sending);
            }
            return None;
        }
        (self.signs, self.wasted) = (0, 0.0);
        if let State::Limited(limit) = &mut self.state {
            if limit.rate() < limit.capacity * Limit::CLEAR {
                self.noise.learn(&interval);
                self.noise.clumps.learn();
            } else {
                self.noise.clumps.forget();
            }
            if interval.rate(sending.datagram) >= limit.rate() * Limit::USED {
                limit.grown += interval.span;
            }
            let reached = limit.rate();
            if reached > limit.capacity * Limit::LEFT_BEHIND && interval.delay < Self::DRAINED / 2 {
                self.state = State::Open;
                return Some(Finding::LeftBehind(reached));
            }
            return None;
        }
        self.noise.clumps.learn();
        if !starting {
            self.noise.learn(&interval);
            let worth =
                self.noise.wasted >= Check::cost(&interval, Self::DOUBT, sending, clumps) * Self::WORTH;
            if worth && sending.may_doubt && self.noise.is_doubtful(sending.now, sending.may_join, clumps) {
                self.check(Sign::Doubt(interval), None, sending);
            }
        }
        None
    }

    fn check(&mut self, sign: Sign, before: Option<Limit>, sending: &Sending) {
        tracing::trace!(at = %sending.now, ?sign, noise = self.noise.share, "the path may be full");
        let (Sign::Loss(seen) | Sign::Delay(seen) | Sign::Doubt(seen)) = sign;
        let mut rate = seen.rate(sending.datagram);
        // Checks of several paths are one experiment. A loss that is seen while the rate is down for another path's sake
        // would be seen at the full rate, too, unless it is larger than the difference explains; were each to go down
        // from where the one before has brought it, nothing would be left to send.
        let is_small = !matches!(sign, Sign::Delay(_)) && seen.lost() <= 0.5;
        if let Some(unchecked) = sending.unchecked.filter(|_| is_small) {
            rate = rate.max(unchecked.bits_per_second() as f64);
        }
        let arrived = rate * (1.0 - seen.lost()).max(Self::DEEPEST);
        let share = if matches!(sign, Sign::Doubt(_)) { Self::DOUBT } else { Self::CHECK };
        self.state = State::Checking(Check {
            sign,
            before,
            rate,
            arrived,
            now: arrived * share,
            from: sending.next,
            since: sending.now,
            follows: 0,
        });
        (self.signs, self.wasted, self.since) = (0, 0.0, None);
    }

    /// What is left at a lower rate was not the rate's fault.
    fn judge(&mut self, check: Check, interval: &Interval, sending: &Sending) -> Option<Finding> {
        let clumps = self.clumps(sending);
        let lossy = self.noise.is_exceeded(interval, false, clumps);
        let took = sending.now.since(check.since);
        let draining = match check.sign {
            // At the rate of the check, that long, whatever is lost besides.
            Sign::Delay(_) if lossy => {
                Self::MOST_DRAINING.min(interval.delay.mul_f64(1.0 / (1.0 - Self::CHECK)))
            }
            _ if lossy => Duration::ZERO,
            _ => Self::MOST_DRAINING,
        };
        if interval.delay > Self::DRAINED && took < draining {
            return None;
        }
        // What bursts lose is no normal distribution, and a check begins when they have lost most.
        let deviations = if clumps < Clumps::MANY { sending.chance } else { sending.chance * 1.5 };
        let compared = match check.sign {
            // A path that has been full before is so again if what is left is more like what it always lost.
            Sign::Loss(seen)
                if check.before.is_some()
                    && interval.lost() < f64::midpoint(self.noise.share, seen.lost()) =>
            {
                Compared::Other
            }
            Sign::Loss(seen) => self.noise.compare(seen.lost(), seen.sent, interval, deviations, clumps),
            Sign::Doubt(_) => {
                self.noise.compare(self.noise.share, self.noise.learnt, interval, sending.chance, clumps)
            }
            Sign::Delay(seen) if interval.delay > seen.delay / 2 && !lossy => Compared::Same,
            Sign::Delay(_) => Compared::Other,
        };
        let unclear = compared == Compared::Unclear && clumps >= Clumps::MANY;
        // Where losses come in bursts, that none has come for a while proves nothing, and a full queue will be seen again.
        let is_own = unclear || compared == Compared::Same;
        tracing::trace!(at = %sending.now, ?check, ?interval, is_own, clumps, "checked");
        if is_own {
            self.noise.clumps.learn();
            match check.sign {
                Sign::Delay(_) => self.base += interval.delay,
                _ if unclear => {}
                Sign::Loss(seen) => self.noise.replace(&seen, interval),
                Sign::Doubt(_) => self.noise.learn(interval),
            }
            self.noise.confirm(sending.now, took);
            if check.follows == 0 {
                self.state = check.before.map_or(State::Open, State::Limited);
                return None;
            }
        } else if lossy && check.follows < Check::MOST {
            // Not as much as before, but some: at the rate that comes through now it must be gone, or it is the path's own.
            // By share: others may have kept the rate lower than this check does.
            let now = check.now * (1.0 - interval.lost()).clamp(Self::DEEPEST, 1.0) * Self::CHECK;
            let (sign, follows) = (Sign::Loss(*interval), check.follows + 1);
            self.state = State::Checking(Check { sign, now, from: sending.next, follows, ..check });
            self.since = None;
            return None;
        } else {
            self.noise.correct(interval, sending.chance, clumps);
        }
        // What was taken for bursts may have been this queue.
        self.noise.clumps = Clumps::NONE;
        // What would have come through but for the path's own losses.
        let capacity = (check.arrived / (1.0 - self.noise.share)).min(check.rate);
        self.state = State::Limited(Limit::new(capacity, self.base + interval.delay, sending.datagram));
        Some(Finding::Limit)
    }

    /// Enough others of a crowd have been found to lose what they lose whatever the rate: a loss like theirs is taken for
    /// the same without waiting for this path's answer, until it is doubted.
    pub(super) fn presume(&mut self, now: Time, common: Common, deviations: f64, clumps: f64) {
        let State::Checking(Check { sign: Sign::Loss(seen), follows: 0, before: None, since, .. }) =
            self.state
        else {
            return;
        };
        if common.explains(&seen, deviations, clumps.max(self.clumped())) {
            self.noise.replace(&seen, &seen);
            self.noise.confirm(now, now.since(since));
            (self.state, self.since) = (State::Open, None);
        }
    }
}

impl Interval {
    fn lost(&self) -> f64 {
        1.0 - self.arrived as f64 / self.sent.max(1) as f64
    }

    /// Bits per second that were sent.
    fn rate(&self, datagram: f64) -> f64 {
        self.sent as f64 * datagram / self.span.as_secs_f64().max(1e-6)
    }

    /// This one and one before it.
    fn joined(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent + earlier.sent,
            arrived: self.arrived + earlier.arrived,
            span: self.span + earlier.span,
            delay: self.delay.min(earlier.delay),
        }
    }
}
