"""The IPython kernel application as a worker needs it.

This module is imported only in IPython mode: it needs ``ipykernel``.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import ipykernel
import IPython
import traitlets
import zmq
from ipykernel.displayhook import ZMQShellDisplayHook
from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from jupyter_client.session import Session
from traitlets.config import Config

from remanager.worker.startup import ScriptLoadingError, loading_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from remanager.model.worker_config import WorkerConfig
    from remanager.worker.kernel_connection import KernelAddress

WORK_REQUEST = "remanager_work_request"
"""Type of the message by which the worker wakes its own kernel."""

_WAKE_ADDRESS = "inproc://remanager-wake"
_LOADERS = tuple(
    os.path.dirname(str(path)) + os.sep
    for path in (IPython.__file__, ipykernel.__file__, traitlets.__file__, __file__)
)
_LOADER_FILES = ("runpy.py", "<frozen runpy>", "<frozen importlib")
_TERMINAL_CODES = re.compile(r"\x1B\[[0-?]*[ -/]*[@-~]")


def _is_loader(filename: str) -> bool:
    return filename.startswith(_LOADERS + _LOADER_FILES) or os.path.basename(filename) in _LOADER_FILES


class KernelStream(OutStream):  # type: ignore[misc]
    """Output of Python code: it goes to the clients of the kernel and to the worker's console."""

    def fileno(self) -> int:
        """Return the descriptor of the worker's console."""
        return int(self.echo.fileno())


class KernelDisplayHook(ZMQShellDisplayHook):  # type: ignore[misc]
    """Shows the value of an expression to the clients of the kernel and on the worker's console."""

    def finish_displayhook(self) -> None:
        """Send the value."""
        text = self.msg["content"]["data"].get("text/plain") if self.msg else None
        super().finish_displayhook()
        if text and sys.__stdout__ is not None:
            sys.__stdout__.write(f"{text}\n")


class KernelShell(ZMQInteractiveShell):  # type: ignore[misc]
    """The shell of the kernel.

    Attributes
    ----------
    starting : bool
        Start-up code is being loaded: an exception that would be shown ends that.
    """

    starting = False
    displayhook_class = traitlets.Type(KernelDisplayHook)

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Show an exception, or make it an error of the start-up code."""
        self._raise_if_starting(exc_tuple)
        super().showtraceback(exc_tuple, *args, **kwargs)

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        """Show a syntax error, or make it an error of the start-up code."""
        self._raise_if_starting(None)
        super().showsyntaxerror(*args, **kwargs)

    def _raise_if_starting(self, exc_tuple: Any) -> None:
        exc: BaseException | None = (exc_tuple or sys.exc_info())[1]
        if self.starting and exc is not None:
            raise startup_error(exc)

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        super()._showtraceback(etype, evalue, stb)
        if sys.__stderr__ is not None:
            sys.__stderr__.write(_TERMINAL_CODES.sub("", "\n".join(stb)) + "\n")


def startup_error(exc: BaseException) -> ScriptLoadingError:
    """Return the error that tells of an exception of start-up code."""
    if isinstance(exc, ScriptLoadingError):
        return exc
    return loading_error(f"{type(exc).__name__}: {exc}", exc, _is_loader)


class WorkerKernel(IPythonKernel):  # type: ignore[misc]
    """A kernel that tells when it works for clients and takes work of its own process.

    Attributes
    ----------
    on_work : callable
        Called in the main thread, between the requests of clients, for each message of type
        :data:`WORK_REQUEST`.
    on_cell : callable
        Called in the main thread with True when code of a client starts, with False when it has ended.
    """

    shell_class = traitlets.Type(KernelShell)

    def __init__(self, **kwargs: Any) -> None:
        # Otherwise IPython makes a module that only looks as if it had the namespace.
        super().__init__(user_module=sys.modules["__main__"], **kwargs)
        self.on_work: Callable[[], None] = lambda: None
        self.on_cell: Callable[[bool], None] = lambda _runs: None
        self.shell_handlers[WORK_REQUEST] = self._work_request

    def _work_request(self, _stream: Any, _ident: Any, _parent: Any) -> None:
        self.on_work()

    def _publish_status(self, status: str, channel: str, *args: Any, **kwargs: Any) -> None:
        # Before any client hears of it: one that does may ask the manager for something at once.
        if channel == "shell" and self._is_cell():
            self.on_cell(status == "busy")
        super()._publish_status(status, channel, *args, **kwargs)

    async def do_execute(self, *args: Any, **kwargs: Any) -> Any:
        """Execute code of a client."""
        try:
            return await super().do_execute(*args, **kwargs)
        finally:
            if self._is_cell():
                self.on_cell(False)  # before the client gets the reply

    def _is_cell(self) -> bool:
        """Tell whether the request is code for the main thread; clients may have threads of their own."""
        if threading.current_thread() is not threading.main_thread():
            return False
        parent = self.get_parent("shell")
        return bool(parent) and parent["header"]["msg_type"] == "execute_request"

    def pre_handler_hook(self) -> None:
        """Let SIGINT raise an exception in a client's code; the worker's own work sees to itself."""
        if self.get_parent("shell")["header"]["msg_type"] != WORK_REQUEST:
            super().pre_handler_hook()

    def post_handler_hook(self) -> None:
        """Undo :meth:`pre_handler_hook`."""
        if self.get_parent("shell")["header"]["msg_type"] != WORK_REQUEST:
            super().post_handler_hook()


class KernelApp(IPKernelApp):  # type: ignore[misc]
    """The application: sockets, kernel, IPython profile and start-up code."""

    keep_connection_file = False

    def init_sockets(self) -> None:
        """Make the sockets, and a way for this process to send requests to its kernel."""
        super().init_sockets()
        self._wake_lock = threading.Lock()
        self._session = Session(
            parent=self, key=self.session.key, signature_scheme=self.session.signature_scheme
        )
        self.shell_socket.bind(_WAKE_ADDRESS)
        self._wake_socket = self.context.socket(zmq.DEALER)
        self._wake_socket.connect(_WAKE_ADDRESS)

    def wake(self) -> None:
        """Have the kernel call ``on_work`` after what clients asked for before; from any thread."""
        with self._wake_lock:
            if not self._wake_socket.closed:
                self._session.send(self._wake_socket, WORK_REQUEST, {})

    def close(self) -> None:
        """Close the sockets."""
        with self._wake_lock:
            self._wake_socket.close(linger=0)
        super().close()

    def init_signal(self) -> None:
        """Leave SIGINT as it is: the worker has its own handler."""

    def init_code(self) -> None:
        """Run the start-up code.

        Raises
        ------
        ScriptLoadingError
            It raised an exception.
        """
        self.shell.starting = True
        try:
            super().init_code()
        except BaseException as exc:  # the code may raise anything, SystemExit included
            raise startup_error(exc) from exc
        finally:
            self.shell.starting = False

    def cleanup_connection_file(self) -> None:
        """Remove the connection file unless it has a name by which clients know it."""
        if not self.keep_connection_file:
            super().cleanup_connection_file()


def kernel_config(config: WorkerConfig, address: KernelAddress) -> Config:
    """Return the settings of the application; they go before those of the IPython profile."""
    app: dict[str, Any] = {
        "kernel_class": WorkerKernel,
        "outstream_class": f"{__name__}.{KernelStream.__name__}",
        # Output goes to the clients and to the console; the console takes the descriptors itself.
        "quiet": False,
        "capture_fd_output": False,
        # The kernel does not end with a parent of its own accord, and prints no advice for terminals.
        "parent_handle": 1,
        "ip": address.ip,
        **{f"{channel}_port": port for channel, port in address.ports.items()},
    }
    optional = {
        "connection_file": str(address.file) if address.file else None,
        "profile": config.startup_profile,
        "ipython_dir": config.ipython_dir,
        "module_to_run": config.startup_module,
        "file_to_run": config.startup_script,
        "matplotlib": config.kernel_matplotlib,
    }
    return Config(KernelApp=app | {name: value for name, value in optional.items() if value})
