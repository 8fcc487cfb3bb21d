//! The sender at work: source, protocol, sockets and signals on one thread's loop.

use super::Ended;
use super::config::{ProgressMode, SendConfig, SourceConfig, StartConfig};
use super::console::Console;
use super::error::Failure;
use super::launch::{self, Ticker};
use super::limits::LimitOfLate;
use super::panics;
use super::place::Place;
use super::progress::{Phase, Progress, Receivers, Waiting};
use super::quantities;
use super::receiver_lines::Slowest;
use super::report::{Outcome, ReceiverEntry, Seconds, SenderReport, Share, Wire};
use crate::command::Commands;
use crate::exit::Exit;
use crate::net::clock::Clock;
use crate::net::kernel::SenderNetwork;
use crate::net::socket::{SenderSockets, Venue};
use crate::net::wake::{Signals, Sleeper, Watch, signal_name};
use crate::seal::Seal;
use crate::session::sender::{self, Member, MemberState, StartRules};
use crate::session::{Rate, Sender, batch_of, names, turn};
use crate::source::Source;
use crate::source::reader::{Given, Reader};
use crate::time::Time;
use crate::wire::{AbortReason, Announce, Label, Name, SYMBOL_HEADER_LEN, SessionId};

/// A sender from its first announce to its report.
pub(super) fn work(config: &SendConfig, console: &Console) -> Ended<SenderReport> {
    match Work::prepare(config) {
        Ok(work) => work.run(config, console),
        Err(failure) => Ended { report: empty_report(config), result: Err(failure) },
    }
}

struct Work {
    clock: Clock,
    sender: Sender,
    place: Place,
    network: SenderNetwork,
    reader: Reader,
    sleeper: Sleeper,
    signals: Signals,
    /// The last signal that came.
    stopped_by: u8,
    /// Nothing of the source is read before the session has started.
    waits_for_start: bool,
    /// Size of the source, where it is known.
    expected: Option<u64>,
    limits: LimitOfLate,
    /// The thread that waits for the source, where that is a command.
    commands: Option<Commands>,
    /// When the session was given up, and the command killed.
    given_up: Option<Time>,
}

impl Work {
    fn prepare(config: &SendConfig) -> Result<Self, Failure> {
        let seal = config.keys.seal()?;
        let mut commands = None;
        let source = match &config.source {
            SourceConfig::Stdin => Source::stdin()?,
            SourceConfig::File(path) => Source::at(path)?,
            SourceConfig::Command(line) => {
                Source::Command(line.clone(), commands.insert(launch::commands()?).clone())
            }
        };
        let waits_for_start = source.waits_for_start();
        let mut place = Place::choose(&config.network, seal.key().is_some())?;
        place.keep_room_for(largest_datagram(config, place.venue()));
        let venue = place.venue();
        let sockets = SenderSockets::open(venue, config.ttl)?;
        let machine = sender_config(config, seal, venue)?;
        config.keys.warn_if_plain();
        tracing::info!(
            interface = %venue.interface.name,
            address = %venue.own(),
            to = %venue.target(),
            label = %machine.label,
            symbol_bytes = machine.symbol_size,
            block_symbols = machine.block_symbols,
            key = machine.seal.key().map(|key| display(key.id())),
            "waiting for receivers on {}",
            launch::place(venue)
        );
        let clock = Clock::start();
        let sleeper = Sleeper::new().map_err(launch::no_resource)?;
        let signals = Signals::catch().map_err(launch::no_resource)?;
        let waker = sleeper.waker();
        let reader = Reader::start(source, move || waker.wake()).map_err(launch::no_resource)?;
        let sender = Sender::new(machine, clock.now());
        let network = SenderNetwork::new(venue, sockets, config.peer_timeout, clock);
        Ok(Self {
            clock,
            sender,
            place,
            network,
            reader,
            sleeper,
            signals,
            stopped_by: 0,
            waits_for_start,
            expected: config.size,
            limits: LimitOfLate::new(Time::ZERO),
            commands,
            given_up: None,
        })
    }

    fn run(mut self, config: &SendConfig, console: &Console) -> Ended<SenderReport> {
        let mut ticker = Ticker::new(self.clock.now());
        let mut given = None;
        let mut listening = true;
        let mut now = self.clock.now();
        loop {
            self.serve_source(now, given.take());
            let wake = turn(&mut self.sender, &mut self.network, now);
            // What the turn has released is read into while this thread sleeps.
            self.offer_buffers();
            if listening && self.sender.has_started() {
                listening = false;
                self.tell_start(&config.start);
                self.network.stop_listening();
            }
            if let Some(error) = self.network.fatal() {
                self.abort(now, AbortReason::Other, Exit::LocalResource, error);
            }
            if self.sender.ended().is_some() {
                break;
            }
            if let Some(rate) = ticker.tick(now, self.acknowledged()) {
                if let Some(error) = panics::first() {
                    self.fail(now, error);
                }
                self.network.keep_membership(now);
                self.follow_network(config, now);
                let progress = self.progress(config, now, rate);
                console.progress(progress);
                if !self.heed_signals(now) {
                    break;
                }
            }
            if wake.at != Some(Time::ZERO) {
                let deadline = wake.at.unwrap_or(Time::NEVER).min(ticker.due());
                let [data, listen] = self.network.watches(wake.writable);
                let watched = [data, listen, Watch::readable(&self.signals)];
                let ready = self.sleeper.wait(watched, &self.clock, deadline, || {
                    given = self.reader.take();
                    given.is_none()
                });
                now = self.clock.now();
                match ready {
                    Ok([.., true]) if !self.heed_signals(now) => break,
                    Ok(_) => {}
                    Err(error) => self.fail(now, format!("cannot wait for the network: {error}")),
                }
            }
            now = self.clock.now();
        }
        self.end(config, now)
    }

    /// The session has started, perhaps with fewer receivers than its operator thinks.
    fn tell_start(&self, start: &StartConfig) {
        let names = names::listed(self.sender.members().map(|member| member.name.as_str()));
        let count = self.sender.members().count();
        let mut text = format!("the session starts with {}: {names}", names::receivers(count));
        let missing = self.sender.missing();
        if !missing.is_empty() {
            text.push_str(&format!("; missing: {}", names::listed(missing.iter().map(String::as_str))));
        }
        if !start.says_whom() {
            text.push_str("; use -n N or --expect-receivers NAME,… to wait for more");
        }
        tracing::info!(receivers = count, "{text}");
    }

    /// Goes where the network has gone.
    fn follow_network(&mut self, config: &SendConfig, now: Time) {
        let has_started = self.sender.has_started();
        if !has_started || self.network.is_troubled() {
            let go = |venue: &Venue| self.network.move_to(venue, config.ttl);
            self.place.follow(now, &config.network, has_started, go);
        }
    }

    /// Takes what the source has given.
    fn serve_source(&mut self, now: Time, first: Option<Given>) {
        let mut next = first.or_else(|| self.reader.take());
        while let Some(given) = next {
            match given {
                Given::Opened(size) => self.expected = self.expected.or(size),
                Given::Block(block) => self.sender.push_block(block),
                Given::End(end) => self.sender.handle_source_end(end),
                Given::Failed(error) => self.sender.handle_source_failure(now, error.to_string()),
                Given::Lost => self.fail(now, "internal error: the source thread has ended without a word"),
            }
            next = self.reader.take();
        }
    }

    /// Gives the source buffers. The first one opens a file and starts a command, so that a file is sent as it is, and
    /// `pg_dump` takes its snapshot, and its locks, when there is somebody to send it to.
    fn offer_buffers(&mut self) {
        if self.waits_for_start && !self.sender.has_started() {
            return;
        }
        while self.reader.wants_buffer()
            && let Some(buffer) = self.sender.poll_buffer()
        {
            self.reader.offer(buffer);
        }
    }

    /// Gives the session up. The source's command is killed at once, and not only when the receivers have been told: a
    /// signal must end both within two seconds.
    fn abort(&mut self, now: Time, reason: AbortReason, exit: Exit, error: String) {
        if let Some(commands) = &self.commands {
            commands.kill_all();
        }
        self.given_up.get_or_insert(now);
        self.sender.abort(now, reason, exit, error);
    }

    /// A bug of this program ends the session.
    fn fail(&mut self, now: Time, error: impl Into<String>) {
        self.abort(now, AbortReason::Other, Exit::Internal, error.into());
    }

    /// False if the process is to end at once.
    fn heed_signals(&mut self, now: Time) -> bool {
        let Some((signal, count)) = self.signals.take() else { return true };
        self.stopped_by = signal;
        let error = format!("stopped by {}", signal_name(signal));
        self.abort(now, AbortReason::Stopped, Exit::Signal(signal), error);
        if count >= 2 {
            // The last word, for receivers that would otherwise wait for their peer timeout.
            turn(&mut self.sender, &mut self.network, now);
        }
        count < 2
    }

    /// Bytes of the stream that every receiver still in the session has.
    fn acknowledged(&self) -> u64 {
        let alive = self
            .sender
            .members()
            .filter(|member| !matches!(member.state, MemberState::Left(..)) && !member.state.is_evicted());
        alive.map(|member| member.bytes).min().unwrap_or(0)
    }

    fn progress(&mut self, config: &SendConfig, now: Time, rate: u64) -> Progress {
        let mut receivers = Receivers::default();
        for member in self.sender.members() {
            match &member.state {
                MemberState::Active => {
                    (receivers.joined, receivers.ready) = (receivers.joined + 1, receivers.ready + 1);
                }
                MemberState::Verified => receivers.joined += 1,
                MemberState::Done(_) => {
                    (receivers.joined, receivers.done) = (receivers.joined + 1, receivers.done + 1);
                }
                MemberState::Left(..) | MemberState::Lost | MemberState::Stalled(_) => {}
            }
        }
        let stats = self.sender.stats();
        let symbols = (stats.source_symbols + stats.repair_symbols).max(1);
        Progress {
            elapsed: now.since(Time::ZERO),
            running: self.sender.times(now).1,
            phase: match (self.sender.has_started(), self.sender.stream_end()) {
                (false, _) => Phase::Waiting(Waiting::ForReceivers(self.sender.attendance(now))),
                (true, Some(end)) if self.acknowledged() >= end.bytes => Phase::Finishing,
                (true, _) => Phase::Running,
            },
            bytes: self.acknowledged(),
            expected: self.expected,
            rate,
            receivers: Some(receivers),
            repair_share: stats.repair_symbols as f64 / symbols as f64,
            limited_by: self.limits.name(now, &self.sender),
            slowest: (config.output.progress == ProgressMode::Receivers)
                .then(|| Slowest::of(self.sender.members(), self.sender.has_started())),
        }
    }

    fn end(self, config: &SendConfig, now: Time) -> Ended<SenderReport> {
        launch::end_commands(self.commands.as_ref(), now.since(self.given_up.unwrap_or(now)));
        let sender = &self.sender;
        let mut report = empty_report(config);
        report.missing = sender.missing();
        report.session = Some(sender.config().session.to_string());
        report.key = sender.config().seal.key().map(|key| key.id().to_string());
        let complete =
            matches!(sender.ended(), Some(sender::Ended { exit: Exit::Complete | Exit::Partial, .. }));
        // What was read but never arrived anywhere is nobody's progress.
        report.bytes = if complete { sender.stream_bytes() } else { self.acknowledged() };
        report.digest = sender.stream_end().filter(|_| complete).map(|end| end.digest.to_string());
        let (waited, elapsed) = sender.times(now);
        (report.start_wait_s, report.elapsed_s) = (Seconds(waited), Seconds(elapsed));
        report.wire = Wire::from(sender.stats());
        let (source, network) = sender.limited_by();
        report.limited_by.insert("source".to_owned(), Seconds(source));
        report.limited_by.insert("network".to_owned(), Seconds(network));
        report.rate_control = sender.rate_control().into();
        for member in sender.members() {
            let entry = report.limited_by.entry(format!("receiver:{}", member.name)).or_default();
            entry.0 += member.limited;
            report.receivers.push(receiver_entry(member, sender.ended()));
        }
        let result = match sender.ended() {
            Some(sender::Ended { exit: Exit::Complete, error }) => {
                if let Some(error) = error {
                    tracing::warn!("{error}; --partial-ok makes this a success");
                }
                Ok(())
            }
            Some(sender::Ended { exit, error }) => {
                Err(Failure::new(*exit, error.clone().unwrap_or_else(|| exit.meaning().to_owned())))
            }
            None => Err(launch::interrupted(self.stopped_by)),
        };
        let result = result.map_err(|failure| launch::with_place(failure, self.place.venue()));
        if result.is_ok() {
            let all = report.receivers.len();
            let whole =
                report.receivers.iter().filter(|receiver| receiver.outcome == Outcome::Complete).count();
            let receivers = match (whole, all) {
                (1, 1) => "1 host".to_owned(),
                _ if whole == all => format!("{all} hosts"),
                _ => format!("{whole} of {all} hosts"),
            };
            let (amount, time) = (quantities::size(report.bytes), quantities::span(elapsed));
            tracing::info!(
                bytes = report.bytes,
                receivers = whole,
                seconds = launch::rounded(elapsed),
                "{amount} to {receivers} in {time}, verified"
            );
        }
        Ended { report, result }
    }
}

/// The report of a session in which nothing has happened.
fn empty_report(config: &SendConfig) -> SenderReport {
    let mut report = SenderReport::new(&config.label);
    report.min_receivers = config.start.min_receivers;
    report.expected = [config.start.require.as_slice(), &config.start.expect].concat();
    report.expected.sort();
    report
}

fn receiver_entry(member: &Member, ended: Option<&sender::Ended>) -> ReceiverEntry {
    let exit = match &member.state {
        MemberState::Done(outcome) | MemberState::Left(outcome, _) => outcome.exit,
        MemberState::Active | MemberState::Verified => Exit::Aborted,
        MemberState::Lost | MemberState::Stalled(_) => Exit::Evicted,
    };
    ReceiverEntry {
        name: member.name.clone(),
        address: member.address.to_string(),
        outcome: Outcome::from(exit),
        exit_code: exit.code(),
        bytes: member.bytes,
        nacks: member.nacks,
        lost_symbols: member.lost_symbols,
        dropped_at_socket: member.dropped,
        path_loss: Share(member.path_loss),
        stalled_s: Seconds(member.stalled),
        error: match &member.state {
            MemberState::Active | MemberState::Verified => {
                let error = ended.and_then(|ended| ended.error.as_deref());
                Some(format!("the sender gave up: {}", error.unwrap_or("it was stopped at once")))
            }
            _ => member.failure(),
        },
    }
}

/// Bytes in an IP datagram that is as large as the operator or the interface allows.
fn largest_datagram(config: &SendConfig, venue: &Venue) -> u32 {
    config.mtu.map_or(venue.interface.mtu, u32::from).min(LARGEST_MTU)
}

fn sender_config(config: &SendConfig, seal: Seal, venue: &Venue) -> Result<sender::Config, Failure> {
    let label = Label::new(&config.label).ok_or_else(|| {
        Failure::usage(format!("--label {}: use letters, digits, dot, underscore, dash", config.label))
    })?;
    let overhead = if venue.target().is_ipv4() { 28 } else { 48 };
    let mtu = largest_datagram(config, venue);
    let around = overhead + (SYMBOL_HEADER_LEN + seal.trailer_len()) as u32;
    let symbol_size = mtu.saturating_sub(around) as u16;
    if symbol_size < Announce::MIN_SYMBOL_SIZE {
        return Err(Failure::usage(format!(
            "--mtu {mtu} leaves no room for data: headers take {around} bytes"
        )));
    }
    let stride = mtu as usize - overhead as usize;
    let batch = batch_of(stride);
    // Whole batches in a block, so that no batch is cut short by a block's end.
    let symbols = (LARGEST_BLOCK / stride).clamp(1, MOST_BLOCK_SYMBOLS);
    let block_symbols = if symbols > batch { symbols - symbols % batch } else { symbols };
    let window = (config.window as usize / (block_symbols * stride)).max(SMALLEST_WINDOW);
    let start = &config.start;
    Ok(sender::Config {
        label,
        name: Name::new(&config.name),
        session: SessionId(launch::random()?),
        seed: u64::from_ne_bytes(launch::random()?),
        start: StartRules {
            min_receivers: start.min_receivers.unwrap_or(1),
            max_receivers: start.max_receivers,
            require: start.require.clone(),
            expect: start.expect.clone(),
            min_wait: start.min_wait,
            max_wait: start.max_wait,
        },
        start_timeout: start.timeout,
        peer_timeout: config.peer_timeout,
        max_stall: config.max_stall,
        partial_ok: config.partial_ok,
        rate: config.rate.map(Rate::from_bits_per_second),
        symbol_size,
        block_symbols: block_symbols as u8,
        window,
        batch,
        overhead,
        seal,
    })
}

/// Jumbo frames; loopback offers more, but a GSO batch holds 64 KiB anyway.
const LARGEST_MTU: u32 = 9_000;
/// Bytes of a coding block: a few of them must fit into every window.
const LARGEST_BLOCK: usize = 256 * 1024;
/// Source symbols in a block; as many repair symbols are possible again.
const MOST_BLOCK_SYMBOLS: usize = 128;
/// Blocks that are needed to read, send and repair at the same time.
const SMALLEST_WINDOW: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::receiving::Receiving;
    use super::super::together::{alone, receiver, sender, stream};
    use super::*;

    #[test]
    fn source_thread_that_dies_ends_the_sender_with_1_and_its_receiver_with_11() {
        const NAME: &str =
            "cli::sending::tests::source_thread_that_dies_ends_the_sender_with_1_and_its_receiver_with_11";
        if !alone(NAME) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (file, copy) = (stream(directory.path()), directory.path().join("copy"));
        let (send, recv) = (sender("47131", &file), receiver("47131", &copy));
        let console = Console::start(&send.output).unwrap();
        let far = console.clone();
        let receiver = std::thread::spawn(move || Receiving::default().work(&recv, &far));
        let mut work = Work::prepare(&send).unwrap();
        work.reader = Reader::start(Source::at(&file).unwrap(), || panic!("this test has it so")).unwrap();
        let failure = work.run(&send, &console).result.unwrap_err();
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.message.contains("source thread"), "{failure}");
        assert_eq!(receiver.join().unwrap().result.unwrap_err().exit, Exit::Aborted);
        assert!(!copy.exists());
    }

    #[test]
    fn panic_of_any_thread_ends_a_sender_that_waits_with_1() {
        if !alone("cli::sending::tests::panic_of_any_thread_ends_a_sender_that_waits_with_1") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let send = sender("47132", &stream(directory.path()));
        let console = Console::start(&send.output).unwrap();
        panics::log_in_one_line(&console);
        let work = Work::prepare(&send).unwrap();
        let thread = std::thread::Builder::new().name("another".to_owned());
        thread.spawn(|| panic!("this test has it so")).unwrap().join().unwrap_err();
        let failure = work.run(&send, &console).result.unwrap_err();
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.message.contains("another thread"), "{failure}");
    }
}
