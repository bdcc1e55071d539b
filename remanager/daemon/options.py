"""The table of everything that can be set: option, environment variable, key of the configuration file.

The names are those of bluesky-queueserver's ``start-re-manager`` where it has the thing, so that a lab's
unit file, environment and configuration files carry over. The command line, the sources, the reference page
and their tests are all made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the value of an option is written."""

    TEXT = "text"
    PATH = "path"
    SWITCH = "ON|OFF"
    COUNT = "number"
    PORT = "port"
    SECONDS = "seconds"
    NAMES = "names"
    MODULES = "modules"
    CHOICE = "choice"
    ADDRESS = "address"
    RETENTION = "classes"


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set.

    Attributes
    ----------
    name : str
        Field of :class:`remanager.daemon.settings.Settings`.
    kind : Kind
        How the value is written.
    help : str
        What it does, one or two sentences.
    flags, env : tuple of str
        Options of the command line and environment variables. The first is the name, the others old names.
    key : str
        ``section/key`` in the configuration file; empty if it cannot be set there.
    choices : tuple of str
        Permitted values of a choice.
    constants : tuple of (str, str)
        Options without a value, each with the value that it stands for.
    group : str
        Heading under which the help shows it.
    secret : bool
        Never shown, and never taken from the command line, which other users can read.
    """

    name: str
    kind: Kind
    help: str
    flags: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    key: str = ""
    choices: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    group: str = "General"
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Unneeded:
    """An option of ``start-re-manager`` that is accepted and answered with one line.

    Attributes
    ----------
    flags : tuple of str
        Options of the command line.
    key : str
        ``section/key`` in the configuration file, or empty.
    answer : str
        What is said when it is given.
    takes_value : bool
        Whether a value follows the option.
    """

    flags: tuple[str, ...]
    key: str
    answer: str
    takes_value: bool = True


_NETWORK = "Sockets"
_STARTUP = "Start-up code, lists and permissions"
_KERNEL = "IPython kernel"
_CONSOLE = "Console output and logging"
_STORE = "State"
_TASKS = "Task queue"
_SERVICE = "Service"


def _task_option(name: str, kind: Kind, text: str) -> Option:
    """Return an option of the task queue; option, variable and key follow from its name."""
    flag = "--" + name.replace("_", "-")
    return Option(name, kind, text, (flag,), (f"REMANAGER_{name.upper()}",), f"tasks/{name}", group=_TASKS)


TASK_OPTIONS: tuple[Option, ...] = (
    _task_option(
        "task_modules",
        Kind.MODULES,
        "Modules whose functions are the tasks of the task queue, such as 'remanager.data_movement'. Several "
        "are separated by a space, ',' or ':'.",
    ),
    _task_option(
        "task_paths",
        Kind.NAMES,
        "Directories in which task modules are looked for, before the usual ones. Several are separated by a "
        "space, in the variable by ':'.",
    ),
    _task_option("task_workers", Kind.COUNT, "Most processes that run tasks at the same time."),
    _task_option(
        "task_worker_idle",
        Kind.SECONDS,
        "A task worker without work for so long, at least 120 s, leaves, unless it is the last one. One that "
        "died is replaced when there is work for it.",
    ),
    _task_option("task_worker_max_tasks", Kind.COUNT, "A task worker leaves after so many tasks; 0: never."),
    _task_option(
        "task_worker_max_memory",
        Kind.COUNT,
        "A task worker leaves when it uses more memory, MiB; 0: never.",
    ),
    _task_option("task_max_active", Kind.COUNT, "Most tasks that have not ended; more are refused."),
    _task_option(
        "task_preempt_at",
        Kind.COUNT,
        "A waiting task of this or a more urgent priority may interrupt others. Default: none may.",
    ),
    _task_option(
        "task_aging_interval",
        Kind.COUNT,
        "A waiting task becomes more urgent by one priority each so many seconds; 0: never.",
    ),
    _task_option("task_aging_grace", Kind.COUNT, "It waits so many seconds before that begins."),
    _task_option(
        "task_aging_ceiling", Kind.COUNT, "No task gets a more urgent priority than this by waiting."
    ),
    _task_option(
        "task_retention",
        Kind.RETENTION,
        "How long ended tasks are kept by class, and how many: CLASS=SECONDS, CLASS=SECONDS/COUNT or "
        "CLASS=/COUNT, divided by commas, such as 'failure=604800/10000,cancelled=3600'. "
        "Classes: success, failure, cancelled, dropped. Default: as long as results.",
    ),
    _task_option(
        "task_archive",
        Kind.PATH,
        "Directory in which tasks are written down as JSON lines before they are deleted, in at most 20 "
        "files of 64 MiB. Default: they are not.",
    ),
)

OPTIONS: tuple[Option, ...] = (
    Option(
        "state_dir",
        Kind.PATH,
        "Directory of the store: queue, history, results, locks and modes. It must be on a local disk. "
        "Default: STATE_DIRECTORY, which systemd sets; else /var/lib/remanager for root, and remanager in "
        "XDG_STATE_HOME (~/.local/state) for other users.",
        ("--state-dir",),
        ("REMANAGER_STATE_DIR",),
        "remanager/state_dir",
        group=_STORE,
    ),
    Option(
        "task_result_retention",
        Kind.SECONDS,
        "How long the results of functions and scripts are kept, at least 120 s.",
        ("--task-result-retention",),
        ("REMANAGER_TASK_RESULT_RETENTION",),
        "remanager/task_result_retention",
        group=_STORE,
    ),
    Option(
        "zmq_control_addr",
        Kind.ADDRESS,
        "Address on which requests are answered.",
        ("--zmq-control-addr", "--zmq-addr"),
        ("QSERVER_ZMQ_CONTROL_ADDRESS_FOR_SERVER",),
        "network/zmq_control_addr",
        group=_NETWORK,
    ),
    Option(
        "zmq_info_addr",
        Kind.ADDRESS,
        "Address on which console output and status are published.",
        ("--zmq-info-addr", "--zmq-publish-console-addr"),
        ("QSERVER_ZMQ_INFO_ADDRESS_FOR_SERVER",),
        "network/zmq_info_addr",
        group=_NETWORK,
    ),
    Option(
        "zmq_publish_console",
        Kind.SWITCH,
        "Publish console output and status on the info address.",
        ("--zmq-publish-console",),
        key="network/zmq_publish_console",
        group=_NETWORK,
    ),
    Option(
        "zmq_encoding",
        Kind.CHOICE,
        "Encoding of published messages, and of replies to requests whose encoding cannot be told.",
        ("--zmq-encoding",),
        ("QSERVER_ZMQ_ENCODING_FOR_SERVER",),
        "network/zmq_encoding",
        choices=("json", "msgpack"),
        group=_NETWORK,
    ),
    Option(
        "zmq_private_key",
        Kind.TEXT,
        "Private key (40 characters, z85) that turns on encryption of the control socket.",
        (),
        ("QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER", "QSERVER_ZMQ_PRIVATE_KEY"),
        "network/zmq_private_key",
        group=_NETWORK,
        secret=True,
    ),
    Option(
        "startup_dir",
        Kind.PATH,
        "Directory of start-up scripts (*.py, *.ipy), loaded in the order of their names. Without an IPython "
        "kernel *.ipy files must be plain Python.",
        ("--startup-dir",),
        key="startup/startup_dir",
        group=_STARTUP,
    ),
    Option(
        "startup_profile",
        Kind.TEXT,
        "Name of the IPython profile whose startup directory holds the start-up scripts.",
        ("--startup-profile",),
        key="startup/startup_profile",
        group=_STARTUP,
    ),
    Option(
        "startup_module",
        Kind.TEXT,
        "Module with the start-up code, such as 'my_lab.startup'.",
        ("--startup-module",),
        key="startup/startup_module",
        group=_STARTUP,
    ),
    Option(
        "startup_script",
        Kind.PATH,
        "Single script with the start-up code.",
        ("--startup-script",),
        key="startup/startup_script",
        group=_STARTUP,
    ),
    Option(
        "existing_plans_and_devices_path",
        Kind.PATH,
        "File with the list of existing plans and devices, or its directory. "
        "Default: beside the start-up code; in the state directory for the simulated instrument.",
        ("--existing-plans-devices",),
        key="startup/existing_plans_and_devices_path",
        group=_STARTUP,
    ),
    Option(
        "user_group_permissions_path",
        Kind.PATH,
        "File with the permissions of the user groups, or its directory. Default: beside the start-up code.",
        ("--user-group-permissions",),
        key="startup/user_group_permissions_path",
        group=_STARTUP,
    ),
    Option(
        "update_existing_plans_devices",
        Kind.CHOICE,
        "When the file with the list of plans and devices is written.",
        ("--update-existing-plans-devices",),
        key="operation/update_existing_plans_and_devices",
        choices=("NEVER", "ENVIRONMENT_OPEN", "ALWAYS"),
        group=_STARTUP,
    ),
    Option(
        "user_group_permissions_reload",
        Kind.CHOICE,
        "When the permissions are read from their file: never again after the first start, on request, "
        "or on request and at each start.",
        ("--user-group-permissions-reload",),
        key="operation/user_group_permissions_reload",
        choices=("NEVER", "ON_REQUEST", "ON_STARTUP"),
        group=_STARTUP,
    ),
    Option(
        "device_max_depth",
        Kind.COUNT,
        "Depth of the device trees in the list of existing devices; 0: no limit.",
        ("--device-max-depth",),
        key="startup/device_max_depth",
        group=_STARTUP,
    ),
    Option(
        "ignore_invalid_plans",
        Kind.SWITCH,
        "Leave out plans whose signature is not supported, instead of refusing to open the environment.",
        ("--ignore-invalid-plans",),
        key="startup/ignore_invalid_plans",
        group=_STARTUP,
    ),
    Option(
        "permitted_re_metadata_keys",
        Kind.NAMES,
        "Keys of the RunEngine's metadata that clients may read, as paths such as '/key/subkey'; '/': all.",
        ("--permitted-re-metadata-keys",),
        ("QSERVER_PERMITTED_RE_METADATA_KEYS",),
        "worker/permitted_re_metadata_keys",
        group=_STARTUP,
    ),
    Option(
        "worker_python",
        Kind.PATH,
        "Python interpreter of the environment worker. Default: the one that runs the manager.",
        ("--worker-python",),
        ("REMANAGER_WORKER_PYTHON",),
        "remanager/worker_python",
        group=_STARTUP,
    ),
    Option(
        "use_ipython_kernel",
        Kind.SWITCH,
        "Run plans in an IPython kernel.",
        ("--use-ipython-kernel",),
        ("QSERVER_USE_IPYTHON_KERNEL",),
        "worker/use_ipython_kernel",
        group=_KERNEL,
    ),
    Option(
        "ipython_dir",
        Kind.PATH,
        "Directory of the IPython profiles. Default for --startup-profile: IPYTHONDIR, else ~/.ipython.",
        ("--ipython-dir",),
        key="startup/ipython_dir",
        group=_KERNEL,
    ),
    Option(
        "ipython_kernel_ip",
        Kind.TEXT,
        "IP address of the kernel: 'localhost', 'auto' or an address.",
        ("--ipython-kernel-ip",),
        ("QSERVER_IPYTHON_KERNEL_IP",),
        "worker/ipython_kernel_ip",
        group=_KERNEL,
    ),
    Option(
        "ipython_matplotlib",
        Kind.TEXT,
        "Matplotlib backend of the kernel, such as 'qt5'.",
        ("--ipython-matplotlib",),
        key="worker/ipython_matplotlib",
        group=_KERNEL,
    ),
    Option(
        "ipython_connection_file",
        Kind.TEXT,
        "Name of the kernel's connection file.",
        ("--ipython-connection-file",),
        ("QSERVER_IPYTHON_KERNEL_CONNECTION_FILE",),
        "worker/ipython_connection_file",
        group=_KERNEL,
    ),
    Option(
        "ipython_connection_dir",
        Kind.TEXT,
        "Directory of the kernel's connection file.",
        ("--ipython-connection-dir",),
        ("QSERVER_IPYTHON_KERNEL_CONNECTION_DIR",),
        "worker/ipython_connection_dir",
        group=_KERNEL,
    ),
    *(
        Option(
            f"ipython_{channel}_port",
            Kind.PORT,
            f"Port of the kernel's {channel} channel. Default: a free one.",
            (f"--ipython-{channel}-port",),
            (f"QSERVER_IPYTHON_KERNEL_{channel.upper()}_PORT",),
            f"worker/ipython_{channel}_port",
            group=_KERNEL,
        )
        for channel in ("shell", "iopub", "stdin", "hb", "control")
    ),
    Option(
        "print_console_output",
        Kind.SWITCH,
        "Print the console output of manager and worker on the terminal.",
        ("--console-output",),
        key="operation/print_console_output",
        group=_CONSOLE,
    ),
    Option(
        "console_logging_level",
        Kind.CHOICE,
        "How much manager and workers log: everything, the course of events, warnings and errors, nothing. "
        "A manager that dies or cannot start is reported all the same.",
        (),
        key="operation/console_logging_level",
        choices=("VERBOSE", "NORMAL", "QUIET", "SILENT"),
        constants=(("--verbose", "VERBOSE"), ("--quiet", "QUIET"), ("--silent", "SILENT")),
        group=_CONSOLE,
    ),
    Option(
        "emergency_lock_key",
        Kind.TEXT,
        "Key that unlocks the manager whoever locked it.",
        (),
        ("QSERVER_EMERGENCY_LOCK_KEY_FOR_SERVER",),
        "operation/emergency_lock_key",
        secret=True,
    ),
    Option(
        "report_version",
        Kind.TEXT,
        "Version that 'status' reports, for clients that compare it. Default: our own.",
        ("--report-version",),
        ("REMANAGER_REPORT_VERSION",),
        "remanager/report_version",
    ),
    Option(
        "allow_manager_kill",
        Kind.SWITCH,
        "Answer the request 'manager_kill', which stops the manager dead for tests of recovery.",
        ("--allow-manager-kill",),
        ("REMANAGER_ALLOW_MANAGER_KILL",),
        "remanager/allow_manager_kill",
    ),
    Option(
        "on_stop",
        Kind.CHOICE,
        "What SIGTERM does to workers: close the environment, killing a plan that runs; leave them, for the "
        "next start to take over; or leave them when systemd restarts the service, and close on a stop.",
        ("--on-stop",),
        ("REMANAGER_ON_STOP",),
        "remanager/on_stop",
        choices=("close", "leave-workers", "leave-on-restart"),
        group=_SERVICE,
    ),
    Option(
        "worker_scope",
        Kind.CHOICE,
        "Start each worker in a scope of systemd: none, of the user's or of the system's service manager.",
        ("--worker-scope",),
        ("REMANAGER_WORKER_SCOPE",),
        "remanager/worker_scope",
        choices=("off", "user", "system"),
        group=_SERVICE,
    ),
    Option(
        "manager_scheduling",
        Kind.CHOICE,
        "Whether the manager's thread that writes to the disk takes real-time priority (the lowest) where "
        "the system permits it, so that changes do not wait while other programs compute.",
        ("--manager-scheduling",),
        ("REMANAGER_MANAGER_SCHEDULING",),
        "remanager/manager_scheduling",
        choices=("auto", "normal"),
        group=_SERVICE,
    ),
    *TASK_OPTIONS,
)

_REDIS = "not needed: the queue and the history are kept in a file of the state directory (--state-dir)"
_DOCUMENTS = "not supported: subscribe a publisher to the RunEngine in the start-up code instead"

UNNEEDED: tuple[Unneeded, ...] = (
    Unneeded(("--redis-addr",), "network/redis_addr", _REDIS),
    Unneeded(("--redis-name-prefix",), "network/redis_name_prefix", _REDIS),
    Unneeded(
        ("--keep-re",), "startup/keep_re", "not needed: the start-up code always makes the RunEngine", False
    ),
    Unneeded(("--kafka-topic",), "", _DOCUMENTS),
    Unneeded(("--kafka-server",), "", _DOCUMENTS),
    Unneeded(("--zmq-data-proxy-addr",), "", _DOCUMENTS),
    Unneeded(("--databroker-config",), "", _DOCUMENTS),
    Unneeded(
        ("--use-persistent-metadata",),
        "",
        "not supported: give the RunEngine a persistent dictionary in the start-up code instead",
        False,
    ),
)

CONFIG_VARIABLE = "QSERVER_CONFIG"
"""Environment variable with the path of the configuration file; the option is ``--config``."""
