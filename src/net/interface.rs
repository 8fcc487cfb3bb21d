//! Which interface a session uses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Error;
use super::netlink::{Held, Link, Netlink, Route};

/// An interface, and what a session needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, such as `eth0`.
    pub name: String,
    /// The kernel's number for it; also the scope id of link-local IPv6 addresses.
    pub index: u32,
    /// The address that datagrams leave from.
    pub address: IpAddr,
    /// The broadcast address that belongs to `address`.
    pub broadcast: Option<Ipv4Addr>,
    /// Bytes in the largest IP datagram.
    pub mtu: u32,
    /// The interface says that it can do multicast. Loopback does not say so and yet can.
    pub multicast: bool,
    /// The interface reaches this host only.
    pub loopback: bool,
}

impl Interface {
    /// The interface called `wanted`, or having the address or the label `wanted`; without it, the one that the route to
    /// `target` leaves through; without a route, the only one that can do it.
    ///
    /// `target` is the group, or any multicast group of the right family where broadcast is wanted.
    ///
    /// # Errors
    /// When nothing fits, and says what to do; the interface must be up and have an address of the family of `target`.
    pub fn choose(wanted: Option<&str>, target: IpAddr) -> Result<Self, Error> {
        let mut known = Known::read().map_err(Error::system("cannot list the interfaces"))?;
        match wanted {
            Some(wanted) => known.named(wanted, target),
            None => known.routed(target),
        }
    }

    /// Whether the kernel still has this interface, up and able to do what it could, with this address, and this
    /// broadcast address. An address that the network is being renumbered away from has gone. A privacy address has not,
    /// as long as the kernel keeps it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn still_stands(&self, broadcast: Option<IpAddr>) -> Result<bool, Error> {
        let known = Known::read().map_err(Error::system("cannot list the interfaces"))?;
        let link = known.link(self.index).filter(|link| link.up && link.name == self.name);
        let Some(link) = link.filter(|link| link.multicast == self.multicast) else { return Ok(false) };
        let held = known.addresses.iter().any(|held| {
            held.address == self.address
                && (held.link == link.index || !needs_scope(self.address))
                && held.usable
                && (!held.deprecated || held.temporary)
        });
        let mut of_link = known.addresses.iter().filter(|held| held.link == link.index);
        let has_broadcast =
            |wanted| of_link.any(|held| held.broadcast.is_some_and(|other| IpAddr::V4(other) == wanted));
        Ok(held && broadcast.is_none_or(has_broadcast))
    }

    /// Datagrams to this group can leave through this interface. IPv4 needs no route for that, IPv6 does.
    pub(super) fn reaches(&self, group: IpAddr) -> bool {
        group.is_ipv4() || self.probe(group).is_some()
    }

    /// A socket connected to the target through this interface, where there is a way; it sends nothing.
    fn probe(&self, target: IpAddr) -> Option<Socket> {
        let probe = udp_socket(target)?;
        match target {
            IpAddr::V4(_) => {
                let any = Ipv4Addr::UNSPECIFIED;
                sockopt::set_ip_multicast_if_with_ifindex(&probe, &any, &any, self.index).ok()?;
            }
            IpAddr::V6(_) => probe.set_multicast_if_v6(self.index).ok()?,
        }
        probe.connect(&SockAddr::from(self.scoped(target, PROBE_PORT))).ok()?;
        Some(probe)
    }

    /// `address` and `port` at this interface, with the scope that link-local IPv6 addresses need.
    pub fn scoped(&self, address: IpAddr, port: u16) -> SocketAddr {
        match address {
            IpAddr::V6(address) if needs_scope(IpAddr::V6(address)) => {
                SocketAddr::V6(SocketAddrV6::new(address, port, 0, self.index))
            }
            address => SocketAddr::new(address, port),
        }
    }
}

/// All links and all their addresses, in the kernel's order.
struct Known {
    netlink: Netlink,
    links: Vec<Link>,
    addresses: Vec<Held>,
}

impl Known {
    fn read() -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        Ok(Self { links: netlink.links()?, addresses: netlink.addresses()?, netlink })
    }

    /// Finds what the operator has named.
    fn named(&mut self, wanted: &str, target: IpAddr) -> Result<Interface, Error> {
        let is_called =
            |link: &&Link| link.name == wanted || link.other_names.iter().any(|name| name == wanted);
        if let Some(link) = self.links.iter().find(is_called).cloned() {
            return self.at(&link, target);
        }
        let has_label = |held: &&Held| held.label.as_deref() == Some(wanted);
        let labelled = self.addresses.iter().find(has_label).cloned();
        if let Some((held, link)) = labelled.and_then(|held| self.link(held.link).map(|link| (held, link))) {
            let fits = held.address.is_ipv4() == target.is_ipv4();
            return if fits { self.with_address(&link, &held, target) } else { self.at(&link, target) };
        }
        let up: Vec<String> =
            self.links.iter().filter(|link| link.up).map(|link| link.name.clone()).collect();
        let unknown = || Error::UnknownInterface { wanted: wanted.to_owned(), known: up.clone() };
        let address: IpAddr = wanted.parse().map_err(|_| unknown())?;
        let (held, link) = self.holder(address, target).ok_or_else(unknown)?;
        if address.is_ipv4() != target.is_ipv4() {
            return Err(Error::FamilyMismatch { address, group: target });
        }
        self.with_address(&link, &held, target)
    }

    /// The link that the route to the target leaves through, with the address that the route prefers: it may be on another
    /// link, on loopback for example.
    fn routed(&mut self, target: IpAddr) -> Result<Interface, Error> {
        let Some((route, link)) = self.route(target, None) else { return self.only(target) };
        let preferred = |held: &&Held| Some(held.address) == route.source;
        let here = self.addresses.iter().filter(|held| held.link == link.index).find(preferred);
        match here.or_else(|| self.addresses.iter().find(preferred)).cloned() {
            Some(held) => self.with_address(&link, &held, target),
            None => self.at(&link, target),
        }
    }

    fn route(&mut self, target: IpAddr, through: Option<u32>) -> Option<(Route, Link)> {
        let route = self.netlink.route(target, through)?;
        Some((route, self.link(route.link)?))
    }

    fn link(&self, index: u32) -> Option<Link> {
        self.links.iter().find(|link| link.index == index).cloned()
    }

    /// The link that has this address. Two links may have the same: the one that the route to the target leaves through counts, or
    /// else the first that is up.
    fn holder(&mut self, address: IpAddr, target: IpAddr) -> Option<(Held, Link)> {
        let way = self.netlink.route(target, None).map(|route| route.link);
        let holders = self.addresses.iter().filter(|held| held.address == address);
        let pairs = holders.filter_map(|held| Some((held.clone(), self.link(held.link)?)));
        pairs.min_by_key(|(held, link)| (!link.up, Some(held.link) != way))
    }

    /// This link with the address that suits the target best.
    fn at(&mut self, link: &Link, target: IpAddr) -> Result<Interface, Error> {
        if !link.up {
            return Err(Error::InterfaceDown { name: link.name.clone() });
        }
        match self.best(link, target) {
            Some(held) => self.with_address(link, &held, target),
            None => Err(Error::NoAddress {
                name: link.name.clone(),
                family: if target.is_ipv4() { "IPv4" } else { "IPv6" },
                target,
            }),
        }
    }

    /// The address of this link that the kernel would send from; else one of the target's family, and of its scope where
    /// there is one, and not one that the network is being renumbered away from.
    fn best(&mut self, link: &Link, target: IpAddr) -> Option<Held> {
        let source = self.netlink.route(target, Some(link.index)).and_then(|route| route.source);
        let link_local = needs_scope(target);
        self.addresses
            .iter()
            .filter(|held| held.link == link.index && held.usable)
            .filter(|held| held.address.is_ipv4() == target.is_ipv4())
            .min_by_key(|held| {
                (needs_scope(held.address) != link_local, Some(held.address) != source, held.deprecated)
            })
            .cloned()
    }

    /// The only interface beside loopback that is up and could carry multicast.
    fn only(&mut self, target: IpAddr) -> Result<Interface, Error> {
        let fits = |link: &&Link| {
            let has_address = |held: &Held| {
                held.link == link.index && held.usable && held.address.is_ipv4() == target.is_ipv4()
            };
            link.up && link.multicast && !link.loopback && self.addresses.iter().any(has_address)
        };
        let candidates: Vec<Link> = self.links.iter().filter(fits).cloned().collect();
        match &candidates[..] {
            [link] => self.at(link, target),
            _ => Err(Error::NoRoute {
                target,
                candidates: candidates.into_iter().map(|link| link.name).collect(),
            }),
        }
    }

    fn with_address(&mut self, link: &Link, held: &Held, target: IpAddr) -> Result<Interface, Error> {
        if !link.up {
            return Err(Error::InterfaceDown { name: link.name.clone() });
        }
        let broadcast = held.broadcast.filter(|_| held.link == link.index).or_else(|| {
            let of_link = self.addresses.iter().filter(|other| other.link == link.index);
            of_link.filter(|_| held.link != link.index).find_map(|other| other.broadcast)
        });
        Ok(Interface {
            name: link.name.clone(),
            index: link.index,
            address: held.address,
            broadcast,
            mtu: self.mtu(link, target),
            multicast: link.multicast,
            loopback: link.loopback,
        })
    }

    /// Bytes in the largest IP datagram that this link carries to the target: what the link says, or less where the route
    /// or a router of the network does. ICMP messages do not count, since anyone can send them.
    fn mtu(&mut self, link: &Link, target: IpAddr) -> u32 {
        let of_route = self.netlink.route(target, Some(link.index)).and_then(|route| route.mtu);
        // IPv6 routers announce an MTU. /proc/sys/net follows the namespace of the process that reads it.
        let of_routers = || {
            let path = format!("/proc/sys/net/ipv6/conf/{}/mtu", link.name);
            std::fs::read_to_string(path).ok()?.trim().parse::<u32>().ok()
        };
        let of_routers = if target.is_ipv6() { of_routers() } else { None };
        [of_route, of_routers].into_iter().flatten().fold(link.mtu, u32::min)
    }
}

fn udp_socket(target: IpAddr) -> Option<Socket> {
    Socket::new(Domain::for_address((target, 0).into()), Type::DGRAM, Some(Protocol::UDP)).ok()
}

/// Addresses that mean something on one link only (RFC 4007): link-local unicast, and multicast of interface or link scope.
fn needs_scope(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => {
            let [first, second, ..] = address.octets();
            address.is_unicast_link_local() || (first == 0xff && matches!(second & 0x0f, 1 | 2))
        }
    }
}

/// Any port does: a probe sends nothing. 9 is "discard".
const PROBE_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::socket::Venue;
    use crate::net::socket::tests::{GROUP_V4, everybody_hears_each_other, in_a_namespace, run};

    #[test]
    fn device_of_the_route_counts_and_not_the_link_that_has_its_address() {
        in_a_namespace(
            "net::interface::tests::device_of_the_route_counts_and_not_the_link_that_has_its_address",
            || {
                let choose = || Interface::choose(None, GROUP_V4).unwrap();
                run("ip address add 10.99.0.1/32 dev lo");
                run("ip route add default dev veth-a src 10.99.0.1");
                assert_eq!((choose().name.as_str(), choose().address), ("veth-a", [10, 99, 0, 1].into()));
                // The broadcast address is that of the link.
                assert_eq!(choose().broadcast, Some([10, 77, 0, 255].into()));
                run("ip route del default dev veth-a");
                // Two links have the same address.
                run("ip address add 10.77.0.1/32 dev veth-b");
                run("ip route add 239.0.0.0/8 dev veth-b");
                assert_eq!((choose().name.as_str(), choose().address), ("veth-b", [10, 77, 0, 1].into()));
                assert_eq!(Interface::choose(Some("10.77.0.1"), GROUP_V4).unwrap().name, "veth-b");
                // Rules come before tables.
                run("ip route add 239.0.0.0/8 dev veth-a table 77");
                run("ip rule add to 239.255.77.0/24 lookup 77");
                assert_eq!(choose().name, "veth-a");
            },
        );
    }

    #[test]
    fn labels_and_other_names_of_an_interface_are_found() {
        in_a_namespace("net::interface::tests::labels_and_other_names_of_an_interface_are_found", || {
            run("ip address flush dev veth-a");
            run("ip address add 10.88.0.1/24 label veth-a:1 dev veth-a");
            run("ip address add 10.89.0.1/24 label veth-a:2 dev veth-a");
            run("ip link property add dev veth-a altname lan0");
            run("ip route add default dev veth-a");
            let choose = |wanted| Interface::choose(wanted, GROUP_V4).unwrap();
            for wanted in [None, Some("veth-a"), Some("lan0"), Some("veth-a:1")] {
                let chosen = choose(wanted);
                assert_eq!(
                    (chosen.name.as_str(), chosen.address),
                    ("veth-a", [10, 88, 0, 1].into()),
                    "{wanted:?}"
                );
            }
            assert_eq!(choose(Some("veth-a:2")).address, IpAddr::from([10, 89, 0, 1]));
            everybody_hears_each_other(&Venue::choose(Some("veth-a:2"), GROUP_V4, 47112, false).unwrap());
        });
    }

    #[test]
    fn address_that_a_network_is_renumbered_away_from_is_not_chosen() {
        in_a_namespace(
            "net::interface::tests::address_that_a_network_is_renumbered_away_from_is_not_chosen",
            || {
                let group: IpAddr = "ff15::4d43".parse().unwrap();
                run("ip address add fd77::1/64 dev veth-a nodad");
                let choose = || Interface::choose(Some("veth-a"), group).unwrap().address;
                assert_eq!(choose(), "fd77::1".parse::<IpAddr>().unwrap());
                run("ip address add fd78::1/64 dev veth-a nodad");
                run("ip address change fd77::1/64 dev veth-a preferred_lft 0");
                assert_eq!(choose(), "fd78::1".parse::<IpAddr>().unwrap());
            },
        );
    }

    #[test]
    fn mtu_of_a_route_counts_where_it_is_smaller() {
        in_a_namespace("net::interface::tests::mtu_of_a_route_counts_where_it_is_smaller", || {
            run("ip route add 239.255.0.0/16 dev veth-a mtu 1300");
            assert_eq!(Interface::choose(None, GROUP_V4).unwrap().mtu, 1300);
            assert_eq!(Interface::choose(Some("veth-a"), GROUP_V4).unwrap().mtu, 1300);
        });
    }

    #[test]
    fn the_mtu_is_the_one_of_the_namespace() {
        in_a_namespace("net::interface::tests::the_mtu_is_the_one_of_the_namespace", || {
            for group in [GROUP_V4, "ff15::4d43".parse().unwrap(), "ff12::4d43".parse().unwrap()] {
                let interface = Interface::choose(Some("veth-a"), group).unwrap();
                assert_eq!((interface.mtu, interface.multicast, interface.loopback), (1400, true, false));
            }
            let by_address = Interface::choose(Some("10.77.0.1"), GROUP_V4).unwrap();
            assert_eq!(by_address.name, "veth-a");
        });
    }

    #[test]
    fn without_a_route_the_only_interface_is_taken_and_two_are_an_error() {
        in_a_namespace(
            "net::interface::tests::without_a_route_the_only_interface_is_taken_and_two_are_an_error",
            || {
                assert_eq!(Interface::choose(None, GROUP_V4).unwrap().name, "veth-a");
                run("ip address add 10.78.0.1/24 dev veth-b");
                let error = Interface::choose(None, GROUP_V4).unwrap_err().to_string();
                assert!(
                    error.contains("veth-a") && error.contains("veth-b") && error.contains("-i"),
                    "{error}"
                );
                run("ip route add 239.0.0.0/8 dev veth-b");
                assert_eq!(Interface::choose(None, GROUP_V4).unwrap().name, "veth-b");
            },
        );
    }

    #[test]
    fn unknown_interfaces_and_missing_addresses_are_named() {
        let unknown = Interface::choose(Some("eth99"), GROUP_V4).unwrap_err().to_string();
        assert!(unknown.contains("eth99") && unknown.contains("lo"), "{unknown}");
        let mixed =
            Interface::choose(Some("127.0.0.1"), "ff15::4d43".parse().unwrap()).unwrap_err().to_string();
        assert!(mixed.contains("127.0.0.1") && mixed.contains("ff15::4d43"), "{mixed}");
        let loopback = Venue::choose(Some("lo"), GROUP_V4, 47109, true).unwrap_err().to_string();
        assert!(loopback.contains("no broadcast address"), "{loopback}");
    }
}
