//! Where a session takes place, while networks come and go: waited for, followed, and told of once.

use std::time::Duration;

use super::config::NetworkConfig;
use super::error::Failure;
use super::launch;
use super::service::Service;
use crate::exit::Exit;
use crate::net;
use crate::net::clock::Clock;
use crate::net::interface::Interface;
use crate::net::socket::Venue;
use crate::net::wake::{Signals, Sleeper, Watch, signal_name};
use crate::time::Time;

/// The venue in use, which is compared with what would be chosen now.
#[derive(Debug)]
pub(super) struct Place {
    venue: Venue,
    look: Time,
    /// With a key, the other side of a session accepts another address of this one.
    has_key: bool,
    /// There was none at the last look, which has been told.
    lost: bool,
}

impl Place {
    /// Time between two looks: the longest that a program which waits may be deaf for after its network has changed.
    const EVERY: Duration = Duration::from_secs(2);

    /// Chooses interface and address, as the operator wants it or as the routes say.
    pub(super) fn choose(config: &NetworkConfig, has_key: bool) -> Result<Self, net::Error> {
        let venue = choose(config)?;
        let Interface { name, address, mtu, .. } = &venue.interface;
        tracing::debug!("{} through interface {name} ({address}, MTU {mtu})", venue.target());
        Ok(Self { venue, look: Time::ZERO + Self::EVERY, has_key, lost: false })
    }

    pub(super) fn venue(&self) -> &Venue {
        &self.venue
    }

    /// To be called a few times a second. Where another venue would be chosen now, `go` opens its sockets. A session that
    /// has started stays on its interface, and without a key at its address, which may come back.
    pub(super) fn follow(
        &mut self,
        now: Time,
        config: &NetworkConfig,
        has_started: bool,
        go: impl FnOnce(&Venue) -> Result<(), net::Error>,
    ) {
        if now < self.look {
            return;
        }
        self.look = now + Self::EVERY;
        let chosen = choose(config).and_then(|venue| {
            let (new, old) = (&venue.interface, &self.venue.interface);
            let fits = new.name == old.name && (new.address == old.address || self.has_key);
            if !venue.is_same_place(&self.venue) && (fits || !has_started) {
                go(&venue)?;
                tracing::info!(interface = %venue.interface.name, address = %venue.interface.address, "the network has changed, chosen anew");
                self.venue = venue;
            }
            Ok(())
        });
        match chosen {
            Ok(()) if std::mem::take(&mut self.lost) => {
                tracing::info!(interface = %self.venue.interface.name, "the network is back");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.lost, true) {
                    tracing::warn!("the network has changed: {error}; waiting for that");
                }
            }
        }
    }
}

/// Waits until there is a place to listen at, and `open` has opened its sockets there: for a service, whose network may come
/// later than it does, or go between two sessions. One warning; a signal ends it, and so does `limit`.
pub(super) fn wait_for<T>(
    config: &NetworkConfig,
    has_key: bool,
    limit: Option<Duration>,
    clock: &Clock,
    signals: &mut Signals,
    service: &mut Service,
    open: impl Fn(&Venue) -> Result<T, net::Error>,
) -> Result<(Place, T), Failure> {
    let sleeper = Sleeper::new().map_err(launch::no_resource)?;
    let begun = clock.now();
    let (mut now, mut look, mut told) = (begun, begun, false);
    loop {
        if now >= look {
            look = now + LOOK_AGAIN;
            let opened = Place::choose(config, has_key).and_then(|place| Ok((open(place.venue())?, place)));
            let error = match opened {
                Ok((sockets, place)) => return Ok((place, sockets)),
                Err(error) => error,
            };
            if !error.may_pass() || limit.is_some_and(|limit| now.since(begun) >= limit) {
                return Err(error.into());
            }
            if !std::mem::replace(&mut told, true) {
                // An error, so that it is shown with -q, too: a misspelt interface never comes.
                tracing::error!("{error}; waiting for that, no session until then");
                service.waiting_for_network();
            }
            service.not_yet_ready(now);
        }
        service.alive(now);
        let ready = sleeper.wait([Watch::readable(&*signals)], clock, now + BREATH, || true);
        if let Err(error) = ready {
            return Err(Failure::new(Exit::Internal, format!("cannot wait for the network: {error}")));
        }
        if let Some((signal, _)) = signals.take() {
            service.stopping();
            return Err(Failure::new(Exit::Signal(signal), format!("stopped by {}", signal_name(signal))));
        }
        now = clock.now();
    }
}

fn choose(config: &NetworkConfig) -> Result<Venue, net::Error> {
    Venue::choose(config.interface.as_deref(), config.group, config.port, config.broadcast)
}

/// How often to look for a network where there is none.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The service manager hears as often that this process is alive.
const BREATH: Duration = Duration::from_millis(100);
