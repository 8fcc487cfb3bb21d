//! The clockwork: hosts, what is under way between them, and the promises they must keep.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::history::{History, ReceiverHistory, Sample};
use super::host::Host;
use super::link::Link;
use super::machines::{receiver_config, sender_config};
use super::starvation::Starved;
use super::stream::{Given, Pattern, Sink, Source};
use super::wires::{SENDER, Wires, address, stranger, within};
use super::{Hostile, PlayedBack, STOPPED, Scenario};
use crate::exit::Exit;
use crate::fec::Block;
use crate::session::receiver::Event;
use crate::session::sender::MemberState;
use crate::session::{
    Endpoint, Network, Origin, Receiver, Sender, Sent, StreamEnd, Transmit, Wake, WireStats, turn,
};
use crate::time::Time;
use crate::wire::{AbortReason, Kind};

#[derive(Debug)]
struct SendingHost {
    host: Host,
    machine: Option<Sender>,
    source: Source,
    /// A buffer that waits for the source.
    spare: Option<Block>,
}

#[derive(Debug)]
struct ReceivingHost {
    host: Host,
    machine: Option<Receiver>,
    sink: Sink,
    queue: VecDeque<Block>,
    /// What the whole stream must look like, once all of it has been given out.
    verify: Option<StreamEnd>,
    done_at: Option<Time>,
    /// How often it has been told that nobody listens at its sender's address.
    told_unreachable: usize,
    history: Option<ReceiverHistory>,
}

#[derive(Debug)]
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    wires: Wires<'a>,
    sender: SendingHost,
    receivers: Vec<ReceivingHost>,
    /// When which kind of datagram reached the sender.
    heard: Vec<(Time, u8)>,
    /// When each host wants to be woken: beside each other, so that a crowd is looked through in no time.
    wakes: Vec<Time>,
    /// Hosts that are short of time; none, or all.
    starved: Vec<Starved>,
    samples: Vec<Sample>,
    /// The sender's part, once it has ended.
    history: Option<History>,
    steps_now: u32,
}

struct Port<'w, 'a> {
    index: usize,
    now: Time,
    host: &'w mut Host,
    wires: &'w mut Wires<'a>,
}

/// Steps without time passing that are taken for a spin.
const SPIN: u32 = 200_000;

impl Network for Port<'_, '_> {
    fn receive<E: Endpoint>(&mut self, now: Time, endpoint: &mut E) -> bool {
        // Every other host has GRO.
        if self.index % 2 == 1 {
            let landed = self.host.land(endpoint.landing());
            if !landed.is_empty() {
                endpoint.handle_landed(now, &landed);
                return !self.host.inbox.is_empty();
            }
        }
        for _ in 0..256 {
            let Some((origin, bytes)) = self.host.inbox.pop_front() else { return false };
            self.host.inbox_bytes -= bytes.len();
            endpoint.handle_datagram(now, origin, &mut bytes.to_vec());
        }
        !self.host.inbox.is_empty()
    }

    fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
        self.wires.send(self.now, self.index, transmit)
    }
}

impl<'a> World<'a> {
    /// A network in which nothing has happened; its backbone may be that of others, too.
    pub(super) fn new(scenario: &'a Scenario, backbone: Option<Rc<RefCell<Link>>>) -> Self {
        let (session, mut rng) = scenario.session_and_rest();
        let pattern = Pattern(rng.u64(..));
        let launched = Time::ZERO + scenario.sender_launched;
        let mut machine = Sender::new(sender_config(scenario, session, rng.u64(..)), launched);
        machine.begin_at(scenario.beginning);
        let receivers = scenario
            .receivers
            .iter()
            .map(|plan| {
                let host = Host { wake: Some(Time::ZERO + plan.launched), ..Host::default() };
                let sink = Sink::new(plan.sink.clone(), pattern, scenario.is_forged());
                ReceivingHost {
                    host,
                    machine: None,
                    sink,
                    queue: VecDeque::new(),
                    verify: None,
                    done_at: None,
                    told_unreachable: 0,
                    history: None,
                }
            })
            .collect();
        let starved = scenario.starvation.map_or_else(Vec::new, |plan| {
            (0..=scenario.receivers.len()).map(|_| Starved::new(plan, rng.fork())).collect()
        });
        let wires = Wires::new(scenario, rng, backbone);
        let host = Host { wake: Some(launched), ..Host::default() };
        let source = Source::new(scenario.source, pattern);
        let sender = SendingHost { host, machine: Some(machine), source, spare: None };
        let mut world = Self {
            scenario,
            now: Time::ZERO,
            wires,
            sender,
            receivers,
            heard: Vec::new(),
            wakes: vec![Time::NEVER; scenario.receivers.len() + 1],
            starved,
            samples: Vec::new(),
            history: None,
            steps_now: 0,
        };
        (0..world.wakes.len()).for_each(|index| world.note_wake(index));
        world.strew_garbage();
        world.strew_hostile(session.0);
        world.strew_played_back();
        world
    }

    /// Well sealed datagrams of the session, from whoever.
    fn strew_hostile(&mut self, session: [u8; 16]) {
        for Hostile { at, to, from, content } in &self.scenario.hostile {
            let mut bytes = content.clone();
            if let Some(place) = bytes.get_mut(2..18) {
                place.copy_from_slice(&session);
            }
            crate::seal::seal_appended(&mut bytes, 0);
            let to = to % (self.receivers.len() + 1);
            self.wires.deliver(Time::ZERO + *at, vec![to], from.map_or_else(stranger, address), bytes.into());
        }
    }

    /// Datagrams byte for byte as somebody has recorded or made them.
    fn strew_played_back(&mut self) {
        for PlayedBack { at, to, from, bytes } in &self.scenario.played_back {
            let to = to % (self.receivers.len() + 1);
            let from = from.map_or_else(stranger, address);
            self.wires.deliver(Time::ZERO + *at, vec![to], from, Rc::clone(bytes));
        }
        let hosts: Vec<_> = (0..=self.receivers.len()).collect();
        if let Some(replayer) = &self.scenario.replayer {
            for (at, bytes) in &replayer.playlist {
                let from = replayer.disguise.address();
                self.wires.deliver(Time::ZERO + *at, hosts.clone(), from, Rc::clone(bytes));
            }
        }
    }

    /// A stranger's datagrams, to every host.
    fn strew_garbage(&mut self) {
        let stranger = stranger();
        for _ in 0..self.scenario.garbage {
            let rng = &mut self.wires.rng;
            let mut bytes = vec![0; rng.usize(0..200)];
            rng.fill(&mut bytes);
            if rng.bool() && bytes.len() > 4 {
                // Well sealed, so that it gets as far as the parser.
                bytes[0] = crate::wire::VERSION;
                bytes[1] = Kind::ALL[rng.usize(..Kind::ALL.len())] as u8;
                crate::seal::seal(&mut bytes);
            }
            let (at, to) = (Time::from_nanos(rng.u64(0..50_000_000)), rng.usize(0..=self.receivers.len()));
            self.wires.deliver(at, vec![to], stranger, bytes.into());
        }
    }

    /// When something will happen next; `None` once all is over.
    ///
    /// # Panics
    /// Nothing will ever happen again, and it is not over.
    #[expect(clippy::panic, reason = "the simulator reports broken promises by panicking")]
    pub(super) fn next(&mut self) -> Option<Time> {
        let seed = self.scenario.seed;
        if self.history.is_none() {
            self.history = self.sender_history();
        }
        if self.history.is_some() && self.receivers.iter().all(|receiver| receiver.history.is_some()) {
            return None;
        }
        let Some(next) = self.next_moment() else {
            panic!("seed {seed}: nothing will ever happen again at {}: {}", self.now, self.describe());
        };
        Some(next.max(self.now))
    }

    /// Lets happen what is due at `next`.
    ///
    /// # Panics
    /// Someone spins, or the scenario's time is up.
    #[expect(clippy::panic, reason = "the simulator reports broken promises by panicking")]
    pub(super) fn advance(&mut self, next: Time) {
        let seed = self.scenario.seed;
        if next > self.now {
            self.steps_now = 0;
        }
        self.steps_now += 1;
        if self.steps_now > SPIN {
            panic!("seed {seed}: spinning at {}: {}", self.now, self.describe());
        }
        self.sample(next);
        self.now = next;
        if self.now > Time::ZERO + self.scenario.limit {
            panic!("seed {seed}: not over after {:?}: {}", self.scenario.limit, self.describe());
        }
        self.step();
    }

    /// Notes how far things are if the next moment lies in another tenth of a second.
    fn sample(&mut self, next: Time) {
        let tenth = |time: Time| u128::from(time.as_nanos()) / Sample::EVERY.as_nanos();
        let Some(sent) = self.sender.machine.as_ref().map(|machine| *machine.stats()) else { return };
        if tenth(next) == tenth(self.now) || self.samples.last().is_some_and(|last| last.sent == sent) {
            return;
        }
        let delivered = self.receivers.iter().map(|receiver| receiver.sink.bytes()).collect();
        self.samples.push(Sample { at: self.now, sent, delivered, overflowed: self.wires.overflowed() });
    }

    /// What has happened, and whether the promises were kept.
    ///
    /// # Panics
    /// They were not, or it is not over.
    #[expect(clippy::expect_used, reason = "the simulator reports broken promises by panicking")]
    pub(super) fn finish(self) -> History {
        let mut history = self.history.expect("the sender has ended");
        history.receivers = self.receivers.into_iter().filter_map(|receiver| receiver.history).collect();
        history.samples = self.samples;
        history.recorded = self.wires.recorded;
        history.to_strangers = self.wires.to_strangers;
        history.note_heard(&self.heard);
        check_promises(self.scenario, &history);
        history
    }

    /// The sender's part of the history, once it has ended or was killed.
    fn sender_history(&mut self) -> Option<History> {
        let source_symbols = self.scenario.source.bytes.div_ceil(u64::from(self.scenario.symbol_size));
        let mut history = History {
            sender: None,
            sender_error: None,
            sent: WireStats::default(),
            admitted: Vec::new(),
            succeeded: Vec::new(),
            counted: BTreeMap::new(),
            limited_by: BTreeMap::new(),
            started: None,
            sender_ended: self.now,
            receivers: Vec::new(),
            feedback: BTreeMap::new(),
            nacks: 0,
            reports: Vec::new(),
            source_symbols,
            samples: Vec::new(),
            recorded: Vec::new(),
            to_strangers: Vec::new(),
        };
        let Some(machine) = &self.sender.machine else { return Some(history) };
        let ended = machine.ended()?;
        (history.sender, history.sender_error) = (Some(ended.exit), ended.error.clone());
        history.sent = *machine.stats();
        history.limited_by = limits(machine);
        history.started = machine
            .has_started()
            .then(|| Time::ZERO + self.scenario.sender_launched + machine.times(self.now).0);
        for member in machine.members() {
            history.nacks = history.nacks.saturating_add(member.nacks);
            history.admitted.push(member.name.clone());
            history.counted.insert(member.name.clone(), member.into());
            if matches!(&member.state, MemberState::Done(outcome) if outcome.exit == Exit::Complete) {
                history.succeeded.push(member.name.clone());
            }
        }
        self.sender.machine = None;
        self.sender.host.wake = None;
        Some(history)
    }

    /// Who waits for what, for a history that does not end.
    fn describe(&self) -> String {
        let sender = self.sender.machine.as_ref().map(|machine| {
            let members: Vec<_> =
                machine.members().map(|it| (it.id, &it.state, it.received.0, it.position.0)).collect();
            format!("{} bytes, limited by {:?}, {members:?}", machine.stream_bytes(), machine.limiter())
        });
        let receivers: Vec<_> = self
            .receivers
            .iter()
            .map(|receiver| (receiver.sink.bytes(), receiver.history.is_some(), receiver.host.wake))
            .collect();
        format!("sender: {sender:?} {:?}, receivers: {receivers:?}", self.sender.host.wake)
    }

    fn host(&self, index: usize) -> &Host {
        index.checked_sub(1).map_or(&self.sender.host, |receiver| &self.receivers[receiver].host)
    }

    fn note_wake(&mut self, index: usize) {
        self.wakes[index] = self.host(index).wake.unwrap_or(Time::NEVER);
    }

    fn next_moment(&self) -> Option<Time> {
        let wake = self.wakes.iter().min().copied().filter(|at| *at < Time::NEVER);
        let arrival = self.wires.under_way.peek().map(|Reverse(arrival)| arrival.at);
        [wake, arrival].into_iter().flatten().min()
    }

    /// Delivers what has arrived and wakes who is due.
    fn step(&mut self) {
        while let Some(Reverse(arrival)) = self.wires.under_way.peek()
            && arrival.at <= self.now
        {
            let Some(Reverse(arrival)) = self.wires.under_way.pop() else { break };
            for to in arrival.to {
                let (host, room, clock, listens) = if to == SENDER {
                    self.heard.push((self.now, arrival.bytes.get(1).copied().unwrap_or(0)));
                    let is_launched = self.now >= Time::ZERO + self.scenario.sender_launched;
                    let listens = is_launched && self.sender.machine.is_some();
                    (&mut self.sender.host, 4 << 20, Duration::ZERO, listens)
                } else {
                    let (receiver, plan) = (&mut self.receivers[to - 1], &self.scenario.receivers[to - 1]);
                    let listens = receiver.machine.is_some() && receiver.history.is_none();
                    (&mut receiver.host, plan.socket_buffer, plan.clock, listens)
                };
                if listens {
                    let origin = Origin::just(self.now + clock, arrival.from);
                    host.arrive(origin, Rc::clone(&arrival.bytes), room);
                    let at = if to == SENDER { self.now } else { gathered(self.now, self.scenario.gather) };
                    host.wake_no_later(at);
                    self.wakes[to] = self.wakes[to].min(at);
                }
            }
        }
        for index in 0..self.wakes.len() {
            if self.wakes[index] > self.now {
                continue;
            }
            if let Some(from) = self.starved.get_mut(index).and_then(|host| host.keep(self.now)) {
                self.wakes[index] = from;
                continue;
            }
            match index.checked_sub(1) {
                None => self.step_sender(),
                Some(receiver) => self.step_receiver(receiver),
            }
            self.note_wake(index);
        }
    }

    fn step_sender(&mut self) {
        let now = self.now;
        let host = &mut self.sender.host;
        if let Some(until) = within(&self.scenario.sender_pauses, now) {
            host.wake = Some(until);
            return;
        }
        if self.scenario.sender_killed.is_some_and(|at| now >= Time::ZERO + at) {
            self.sender.machine = None;
            host.wake = None;
            return;
        }
        let Some(machine) = &mut self.sender.machine else {
            host.wake = None;
            return;
        };
        if self.scenario.sender_stopped.is_some_and(|at| now >= Time::ZERO + at) {
            machine.abort(now, AbortReason::Stopped, STOPPED, "stopped by signal 15".to_owned());
        }
        let mut source_next = None;
        while let Some(mut block) = self.sender.spare.take().or_else(|| machine.poll_buffer()) {
            match self.sender.source.fill(now, &mut block) {
                Given::Block => machine.push_block(block),
                Given::Nothing { until } => {
                    source_next = Some(until);
                    self.sender.spare = Some(block);
                    break;
                }
                Given::End(end) => {
                    machine.handle_source_end(end);
                    self.sender.spare = Some(block);
                    break;
                }
                Given::Failed => {
                    machine.handle_source_failure(now, "source failed".to_owned());
                    self.sender.spare = Some(block);
                    break;
                }
                Given::Over => {
                    self.sender.spare = Some(block);
                    break;
                }
            }
        }
        let wake = turn(machine, &mut Port { index: SENDER, now, host, wires: &mut self.wires }, now);
        host.schedule(now, wake, self.wires.trunk.roomy_at());
        let moments = [self.scenario.sender_killed, self.scenario.sender_stopped];
        for at in moments.into_iter().flatten().map(|at| Time::ZERO + at).filter(|at| *at > now) {
            host.wake_no_later(at);
        }
        if let Some(at) = source_next {
            host.wake_no_later(at);
        }
        if !wake.writable && !matches!(wake.at, Some(Time::ZERO)) && machine.ended().is_some() {
            host.wake = Some(now);
        }
    }

    fn step_receiver(&mut self, index: usize) {
        let now = self.now;
        let plan = &self.scenario.receivers[index];
        let this = &mut self.receivers[index];
        if this.history.is_some() {
            this.host.wake = None;
            return;
        }
        if let Some(until) = within(&plan.pauses, now) {
            this.host.wake = Some(until);
            return;
        }
        if plan.killed.is_some_and(|at| now >= Time::ZERO + at) {
            let stats = this.machine.as_ref().map(|machine| *machine.stats()).unwrap_or_default();
            this.record(now, None, None, stats);
            return;
        }
        let shown = now + plan.clock;
        let machine = this.machine.get_or_insert_with(|| {
            let mut machine = Receiver::new(receiver_config(self.scenario, index), shown);
            machine.begin_at(self.scenario.beginning);
            machine
        });
        if plan.stopped.is_some_and(|at| now >= Time::ZERO + at) {
            machine.fail(shown, STOPPED, "stopped by signal 15".to_owned());
        }
        let due = plan.unreachable.iter().filter(|at| now >= Time::ZERO + **at).count();
        if due > std::mem::replace(&mut this.told_unreachable, due) {
            machine.handle_unreachable(shown);
        }
        machine.set_dropped(this.host.dropped);
        let wake = turn(
            machine,
            &mut Port { index: index + 1, now, host: &mut this.host, wires: &mut self.wires },
            shown,
        );
        let at = wake.at.map(|at| at - plan.clock);
        this.host.schedule(now, Wake { at, ..wake }, now);
        while let Some(block) = machine.poll_block() {
            this.queue.push_back(block);
        }
        while !this.queue.is_empty() {
            let at = this.sink.ready_at(now);
            if at > now {
                this.host.wake_no_later(at);
                break;
            }
            let Some(block) = this.queue.pop_front() else { break };
            let taken = this.sink.take(now, &block);
            machine.handle_consumed(shown, block);
            this.host.wake_no_later(now);
            if taken.is_err() {
                machine.fail(shown, Exit::SinkFailed, "sink failed".to_owned());
            }
        }
        while let Some(event) = machine.poll_event() {
            if let Event::Verify(end) = event {
                this.verify = Some(end);
            }
            this.host.wake_no_later(now);
        }
        if this.queue.is_empty()
            && let Some(end) = this.verify.take()
        {
            if end == this.sink.end() {
                machine.handle_verified(shown);
                this.done_at = Some(now + this.sink.closing());
            } else {
                assert!(self.scenario.is_forged(), "seed {}: length or digest differs", self.scenario.seed);
                machine.fail(shown, Exit::Integrity, "length or digest differs".to_owned());
            }
            this.host.wake_no_later(now);
        }
        if let Some(at) = this.done_at {
            if at <= now {
                machine.handle_sink_done(shown);
                this.done_at = None;
            }
            this.host.wake_no_later(at.max(now));
        }
        let moments =
            [plan.killed, plan.stopped].into_iter().flatten().chain(plan.unreachable.iter().copied());
        for at in moments.map(|at| Time::ZERO + at) {
            if at > now {
                this.host.wake_no_later(at);
            }
        }
        if let Some(ended) = machine.ended().cloned() {
            let stats = *machine.stats();
            this.record(now, Some(ended.exit), ended.error, stats);
        }
    }
}

/// The next multiple of `gather`.
fn gathered(now: Time, gather: Duration) -> Time {
    let every = (gather.as_nanos() as u64).max(1);
    Time::from_nanos(now.as_nanos().next_multiple_of(every))
}

impl ReceivingHost {
    fn record(&mut self, now: Time, exit: Option<Exit>, error: Option<String>, stats: WireStats) {
        assert!(!self.sink.is_spoilt() || exit != Some(Exit::Complete), "exit 0 with bytes of nobody's");
        let summary = self.machine.as_ref().and_then(Receiver::summary);
        self.history = Some(ReceiverHistory {
            exit,
            error,
            bytes: self.sink.bytes(),
            last_byte: self.sink.last_taken,
            ended: now,
            stats,
            counted: summary.map(Into::into).unwrap_or_default(),
        });
        self.host.wake = None;
    }
}

/// The promises of the design, as far as a finished history shows them.
fn check_promises(scenario: &Scenario, history: &History) {
    let seed = scenario.seed;
    for (plan, receiver) in scenario.receivers.iter().zip(&history.receivers) {
        if receiver.exit == Some(Exit::Complete) {
            assert_eq!(
                receiver.bytes, scenario.source.bytes,
                "seed {seed}: {} exits 0 without the whole stream",
                plan.name
            );
        } else {
            assert!(
                receiver.exit.is_none() || receiver.error.is_some(),
                "seed {seed}: {} fails without saying why",
                plan.name
            );
        }
        if history.succeeded.contains(&plan.name) && !scenario.is_forged() {
            assert!(
                matches!(receiver.exit, Some(Exit::Complete) | None),
                "seed {seed}: the sender calls {} successful, but it ended with {:?}",
                plan.name,
                receiver.exit
            );
        }
    }
    if history.sender == Some(Exit::Complete) && !scenario.partial_ok {
        assert!(!history.succeeded.is_empty(), "seed {seed}: the sender exits 0 and nobody has the stream");
        assert_eq!(
            history.succeeded, history.admitted,
            "seed {seed}: the sender exits 0 though not all have it"
        );
    }
}

fn limits(machine: &Sender) -> BTreeMap<String, Duration> {
    let (source, network) = machine.limited_by();
    let mut limits: BTreeMap<_, _> =
        machine.members().map(|member| (member.name.clone(), member.limited)).collect();
    limits.extend([("source".to_owned(), source), ("network".to_owned(), network)]);
    limits
}
