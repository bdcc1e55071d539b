"""Stands in for the manager under a real supervisor: reports to the test and does what the test says."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys


def main() -> int:
    fd = int(sys.argv[sys.argv.index("--supervisor-fd") + 1])
    supervisor = socket.socket(fileno=fd)
    test = socket.socket(socket.AF_UNIX)
    test.connect(os.environ["FAKE_MANAGER_SOCKET"])

    def tell(message: dict[str, object]) -> None:
        test.sendall(json.dumps(message).encode() + b"\n")

    arguments = sys.argv[sys.argv.index("--supervisor-fd") + 2 :]
    tell({"op": "started", "pid": os.getpid(), "argv": arguments, "session": os.getsid(0) == os.getpid()})
    pending = {supervisor: b"", test: b""}
    while True:
        for source in select.select(list(pending), [], [])[0]:
            data = source.recv(65536)
            if not data:
                return 0 if source is test else 3
            *lines, pending[source] = (pending[source] + data).split(b"\n")
            for line in lines:
                if source is supervisor:
                    tell(json.loads(line))
                    continue
                order = json.loads(line)
                if "exit" in order:
                    return int(order["exit"])
                if order.get("hang"):
                    signal.pause()
                if order.get("abort"):
                    os.kill(os.getpid(), signal.SIGKILL)
                if "raw" in order:
                    supervisor.sendall(order["raw"].encode())
                else:
                    supervisor.sendall(json.dumps(order).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
