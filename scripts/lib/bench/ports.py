"""Counters of the switch's port to the first receiver, where a lab gives that port a speed of its own."""

import json
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """Frames that the port has carried since the lab was made, and frames for which its queue had no room."""

    carried: int
    dropped: int

    @staticmethod
    def of(lab):
        """The counters of that lab's port as they are now."""
        command = ["nsenter", f"--net=/run/netns/lab-{lab}-lan", "tc", "-s", "-j", "qdisc", "show", "dev", "p1"]
        output = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        queue = json.loads(output)[0]
        return Port(queue["packets"], queue["drops"])

    def since(self, before):
        """Frames between two moments, and the share of them that was dropped; None where there were none."""
        carried, dropped = self.carried - before.carried, self.dropped - before.dropped
        share = round(dropped / (carried + dropped), 6) if carried + dropped else None
        return {"carried": carried, "dropped": dropped, "lost": share}
