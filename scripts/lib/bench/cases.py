"""What is measured: the cases, and the line each of them runs on."""

from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Lab:
    """A lab as scripts/lab makes it."""

    receivers: int
    offload: bool
    mtu: int = 1500
    rate_mbit: int | None = None
    loss_percent: int = 0
    # Mbit/s and queue of the switch's port to the first receiver, where it is slower than the sender's.
    port: tuple | None = None

    @property
    def line_mbit(self):
        """What the slowest link carries, or None where none is shaped."""
        return self.port[0] if self.port else self.rate_mbit

    def options(self):
        options = ["--hosts", str(self.receivers), "--mtu", str(self.mtu), "--offload", "on" if self.offload else "off"]
        if self.rate_mbit:
            options += ["--rate", f"{self.rate_mbit}mbit"]
        if self.port:
            options += ["--rate-at", f"1={self.port[0]}mbit", "--queue-at", f"1={self.port[1]}"]
        for host in range(1, self.receivers + 1):
            if self.loss_percent:
                options += ["--loss", f"{host}={self.loss_percent}%"]
        return options

    def payload_rate(self, symbol_bytes):
        """Bytes of payload a second that a full line carries in symbols of that size, or None where it is unshaped."""
        if not self.line_mbit:
            return None
        # A symbol fills an IP datagram as large as the MTU; the shaper counts that and the 14 bytes of Ethernet's header.
        return self.line_mbit * 1e6 / 8 * symbol_bytes / (self.mtu + 14)


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    lab: Lab
    size: int
    programs: tuple
    # What is measured: "goodput" in bytes a second, "life" and "tail" in seconds, "instructions" a byte.
    measure: str = "goodput"
    default: bool = True
    needs: tuple = ()
    # Name and lab of each variant; a case without has one lab.
    variants: tuple = ()
    # Sessions at the same time, each of `size` bytes and in a lab of its own.
    sessions: int = 1

    def labs(self):
        """The labs of this case by the name of the variant; programs run once in each."""
        return dict(self.variants) or {"": self.lab}


PIPES = ("mcast", "udpcast", "uftp", "mbuffer")
# A lab loses UDP datagrams only: TCP would look as if loss were nothing to it.
LOSSY = ("mcast", "udpcast", "uftp")
# mbuffer writes to a device itself; beside it mcast does the same.
UNSHAPED = ("mcast", "mcast-null", "udpcast", "uftp", "mbuffer", "mbuffer-null", "raw", "raw-pipe")
# Neighbours in a round are compared most fairly.
KEYED = ("mcast", "mcast-key")
# What a switch holds back for a port: little, and much.
PORTS = tuple((rate, queue) for rate in (100, 200) for queue in ("64k", "2m"))
GIGABIT = "3 receivers, 1 Gbit/s, offload off"

CASES = (
    Case("one", "1 receiver, unshaped, offload on", Lab(1, True), GIB, UNSHAPED),
    Case("three", "3 receivers, unshaped, offload on", Lab(3, True), GIB, KEYED + UNSHAPED[1:]),
    Case("gigabit", GIGABIT, Lab(3, False, rate_mbit=1000), 256 * MIB, KEYED + PIPES[1:]),
    Case("loss1", GIGABIT + ", 1 % loss at each", Lab(3, False, rate_mbit=1000, loss_percent=1), 256 * MIB, LOSSY),
    Case("loss5", GIGABIT + ", 5 % loss at each", Lab(3, False, rate_mbit=1000, loss_percent=5), 256 * MIB, LOSSY),
    Case("eight", "8 receivers, 300 Mbit/s, offload off", Lab(8, False, rate_mbit=300), 128 * MIB, PIPES),
    Case("jumbo", "3 receivers, unshaped, offload off, MTU 9000 and 1500", Lab(3, False), 256 * MIB,
         ("mcast",), variants=(("mtu9000", Lab(3, False, mtu=9000)), ("mtu1500", Lab(3, False)))),
    Case("tiny", "3 waiting receivers, the sender's whole life", Lab(3, True), KIB, PIPES, "life"),
    Case("tail", "3 receivers, last byte in the pipe to the sender's exit", Lab(3, True), 64 * MIB,
         ("mcast", "udpcast", "mbuffer"), "tail"),
    Case("instructions", "1 receiver, offload on, user-space instructions per byte", Lab(1, True), 128 * MIB,
         KEYED, "instructions", needs=("valgrind",)),
    Case("eight5", "8 receivers, 300 Mbit/s, offload off, 5 % loss at each",
         Lab(8, False, rate_mbit=300, loss_percent=5), 128 * MIB, LOSSY, default=False),
    Case("ports", "3 receivers, 1 Gbit/s, one behind a slower port (Mbit/s, its queue), offload off", Lab(3, False),
         64 * MIB, ("mcast",), default=False,
         variants=tuple((f"{rate}/{queue}", Lab(3, False, rate_mbit=1000, port=(rate, queue)))
                        for rate, queue in PORTS)),
    Case("busy", "8 sessions at a time, each as in ports behind 200 Mbit/s and 64 KiB, offload off",
         Lab(3, False, rate_mbit=1000, port=(200, "64k")), 80 * MIB, ("mcast-key",), default=False, sessions=8),
    Case("crowd", "32 receivers and 1, 100 Mbit/s, offload off", Lab(32, False, rate_mbit=100), 64 * MIB,
         ("mcast",), default=False,
         variants=tuple((str(receivers), Lab(receivers, False, rate_mbit=100)) for receivers in (32, 1))),
)


def least_transmissions(receivers, loss_percent, k):
    """The least possible transmissions per source symbol with independent loss and blocks of k source symbols:
    1 + 1/k · Σ_{m≥0} [1 − F(m)^N], F the negative binomial distribution function of the extra symbols that one
    receiver needs until k have arrived."""
    loss = loss_percent / 100
    extra, term, below = 0.0, (1 - loss) ** k, 0.0
    for m in range(100 * k):
        below = min(1.0, below + term)
        missing = 1 - below**receivers
        extra += missing
        if missing < 1e-12:
            break
        term *= loss * (k + m) / (m + 1)
    return 1 + extra / k
