"""What the project wants of itself, held against the medians of one run."""

from dataclasses import dataclass
from typing import Callable

from cases import PORTS
from summary import DROPS_AT_MOST

# How a unit is written: by what a figure is multiplied, and digits behind the point.
UNITS = {"×": (1, 2), "%": (100, 1), "MB/s": (1e-6, 1), "ms": (1000, 1), "MiB": (1, 1), "s": (1, 2), "": (1, 2)}


@dataclass(frozen=True)
class Target:
    case: str
    what: str
    unit: str
    # (figures) -> number or None; figures are the entries of summary.py by (case, program, variant), of one build.
    measure: Callable
    # One of them, or none where a figure is only to be told.
    least: float | None = None
    most: float | None = None

    def against(self, figures, builds):
        """The last of the builds is judged; `builds` of what it returns has the values of all."""
        values = {build: self.measure(figures[build]) for build in builds}
        value = values[builds[-1]]
        met = None
        if value is not None and (self.least is not None or self.most is not None):
            met = value >= self.least if self.least is not None else value <= self.most
        return {"case": self.case, "what": self.what, "unit": self.unit, "value": value, "least": self.least,
                "most": self.most, "met": met, "builds": values}


def held_against(cases, builds):
    """A dictionary for each target whose case was measured, and one for what holds in all cases."""
    figures = {build: {(case["case"], one["program"], one["variant"]): one for case in cases for one in case["programs"]
                       if one["build"] in (build, "")} for build in builds}
    measured = {case["case"] for case in cases}
    held = [target.against(figures, builds) for target in TARGETS if target.case in measured | {"all"}]
    # A comparison of builds needs two of them.
    return [one for one in held if one["value"] is not None or not (one["case"] == "all" or BESIDE in one["what"])]


def rows(targets, builds):
    """The same for people: a head, and a line for each."""
    yield ["", "", *(builds if len(builds) > 1 else ["reached"]), "wanted", ""]
    for one in targets:
        sign, bound = ("≥", one["least"]) if one["least"] is not None else ("≤", one["most"])
        verdict = {True: "met", False: "missed", None: ""}[one["met"]]
        yield [one["case"], one["what"], *(written(one["unit"], value) for value in one["builds"].values()),
               "told" if bound is None else f"{sign} {written(one['unit'], bound)}", verdict]


def written(unit, value):
    if value is None:
        return "–"
    factor, digits = UNITS[unit]
    if unit == "%" and value < 0.1:
        digits += 1
    return f"{value * factor:,.{digits}f} {unit}".rstrip()


# --- what is measured

def of(case, program, key="median", variant=""):
    return lambda figures: figures.get((case, program, variant), {}).get(key)


def times(over, under):
    """How many times the second figure the first one is."""
    def measure(figures):
        one, other = over(figures), under(figures)
        return round(one / other, 4) if one and other else None
    return measure


def lost(case, program, span, which="worst", variant=""):
    return lambda figures: (of(case, program, f"dropped_{span}", variant)(figures) or {}).get(which)


def instructions(side):
    return lambda figures: (of("instructions", "mcast", "instructions_per_byte")(figures) or {}).get(side)


def highest_peak(figures):
    peaks = [one.get(f"{side}_peak_mib") for (_, program, _), one in figures.items() if program.startswith("mcast")
             for side in ("sender", "receiver")]
    return max(filter(None, peaks), default=None)


def beside_peers(case, mbuffer, udpcast, raw):
    """What is wanted on a line without a limit. mbuffer and raw multicast write to no pipe, so mcast does not either."""
    return (
        Target(case, "mcast >/dev/null ÷ mbuffer -o /dev/null", "×",
               times(of(case, "mcast-null"), of(case, "mbuffer-null")), least=mbuffer),
        Target(case, "mcast ÷ udpcast", "×", times(of(case, "mcast"), of(case, "udpcast")), least=udpcast),
        Target(case, "mcast >/dev/null, share of raw GSO multicast", "%", of(case, "mcast-null", "share_of_raw"), least=raw),
        Target(case, "mcast >/dev/null, share of raw GSO multicast that reads a pipe", "%",
               of(case, "mcast-null", "share_of_raw_pipe")),
        Target(case, "mcast, share of raw GSO multicast", "%", of(case, "mcast", "share_of_raw")),
        Target(case, "mcast, CPU seconds per GiB, sender", "s", of(case, "mcast", "sender_cpu_s_per_gib")),
        Target(case, "mcast, CPU seconds per GiB, receiver", "s", of(case, "mcast", "receiver_cpu_s_per_gib")),
    )


# Marks a target that compares a build with the first one.
BESIDE = "beside the first build"

TARGETS = (
    *beside_peers("one", mbuffer=0.9, udpcast=10, raw=0.35),
    *beside_peers("three", mbuffer=1.1, udpcast=14, raw=0.3),
    Target("three", "mcast with a key ÷ without", "%", of("three", "mcast-key", "share_of_plain"), least=0.6),
    Target("gigabit", "mcast", "MB/s", of("gigabit", "mcast"), least=116e6),
    Target("gigabit", "mcast, share of the line's payload rate", "%",
           times(of("gigabit", "mcast"), of("gigabit", "mcast", "line_payload_rate"))),
    Target("gigabit", "mcast with a key ÷ without", "%", of("gigabit", "mcast-key", "share_of_plain"), least=0.99),
    Target("eight", "mcast, share of the line's payload rate", "%",
           times(of("eight", "mcast"), of("eight", "mcast", "line_payload_rate")), least=0.98),
    Target("jumbo", "mcast, MTU 9000 ÷ MTU 1500", "×",
           times(of("jumbo", "mcast", variant="mtu9000"), of("jumbo", "mcast", variant="mtu1500")), least=3),
    *(Target("ports", f"mcast behind {rate} Mbit/s and a queue of {queue}, share of the payload rate", "%",
             times(of("ports", "mcast", variant=f"{rate}/{queue}"),
                   of("ports", "mcast", "line_payload_rate", f"{rate}/{queue}")), least=0.94) for rate, queue in PORTS),
    *(Target("ports", f"mcast behind {rate} Mbit/s and a queue of {queue}, dropped, mean", "%",
             lost("ports", "mcast", "all", "mean", f"{rate}/{queue}")) for rate, queue in PORTS),
    *(Target("ports", f"mcast behind {rate} Mbit/s and a queue of {queue}, dropped in the first second at worst", "%",
             lost("ports", "mcast", "first_second", variant=f"{rate}/{queue}"), most=0.005)
      for rate, queue in PORTS if queue == "2m"),
    Target("busy", "mcast with a key, dropped in the worst session", "%", lost("busy", "mcast-key", "all"),
           most=DROPS_AT_MOST),
    Target("busy", "mcast with a key, dropped after the first second in the worst session", "%",
           lost("busy", "mcast-key", "later"), most=DROPS_AT_MOST),
    Target("busy", "mcast with a key, dropped, mean of all sessions", "%", lost("busy", "mcast-key", "all", "mean")),
    Target("busy", "mcast with a key, goodput of all sessions together", "MB/s", of("busy", "mcast-key")),
    Target("busy", f"mcast with a key, goodput of all sessions together, {BESIDE}", "×",
           of("busy", "mcast-key", "median_beside_first_build"), least=1.2),
    Target("busy", f"mcast with a key, mean goodput of a session, {BESIDE}", "×",
           of("busy", "mcast-key", "session_goodput_beside_first_build")),
    Target("crowd", "mcast, 32 receivers ÷ 1", "%",
           times(of("crowd", "mcast", variant="32"), of("crowd", "mcast", variant="1")), least=0.97),
    Target("tiny", "mcast-send, whole life", "ms", of("tiny", "mcast"), most=0.025),
    Target("tail", "mcast, last byte in the pipe to the sender's exit", "ms", of("tail", "mcast"), most=0.025),
    Target("instructions", "mcast, user-space instructions per byte, sender", "", instructions("sender")),
    Target("instructions", "mcast, user-space instructions per byte, receiver", "", instructions("receiver")),
    Target("all", "mcast, highest peak memory of any process", "MiB", highest_peak, most=64),
)
