"""One run: receivers that wait, one sender, clocks at both ends, and what came out."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from threading import BrokenBarrierError

from instructions import PATIENCE
from ports import Port
from weigh import Callgrind, GnuTime

# Host 0 has sent so much: greetings are over, data flows. Small beside any payload that is timed by it.
START_OF_DATA = 64 << 10
# Seconds in which receivers must be ready, and in which the others must end once the sender or all receivers have.
READY, GRACE = 15, 8


class Failed(Exception):
    """A run that could not be measured, with the reason."""


class HeldBack(Failed):
    """The session was ready, and another one that was to start with it was not."""


class Process:
    """A program that this bench started, in a process group of its own."""

    def __init__(self, name, argv, log, scales=None, measured=None, **streams):
        self.name, self.log, self.scales, self.measured = name, log, scales, measured
        with open(log, "wb") as errors:
            self.popen = subprocess.Popen(argv, stderr=errors, start_new_session=True,
                                          env={**os.environ, "LC_ALL": "C"}, **streams)
        self.pid = self.popen.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.ended = self.code = None

    def has_ended(self):
        """Called when its pidfd is readable: keeps the time and the exit code as a shell would give it."""
        self.ended = time.monotonic_ns()
        code = self.popen.wait()
        self.code = code if code >= 0 else 128 - code

    def stop(self, *signals):
        """Ends it, each signal with two seconds to obey; KILL is the last."""
        for number in (*signals, signal.SIGKILL):
            if self.ended:
                return
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            if select.select([self.pidfd], [], [], 2)[0]:
                self.has_ended()

    def close(self):
        self.stop(signal.SIGTERM)
        os.close(self.pidfd)

    def usage(self):
        """What it took, as far as that was measured."""
        try:
            return self.scales.read(self.measured) if self.scales else {}
        except (OSError, ValueError):
            return {}

    def said(self):
        """Its last line on stderr."""
        lines = Path(self.log).read_text(errors="replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


class Trial:
    """One transfer with `program` in the lab of that name, ended after `limit` seconds; `measure` as in Case.
    With `verify` the output is compared with the source rather than counted; with `port` the frames are counted that
    the switch's port to the first receiver carries and drops."""

    def __init__(self, program, lab, lab_script, setting, limit, *, verify, measure, port=False):
        self.program, self.lab, self.lab_script, self.setting = program, lab, lab_script, setting
        self.payload, self.verify, self.measure, self.port = Path(setting.source), verify, measure, port
        self.size = self.payload.stat().st_size
        self.directory, self.started = Path(setting.directory), None
        self.deadline = time.monotonic() + limit
        # The barrier at which this session waits for those that are to start with it, None for a single session.
        self.barrier = None
        # Nanoseconds: data began to flow, a second later, and the end of the last receiver.
        self.data = self.second = self.end = None
        self.before = self.after_a_second = None
        # GNU time costs a millisecond, which counts where milliseconds are measured.
        self.scales = {"goodput": GnuTime, "instructions": Callgrind}.get(measure)
        self.receivers, self.takers, self.marked = [], [], {}
        self.feeder = self.sender = None

    def run(self):
        """Returns a dictionary, or raises Failed."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            with ExitStack() as self.started:
                return self.transfer()
        except BaseException:
            if self.barrier:
                self.barrier.abort()
            raise
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def transfer(self):
        for host in range(1, self.setting.receivers + 1):
            self.start_receiver(host)
        self.until(READY, self.receivers_are_ready, "the receivers do not get ready")
        self.before = Port.of(self.lab) if self.port else None
        launch = self.start_sender()
        self.data = self.wait_for_data()
        self.second = self.data + 1_000_000_000 if self.data and self.port else None
        cut_off = self.wait_for_the_end()
        for process in self.receivers if self.program.output == "file" else ():
            # INT, which GNU time lets pass by: it outlives its daemon and tells what it took.
            process.stop(signal.SIGINT)
        return self.result(launch, cut_off)

    def give_up(self):
        """Called from another thread: the transfer ends soon."""
        self.deadline = 0
        self.barrier.abort()

    # --- start

    def start(self, name, argv, host=None, scales=None, gate=None, **streams):
        measured = str(self.directory / f"{name}.usage")
        if scales is Callgrind:
            argv = [*argv, *PATIENCE]
        if scales:
            argv = scales.around(argv, measured)
        if gate:
            argv = ["sh", "-c", 'read -r go <"$0" && exec "$@"', str(gate), *argv]
        if host is not None:
            argv = [self.lab_script, "exec", self.lab, str(host), *argv]
        process = Process(name, argv, str(self.directory / f"{name}.log"), scales, measured, **streams)
        self.started.callback(process.close)
        return process

    def start_receiver(self, host):
        name, argv = f"host{host}", self.program.receiver(self.setting, host)
        taker_end = None
        if self.program.output == "pipe":
            taker_end, output = os.pipe()
        else:
            # One way, as `>/dev/null` opens it.
            output = os.open(os.devnull, os.O_WRONLY)
            (self.directory / name).mkdir()
        self.receivers.append(self.start(name, argv, host, self.scales, stdin=subprocess.DEVNULL, stdout=output))
        os.close(output)
        if taker_end is not None:
            taker = ["cmp", "-", str(self.payload)] if self.verify else ["dd", "of=/dev/null", "bs=256k"]
            with open(self.directory / f"{name}.cmp", "wb") as found:
                self.takers.append(self.start(f"{name}-taker", taker, stdin=taker_end, stdout=found))
            os.close(taker_end)

    def receivers_are_ready(self):
        for process in self.receivers:
            if select.select([process.pidfd], [], [], 0)[0]:
                process.has_ended()
                raise Failed(f"{process.name} ended at once with exit code {process.code}: {process.said()}")
        return all(listens(process.pid, self.program.table, self.program.port) for process in self.receivers)

    def start_sender(self):
        """Everything is set up behind a gate; returns the time at which it was opened."""
        gate = self.directory / "gate"
        os.mkfifo(gate)
        source = subprocess.DEVNULL
        if self.program.fed:
            source, feeding = os.pipe()
            self.feeder = self.start("feeder", ["cat", str(self.payload)], stdin=subprocess.DEVNULL, stdout=feeding)
            os.close(feeding)
        self.sender = self.start("sender", self.program.sender(self.setting), 0, self.scales, gate,
                                 stdin=source, stdout=subprocess.DEVNULL)
        if source != subprocess.DEVNULL:
            os.close(source)
        opened = self.until(READY, lambda: open_for_writing(gate), "the sender does not start")
        self.wait_for_the_others()
        launch = time.monotonic_ns()
        os.write(opened, b"go\n")
        os.close(opened)
        return launch

    def wait_for_the_others(self):
        try:
            if self.barrier:
                self.barrier.wait(2 * READY)
        except BrokenBarrierError:
            raise HeldBack("another session did not get ready") from None

    def until(self, seconds, condition, complaint):
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                words = [process.said() for process in self.receivers if process.said()]
                raise Failed("; ".join([complaint, *words]))
            time.sleep(0.005)
        return value

    # --- the transfer

    def wait_for_data(self):
        """The time at which data began to flow, None where that is not measured or never happens."""
        if self.measure != "goodput" or self.size < 4 * START_OF_DATA:
            return None
        before = sent_bytes(self.sender.pid)
        # Looking costs processor time, which many sessions at a time do not have.
        pause = 0.005 if self.barrier else 0.001
        while time.monotonic() < self.deadline:
            if (sent_bytes(self.sender.pid) or 0) - (before or 0) >= START_OF_DATA:
                return time.monotonic_ns()
            if select.select([self.sender.pidfd], [], [], pause)[0]:
                return None
        return None

    def look_at_the_port(self):
        """Once, a second after data began to flow. Returns the milliseconds until then, at most a fifth of a second."""
        left = (self.second - time.monotonic_ns()) / 1e6 if self.second else 200
        if left > 0:
            return min(left + 1, 200)
        self.second, self.after_a_second = None, Port.of(self.lab)
        return 200

    def wait_for_the_end(self):
        """Until every process has ended; returns what had not in time and was ended."""
        everyone = [self.sender, *self.receivers, *self.takers, self.feeder]
        waiting = {process.pidfd: process for process in everyone if process}
        files = self.program.output == "file"
        poll = select.poll()
        for pidfd in waiting:
            poll.register(pidfd, select.POLLIN)
        while True:
            for pidfd, _ in poll.poll(2 if files else self.look_at_the_port()):
                poll.unregister(pidfd)
                waiting.pop(pidfd).has_ended()
            if files:
                self.look_for_marks()
            receiving = self.receivers_left()
            if not receiving and all(process in self.receivers for process in waiting.values()):
                return []
            if not receiving or self.sender.ended:
                self.deadline = min(self.deadline, time.monotonic() + GRACE)
            if time.monotonic() > self.deadline:
                left = ([] if self.sender.ended else [self.sender]) + receiving
                for process in waiting.values():
                    process.stop(signal.SIGTERM)
                return [process.name for process in left] or ["the pipe"]

    def receivers_left(self):
        if self.program.output == "file":
            return [process for process in self.receivers if process.name not in self.marked and not process.ended]
        return [process for process in self.receivers if not process.ended]

    def look_for_marks(self):
        for process in self.receivers:
            mark = self.directory / process.name / f"{self.payload.name}.done"
            if process.name not in self.marked and mark.exists():
                self.marked[process.name] = time.monotonic_ns()

    # --- what came out

    def result(self, launch, cut_off):
        ends = [self.marked.get(process.name, process.ended) for process in self.receivers]
        self.end = max(ends) if all(ends) else None
        result = {
            "payload_bytes": self.size,
            "outcome": "right", "note": "",
            "data_s": seconds(self.data, self.end),
            "sender_life_s": seconds(launch, self.sender.ended),
            "tail_s": seconds(self.feeder.ended, self.sender.ended) if self.feeder else None,
            "sender": {"exit_code": self.sender.code, **self.sender.usage()},
            "receivers": [{"exit_code": process.code, **self.output(process, index), **process.usage()}
                          for index, process in enumerate(self.receivers)],
            "checked": "cmp" if self.verify or self.program.output == "file" else "length",
        }
        if self.port:
            result["port"] = self.port_result()
        if self.program.ours:
            report = self.report("sender") or {}
            wire = report.get("wire", {})
            # Its own account of the time, to hold against data_s.
            result["reported_elapsed_s"] = report.get("elapsed_s")
            result["block_symbols"] = self.block_symbols()
            result["wire"] = {key: wire.get(key) for key in ("source_symbols", "repair_symbols", "feedback_datagrams")}
        if self.program.output == "count":
            result["arrived_bytes_per_s"] = mean(one["bytes_per_s"] for one in result["receivers"])
        self.judge(result, cut_off)
        return result

    def port_result(self):
        """What the port did in all, in the first second of data, and afterwards where the transfer took longer."""
        after, second = Port.of(self.lab), self.after_a_second
        return {"all": after.since(self.before), "first_second": (second or after).since(self.before),
                "later": after.since(second) if second else None}

    def judge(self, result, cut_off):
        wrong = [process.name for process, received in zip(self.receivers, result["receivers"]) if not received["right"]]
        failed = [process for process in [self.sender, *self.receivers]
                  if process.code != 0 and not (process in self.receivers and self.program.output == "file")]
        if wrong:
            silent = not failed and not cut_off
            result["outcome"] = "wrong"
            result["note"] = "wrong or short output at " + ", ".join(wrong) + (", every exit code 0" if silent else "")
        elif failed:
            result["outcome"] = "failed"
            result["note"] = "; ".join(f"{process.name} exited {process.code}: {process.said()}" for process in failed)
        if cut_off:
            result["outcome"] = "cut off"
            # Says who hung, and beside it what became of the bytes.
            result["note"] = "did not end in time: " + ", ".join(cut_off) + ("; " + result["note"] if wrong else "")

    def output(self, process, index):
        """Whether the bytes that a receiver gave out were right, and how many there were where they were counted."""
        if self.program.output == "file":
            path = self.directory / process.name / self.payload.name
            got = path.stat().st_size if path.exists() else 0
            same = got > 0 and subprocess.run(["cmp", "-s", path, self.payload], check=False).returncode == 0
            return {"bytes": got, "right": same}
        if self.program.output == "count":
            report = self.report(process.name) or {"bytes": 0}
            rate = report["bytes"] / report["elapsed_s"] if report["bytes"] else 0
            return {"bytes": report["bytes"], "bytes_per_s": round(rate), "right": rate > 0}
        if self.program.output == "null":
            report = self.report(process.name)
            if report is not None:
                return {"bytes": report.get("bytes"), "right": report.get("bytes") == self.size}
            return {"bytes": None, "right": process.code == 0}
        taker = self.takers[index]
        if self.verify:
            return {"bytes": None, "right": taker.code == 0}
        counted = re.search(r"^(\d+) bytes?", Path(taker.log).read_text(), re.MULTILINE)
        got = int(counted[1]) if counted else 0
        return {"bytes": got, "right": got == self.size}

    def block_symbols(self):
        """Source symbols in a full coding block, as mcast-send's log has it."""
        found = re.search(r"\bblock_symbols=(\d+)", Path(self.sender.log).read_text(errors="replace"))
        return int(found[1]) if found else None

    def report(self, name):
        try:
            return json.loads((self.directory / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None


# --- small words

def seconds(start, end):
    return round((end - start) / 1e9, 6) if start and end else None


def open_for_writing(fifo):
    """Its descriptor, or None as long as nobody reads it."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def listens(pid, table, port):
    """Whether a socket has that port in the network namespace that the process has entered."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return False
        rows = Path(f"/proc/{pid}/net/{table}").read_text() + Path(f"/proc/{pid}/net/{table}6").read_text()
    except OSError:
        return False
    return re.search(rf"^ *\d+: [0-9A-F]+:{port:04X} ", rows, re.MULTILINE) is not None


def sent_bytes(pid):
    """What the host of that process has sent."""
    try:
        for line in Path(f"/proc/{pid}/net/dev").read_text().split("\n"):
            name, _, counters = line.partition(":")
            if name.strip() == "eth0":
                return int(counters.split()[8])
    except OSError:
        pass
    return None
