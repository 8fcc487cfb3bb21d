"""The ceiling: datagrams from one host to a group in batches as large as the kernel takes, and nothing else.

  raw.py receive REPORT            joins the group, counts what arrives until the end marker, writes the count as JSON
  raw.py send BYTES DATAGRAM       sends so many bytes in datagrams of that size (UDP payload), then the end marker
  raw.py pass DATAGRAM             the same with what stdin brings: what a pipe alone costs

Nothing is asked for again and nobody waits for anybody: what does not fit into a receiver's socket buffer is lost, and what
counts is what arrived. 44 datagrams of 1,472 bytes cross the kernel in one call, so that Python is called as seldom as
the kernel is."""

import fcntl
import json
import os
import socket
import sys
import time

GROUP, PORT = "239.255.77.99", 7799
# <linux/udp.h>; SO_RCVBUFFORCE is in <asm-generic/socket.h>. Python has no names for them.
UDP_SEGMENT, UDP_GRO, SO_RCVBUFFORCE = 103, 104, 33
# The largest UDP payload over IPv4 is 65,507 bytes; a batch is as many whole datagrams as fit.
LARGEST = 65507
# What mcast-recv asks for as well: bursts fit, and the data is still in the processor's cache when it is read.
SOCKET_BUFFER = 8 << 20
# One byte cannot be data. It is repeated, since a full socket buffer drops it as well; a receiver that gets none of them
# ends when it has been quiet for so long. Neither is counted: the clock stops at the last data.
MARKER, MARKERS, PAUSE, QUIET = b"\0", 20, 0.01, 2.0
# What mcast-send asks for as well.
PIPE = 1 << 20


def nothing(size, datagram):
    """Batches of zeros, `size` bytes in all."""
    batch = memoryview(bytes(LARGEST // datagram * datagram))
    for left in range(size, 0, -len(batch)):
        yield batch[:left]


def from_stdin(datagram):
    """Batches of what stdin brings, each read to where the last one was."""
    fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, PIPE)
    batch = memoryview(bytearray(LARGEST // datagram * datagram))
    while True:
        filled = 0
        while filled < len(batch) and (got := os.readv(0, [batch[filled:]])):
            filled += got
        if not filled:
            return
        yield batch[:filled]


def send(batches, datagram):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        out.connect((GROUP, PORT))
        out.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, datagram)
        for batch in batches:
            out.send(batch)
        for _ in range(MARKERS):
            out.send(MARKER)
            time.sleep(PAUSE)


def receive(report):
    buffer = bytearray(1 << 16)
    count, first, last = 0, None, None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as into:
        into.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        try:
            into.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER)
        except PermissionError:
            into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        membership = socket.inet_aton(GROUP) + socket.inet_aton("0.0.0.0")
        into.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        into.bind((GROUP, PORT))
        while True:
            try:
                got = into.recv_into(buffer)
            except TimeoutError:
                break
            if got == len(MARKER):
                break
            last = time.monotonic_ns()
            if first is None:
                # What the first call brought was sent before the clock began.
                first = last
                into.settimeout(QUIET)
            else:
                count += got
    with open(report, "w", encoding="utf-8") as file:
        json.dump({"bytes": count, "elapsed_s": (last - first) / 1e9 if first else 0}, file)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive", path]:
            receive(path)
        case ["send", size, datagram]:
            send(nothing(int(size), int(datagram)), int(datagram))
        case ["pass", datagram]:
            send(from_stdin(int(datagram)), int(datagram))
        case _:
            sys.exit(__doc__)
