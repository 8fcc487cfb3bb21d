"""What a process takes: wrappers around a command line, and what they wrote down when it ended."""

import re
from pathlib import Path


class GnuTime:
    """CPU seconds and the peak resident set."""

    @staticmethod
    def around(argv, path):
        return ["/usr/bin/time", "-q", "-f", "%U %S %M", "-o", path, *argv]

    @staticmethod
    def read(path):
        user, system, peak = Path(path).read_text().split("\n")[0].split()
        return {"cpu_s": round(float(user) + float(system), 2), "peak_kib": int(peak)}


class Callgrind:
    """Instructions executed in user space by all threads. It shows programs a processor without AVX-512 and VAES, so
    that they take their AVX2 and AES-NI paths, whatever the machine has."""

    # Callgrind counts every byte of `rep movsb` as an instruction where processors move some 32 in a cycle. With these
    # the C library copies and fills with vector registers at any length.
    TUNABLES = ":".join(f"glibc.cpu.x86_rep_{kind}_threshold=0xffffffff" for kind in ("movsb", "stosb"))

    @staticmethod
    def around(argv, path):
        return ["env", f"GLIBC_TUNABLES={Callgrind.TUNABLES}",
                "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={path}", *argv]

    @staticmethod
    def read(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            total = [int(found[1]) for line in file if (found := re.match(r"totals: (\d+)", line))]
        return {"instructions": sum(total)} if total else {}
