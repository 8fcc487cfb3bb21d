//! The receiver at work: protocol, sockets, sink and signals on one thread's loop.

use std::collections::VecDeque;
use std::time::Duration;

use super::Ended;
use super::archive::Archiving;
use super::config::{RecvConfig, SinkConfig};
use super::console::Console;
use super::error::Failure;
use super::launch::{self, Ticker};
use super::limits::Limit;
use super::panics;
use super::place::{self, Place};
use super::progress::{Phase, Progress, Waiting};
use super::quantities;
use super::report::{ReceiverReport, Seconds, Wire};
use super::service::Service;
use super::sinks::SinkPlans;
use crate::exit::Exit;
use crate::net::clock::Clock;
use crate::net::kernel::ReceiverNetwork;
use crate::net::socket::{ReceiverSockets, Venue};
use crate::net::wake::{Signals, Sleeper, Watch, signal_name};
use crate::seal::Accept;
use crate::session::receiver::{self, Event, Summary};
use crate::session::{Receiver, Wake, turn};
use crate::sink::writer::{Writer, Written};
use crate::time::Time;
use crate::wire::{Label, Name, ReceiverId, SessionId};

/// What lasts from one session to the next.
#[derive(Debug)]
pub(super) struct Receiving {
    signals: Option<Signals>,
    service: Service,
    /// Sessions that this receiver has taken part in, or was refused by.
    over: VecDeque<SessionId>,
    /// A signal that came when a session had its result already. It ends the service after the report of that session.
    stopped_by: Option<u8>,
}

impl Default for Receiving {
    fn default() -> Self {
        Self { signals: None, service: Service::from_environment(), over: VecDeque::new(), stopped_by: None }
    }
}

impl Receiving {
    /// A receiver from the search for a sender to its report.
    pub(super) fn work(&mut self, config: &RecvConfig, console: &Console) -> Ended<ReceiverReport> {
        let prepared = match self.stopped_by {
            Some(signal) => Err(launch::stopped(signal)),
            None => Work::prepare(config, self),
        };
        match prepared {
            Ok(work) => work.run(config, console),
            Err(failure) => Ended { report: ReceiverReport::new(&config.name), result: Err(failure) },
        }
    }

    /// Whether there is a next session after one that ended like this.
    pub(super) fn goes_on(config: &RecvConfig, ended: &Ended<ReceiverReport>) -> bool {
        let here = |exit| matches!(exit, Exit::Signal(_) | Exit::LocalResource | Exit::Internal);
        // What fails before there is a session would fail again.
        let had_session = ended.report.session.is_some();
        config.repeat && had_session && !ended.result.as_ref().is_err_and(|failure| here(failure.exit))
    }

    /// The sinks of the next session. A service waits for a disk that it could use before.
    fn prepare_sinks(&mut self, config: &RecvConfig, clock: Clock) -> Result<SinkPlans, Failure> {
        let sleeper = Sleeper::new().map_err(launch::no_resource)?;
        let mut is_told = false;
        loop {
            match SinkPlans::prepare(config, &mut || self.is_to_go_on(clock.now())) {
                Ok(Some(sinks)) => return Ok(sinks),
                Ok(None) => return Err(self.stopped()),
                Err(failure) => {
                    let may_come_back = failure.exit == Exit::SinkFailed && self.service.is_ready();
                    if !(may_come_back && waits_for_its_disk(config, clock.now())) {
                        return Err(failure);
                    }
                    if !std::mem::replace(&mut is_told, true) {
                        // An error, so that it is shown with -q, too: a person has to do something.
                        tracing::error!("{failure}; no session until that works again");
                    }
                }
            }
            for _ in 0..LOOKS_AT_WATCHDOG {
                // Signals have been caught since the first session was prepared.
                let Some(signals) = self.signals.as_ref().filter(|signals| !signals.are_pending()) else {
                    return Err(self.stopped());
                };
                let deadline = clock.now() + LOOK_FOR_ROOM / LOOKS_AT_WATCHDOG;
                sleeper
                    .wait([Watch::readable(signals)], &clock, deadline, || true)
                    .map_err(launch::no_resource)?;
                self.service.alive(clock.now());
            }
        }
    }

    /// Feeds the watchdog, and asks for more time before the program is ready. False once a signal has come, where they
    /// are caught.
    fn is_to_go_on(&mut self, now: Time) -> bool {
        self.service.alive(now);
        self.service.not_yet_ready(now);
        !self.signals.as_ref().is_some_and(Signals::are_pending)
    }

    /// The end of a process that was interrupted between two sessions.
    fn stopped(&mut self) -> Failure {
        match self.signals.as_mut().and_then(Signals::take) {
            Some((signal, _)) => launch::stopped(signal),
            None => Failure::new(Exit::Internal, "a thread has died before the session"),
        }
    }

    fn forget_session(&mut self, session: SessionId) {
        self.over.push_back(session);
        if self.over.len() > MOST_OVER {
            self.over.pop_front();
        }
    }
}

struct Work<'a> {
    lasting: &'a mut Receiving,
    clock: Clock,
    receiver: Receiver,
    place: Place,
    network: ReceiverNetwork,
    writer: Writer,
    sleeper: Sleeper,
    /// The last signal that came, and when.
    stopped_by: u8,
    stopped_at: Option<Time>,
    /// Losses known when the kernel was last asked which of them were its own.
    lost_symbols: u64,
    /// What is opened when a session starts.
    sinks: SinkPlans,
    /// There was too little room in the archive, when it was last looked at, and the next look is then.
    is_full: bool,
    look_for_room: Time,
    /// Time of the next sweep of an archive that has too little room.
    sweep: Time,
    /// When to give up waiting for the start.
    give_up: Option<Time>,
}

impl<'a> Work<'a> {
    fn prepare(config: &RecvConfig, lasting: &'a mut Receiving) -> Result<Self, Failure> {
        let accept = config.keys.accept()?;
        let clock = Clock::start();
        lasting.service.begin();
        let sinks = lasting.prepare_sinks(config, clock)?;
        if lasting.signals.is_none() {
            warn_of_commands(config);
            lasting.signals = Some(Signals::catch().map_err(launch::no_resource)?);
        }
        let has_key = !matches!(accept, Accept::Crc);
        let open = |venue: &Venue| ReceiverSockets::open(venue, config.ttl, !has_key);
        let (place, sockets) = match &mut lasting.signals {
            Some(signals) if config.repeat => {
                let limit = config.start_timeout;
                place::wait_for(&config.network, has_key, limit, &clock, signals, &mut lasting.service, open)?
            }
            _ => {
                let place = Place::choose(&config.network, has_key)?;
                let sockets = open(place.venue())?;
                (place, sockets)
            }
        };
        let venue = place.venue();
        let network = ReceiverNetwork::new(sockets, config.peer_timeout, clock);
        config.keys.warn_if_plain();
        let here = launch::place(venue);
        tracing::info!(interface = %venue.interface.name, group = %venue.target(), "waiting for a sender on {here}");
        let machine = receiver_config(config, accept, network.receive_buffer(), &lasting.over)?;
        let sleeper = Sleeper::new().map_err(launch::no_resource)?;
        let waker = sleeper.waker();
        let writer = Writer::start(config.max_size, move || waker.wake()).map_err(launch::no_resource)?;
        let now = clock.now();
        let receiver = Receiver::new(machine, now);
        lasting.service.waiting();
        Ok(Self {
            lasting,
            clock,
            receiver,
            place,
            network,
            writer,
            sleeper,
            stopped_by: 0,
            stopped_at: None,
            lost_symbols: 0,
            sinks,
            is_full: false,
            look_for_room: Time::ZERO,
            sweep: Time::ZERO,
            give_up: config.start_timeout.map(|timeout| now + timeout),
        })
    }

    fn run(mut self, config: &RecvConfig, console: &Console) -> Ended<ReceiverReport> {
        let mut ticker = Ticker::new(self.clock.now());
        let mut written = None;
        let mut now = self.clock.now();
        loop {
            self.serve_sink(now, written.take());
            self.look_for_room(config, now);
            // Who hears nobody joins nobody.
            let wake = if self.is_full {
                Wake { at: None, writable: false }
            } else {
                turn(&mut self.receiver, &mut self.network, now)
            };
            let news = self.feed_sink(now);
            if self.network.take_unreachable() {
                self.receiver.handle_unreachable(now);
            }
            if let Some(error) = self.network.fatal() {
                self.receiver.fail(now, Exit::LocalResource, error);
            }
            if self.receiver.ended().is_some() {
                break;
            }
            let bytes = self.receiver.bytes();
            if let Some(rate) = ticker.tick(now, bytes) {
                if let Some(error) = panics::first() {
                    self.receiver.fail(now, Exit::Internal, error.to_owned());
                }
                self.note_drops();
                self.network.keep_membership(now, self.receiver.silence(now));
                self.follow_network(config, now);
                self.lasting.service.alive(now);
                console.progress(self.progress(now, bytes, rate));
                if !self.heed_signals(now) {
                    break;
                }
            }
            if wake.at != Some(Time::ZERO) && !news {
                let mut deadline = wake.at.unwrap_or(Time::NEVER).min(ticker.due());
                let pause = self.network.pause(now);
                if !pause.is_zero() {
                    deadline = deadline.min(now + pause);
                }
                let [group, peer] = self.network.watches(!pause.is_zero());
                let signals = self.lasting.signals.as_ref().map_or(group, Watch::readable);
                let watched = if self.is_full { [signals; 3] } else { [group, peer, signals] };
                let ready = self.sleeper.wait(watched, &self.clock, deadline, || {
                    written = self.writer.take();
                    written.is_none()
                });
                now = self.clock.now();
                match ready {
                    Ok([.., true]) if !self.heed_signals(now) => break,
                    Ok(_) => {}
                    Err(error) => {
                        self.receiver.fail(
                            now,
                            Exit::Internal,
                            format!("cannot wait for the network: {error}"),
                        );
                    }
                }
            }
            now = self.clock.now();
        }
        self.end(config, now)
    }

    /// Before the session starts: takes part in none while the archive has too little room. With `--repeat` it waits for
    /// some.
    fn look_for_room(&mut self, config: &RecvConfig, now: Time) {
        let session = self.receiver.summary();
        let has_started = session.as_ref().is_some_and(|session| session.started.is_some());
        let Some(archiving) = self.sinks.archiving().filter(|_| !has_started && now >= self.look_for_room)
        else {
            return;
        };
        self.look_for_room = now + LOOK_FOR_ROOM;
        let was_full = self.is_full;
        let (lasting, clock) = (&mut *self.lasting, self.clock);
        let mut go_on = || lasting.is_to_go_on(clock.now());
        if was_full && now >= self.sweep {
            self.sweep = now + SWEEP_WHILE_FULL;
            archiving.sweep(&mut go_on);
        }
        match archiving.check_room(&mut go_on) {
            Ok(_) if was_full => {
                tracing::info!("there is room again; waiting for a sender");
                self.is_full = false;
            }
            Ok(_) => {}
            // A sender that counts on this receiver has to be told; nobody else can end a service.
            Err(failure) if waits_for_its_disk(config, now) && !self.receiver.is_admitted() => {
                if !was_full {
                    // An error, so that it is shown with -q, too: a person has to make room.
                    tracing::error!("{failure}; no session until then");
                    self.sweep = now + SWEEP_WHILE_FULL;
                }
                self.is_full = true;
            }
            Err(failure) => self.receiver.fail(now, failure.exit, failure.message),
        }
    }

    /// Goes where the network has gone.
    fn follow_network(&mut self, config: &RecvConfig, now: Time) {
        let has_started = self.receiver.summary().is_some_and(|session| session.started.is_some());
        if !has_started || self.network.is_troubled() {
            let go = |venue: &Venue| self.network.move_to(venue);
            self.place.follow(now, &config.network, has_started, go);
        }
    }

    /// Tells the protocol what the sink has done.
    fn serve_sink(&mut self, now: Time, first: Option<Written>) {
        let mut next = first.or_else(|| self.writer.take());
        while let Some(written) = next {
            match written {
                Written::Block(block) => self.receiver.handle_consumed(now, block),
                Written::Verified => self.receiver.handle_verified(now),
                Written::Archived(entry) => {
                    if let Some(archiving) = self.sinks.archiving_mut() {
                        archiving.has_entry(&entry);
                    }
                }
                Written::Done => self.receiver.handle_sink_done(now),
                Written::Failed(exit, error) => self.receiver.fail(now, exit, error),
            }
            next = self.writer.take();
        }
    }

    /// Gives the sink what is complete. True if the protocol wants another turn at once.
    fn feed_sink(&mut self, now: Time) -> bool {
        // The start comes before the first block, the end after the last one.
        let started = self.heed_events(now);
        while self.writer.wants_block()
            && let Some(block) = self.receiver.poll_block()
        {
            self.writer.give(block);
        }
        self.heed_events(now) || started
    }

    /// True if there were any.
    fn heed_events(&mut self, now: Time) -> bool {
        let mut news = false;
        while let Some(event) = self.receiver.poll_event() {
            news = true;
            match event {
                Event::Verify(end) => {
                    // The confirmations tell what came of it.
                    self.note_drops();
                    self.writer.end(end);
                }
                Event::Started => {
                    let Some(session) = self.receiver.summary() else { continue };
                    let (label, sender) = (session.label, session.sender_shown());
                    tracing::info!(%label, "receiving stream {label} from {sender}");
                    self.lasting.service.receiving(session.label.as_str());
                    let (lasting, clock) = (&mut *self.lasting, self.clock);
                    match self.sinks.plans(&session, &mut || lasting.is_to_go_on(clock.now())) {
                        Ok(plans) => self.writer.open(plans),
                        Err(failure) => self.receiver.fail(now, failure.exit, failure.message),
                    }
                }
            }
        }
        news
    }

    /// Asks the kernel what it dropped, where something is missing that was not at the last look.
    fn note_drops(&mut self) {
        let lost = self.receiver.summary().map_or(0, |summary| summary.lost_symbols);
        if std::mem::replace(&mut self.lost_symbols, lost) != lost {
            self.receiver.set_dropped(self.network.dropped());
        }
    }

    /// False if the process is to end at once.
    fn heed_signals(&mut self, now: Time) -> bool {
        let Some((signal, count)) = self.lasting.signals.as_mut().and_then(Signals::take) else {
            return true;
        };
        self.stopped_by = signal;
        self.stopped_at.get_or_insert(now);
        self.writer.cancel();
        self.sinks.kill();
        self.receiver.fail(now, Exit::Signal(signal), format!("stopped by {}", signal_name(signal)));
        if count >= 2 {
            // The last word, for a sender that would otherwise wait for its peer timeout.
            turn(&mut self.receiver, &mut self.network, now);
        }
        count < 2
    }

    /// The event that this receiver waits for before the start.
    fn waiting(&self, now: Time, session: Option<&Summary>) -> Waiting {
        let left = self.give_up.map(|at| at.since(now));
        match session {
            _ if self.is_full => Waiting::ForRoom,
            None => Waiting::ForSender(left),
            Some(session) if self.receiver.is_admitted() => Waiting::ForStart(session.sender_shown(), left),
            Some(session) => Waiting::ForAnswer(session.sender_shown(), left),
        }
    }

    fn progress(&self, now: Time, bytes: u64, rate: u64) -> Progress {
        let summary = self.receiver.summary();
        let started = summary.as_ref().and_then(|summary| summary.started);
        let stats = self.receiver.stats();
        let symbols = (stats.source_symbols + stats.repair_symbols).max(1);
        let behind = summary.as_ref().filter(|summary| summary.waiting.0 * 2 >= summary.waiting.1);
        let stalled = behind.map(|summary| summary.stalled);
        Progress {
            elapsed: now.since(Time::ZERO),
            running: started.map_or(Duration::ZERO, |started| now.since(started)),
            phase: match &summary {
                Some(summary) if summary.end.is_some_and(|end| bytes >= end.bytes) => Phase::Finishing,
                _ if started.is_some() => Phase::Running,
                session => Phase::Waiting(self.waiting(now, session.as_ref())),
            },
            bytes,
            expected: summary.and_then(|summary| summary.end).map(|end| end.bytes),
            rate,
            receivers: None,
            repair_share: stats.repair_symbols as f64 / symbols as f64,
            limited_by: stalled.map(|stalled| (Limit::Sink, stalled)),
            slowest: None,
        }
    }

    /// After a success: what the archive need not keep any more goes, until a signal comes.
    fn prune(&mut self) {
        let is_complete = matches!(self.receiver.ended(), Some(receiver::Ended { exit: Exit::Complete, .. }));
        let Some(archiving) = self.sinks.archiving_mut().filter(|_| is_complete) else { return };
        archiving.prune(&mut || self.lasting.is_to_go_on(self.clock.now()));
    }

    fn end(mut self, config: &RecvConfig, now: Time) -> Ended<ReceiverReport> {
        self.writer.cancel();
        self.sinks.end(now.since(self.stopped_at.unwrap_or(now)));
        self.prune();
        if !config.repeat || self.receiver.ended().is_none_or(|ended| matches!(ended.exit, Exit::Signal(_))) {
            self.lasting.service.stopping();
        }
        let mut report = ReceiverReport::new(&config.name);
        let ended = self.receiver.ended();
        let complete = matches!(ended, Some(receiver::Ended { exit: Exit::Complete, .. }));
        if let Some(summary) = self.receiver.summary() {
            report.label = Some(summary.label.to_string());
            report.session = Some(summary.session.to_string());
            report.key = summary.key.map(|key| key.to_string());
            self.lasting.forget_session(summary.session);
            report.sender = Some(summary.sender.to_string());
            report.bytes = summary.bytes;
            report.digest = summary.end.filter(|_| complete).map(|end| end.digest.to_string());
            let started = summary.started.unwrap_or(now);
            report.start_wait_s = Seconds(started.since(Time::ZERO));
            report.elapsed_s = Seconds(summary.finished.unwrap_or(now).since(started));
            report.nacks = summary.nacks;
            report.lost_symbols = summary.lost_symbols;
            report.dropped_at_socket = summary.dropped;
            report.stalled_s = Seconds(summary.stalled);
            report.limited_by.insert("sink".to_owned(), Seconds(summary.stalled));
        } else {
            report.start_wait_s = Seconds(now.since(Time::ZERO));
        }
        report.wire = Wire::from(self.receiver.stats());
        report.archive = self.sinks.archiving().map(Archiving::report);
        let result = match ended {
            Some(receiver::Ended { exit: Exit::Complete, .. }) => Ok(()),
            Some(receiver::Ended { exit, error }) => {
                Err(Failure::new(*exit, error.clone().unwrap_or_else(|| exit.meaning().to_owned())))
            }
            None => Err(launch::interrupted(self.stopped_by)),
        };
        let result = result.map_err(|failure| {
            launch::with_place(launch::with_stopped(failure, self.sinks.commands()), self.place.venue())
        });
        let is_stopped = matches!(&result, Err(Failure { exit: Exit::Signal(_), .. }));
        if self.stopped_by > 0 && !is_stopped {
            self.lasting.stopped_by = Some(self.stopped_by);
        }
        if let Some(summary) = self.receiver.summary().filter(|_| complete) {
            let sender = summary.sender_shown();
            let (amount, time) = (quantities::size(report.bytes), quantities::span(report.elapsed_s.0));
            tracing::info!(
                bytes = report.bytes,
                sender,
                seconds = launch::rounded(report.elapsed_s.0),
                "{amount} from {sender} in {time}, verified"
            );
        }
        Ended { report, result }
    }
}

/// Whether a receiver waits on for a disk that it cannot use: a service does, as long as it would wait for a sender.
fn waits_for_its_disk(config: &RecvConfig, now: Time) -> bool {
    config.repeat && config.start_timeout.is_none_or(|limit| now.since(Time::ZERO) < limit)
}

fn receiver_config(
    config: &RecvConfig,
    accept: Accept,
    receive_buffer: usize,
    over: &VecDeque<SessionId>,
) -> Result<receiver::Config, Failure> {
    let label = |text: &String| {
        Label::new(text).ok_or_else(|| {
            Failure::usage(format!("--expect {text}: use letters, digits, dot, underscore, dash"))
        })
    };
    let name = Name::new(&config.name).ok_or_else(|| {
        Failure::usage(format!("--name {}: use printable ASCII without spaces or quotes", config.name))
    })?;
    Ok(receiver::Config {
        id: ReceiverId(u64::from_ne_bytes(launch::random()?)),
        name,
        expect: config.expect.as_ref().map(label).transpose()?,
        seed: u64::from_ne_bytes(launch::random()?),
        start_timeout: config.start_timeout,
        peer_timeout: config.peer_timeout,
        buffer: usize::try_from(config.buffer).unwrap_or(usize::MAX),
        // The kernel counts its own bookkeeping against the buffer, about as much again as a full frame's bytes,
        // and allows twice what it was asked for.
        socket_buffer: receive_buffer / 3 * 2,
        accept,
        over: over.iter().copied().collect(),
        repeats: config.repeat,
    })
}

/// Commands that cannot be killed together with what reads the stream.
fn warn_of_commands(config: &RecvConfig) {
    let lines = config.sinks.iter().filter_map(|sink| match sink {
        SinkConfig::Command(line) => Some(line),
        _ => None,
    });
    let file_first = "receive a file first, and pass that on: -o FILE --then '… < {file}'";
    for warning in lines.filter_map(|line| line.warning(file_first)) {
        tracing::warn!("{warning}");
    }
}

/// How often to look for room in an archive while no session runs: sessions take as long to start.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
/// Pause between two sweeps of an archive that has too little room: what another boot has left may be removed 20 hours after
/// its last change.
const SWEEP_WHILE_FULL: Duration = Duration::from_secs(3_600);
/// How often the watchdog is fed while a service waits that long for its disk.
const LOOKS_AT_WATCHDOG: u32 = 10;
/// Sessions that are remembered as over. A sender announces for some seconds after the end at most, and a group and port
/// has one sender at a time.
const MOST_OVER: usize = 64;

#[cfg(test)]
mod tests;
