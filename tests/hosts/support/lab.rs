//! A LAN made by `scripts/lab`, gone when dropped.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::program::Launch;

/// Hosts 0 (the sender's, by convention) to N on one LAN.
pub(crate) struct Lab {
    name: String,
    hosts: Vec<Host>,
}

impl Lab {
    /// A LAN without impairments and N receivers.
    pub(crate) fn up(receivers: usize) -> Self {
        Self::with(receivers, &[])
    }

    /// A LAN with N receivers and these options of `scripts/lab up`.
    pub(crate) fn with(receivers: usize, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        require_root();
        SWEEP.call_once(remove_labs_of_ended_runs);
        let name = format!("test.{}.{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let hosts = (0..=receivers).map(|number| Host { lab: name.clone(), number }).collect();
        let lab = Self { name, hosts };
        lab.script("up", &[&["--hosts", &receivers.to_string()], options].concat());
        lab
    }

    pub(crate) fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Host 0, where the sender runs.
    pub(crate) fn sender(&self) -> &Host {
        self.host(0)
    }

    /// What the switch's port to this host, which has a speed of its own, has done so far.
    pub(crate) fn port(&self, host: usize) -> Port {
        let output = Command::new("nsenter")
            .arg(format!("--net=/run/netns/lab-{}-lan", self.name))
            .args(["tc", "-s", "-j", "qdisc", "show", "dev", &format!("p{host}")])
            .output()
            .unwrap();
        let queues: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let count = |field: &str| queues[0][field].as_u64().unwrap();
        Port { carried: count("packets"), dropped: count("drops") }
    }

    /// Runs a command of `scripts/lab` on this LAN: `lab.script("cut", &["2"])`.
    pub(crate) fn script(&self, command: &str, arguments: &[&str]) {
        let output =
            Command::new(script_path()).arg(command).arg(&self.name).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "scripts/lab {command} {} {arguments:?}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        down(&self.name);
    }
}

/// Frames that a port has carried, and those for which its queue had no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) carried: u64,
    pub(crate) dropped: u64,
}

/// One host of a lab.
pub(crate) struct Host {
    lab: String,
    number: usize,
}

impl Host {
    pub(crate) fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(self.number + 1).unwrap())
    }

    /// A command that runs on this host, blind to the environment of the tests; its process is the program itself, so that signals reach it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = crate::blind::command("nsenter");
        command.arg(format!("--net={}", self.namespace().display())).arg("--").arg(program);
        command
    }

    /// Brings its interface down, or up again, with the default route that goes with it.
    pub(crate) fn set_link(&self, state: &str) {
        let ip = |arguments: &str| {
            let status = self.command("ip").args(arguments.split(' ')).status().unwrap();
            assert!(status.success(), "ip {arguments}");
        };
        ip(&format!("link set eth0 {state}"));
        if state == "up" {
            ip("route replace default dev eth0");
        }
    }

    /// Sockets of this host that are members of the default group, as its kernel counts them.
    pub(crate) fn memberships(&self) -> u64 {
        let output = self.command("cat").arg("/proc/net/igmp").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // 239.255.77.67, the last byte first.
        let users =
            text.lines().filter_map(|line| line.trim().strip_prefix("434DFFEF")?.split_whitespace().next());
        users.map(|users| users.parse::<u64>().unwrap()).sum()
    }

    /// IPv4 UDP sockets of this host.
    pub(crate) fn udp_sockets(&self) -> usize {
        let output = self.command("cat").arg("/proc/net/udp").output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().skip(1).count()
    }

    /// Frames that this host has sent so far.
    pub(crate) fn frames_sent(&self) -> u64 {
        let output = self.command("cat").arg("/proc/net/dev").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let eth0 = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        eth0.split_whitespace().nth(9).and_then(|packets| packets.parse().ok()).unwrap()
    }

    /// `mcast-send`, to be started on this host.
    pub(crate) fn send(&self) -> Launch {
        self.send_by(&[])
    }

    /// The same by way of a program that becomes it: `taskset -c 0`.
    pub(crate) fn send_by(&self, way: &[&str]) -> Launch {
        let command = self.command_by(way, env!("CARGO_BIN_EXE_mcast-send"));
        Launch::new(command, &format!("sender on host {}", self.number)).arg("-v")
    }

    /// `mcast-recv --name NAME`, to be started on this host.
    pub(crate) fn recv(&self, name: &str) -> Launch {
        self.recv_by(&[], name)
    }

    /// The same by way of a program that becomes it.
    pub(crate) fn recv_by(&self, way: &[&str], name: &str) -> Launch {
        let command = self.command_by(way, env!("CARGO_BIN_EXE_mcast-recv"));
        Launch::new(command, &format!("receiver {name}")).args(&["-v", "--name", name])
    }

    fn command_by(&self, way: &[&str], program: &str) -> Command {
        let Some((first, rest)) = way.split_first() else { return self.command(program) };
        let mut command = self.command(first);
        command.args(rest).arg(program);
        command
    }

    /// `WRAPPER… mcast-recv --name NAME`, to be started on this host.
    pub(crate) fn recv_under(&self, wrapper: &[&str], name: &str) -> Launch {
        let mut command = self.command(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_mcast-recv"));
        Launch::new(command, &format!("receiver {name}")).args(&["-v", "--name", name])
    }

    /// A socket of this host, in the hands of the test.
    pub(crate) fn socket(&self, bind: SocketAddr) -> UdpSocket {
        self.here(move || UdpSocket::bind(bind).unwrap())
    }

    /// What `make` makes on this host. Only a thread moves there; sockets that it makes stay.
    pub(crate) fn here<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(self.namespace()).unwrap();
        let make = move || {
            let network = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).unwrap();
            make()
        };
        std::thread::scope(|scope| scope.spawn(make).join().unwrap())
    }

    fn namespace(&self) -> PathBuf {
        format!("/run/netns/lab-{}-{}", self.lab, self.number).into()
    }
}

fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make network namespaces and need root, or a namespace of their own: run scripts/test, \
         or: scripts/lab enter cargo test --test hosts"
    );
}

/// A run that was killed could not take its labs down; the next one does.
fn remove_labs_of_ended_runs() {
    let output = Command::new(script_path()).arg("list").output().unwrap();
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        let owner = name.strip_prefix("test.").and_then(|rest| rest.split('.').next());
        if let Some(owner) = owner
            && !std::path::Path::new("/proc").join(owner).exists()
        {
            down(name);
        }
    }
}

fn down(name: &str) {
    let removed = Command::new(script_path()).args(["down", name]).output();
    if !removed.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("scripts/lab down {name}: {removed:?}");
    }
}

/// Where `scripts/lab` is.
pub(crate) fn script_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/lab")
}
