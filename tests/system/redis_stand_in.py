"""A server that speaks as much of the protocol of Redis as reading needs, and refuses everything else."""

from __future__ import annotations

import fnmatch
import socketserver
import threading
from types import TracebackType
from typing import Self

Records = dict[str, str | list[str]]

_NO_PERMISSION = b"-NOPERM this user has no permissions to run the 'get' command\r\n"
_WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


class _Handler(socketserver.StreamRequestHandler):
    server: RedisStandIn

    def handle(self) -> None:
        me = self.server.connected()
        pending: list[bytes] | None = None
        while words := self._command():
            name = words[0].upper()
            if name == "MULTI":
                pending = []
                self.wfile.write(b"+OK\r\n")
            elif name == "EXEC" and pending is not None:
                self.wfile.write(b"*%d\r\n" % len(pending) + b"".join(pending))
                pending = None
            elif pending is not None:
                pending.append(self.server.answer(me, words) if self.server.may_read else _NO_PERMISSION)
                self.wfile.write(b"+QUEUED\r\n")
            else:
                self.wfile.write(self.server.answer(me, words))

    def _command(self) -> list[str]:
        header = self.rfile.readline()
        words = []
        for _ in range(int(header[1:]) if header else 0):
            size = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(size + 2)[:-2].decode())
        return words


class RedisStandIn(socketserver.ThreadingTCPServer):
    """Serves records in a thread of its own.

    Attributes
    ----------
    records : dict
        Texts and lists by key.
    refused : list of list of str
        Commands that were not answered: among them are all that write.
    others : list of str
        Lines of ``CLIENT LIST`` about other clients.
    """

    daemon_threads = False
    allow_reuse_address = True

    def __init__(self, records: Records) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records = records
        self.refused: list[list[str]] = []
        self.others: list[str] = []
        self.may_list_clients = True
        self.may_read = True
        self._ids = 0
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def address(self) -> str:
        """Address as ``--redis-addr`` takes it."""
        return f"127.0.0.1:{self.server_address[1]}"

    def connected(self) -> int:
        """Count a connection; return its number."""
        self._ids += 1
        return self._ids

    def answer(self, me: int, words: list[str]) -> bytes:
        """Return the reply to a command."""
        words[0] = words[0].upper()
        match words:
            case ["HELLO", proto, *_]:
                kind = b"%%%d" % 2 if proto == "3" else b"*4"
                return (
                    kind
                    + b"\r\n"
                    + _bulk("server")
                    + _bulk("redis")
                    + _bulk("proto")
                    + b":%s\r\n" % proto.encode()
                )
            case ["PING"]:
                return b"+PONG\r\n"
            case ["CLIENT", what, *_] if what.upper() == "SETINFO":
                return b"+OK\r\n"
            case ["CLIENT", what, *_] if what.upper() == "ID":
                return b":%d\r\n" % me
            case ["CLIENT", what] if what.upper() == "LIST" and self.may_list_clients:
                mine = f"id={me} addr=127.0.0.1:1 name= age=0 flags=N db=0 cmd=client|list"
                return _bulk("\n".join([mine, *self.others]) + "\n")
            case ["CLIENT", what] if what.upper() == "LIST":
                return b"-NOPERM this user has no permissions to run the 'client|list' command\r\n"
            case ["GET", key]:
                value = self.records.get(key)
                return _WRONG_TYPE if isinstance(value, list) else _bulk(value)
            case ["LRANGE", key, "0", "-1"]:
                value = self.records.get(key, [])
                return _array(value) if isinstance(value, list) else _WRONG_TYPE
            case ["SCAN", _, "MATCH", pattern, *_]:
                keys = [key for key in self.records if fnmatch.fnmatchcase(key, pattern)]
                return b"*2\r\n" + _bulk("0") + _array(keys)
        if words[0] not in {"CLIENT", "SELECT"}:  # what a newer client library says of itself; a database
            self.refused.append(words)
        return b"-ERR DB index is out of range\r\n" if words[0] == "SELECT" else b"-ERR unknown command\r\n"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        tb: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def _bulk(text: str | None) -> bytes:
    if text is None:
        return b"$-1\r\n"
    data = text.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def _array(texts: list[str]) -> bytes:
    return b"*%d\r\n" % len(texts) + b"".join(map(_bulk, texts))
