//! A kernel that lacks something: refused by a filter of system calls, with the error that an old one has for it.

use std::io;
use std::process::{Child, Command};
use std::thread;

use nix::libc::{
    ENOPROTOOPT, SO_RCVBUF, SO_RCVBUFFORCE, SOL_SOCKET, SOL_UDP, SYS_setsockopt, UDP_GRO, UDP_SEGMENT,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

/// What sockets may not be able to do.
#[derive(Clone, Copy)]
pub(crate) enum Ability {
    /// GSO, since Linux 4.18.
    Segment,
    /// GRO, since Linux 5.0.
    Coalesce,
    /// A receive buffer of another size than net.core.rmem_default.
    ResizeBuffer,
}

impl Ability {
    /// Level and name of the socket options for it.
    const fn options(self) -> &'static [(i32, i32)] {
        match self {
            Self::Segment => &[(SOL_UDP, UDP_SEGMENT)],
            Self::Coalesce => &[(SOL_UDP, UDP_GRO)],
            Self::ResizeBuffer => &[(SOL_SOCKET, SO_RCVBUF), (SOL_SOCKET, SO_RCVBUFFORCE)],
        }
    }
}

/// The kernel as a program finds it; by default as it is.
#[derive(Default)]
pub(crate) struct Kernel(Option<BpfProgram>);

impl Kernel {
    pub(crate) fn without(abilities: &[Ability]) -> Self {
        let argument = |index, value: i32| {
            let value = u64::try_from(value).unwrap();
            SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap()
        };
        let refused = |(level, name): &(i32, i32)| {
            SeccompRule::new(vec![argument(1, *level), argument(2, *name)]).unwrap()
        };
        let options = abilities.iter().flat_map(|ability| ability.options());
        let rules = [(SYS_setsockopt, options.map(refused).collect())];
        let error = SeccompAction::Errno(u32::try_from(ENOPROTOOPT).unwrap());
        let architecture = std::env::consts::ARCH.try_into().unwrap();
        let filter =
            SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, error, architecture)
                .unwrap();
        Self(Some(filter.try_into().unwrap()))
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let Some(filter) = &self.0 else { return command.spawn() };
        // A filter holds for a thread and the processes that it starts, and for good.
        let spawn = || {
            apply_filter(filter).unwrap();
            command.spawn()
        };
        thread::scope(|scope| scope.spawn(spawn).join().unwrap())
    }
}
