//! What the path to one receiver carries, from what it got of what was sent, and how long that took.
//!
//! Loss alone does not prove that a path is full: a lossy one loses the same share at any rate. Nor does delay: hosts are
//! late, too. So a sign of either makes the path's limit fall for a moment below what came through lately, and what is
//! still seen then is the path's own. What has gone by then was the rate's fault, and what came through is the path's
//! capacity: from there the rate probes upwards, slowly near the capacity, faster beyond it, until it meets it again or
//! has left it behind.

use std::time::Duration;

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
    /// Standard deviations that are still chance ([`chance`]).
    pub(super) chance: f64,
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

/// The share of datagrams that a path loses whatever the rate.
#[derive(Clone, Copy, Debug)]
struct Noise {
    share: f64,
    /// Mean distance of an interval from it.
    deviation: f64,
    /// Mean share of an interval that should have come before.
    late: f64,
    /// Datagrams from which it was learnt.
    learnt: u64,
    /// When a check has confirmed it last, and when to check it again.
    check_at: Time,
    pause: Duration,
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
            State::Checking(check) => (check.sample(), Self::INTERVAL * 2),
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
        let lossy = self.noise.is_exceeded(&interval, starting);
        if lossy || (interval.delay > Self::DEEP && !sending.held_back) {
            self.signs += 1;
            // The first sign may be from when it began; two say more than one.
            let evidence = if self.signs > 2 { interval.joined(&self.sign) } else { interval };
            self.sign = interval;
            self.excess += interval.lost() - self.noise.share;
            let enough = if lossy { enough } else { enough * Self::PATIENCE };
            if self.signs >= enough && (before.is_some() || !lossy || self.excess >= Self::EXCESS) {
                let sign = if lossy { Sign::Loss(evidence) } else { Sign::Delay(evidence) };
                self.check(sign, before, sending);
            }
            return None;
        }
        (self.signs, self.excess) = (0, 0.0);
        if let State::Limited(limit) = &mut self.state {
            if limit.rate() < limit.capacity * Limit::CLEAR {
                self.noise.learn(&interval);
            }
            if interval.rate(sending.datagram) >= limit.rate() * Limit::USED {
                limit.grown += interval.span;
            }
            let reached = limit.rate();
            if reached > limit.capacity * Limit::LEFT_BEHIND && interval.delay < Self::DRAINED / 2 {
                self.state = State::Open;
                return Some(reached);
            }
        } else if !starting {
            self.noise.learn(&interval);
            if self.noise.is_doubtful(sending.now, sending.unchecked.is_some()) {
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
        let lossy = self.noise.is_exceeded(interval, false);
        if !lossy && interval.delay > Self::DRAINED && sending.now.since(check.since) < Self::MOST_DRAINING {
            return;
        }
        let is_own = match check.sign {
            Sign::Loss(seen) => self.noise.remains(seen.lost(), seen.sent, interval, sending.chance),
            Sign::Doubt(_) => {
                self.noise.remains(self.noise.share, self.noise.learnt, interval, sending.chance)
            }
            Sign::Delay(seen) => interval.delay > seen.delay / 2,
        };
        tracing::debug!(at = %sending.now, ?check, ?interval, is_own, "checked");
        if is_own {
            match check.sign {
                Sign::Delay(_) => self.base += interval.delay,
                Sign::Loss(seen) => self.noise.replace(&seen, interval),
                Sign::Doubt(_) => self.noise.learn(interval),
            }
            self.noise.confirm(sending.now, sending.now.since(check.since));
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
            self.noise.correct(interval, sending.chance);
        }
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
    fn sample(&self) -> u64 {
        match self.sign {
            Sign::Loss(seen) | Sign::Doubt(seen) => {
                ((Noise::SAMPLE / seen.lost().max(Noise::LEAST)) as u64).max(Self::FEWEST)
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

impl Noise {
    /// Nothing is known.
    const NONE: Self = Self {
        share: 0.0,
        deviation: 0.0,
        late: 0.0,
        learnt: 0,
        check_at: Time::ZERO,
        pause: Self::FIRST_PAUSE,
    };
    /// Less is neither worth a check, nor to be told from chance.
    const LEAST: f64 = 0.02;
    /// At the start, a path that loses less than this may still be asked for more.
    const LEAST_AT_START: f64 = 0.3;
    /// A path that loses more than this is not worth sending to.
    const MOST: f64 = 0.9;
    /// Datagrams that an estimate goes back to.
    const MEMORY: u64 = 5_000;
    /// Datagrams lost that make a share of them certain enough.
    const SAMPLE: f64 = 25.0;
    /// Noise is checked when it is found, and again after this pause, doubled each time up to the longest.
    const FIRST_PAUSE: Duration = Duration::from_millis(500);
    /// Four standard deviations of a normal distribution are ten times the mean of its negative half.
    const LATE: f64 = 10.0;
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);
    /// A check is followed by as many times its duration without.
    const RARELY: u32 = 20;

    /// Whether chance does not explain what was lost.
    fn is_exceeded(&self, interval: &Interval, starting: bool) -> bool {
        if starting {
            return interval.lost() > Self::LEAST_AT_START;
        }
        let sent = interval.sent as f64;
        // Four standard deviations: once in some hours.
        let chance = 4.0 * (self.share.max(1.0 / sent) * (1.0 - self.share) / sent).sqrt();
        interval.lost()
            > self.share + chance.max(self.deviation * 3.0).max(self.late * Self::LATE).max(Self::LEAST)
    }

    fn learn(&mut self, interval: &Interval) {
        let weight = interval.sent as f64 / (self.learnt.min(Self::MEMORY) + interval.sent) as f64;
        self.learnt = self.learnt.saturating_add(interval.sent);
        self.deviation += ((interval.lost() - self.share).abs() - self.deviation) * weight;
        self.share = (self.share + (interval.lost() - self.share) * weight).clamp(0.0, Self::MOST);
    }

    /// Whether as much is lost in this interval as was lost of `sent` datagrams before, but for chance.
    fn remains(&self, share: f64, sent: u64, interval: &Interval, deviations: f64) -> bool {
        let samples = 1.0 / sent.max(1) as f64 + 1.0 / interval.sent as f64;
        let chance = deviations * (share * (1.0 - share) * samples).sqrt() + self.deviation * 1.5;
        interval.lost() > (share - chance).max(share / 3.0) && interval.lost() < share + chance
    }

    /// There is no more than in this interval.
    fn correct(&mut self, interval: &Interval, deviations: f64) {
        if self.share > interval.lost() && !self.remains(self.share, self.learnt, interval, deviations) {
            (self.share, self.learnt) = (interval.lost().clamp(0.0, Self::MOST), interval.sent);
        }
    }

    /// What was seen was the path's own, and is still there.
    fn replace(&mut self, seen: &Interval, interval: &Interval) {
        self.deviation = self.deviation.max((seen.lost() - interval.lost()).abs() / 2.0);
        (self.share, self.learnt) = (interval.lost().clamp(0.0, Self::MOST), interval.sent);
    }

    /// Where datagrams overtake each other, what is missing comes with the next interval.
    fn note_late(&mut self, interval: &Interval) {
        self.late += (f64::max(-interval.lost(), 0.0) - self.late) / 16.0;
    }

    /// Whether it is time to check it again; where another path is being checked anyway, that may be earlier.
    fn is_doubtful(&self, now: Time, checking: bool) -> bool {
        let early = if checking { self.pause / 4 } else { Duration::ZERO };
        self.share > Self::LEAST
            && self.learnt as f64 * self.share > Self::SAMPLE
            && now + early >= self.check_at
    }

    /// A check that took so long has found it to be there still.
    fn confirm(&mut self, now: Time, took: Duration) {
        // Where answers are slow, as in a crowd, checks must not take up all the time.
        self.pause = self.pause.max(took * Self::RARELY);
        self.check_at = now + self.pause;
        self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
    }
}
