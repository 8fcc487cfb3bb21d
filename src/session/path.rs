//! What the path to one receiver carries, from what it got of what was sent, and how long that took.
//!
//! Loss alone does not prove that a path is full: a lossy one loses the same share at any rate. Nor does delay: hosts are
//! late, too. So a sign of either makes the path's limit fall for a moment below what came through lately, and what is
//! still seen then is the path's own. What has gone by then was the rate's fault, and what came through is the path's
//! capacity: from there the rate probes upwards, slowly near the capacity, faster beyond it, until it meets it again or
//! has left it behind.

mod noise;
#[cfg(test)]
mod tests;

use std::time::Duration;

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
    /// How much more unevenly paths lose than by chance, in the mean of all: a factor of the variance.
    pub(super) clumps: f64,
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
    /// The shortest round trip in this interval, and of all.
    least: Duration,
    base: Duration,
    noise: Noise,
    /// Intervals in a row with a sign that the path is full, and the last of them.
    signs: u32,
    sign: Interval,
    /// Shares lost in them beyond the usual, added up.
    excess: f64,
    /// What this path says of the present round of the start, and which one that is.
    pub(super) vote: (u64, Option<bool>),
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

#[derive(Clone, Copy, Debug)]
struct Check {
    sign: Sign,
    /// What to go back to if it was not the rate.
    before: Option<Limit>,
    /// What was sent when the first sign was seen, and what came through of it, bits per second.
    rate: f64,
    arrived: f64,
    /// What is sent now.
    now: f64,
    /// Nothing sent before this number tells about it.
    from: DatagramNumber,
    since: Time,
    /// Checks before it that only found less loss.
    follows: u32,
}

#[derive(Clone, Copy, Debug)]
enum Sign {
    /// Losses beyond the path's own.
    Loss(Interval),
    /// Datagrams that waited.
    Delay(Interval),
    /// Losses that have been taken for the path's own for long enough.
    Doubt(Interval),
}

/// How the rate approaches a path's capacity, and passes it: a cubic, as in RFC 9438.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Bits per second.
    capacity: f64,
    /// Time until the rate is there again.
    knee: Duration,
    /// Time for which the rate has been on its way.
    grown: Duration,
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
    /// Where no limit is known, loss is checked once its shares add up to this: the more is lost, the sooner.
    const EXCESS: f64 = 0.5;
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
            least: Duration::MAX,
            base: Duration::MAX,
            noise: Noise::NONE,
            signs: 0,
            excess: 0.0,
            sign: Interval { sent: 0, arrived: 0, span: Duration::ZERO, delay: Duration::ZERO },
            vote: (0, None),
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

    /// Share lost since the interval under way began.
    pub(super) fn loss(&self) -> f64 {
        let (Some(since), Some(last)) = (self.since, self.last) else { return 0.0 };
        let sent = last.highest.0.saturating_sub(since.highest.0);
        if sent == 0 { 0.0 } else { 1.0 - (last.arrived - since.arrived) as f64 / sent as f64 }
    }

    /// How much more unevenly this path loses than by chance, as far as it shows.
    pub(super) const fn clumped(&self) -> f64 {
        self.noise.clumps.factor()
    }

    /// By how much the variance of what is lost exceeds chance, where that is beyond doubt.
    fn clumps(&self, sending: &Sending) -> f64 {
        let clumps = self.clumped().max(sending.clumps);
        if clumps < Clumps::MANY { 1.0 } else { clumps }
    }

    /// Takes a report into account. Returns the rate that has left a limit behind, if this one says so.
    pub(super) fn handle_echo(&mut self, echo: Echo, sending: &Sending) -> Option<f64> {
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
            State::Checking(check) => (check.sample(self.clumps(sending)), Self::INTERVAL * 2),
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
        self.since = Some(echo);
        self.least = Duration::MAX;
        match self.state {
            State::Checking(check) => {
                self.judge(check, &interval, sending);
                None
            }
            State::Open | State::Limited(_) => self.watch(interval, sending),
        }
    }

    fn watch(&mut self, interval: Interval, sending: &Sending) -> Option<f64> {
        let (before, enough, starting) = match self.state {
            State::Limited(limit) => (Some(limit), Self::SIGNS_NEAR_LIMIT, false),
            _ => (None, Self::SIGNS, sending.starting),
        };
        let clumps = self.clumps(sending);
        if interval.delay < Self::DRAINED / 4 {
            self.noise.clumps.note(&interval);
        } else {
            // A queue may have been full.
            self.noise.clumps.forget();
        }
        let lossy = self.noise.is_exceeded(&interval, starting, clumps);
        if lossy || (interval.delay > Self::DEEP && !sending.held_back) {
            self.signs += 1;
            // The first sign may be from when it began; two say more than one.
            let evidence = if self.signs > 2 { interval.joined(&self.sign) } else { interval };
            self.sign = interval;
            self.excess += interval.lost() - self.noise.share;
            let enough = if lossy { enough } else { enough * Self::PATIENCE };
            let plain = before.is_some() || !lossy || self.excess >= Self::EXCESS;
            if (self.signs >= enough && plain) || (lossy && !starting && sending.may_join) {
                let sign = if lossy { Sign::Loss(evidence) } else { Sign::Delay(evidence) };
                self.check(sign, before, sending);
            }
            return None;
        }
        (self.signs, self.excess) = (0, 0.0);
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
                return Some(reached);
            }
            return None;
        }
        self.noise.clumps.learn();
        if !starting {
            self.noise.learn(&interval);
            if sending.may_doubt && self.noise.is_doubtful(sending.now, sending.may_join, clumps) {
                self.check(Sign::Doubt(interval), None, sending);
            }
        }
        None
    }

    fn check(&mut self, sign: Sign, before: Option<Limit>, sending: &Sending) {
        tracing::debug!(at = %sending.now, ?sign, noise = self.noise.share, "the path may be full");
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
        (self.signs, self.excess, self.since) = (0, 0.0, None);
    }

    /// What is left at a lower rate was not the rate's fault.
    fn judge(&mut self, check: Check, interval: &Interval, sending: &Sending) {
        let clumps = self.clumps(sending);
        let lossy = self.noise.is_exceeded(interval, false, clumps);
        let took = sending.now.since(check.since);
        if !lossy && interval.delay > Self::DRAINED && took < Self::MOST_DRAINING {
            return;
        }
        let compared = match check.sign {
            Sign::Loss(seen) => self.noise.compare(seen.lost(), seen.sent, interval, sending.chance, clumps),
            Sign::Doubt(_) => {
                self.noise.compare(self.noise.share, self.noise.learnt, interval, sending.chance, clumps)
            }
            Sign::Delay(seen) if interval.delay > seen.delay / 2 => Compared::Same,
            Sign::Delay(_) => Compared::Other,
        };
        let unclear = compared == Compared::Unclear && clumps >= Clumps::MANY;
        // Where losses come in bursts, that none has come for a while proves nothing, and a full queue will be seen again.
        let is_own = unclear || compared == Compared::Same;
        tracing::debug!(at = %sending.now, ?check, ?interval, is_own, clumps, "checked");
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
                return;
            }
        } else if lossy && check.follows < Check::MOST {
            // Not as much as before, but some: at the rate that comes through now it must be gone, or it is the path's own.
            // By share: others may have kept the rate lower than this check does.
            let now = check.now * (1.0 - interval.lost()).clamp(Self::DEEPEST, 1.0) * Self::CHECK;
            let (sign, follows) = (Sign::Loss(*interval), check.follows + 1);
            self.state = State::Checking(Check { sign, now, from: sending.next, follows, ..check });
            self.since = None;
            return;
        } else {
            self.noise.correct(interval, sending.chance, clumps);
        }
        // What was taken for bursts may have been this queue.
        self.noise.clumps = Clumps::NONE;
        // What would have come through but for the path's own losses.
        let capacity = (check.arrived / (1.0 - self.noise.share)).min(check.rate);
        self.state = State::Limited(Limit::new(capacity, self.base + interval.delay, sending.datagram));
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

impl Check {
    /// A path that is slower than this gives its answer with fewer datagrams.
    const LONGEST: Duration = Duration::from_millis(500);

    /// That is what a few per cent of a large loss take.
    const FEWEST: u64 = 400;
    /// Each finds a good deal less than the one before, so that more are never needed but by those who lie.
    const MOST: u32 = 3;

    /// Datagrams that it takes for the answer not to be chance.
    fn sample(&self, clumps: f64) -> u64 {
        match self.sign {
            Sign::Loss(seen) | Sign::Doubt(seen) => {
                ((Noise::SAMPLE * clumps / seen.lost().max(Noise::LEAST)) as u64).max(Self::FEWEST)
            }
            Sign::Delay(_) => Path::ENOUGH,
        }
    }
}

impl Limit {
    /// After a check the rate goes on at this share of the capacity, so that queues stay drained and others find room.
    const LOW: f64 = 0.9;
    /// Below this share nothing is lost by the rate's fault.
    const CLEAR: f64 = 0.98;
    /// A rate that is used to this share has been tried.
    const USED: f64 = 0.8;
    /// Beyond this share the capacity is a thing of the past.
    const LEFT_BEHIND: f64 = 1.25;
    /// Time until the rate is at a capacity of [`Self::TYPICAL`] again. Away from there with the third root, as in
    /// RFC 9438: then sessions that share a path grow by the same number of bits, and become equal.
    const KNEE: Duration = Duration::from_millis(300);
    const TYPICAL: f64 = 100e6;

    fn new(capacity: f64, round_trip: Duration, datagram: f64) -> Self {
        // Not faster than anybody can tell what became of it.
        let interval = Duration::from_secs_f64(Path::ENOUGH as f64 * datagram / capacity.max(1.0));
        let knee =
            Self::KNEE.mul_f64((capacity / Self::TYPICAL).cbrt()).max(round_trip * 4).max(interval * 8);
        Self { capacity, knee, grown: Duration::ZERO }
    }

    fn rate(&self) -> f64 {
        let way = self.grown.as_secs_f64() / self.knee.as_secs_f64() - 1.0;
        self.capacity * (1.0 + (1.0 - Self::LOW) * way.powi(3))
    }
}
