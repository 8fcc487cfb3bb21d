//! The thread that owns stderr. A terminal that is stopped, or a pager that nobody scrolls, holds up this thread and not
//! the session: what it cannot take is dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::config::{ColorMode, LogFormat, OutputConfig, ProgressMode};
use super::error::Failure;
use super::log_form::{Form, Kind};
use super::progress::{Meter, Progress};
use crate::exit::Exit;

/// Says things to people, without ever waiting for them.
#[derive(Clone, Debug)]
pub struct Console {
    messages: SyncSender<Message>,
    /// Progress that has not been shown yet. A new one takes the place of the one before, so that a stopped terminal
    /// holds up one and no more.
    latest: Arc<Mutex<Option<Progress>>>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// There is progress to show.
    Progress,
    Finish(SyncSender<()>),
}

impl Console {
    /// Starts the thread, and sends it everything that is logged from here on.
    ///
    /// # Errors
    /// When MCAST_LOG makes no sense (exit code 2) or the system has no thread left.
    pub fn start(config: &OutputConfig) -> Result<Self, Failure> {
        Self::with_filter(config, filter(config)?)
    }

    /// For a program that ends before it has read its configuration, and whose log is to be JSON.
    pub(super) fn for_an_early_end() -> Result<Self, Failure> {
        let config = OutputConfig {
            report: None,
            report_log: None,
            color: ColorMode::Never,
            progress: ProgressMode::Never,
            quiet: true,
            verbose: 0,
            log_format: LogFormat::Json,
        };
        Self::with_filter(&config, EnvFilter::new("error"))
    }

    fn with_filter(config: &OutputConfig, filter: EnvFilter) -> Result<Self, Failure> {
        let terminal = Terminal::of_stderr();
        let meter = Meter::new(config, terminal);
        let (messages, inbox) = sync_channel(MOST_MESSAGES);
        let console = Self { messages, latest: Arc::default(), dropped: Arc::default() };
        let (latest, dropped) = (Arc::clone(&console.latest), Arc::clone(&console.dropped));
        thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || serve(&inbox, meter, &latest, &dropped))
            .map_err(|error| Failure::new(Exit::LocalResource, format!("cannot start a thread: {error}")))?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .event_format(form(config, terminal))
            .with_writer(console.clone());
        // Fails only where somebody else has set up logging, who then gets the lines.
        let _ = log.try_init();
        Ok(console)
    }

    /// Shows how far the session is. Cheap; ten times a second is plenty.
    pub fn progress(&self, progress: Progress) {
        let mut latest = lock(&self.latest);
        let is_announced = latest.is_some();
        *latest = Some(progress);
        if !is_announced && self.messages.try_send(Message::Progress).is_err() {
            // The next one is announced anew.
            *latest = None;
        }
    }

    /// Writes one line, whatever the verbosity.
    pub fn line(&self, text: &str) {
        self.send(format!("{text}\n").into_bytes());
    }

    /// Takes the live line away and waits until everything is written, for a fifth of a second at most.
    pub fn finish(&self) {
        let (done, wait) = sync_channel(1);
        if self.messages.try_send(Message::Finish(done)).is_ok() {
            let _ = wait.recv_timeout(LONGEST_FLUSH);
        }
    }

    fn send(&self, line: Vec<u8>) {
        match self.messages.try_send(Message::Line(line)) {
            Ok(()) => {}
            // The thread has died of a bug. The session ends with that, and the last word must reach somebody.
            Err(TrySendError::Disconnected(Message::Line(line))) => write(&line),
            Err(_) => _ = self.dropped.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine { console: self, text: Vec::new() }
    }
}

/// A log line in the making; it is sent when it is dropped.
#[derive(Debug)]
pub struct LogLine<'a> {
    console: &'a Console,
    text: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.console.send(std::mem::take(&mut self.text));
        }
    }
}

/// A thread that has died while it held this has left it whole.
fn lock(latest: &Mutex<Option<Progress>>) -> MutexGuard<'_, Option<Progress>> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(inbox: &Receiver<Message>, mut meter: Meter, latest: &Mutex<Option<Progress>>, dropped: &AtomicU64) {
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Line(line) => meter.aside(|| write(&line)),
            Message::Progress => {
                let progress = lock(latest).take();
                if let Some(progress) = progress {
                    meter.show(&progress);
                }
            }
            Message::Finish(done) => {
                meter.clear();
                // Nobody waits any more where this fails.
                let _ = done.try_send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            // An error, so that it is shown with -q, too: some of the lines may have been errors.
            tracing::error!(lost, "{lost} log lines were lost, because stderr did not take them");
        }
    }
}

/// Writes to stderr and waits until it is taken.
pub(super) fn write(text: &[u8]) {
    // Nobody is left to be told where stderr is closed.
    let _ = io::stderr().lock().write_all(text);
}

/// Abilities of stderr besides taking text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terminal {
    /// It is a file or a pipe.
    None,
    /// It is a terminal that knows no commands, as in an editor, or one that does not say what it is.
    Dumb,
    /// It is a terminal with a cursor that can be moved.
    Able,
}

impl Terminal {
    /// The abilities of the terminal at stderr.
    fn of_stderr() -> Self {
        match std::env::var_os("TERM") {
            _ if !io::stderr().is_terminal() => Self::None,
            Some(name) if !name.is_empty() && name != "dumb" => Self::Able,
            _ => Self::Dumb,
        }
    }
}

/// The form of the log's lines.
fn form(config: &OutputConfig, terminal: Terminal) -> Form {
    let directives = directives().is_some();
    let kind = match config.log_format {
        LogFormat::Json => Kind::Json,
        LogFormat::Text if terminal == Terminal::None => Kind::File,
        LogFormat::Text => Kind::Terminal { fields: directives || config.verbose > 0 },
    };
    let colours = match config.color {
        ColorMode::Always => true,
        ColorMode::Never => false,
        // https://no-color.org
        ColorMode::Auto => {
            terminal == Terminal::Able && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    Form { kind, colours, modules: directives || config.verbose > 1 }
}

/// MCAST_LOG, where it is set.
fn directives() -> Option<String> {
    std::env::var("MCAST_LOG").ok().filter(|directives| !directives.is_empty())
}

/// MCAST_LOG, in the language of `tracing_subscriber::EnvFilter`, or what -q and -v say.
fn filter(config: &OutputConfig) -> Result<EnvFilter, Failure> {
    match directives() {
        Some(directives) => EnvFilter::try_new(&directives).map_err(|error| {
            Failure::usage(format!(
                "MCAST_LOG={directives}: {error}; write a level such as debug, or mcast::session=trace"
            ))
        }),
        None => Ok(EnvFilter::new(match (config.quiet, config.verbose) {
            (true, _) => "error",
            (false, 0) => "info",
            (false, 1) => "info,mcast=debug",
            (false, _) => "info,mcast=trace",
        })),
    }
}

/// Name of the thread.
pub(super) const THREAD: &str = "console";
/// Bounds the memory for lines that stderr does not take: about 200 KiB.
const MOST_MESSAGES: usize = 1024;
/// A signal must end the process within two seconds, whatever stderr does.
const LONGEST_FLUSH: Duration = Duration::from_millis(200);
