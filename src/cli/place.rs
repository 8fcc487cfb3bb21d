//! The interface and address of a session: a program waits for them, follows them when they change, and says so once.

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
use crate::net::wake::{Signals, Sleeper, Watch};
use crate::time::Time;

/// The venue in use, which is left for another one only when it is gone.
#[derive(Debug)]
pub(super) struct Place {
    venue: Venue,
    look: Time,
    /// With a key, the other side of a session accepts another address of this one.
    has_key: bool,
    /// Bytes in the largest IP datagram that another place must carry, too.
    needed: u32,
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
        Ok(Self { venue, look: Time::ZERO + Self::EVERY, has_key, needed: 0, lost: false })
    }

    pub(super) fn venue(&self) -> &Venue {
        &self.venue
    }

    /// From here on, a place that carries only smaller IP datagrams than these is none.
    pub(super) fn keep_room_for(&mut self, bytes: u32) {
        self.needed = bytes;
    }

    /// To be called a few times a second. Once the place is gone, its address or its interface, `go` opens the sockets of
    /// another one, which would be chosen now. A session that has started stays on its interface, and without a key at
    /// its address, which may come back.
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
        match self.look_again(config, has_started, go) {
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

    fn look_again(
        &mut self,
        config: &NetworkConfig,
        has_started: bool,
        go: impl FnOnce(&Venue) -> Result<(), net::Error>,
    ) -> Result<(), net::Error> {
        if self.venue.still_stands()? {
            return Ok(());
        }
        let venue = choose(config)?;
        if venue.is_same_place(&self.venue) {
            // An address that the network is being renumbered away from, and there is no other yet.
            return Ok(());
        }
        let (new, old) = (&venue.interface, &self.venue.interface);
        let fits = new.name == old.name && (new.address == old.address || self.has_key);
        if has_started && !fits {
            return Err(net::Error::Gone { name: old.name.clone(), address: old.address });
        }
        if new.mtu < self.needed {
            return Err(net::Error::TooNarrow { name: new.name.clone(), mtu: new.mtu, needed: self.needed });
        }
        go(&venue)?;
        tracing::info!(interface = %new.name, address = %new.address, "the network has changed, chosen anew");
        self.venue = venue;
        Ok(())
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
            return Err(launch::stopped(signal));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::socket::tests::{GROUP_V4, in_a_namespace, run};

    fn config() -> NetworkConfig {
        NetworkConfig { interface: None, group: GROUP_V4, port: 47120, broadcast: false }
    }

    /// Looks again, at another time each, and tells where the place is then.
    fn look(place: &mut Place, config: &NetworkConfig, has_started: bool) -> String {
        let now = place.look;
        place.follow(now, config, has_started, |_| Ok(()));
        let Interface { name, address, .. } = &place.venue.interface;
        format!("{name} {address}")
    }

    #[test]
    fn place_that_still_works_is_not_left_for_a_better_one() {
        in_a_namespace("cli::place::tests::place_that_still_works_is_not_left_for_a_better_one", || {
            run("ip address add 10.78.0.1/24 dev veth-b");
            run("ip route add default dev veth-a metric 100");
            let config = config();
            let mut place = Place::choose(&config, false).unwrap();
            run("ip route add default dev veth-b metric 50");
            assert_eq!(choose(&config).unwrap().interface.name, "veth-b");
            assert_eq!(look(&mut place, &config, false), "veth-a 10.77.0.1");
            run("ip route del default dev veth-b");
            run("ip route del default dev veth-a");
            choose(&config).unwrap_err();
            assert_eq!(look(&mut place, &config, false), "veth-a 10.77.0.1");
            assert!(!place.lost);
            run("ip route add default dev veth-b");
            run("ip address del 10.77.0.1/24 dev veth-a");
            assert_eq!(look(&mut place, &config, true), "veth-a 10.77.0.1");
            assert!(place.lost);
            assert_eq!(look(&mut place, &config, false), "veth-b 10.78.0.1");
            assert!(!place.lost);
            run("ip link set veth-b down");
            look(&mut place, &config, false);
            assert!(place.lost);
        });
    }

    #[test]
    fn privacy_address_is_kept_when_the_host_prefers_a_newer_one() {
        in_a_namespace(
            "cli::place::tests::privacy_address_is_kept_when_the_host_prefers_a_newer_one",
            || {
                let config = NetworkConfig {
                    interface: Some("veth-a".to_owned()),
                    group: "ff15::4d43".parse().unwrap(),
                    ..config()
                };
                // The kernel makes temporary addresses beside such a one.
                run("sysctl -qw net.ipv6.conf.veth-a.use_tempaddr=2");
                run("ip address add fd77::1/64 dev veth-a mngtmpaddr nodad");
                let temporary = || choose(&config).unwrap().interface.address;
                // A thread of the kernel decides when a temporary address may be used: ten seconds are its bound.
                let permanent = "fd77::1".parse::<std::net::IpAddr>().unwrap();
                for _ in 0..200 {
                    if temporary() != permanent {
                        break;
                    }
                    run("sleep 0.05");
                }
                let address = temporary();
                assert_ne!(address, permanent);
                let mut place = Place::choose(&config, false).unwrap();
                run(&format!("ip address change {address}/64 dev veth-a preferred_lft 0 valid_lft 1000"));
                assert_ne!(temporary(), address);
                assert_eq!(look(&mut place, &config, false), format!("veth-a {address}"));
                run(&format!("ip address del {address}/64 dev veth-a"));
                assert_ne!(look(&mut place, &config, false), format!("veth-a {address}"));
            },
        );
    }

    #[test]
    fn place_is_kept_where_its_old_address_is_the_only_one() {
        in_a_namespace("cli::place::tests::place_is_kept_where_its_old_address_is_the_only_one", || {
            let group = "ff15::4d43".parse().unwrap();
            let config = NetworkConfig { interface: Some("veth-a".to_owned()), group, ..config() };
            run("ip address add fd77::1/64 dev veth-a nodad preferred_lft 0");
            // The link-local address does not suit the group.
            let mut place = Place::choose(&config, false).unwrap();
            let mut moves = 0;
            for _ in 0..3 {
                place.follow(place.look, &config, false, |_| {
                    moves += 1;
                    Ok(())
                });
            }
            assert_eq!((moves, place.venue.interface.address), (0, "fd77::1".parse().unwrap()));
        });
    }

    #[test]
    fn place_that_carries_smaller_datagrams_is_not_taken_by_a_sender() {
        in_a_namespace(
            "cli::place::tests::place_that_carries_smaller_datagrams_is_not_taken_by_a_sender",
            || {
                run("ip address add 10.78.0.1/24 dev veth-b");
                run("ip route add default dev veth-a");
                let config = config();
                let mut place = Place::choose(&config, false).unwrap();
                place.keep_room_for(1400);
                run("ip address del 10.77.0.1/24 dev veth-a");
                run("ip route replace default dev veth-b");
                run("ip link set veth-b mtu 1399");
                assert_eq!(look(&mut place, &config, false), "veth-a 10.77.0.1");
                assert!(place.lost);
                run("ip link set veth-b mtu 1400");
                assert_eq!(look(&mut place, &config, false), "veth-b 10.78.0.1");
            },
        );
    }
}
