//! What the service manager is told, where there is one (systemd's `Type=notify`, see sd_notify(3)).

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::time::Time;

/// The way to the service manager; says nothing where there is none.
#[derive(Debug)]
pub(super) struct Service {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that this process is alive.
    watchdog: Option<Duration>,
    alive_due: Time,
    /// When to ask the manager for more time, until this process is ready.
    extend_due: Time,
    ready: bool,
}

impl Service {
    /// As the environment says: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
    pub(super) fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self {
            manager: std::env::var_os("NOTIFY_SOCKET").and_then(|socket| connect(&socket)),
            // Twice as often as it is needed, as sd_watchdog_enabled(3) recommends.
            watchdog: variable("WATCHDOG_USEC").filter(|_| ours).map(|usec| Duration::from_micros(usec) / 2),
            alive_due: Time::ZERO,
            extend_due: Time::ZERO,
            ready: false,
        }
    }

    /// One that speaks to the manager at this socket.
    #[cfg(test)]
    pub(super) fn at(socket: &std::path::Path) -> Self {
        let manager = connect(socket.as_os_str());
        Self { manager, watchdog: None, alive_due: Time::ZERO, extend_due: Time::ZERO, ready: false }
    }

    /// A session is prepared. Its clock starts at zero.
    pub(super) const fn begin(&mut self) {
        self.alive_due = Time::ZERO;
        self.extend_due = Time::ZERO;
    }

    /// A receiver listens.
    pub(super) fn waiting(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.say("READY=1");
        }
        self.say("STATUS=waiting for a sender");
    }

    /// There is no network to listen at yet.
    pub(super) fn waiting_for_network(&self) {
        self.say("STATUS=waiting for a network");
    }

    /// A manager that still waits for the start is asked for more time; to be called often.
    pub(super) fn not_yet_ready(&mut self, now: Time) {
        if !self.ready && now >= self.extend_due {
            self.extend_due = now + EXTEND_EVERY;
            self.say(&format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
        }
    }

    /// Whether a receiver has listened since the launch.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// A session has started.
    pub(super) fn receiving(&self, label: &str) {
        self.say(&format!("STATUS=receiving {label}"));
    }

    /// This process is about to end.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// This process does what it should; to be called often.
    pub(super) fn alive(&mut self, now: Time) {
        if let Some(every) = self.watchdog
            && now >= self.alive_due
        {
            self.alive_due = now + every;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, text: &str) {
        if let Some((socket, manager)) = &self.manager {
            // A manager that does not listen is no reason to fail a session.
            let _ = socket.send_to_addr(text.as_bytes(), manager);
        }
    }
}

/// Pause between two requests for more time.
const EXTEND_EVERY: Duration = Duration::from_secs(1);
/// Time that each request asks for, counted from the request, so that the manager can miss some of them.
const EXTENSION: Duration = Duration::from_secs(20);

/// A name that begins with @ is no file's.
fn connect(name: &OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().split_first()? {
        (b'@', name) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    // Nothing waits for it.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}
