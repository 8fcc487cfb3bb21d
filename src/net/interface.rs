//! Which interface a session uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Error;

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
    /// The interface called `wanted` or having the address `wanted`; without it, the one that the route to `target`
    /// uses; without a route, the only one that can do it.
    ///
    /// `target` is the group, or any multicast group of the right family where broadcast is wanted.
    ///
    /// # Errors
    /// When nothing fits, and says what to do; the interface must be up and have an address of the family of `target`.
    pub fn choose(wanted: Option<&str>, target: IpAddr) -> Result<Self, Error> {
        let known = Known::read()?;
        let address = match wanted {
            Some(wanted) => known.named(wanted, target)?,
            None => match routed(target).and_then(|source| known.holder(source)) {
                Some(address) => address,
                None => known.only(target)?,
            },
        };
        let mut interface = address.interface.clone();
        interface.mtu = mtu(&interface, target);
        Ok(interface)
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

/// One address of one interface.
#[derive(Debug)]
struct Address {
    interface: Interface,
    up: bool,
}

/// All addresses of all interfaces, in the kernel's order.
struct Known {
    addresses: Vec<Address>,
    /// Every interface, with or without an address, and whether it is up.
    names: Vec<(String, bool)>,
}

impl Known {
    fn read() -> Result<Self, Error> {
        let all = nix::ifaddrs::getifaddrs()
            .map_err(|errno| Error::system("cannot list the interfaces")(errno.into()))?;
        let mut known = Self { addresses: Vec::new(), names: Vec::new() };
        for entry in all {
            let up = entry.flags.contains(InterfaceFlags::IFF_UP);
            if !known.names.iter().any(|(name, _)| *name == entry.interface_name) {
                known.names.push((entry.interface_name.clone(), up));
            }
            let Some(address) = entry.address.as_ref().and_then(ip) else { continue };
            let Ok(index) = nix::net::if_::if_nametoindex(entry.interface_name.as_str()) else { continue };
            let broadcast = match entry.broadcast.as_ref().and_then(ip) {
                Some(IpAddr::V4(broadcast)) if address.is_ipv4() && !broadcast.is_unspecified() => {
                    Some(broadcast)
                }
                _ => None,
            };
            let interface = Interface {
                name: entry.interface_name,
                index,
                address,
                broadcast,
                mtu: 0,
                multicast: entry.flags.contains(InterfaceFlags::IFF_MULTICAST),
                loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            };
            known.addresses.push(Address { interface, up });
        }
        Ok(known)
    }

    fn named(&self, wanted: &str, target: IpAddr) -> Result<&Address, Error> {
        if let Some((name, up)) = self.names.iter().find(|(name, _)| name == wanted) {
            if !up {
                return Err(Error::InterfaceDown { name: name.clone() });
            }
            return self.best(name, target).ok_or_else(|| Error::NoAddress {
                name: name.clone(),
                family: if target.is_ipv4() { "IPv4" } else { "IPv6" },
                target,
            });
        }
        let unknown = || Error::UnknownInterface {
            wanted: wanted.to_owned(),
            known: self.names.iter().filter(|(_, up)| *up).map(|(name, _)| name.clone()).collect(),
        };
        let address: IpAddr = wanted.parse().map_err(|_| unknown())?;
        let found = self.holder(address).ok_or_else(unknown)?;
        if address.is_ipv4() != target.is_ipv4() {
            return Err(Error::FamilyMismatch { address, group: target });
        }
        if !found.up {
            return Err(Error::InterfaceDown { name: found.interface.name.clone() });
        }
        Ok(found)
    }

    fn holder(&self, address: IpAddr) -> Option<&Address> {
        self.addresses.iter().find(|known| known.interface.address == address)
    }

    /// The address of this interface that suits the target best: of its family, and of its scope where there is one.
    fn best(&self, name: &str, target: IpAddr) -> Option<&Address> {
        let link_local = needs_scope(target);
        self.addresses
            .iter()
            .filter(|known| known.interface.name == name)
            .filter(|known| known.interface.address.is_ipv4() == target.is_ipv4())
            .min_by_key(|known| needs_scope(known.interface.address) != link_local)
    }

    /// The only interface beside loopback that is up and could carry multicast.
    fn only(&self, target: IpAddr) -> Result<&Address, Error> {
        let mut candidates: Vec<&str> = Vec::new();
        for known in self.addresses.iter().filter(|known| known.up) {
            let interface = &known.interface;
            let fits = interface.multicast && !interface.loopback;
            if fits
                && interface.address.is_ipv4() == target.is_ipv4()
                && !candidates.contains(&interface.name.as_str())
            {
                candidates.push(&interface.name);
            }
        }
        match candidates[..] {
            [name] => self.best(name, target),
            _ => None,
        }
        .ok_or_else(|| Error::NoRoute {
            target,
            candidates: candidates.iter().map(|&name| name.to_owned()).collect(),
        })
    }
}

/// The address that the kernel would send from to this target, if it has a route.
fn routed(target: IpAddr) -> Option<IpAddr> {
    let probe =
        Socket::new(Domain::for_address((target, 0).into()), Type::DGRAM, Some(Protocol::UDP)).ok()?;
    probe.connect(&SockAddr::from(SocketAddr::new(target, PROBE_PORT))).ok()?;
    Some(probe.local_addr().ok()?.as_socket()?.ip())
}

fn udp_socket(target: IpAddr) -> Option<Socket> {
    Socket::new(Domain::for_address((target, 0).into()), Type::DGRAM, Some(Protocol::UDP)).ok()
}

/// Bytes in the largest IP datagram that this interface carries to the target.
///
/// The route knows best. It is asked through a socket, because sockets see the network namespace that the process
/// lives in, while /sys shows the one that it was mounted in.
fn mtu(interface: &Interface, target: IpAddr) -> u32 {
    let of_route = || {
        let probe = interface.probe(target)?;
        match target {
            IpAddr::V4(_) => sockopt::ip_mtu(&probe).ok(),
            IpAddr::V6(_) => sockopt::ipv6_mtu(&probe).ok(),
        }
    };
    // /proc/sys/net follows the namespace of the process that reads it.
    let of_proc = || {
        let path = format!("/proc/sys/net/ipv6/conf/{}/mtu", interface.name);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let fallback = if target.is_ipv4() { USUAL_MTU_V4 } else { LEAST_MTU_V6 };
    of_route().or_else(of_proc).unwrap_or(fallback)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
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
/// What Ethernet carries.
const USUAL_MTU_V4: u32 = 1500;
/// The least that a link must carry to do IPv6 (RFC 8200).
const LEAST_MTU_V6: u32 = 1280;
