"""Options, labs and rounds of scripts/bench, which says what all of this is for."""

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import instructions
import picture
import sessions
import summary
import table
import targets
from cases import CASES, MIB
from programs import PROGRAMS, Setting, address, make_key
from trial import Failed, Trial

LAB = str(Path(__file__).resolve().parents[2] / "lab")


def main():
    options = parse(sys.argv[1:])
    if options.check:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    facts = machine()
    if facts["load_at_start"] > 0.5:
        tell(f"bench: this machine is busy with something else (load {facts['load_at_start']}): the figures will not be"
             " worth quoting")
    bench = Bench(options)
    try:
        bench.run()
    finally:
        bench.close()
    results = summary.summarise(bench.cases, bench.runs, facts, list(options.builds))
    results["targets"] = targets.held_against(results["cases"], list(options.builds))
    if options.json:
        summary.write_json(options.json, results, bench.runs)
    if options.svg:
        picture.write_svg(options.svg, results)
    print(table.table(results))


class Bench:
    def __init__(self, options):
        self.options, self.builds = options, options.builds
        self.cases = [case for case in CASES if case.name in options.cases and all(map(shutil.which, case.needs))]
        self.deadline = time.monotonic() + options.limit * 60
        self.runs = []
        self.opened = ExitStack()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = self.opened.enter_context(tempfile.TemporaryDirectory(prefix="mcast-bench.", dir=memory))
        # Scripts may be forbidden under /dev/shm.
        scripts = self.opened.enter_context(tempfile.TemporaryDirectory(prefix="mcast-bench."))
        self.marker = Path(scripts) / "received"
        # uftpd calls it with -I SESSION FILE.
        self.marker.write_text('#!/bin/sh\n: >"$3.done"\n')
        self.marker.chmod(0o755)
        self.names = Path(scripts) / "hosts"
        self.names.write_text("127.0.0.1 localhost\n" + "".join(f"{address(host)} host{host}\n" for host in range(201)))
        self.payloads = {}
        self.key = str(Path(scripts) / "key")
        keygen = make_key(next(iter(self.builds.values())), self.key)
        subprocess.run(keygen, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        self.opened.close()

    def run(self):
        # Quick cases first, so that what they do not need of their share is left to the long ones.
        order = sorted(self.cases, key=lambda case: (case.measure == "goodput", case.name != "jumbo", CASES.index(case)))
        for index, case in enumerate(order):
            left = self.deadline - time.monotonic()
            Measurement(self, case, time.monotonic() + left / (len(order) - index)).run()

    def payload(self, size):
        """A file of so many random bytes."""
        if size not in self.payloads:
            path = Path(self.directory) / f"payload-{size}"
            free = os.statvfs(self.directory)
            if free.f_bavail * free.f_frsize < size:
                sys.exit(f"bench: no room for {size} bytes in {self.directory}; give a smaller --size")
            with open(path, "wb") as file:
                for start in range(0, size, MIB):
                    file.write(os.urandom(min(MIB, size - start)))
            self.payloads[size] = path
        return self.payloads[size]

    def size_of(self, case):
        if case.measure == "life":
            return case.size
        if case.measure == "instructions":
            return case.size // (4 if self.options.quick else 1)
        size = self.options.size or case.size // (8 if self.options.quick else 1)
        return min(size, case.size) if case.measure == "tail" else size


class Measurement:
    """One case: its labs, and every program in turn, round after round. Builds of a program are neighbours in a round."""

    def __init__(self, bench, case, deadline):
        self.bench, self.case, self.deadline = bench, case, deadline
        self.contenders = [(PROGRAMS[name], variant, build) for name in case.programs for variant in case.labs()
                           for build in (bench.builds if PROGRAMS[name].ours else [""])
                           if name in bench.options.programs and PROGRAMS[name].installed()]
        self.took, self.hung = {}, {}

    def run(self):
        if not self.contenders:
            return
        size = self.bench.size_of(self.case)
        self.bench.payload(size)
        labs = {}
        with ExitStack() as up:
            for number, (variant, lab) in enumerate(self.case.labs().items()):
                labs[variant] = [f"bench{os.getpid()}.{number}.{session}" for session in range(self.case.sessions)]
                for name in labs[variant]:
                    up.callback(subprocess.run, [LAB, "down", name], check=False)
                    subprocess.run([LAB, "up", name, *lab.options()], check=True)
            rounds = self.bench.options.rounds
            if self.case.measure == "instructions":
                rounds = min(rounds, instructions.ROUNDS)
            for number in range(rounds + 1):
                for contender in self.contenders:
                    self.turn(number, rounds, contender, labs[contender[1]], size)

    def turn(self, number, rounds, contender, lab_names, size):
        program, variant, build = contender
        verify = number == 0
        if verify and (program.output in ("null", "count") or self.case.measure == "instructions"):
            return  # The same program is verified with a pipe; and raw multicast promises nothing.
        if not self.may_run(number, rounds, contender):
            return
        size = max(size // 4, min(size, MIB)) if verify else size
        line = {"case": self.case.name, "program": program.name, "variant": variant, "build": build, "round": number}
        started = time.monotonic()
        try:
            line |= self.transfer(contender, lab_names, size, verify)
        except Failed as failure:
            line |= {"payload_bytes": size * self.case.sessions, "outcome": "failed", "note": str(failure)}
        took = time.monotonic() - started
        self.took[contender] = max(took, self.took.get(contender, 0) if not verify else took * 2)
        self.hung[contender] = self.hung.get(contender, 0) + (line["outcome"] == "cut off")
        self.bench.runs.append(line)
        name = " ".join(filter(None, (program.name, variant, build)))
        label = "verification" if verify else f"round {number}/{rounds}"
        tell(f"  {self.case.name:8} {label:12} {name:16} {table.figure(self.case, line):>14}  {line['outcome']}"
             f"{'  ' + line['note'] if line['note'] else ''}{table.port_remark(line)}")

    def transfer(self, contender, lab_names, size, verify):
        program, variant, build = contender
        lab, measure = self.case.labs()[variant], self.case.measure

        def trial(lab_name, size, seconds):
            setting = Setting(bin=self.bench.builds.get(build, ""), receivers=lab.receivers, rate_mbit=lab.rate_mbit,
                              mtu=lab.mtu, source=str(self.bench.payload(size)),
                              directory=f"{self.bench.directory}/{lab_name}", marker=str(self.bench.marker),
                              names=str(self.bench.names), key=self.bench.key, size=size)
            return Trial(program, lab_name, LAB, setting, seconds or limit(lab, size, len(lab_names)), verify=verify,
                         measure=measure, port=lab.port is not None)

        def once(size, seconds=None):
            trials = [trial(name, size, seconds) for name in lab_names]
            return sessions.side_by_side(trials) if self.case.sessions > 1 else trials[0].run()

        if measure == "instructions":
            return instructions.per_byte(lambda size: once(size, instructions.LIMIT), size)
        return once(size)

    def may_run(self, number, rounds, contender):
        """A program that hung twice is not tried again; and in short time peers give up rounds to mcast."""
        if self.hung.get(contender, 0) >= 2:
            return False
        if number <= 1:
            return time.monotonic() < self.deadline + 30
        own = sum(took for (program, *_), took in self.took.items() if program.ours)
        kept = 0 if contender[0].ours else own * (rounds - number + 1)
        return time.monotonic() + self.took.get(contender, 0) + kept < self.deadline


def limit(lab, size, count):
    """Seconds after which a run is ended: half as much again as TCP to each takes on this line, and some to start.
    `count` sessions of this size run at a time."""
    # On an unshaped line 30 MB/s is the slowest that is worth waiting for, and for several sessions together.
    rate = lab.line_mbit * 1e6 / 8 / max(lab.receivers, 2) if lab.line_mbit else 30e6
    if count > 1:
        rate = min(rate, 30e6 / count)
    return 12 + 1.5 * size / rate


# --- options

class Parser(argparse.ArgumentParser):
    def error(self, message):
        tell(f"bench: {message}; see scripts/bench --help")
        sys.exit(2)


def parse(arguments):
    parser = Parser(prog="bench", add_help=False, allow_abbrev=False)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--rounds", type=at_least_one)
    parser.add_argument("--size", type=size)
    parser.add_argument("--programs", type=lambda text: text.split(","), default=list(PROGRAMS))
    parser.add_argument("--builds", type=builds, default={"": os.environ.get("MCAST_BIN", "")})
    parser.add_argument("--limit", type=minutes)
    parser.add_argument("--json")
    parser.add_argument("--svg")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    known = [case.name for case in CASES]
    for name in options.cases:
        if name not in known:
            parser.error(f"no case '{name}'; there are {', '.join(known)}")
    for name in options.programs:
        if name not in PROGRAMS:
            parser.error(f"--programs: no program '{name}'; there are {', '.join(PROGRAMS)}")
    for path in filter(None, (options.json, options.svg)):
        if not Path(path).absolute().parent.is_dir():
            parser.error(f"'{path}': its directory does not exist")
    usual = 2 if options.quick else 5
    options.cases = options.cases or [case.name for case in CASES if case.default]
    options.limit = options.limit or (2.7 if options.quick else 14) * max(1, (options.rounds or usual) / usual)
    options.rounds = options.rounds or usual
    return options


def at_least_one(text):
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text):
        raise argparse.ArgumentTypeError(f"'{text}': give a number from 1 to 999")
    return int(text)


def builds(text):
    """Directories of programs by the name of the build, in the order in which they take turns."""
    found = {}
    for item in text.split(","):
        name, _, directory = item.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,16}", name) or not directory or name in found:
            raise argparse.ArgumentTypeError(f"'{item}': give NAME=DIRECTORY, each name once")
        for program in ("mcast", "mcast-send", "mcast-recv"):
            if not os.access(f"{directory}/{program}", os.X_OK):
                raise argparse.ArgumentTypeError(f"there is no {program} in '{directory}'")
        found[name] = str(Path(directory).absolute())
    return found


def minutes(text):
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}': give minutes, for example 10")
    return float(text)


def size(text):
    found = re.fullmatch(r"([1-9][0-9]{0,9})([KMG]?)", text)
    value = int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]] if found else 0
    if not 4 * MIB <= value <= 1 << 40:
        raise argparse.ArgumentTypeError(f"'{text}': give a size from 4M, such as 64M or 1G")
    return value


# --- this machine

def machine():
    facts = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", facts, re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_at_start": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def tell(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"bench: {error}")
