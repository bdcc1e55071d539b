"""What the system's service manager keeps from the daemon. Start-up code drives hardware: what would break a
driver is off, and the file says why."""

from __future__ import annotations

SANDBOX = """\

# ---- Sandbox. Start-up code talks to hardware through libraries of all kinds; each line says what it costs.

# No program gets more rights than the service has: sudo and other set-uid programs do not work in plans.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
# /usr, /boot and /etc are read-only. Not 'strict': data directories and file servers stay writable.
ProtectSystem=full
# Start-up code in home directories can be read. For data in home directories: no.
ProtectHome=read-only
# Off: workers outlive a restart, and systemd removes a private /tmp on a stop. X11 and libraries meet there.
PrivateTmp=no
# Off: serial ports, USB, cameras, GPUs and real-time cards are devices. To narrow it down:
# DevicePolicy=closed and DeviceAllow=char-ttyUSB rw, char-usb_device rw, /dev/nvidia0 rw ...
PrivateDevices=no
# Off: it permits no device but the clock. Without capabilities nobody can set the clock anyway.
ProtectClock=no
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
# Processes of other users are hidden. The rest of /proc stays: drivers of GPUs are asked there.
ProtectProc=invisible
ProcSubset=all
# Off: devices and file servers are on the network, found by broadcast (Channel Access, PVA) and on any port.
# To narrow it down: IPAddressDeny=any and IPAddressAllow=localhost 10.1.0.0/16.
PrivateNetwork=no
# CAN is a bus of instruments; netlink tells of interfaces and of USB devices.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_CAN
# Off: data are written for other users, whose names must stay what they are.
PrivateUsers=no
# Off: shared memory and queues connect the worker with other programs, and outlive a restart with it.
#PrivateIPC=no
RemoveIPC=no
# No containers in plans. Needed for apptainer, podman, bubblewrap: RestrictNamespaces=no.
RestrictNamespaces=yes
# The manager's thread that writes to the disk takes the lowest real-time priority: changes do not wait while
# other programs compute. Against that: RestrictRealtime=yes.
RestrictRealtime=no
LimitRTPRIO=1
# Off: data directories with the set-group-id bit are copied with their mode.
RestrictSUIDSGID=no
LockPersonality=yes
# Off: numba, GPU libraries and callbacks from C (ctypes, EPICS) write code and execute it.
MemoryDenyWriteExecute=no
# No 32-bit helpers of vendors. For one: remove this line.
SystemCallArchitectures=native
# What services need: no mounting, rebooting, loading of modules, tracing, raw ports. A call that is not
# permitted fails with an error that the library can report.
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
KeyringMode=private
# Files are readable by the group, not by everybody. Where data shall be public: 0022.
UMask=0027
"""
