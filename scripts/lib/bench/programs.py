"""How each program is started, with the options a person would choose for the job."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable


@dataclass(frozen=True)
class Setting:
    """What a command line may depend on."""

    bin: str  # the directory with the programs of mcast
    receivers: int
    rate_mbit: int | None
    mtu: int
    source: str  # the payload, for a program that takes files
    directory: str  # of this run, for reports and received files
    marker: str  # a script that leaves a mark beside a received file
    names: str  # a file like /etc/hosts with the hosts of the lab
    key: str  # a key file of mcast
    size: int  # bytes of the payload


@dataclass(frozen=True)
class Program:
    name: str
    label: str
    color: str
    sender: Callable  # (setting) -> argv
    receiver: Callable  # (setting, host) -> argv
    # A receiver is ready when this port shows in that table of its host's /proc/net.
    table: str
    port: int
    # Where a receiver's stream goes: "pipe" (its stdout), "null" (/dev/null), "file" (a file that it makes), "count" (no
    # stream: it reports how many bytes arrived, and how fast).
    output: str = "pipe"
    # Whether the payload comes through a pipe; else the sender takes the file, or makes up its bytes.
    fed: bool = True
    needs: tuple = ()

    def installed(self):
        return all(shutil.which(command) for command in self.needs)

    @property
    def ours(self):
        """Whether it is mcast, of which there may be several builds."""
        return self.name.startswith("mcast")


def address(host):
    """Host H of a lab is 10.77.0.(H+1)."""
    return f"10.77.0.{host + 1}"


def mcast_send(setting, trust=("--no-key",)):
    # Not quiet: its log tells how long its coding blocks are.
    return [f"{setting.bin}/mcast-send", "-n", str(setting.receivers), "--start-timeout", "60s", "--progress", "never",
            "--report", f"{setting.directory}/sender.json", *trust]


def mcast_recv(setting, host, trust=("--no-key",)):
    return [f"{setting.bin}/mcast-recv", "-q", "--name", f"host{host}", "--start-timeout", "60s",
            "--report", f"{setting.directory}/host{host}.json", *trust]


def mcast_send_key(setting):
    return mcast_send(setting, ("-k", setting.key))


def mcast_recv_key(setting, host):
    return mcast_recv(setting, host, ("-k", setting.key))


def make_key(directory, path):
    """The argv that makes a key file at that path with the programs in that directory."""
    return [f"{directory}/mcast", "keygen", path]


def udp_sender(setting):
    # Its greeting is sent once unless told otherwise, and may get lost.
    return ["udp-sender", "--full-duplex", "--nokbd", "--no-progress", "--interface", "eth0", "--ttl", "1",
            "--min-receivers", str(setting.receivers), "--start-timeout", "60", "--rexmit-hello-interval", "200"]


def udp_receiver(_setting, _host):
    return ["udp-receiver", "--nokbd", "--no-progress", "--nosync", "--interface", "eth0", "--ttl", "1",
            "--start-timeout", "60", "--receive-timeout", "30"]


def with_names(setting, argv):
    """UFTP asks for the names of its peers and waits for the answer; in a lab there is no name server."""
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', setting.names, *argv]


def uftp(setting):
    # As fast as the interface takes it where that is a known speed, or where it is not known.
    rate = str(setting.rate_mbit * 1000) if setting.rate_mbit else "-1"
    hosts = ",".join(f"0x0A4D00{host + 1:02X}" for host in range(1, setting.receivers + 1))
    return with_names(setting, ["uftp", "-R", rate, "-I", "eth0", "-b", str(setting.mtu - 100), "-H", hosts,
                                "-r", "0.05:0.01:1", "-x", "1", setting.source])


def uftpd(setting, host):
    return with_names(setting, ["uftpd", "-d", "-x", "1", "-I", "eth0", "-U", f"0x0A4D00{host + 1:02X}", "-t",
                                "-D", f"{setting.directory}/host{host}", "-s", setting.marker])


def mbuffer_send(setting):
    return ["mbuffer", "-q"] + [word for host in range(1, setting.receivers + 1)
                                for word in ("-O", f"{address(host)}:7777")]


def mbuffer_recv(_setting, _host):
    return ["mbuffer", "-q", "-I", "7777"]


def mbuffer_recv_null(_setting, _host):
    return ["mbuffer", "-q", "-f", "-I", "7777", "-o", "/dev/null"]


RAW = [sys.executable, "-B", "-I", str(Path(__file__).with_name("raw.py"))]


def raw_send(setting):
    # IPv4 takes 20 bytes of each packet, UDP 8.
    return [*RAW, "send", str(setting.size), str(setting.mtu - 28)]


def raw_pass(setting):
    return [*RAW, "pass", str(setting.mtu - 28)]


def raw_receive(setting, host):
    return [*RAW, "receive", f"{setting.directory}/host{host}.json"]


PROGRAMS = {program.name: program for program in (
    Program("mcast", "mcast", "#0b6e4f", mcast_send, mcast_recv, "udp", 7767),
    Program("mcast-null", "mcast >/dev/null", "#3fa37d", mcast_send, mcast_recv, "udp", 7767, "null"),
    Program("mcast-key", "mcast -k KEY", "#2b7a8c", mcast_send_key, mcast_recv_key, "udp", 7767),
    Program("udpcast", "udpcast", "#c8553d", udp_sender, udp_receiver, "udp", 9000, needs=("udp-sender", "udp-receiver")),
    Program("uftp", "UFTP (files)", "#d9a441", uftp, uftpd, "udp", 1044, "file", fed=False, needs=("uftp", "uftpd")),
    Program("mbuffer", "mbuffer (TCP)", "#5b7db1", mbuffer_send, mbuffer_recv, "tcp", 7777, needs=("mbuffer",)),
    Program("mbuffer-null", "mbuffer -o /dev/null", "#8fa9d0", mbuffer_send, mbuffer_recv_null, "tcp", 7777, "null",
            needs=("mbuffer",)),
    Program("raw", "raw GSO multicast", "#9aa5b1", raw_send, raw_receive, "udp", 7799, "count", fed=False),
    Program("raw-pipe", "raw, from a pipe", "#c3cad2", raw_pass, raw_receive, "udp", 7799, "count"),
)}
