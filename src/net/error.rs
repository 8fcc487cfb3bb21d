//! What can go wrong at the kernel's network, sorted by what the caller should do about it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

/// A socket or an interface could not be set up. Every message names value and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No interface has this name or address.
    #[error("no interface has the name or address \"{wanted}\"; choose one of {}", list(.known))]
    UnknownInterface {
        /// What was asked for.
        wanted: String,
        /// Names of the interfaces there are.
        known: Vec<String>,
    },
    /// The interface exists but is down.
    #[error(
        "interface {name} is down; bring it up with \"ip link set {name} up\", or choose another with -i"
    )]
    InterfaceDown {
        /// Name of the interface.
        name: String,
    },
    /// The interface has no address of the group's family.
    #[error(
        "interface {name} has no {family} address, which {target} needs; add one, or choose another with -i"
    )]
    NoAddress {
        /// Name of the interface.
        name: String,
        /// "IPv4" or "IPv6".
        family: &'static str,
        /// The group.
        target: IpAddr,
    },
    /// An address of one family names the interface for a group of the other.
    #[error(
        "interface address {address} and group {group} are not of one family; name the interface instead"
    )]
    FamilyMismatch {
        /// Address that was given for the interface.
        address: IpAddr,
        /// The group.
        group: IpAddr,
    },
    /// Neither a route nor the interfaces themselves decide.
    #[error("no route to {target}, and {}; choose an interface with -i", choices(.candidates))]
    NoRoute {
        /// The group.
        target: IpAddr,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// Multicast is switched off at the interface.
    #[error(
        "interface {name} does no multicast; switch it on with \"ip link set {name} multicast on\", or use -b"
    )]
    NoMulticast {
        /// Name of the interface.
        name: String,
    },
    /// The interface has no route for IPv6 multicast; loopback usually has none.
    #[error(
        "no way to {group} through interface {name}; add it: ip -6 route add {kind} ff00::/8 dev {name} table local"
    )]
    Unreachable {
        /// Name of the interface.
        name: String,
        /// The group.
        group: IpAddr,
        /// Type of the missing route.
        kind: &'static str,
    },
    /// `--broadcast` at an interface without a broadcast address.
    #[error("interface {name} has no broadcast address, which -b needs; give it one with \"ip address\"")]
    NoBroadcast {
        /// Name of the interface.
        name: String,
    },
    /// The place of a session that has started is not there any more.
    #[error("interface {name} with address {address}, which this session needs, is gone or down")]
    Gone {
        /// Name of the interface.
        name: String,
        /// The address.
        address: IpAddr,
    },
    /// Another interface could be used, but the datagrams of this session are too large for it.
    #[error(
        "interface {name} carries {mtu} bytes a datagram, and this session needs {needed}; bring the old interface back, or start anew with --mtu {mtu}"
    )]
    TooNarrow {
        /// Name of the interface.
        name: String,
        /// Bytes that it carries.
        mtu: u32,
        /// Bytes that the session needs.
        needed: u32,
    },
    /// Somebody else holds the port.
    #[error(
        "address {address} is in use; end the other program, or give this stream its own port with -p, on all its hosts \
         (on one host another group is not enough)"
    )]
    AddressInUse {
        /// The address and port.
        address: SocketAddr,
    },
    /// Any other refusal of the system.
    #[error("{action}: {source}{}", remedy(.source))]
    System {
        /// What was tried, with its value.
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether a network that comes later than this program mends it, or the operator while the program waits.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::UnknownInterface { .. }
            | Self::InterfaceDown { .. }
            | Self::NoAddress { .. }
            | Self::NoRoute { .. }
            | Self::NoMulticast { .. }
            | Self::Unreachable { .. }
            | Self::NoBroadcast { .. }
            | Self::Gone { .. }
            | Self::TooNarrow { .. } => true,
            Self::FamilyMismatch { .. } | Self::AddressInUse { .. } => false,
            Self::System { source, .. } => matches!(
                Errno::from_io_error(source),
                Some(
                    Errno::BUSY
                        | Errno::ADDRNOTAVAIL
                        | Errno::NODEV
                        | Errno::NXIO
                        | Errno::NETDOWN
                        | Errno::NETUNREACH
                )
            ),
        }
    }

    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }
}

/// What an error at a socket means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The kernel's queue is full (or, on receipt, empty): wait until the socket is ready.
    WouldBlock,
    /// The datagram is larger than the interface carries.
    TooBig,
    /// Nobody listens at the peer's port any more (ICMP port unreachable, on a connected socket).
    PeerGone,
    /// Passes by itself or by the operator's hand: link down, address gone, no route, no memory, firewall, or whatever a
    /// stranger's ICMP message says. Counts as loss.
    Transient,
    /// The socket is unusable: this program, or the kernel it runs on, is at fault.
    Fatal,
}

impl Trouble {
    /// Sorts the error of a send or receive call.
    ///
    /// Few errors are fatal, and none that a datagram from the network can cause: Linux turns ICMP messages into any of
    /// ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED, EMSGSIZE, EOPNOTSUPP, EHOSTDOWN, ENONET, EPROTO and EACCES
    /// (`icmp_err_convert`, `icmpv6_err_convert`), and refuses an address that it cannot send to, or from, with EINVAL.
    pub fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::WouldBlock,
            Some(Errno::MSGSIZE) => Self::TooBig,
            Some(Errno::CONNREFUSED) => Self::PeerGone,
            Some(Errno::BADF | Errno::NOTSOCK | Errno::FAULT | Errno::AFNOSUPPORT) => Self::Fatal,
            _ => Self::Transient,
        }
    }

    /// Sorts the error of a receive call, which no address can be wrong for.
    pub fn of_receiving(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::INVAL) => Self::Fatal,
            _ => Self::of(error),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "those that \"ip address\" shows".to_owned() } else { names.join(", ") }
}

fn choices(names: &[String]) -> String {
    match names {
        [] => "no interface that could carry it is up".to_owned(),
        names => format!("more than one interface could carry it ({})", names.join(", ")),
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => "; check the firewall and the permissions of this user",
        Some(Errno::NETUNREACH) => "; add a route for the group, or choose another interface with -i",
        Some(Errno::MFILE | Errno::NFILE) => "; raise the limit on open files (ulimit -n)",
        Some(Errno::NOBUFS) => "; leave other groups, or raise net.ipv4.igmp_max_memberships",
        Some(Errno::AFNOSUPPORT) => {
            "; this kernel does not speak that protocol, use a group of the other family"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_to_do_about_them() {
        let of = |errno: Errno| Trouble::of(&io::Error::from(errno));
        assert_eq!(of(Errno::AGAIN), Trouble::WouldBlock);
        assert_eq!(of(Errno::MSGSIZE), Trouble::TooBig);
        assert_eq!(of(Errno::CONNREFUSED), Trouble::PeerGone);
        assert_eq!(of(Errno::PERM), Trouble::Transient);
        assert_eq!(of(Errno::NETUNREACH), Trouble::Transient);
        assert_eq!(of(Errno::BADF), Trouble::Fatal);
    }

    #[test]
    fn errors_that_an_icmp_message_or_an_address_can_cause_are_never_fatal() {
        for errno in [
            Errno::NETUNREACH,
            Errno::HOSTUNREACH,
            Errno::NOPROTOOPT,
            Errno::CONNREFUSED,
            Errno::MSGSIZE,
            Errno::OPNOTSUPP,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::PROTO,
            Errno::ACCESS,
        ] {
            let error = io::Error::from(errno);
            assert_ne!(Trouble::of(&error), Trouble::Fatal, "{errno}");
            assert_ne!(Trouble::of_receiving(&error), Trouble::Fatal, "{errno}");
        }
        let refused_address = io::Error::from(Errno::INVAL);
        assert_eq!(Trouble::of(&refused_address), Trouble::Transient);
        assert_eq!(Trouble::of_receiving(&refused_address), Trouble::Fatal);
    }
}
