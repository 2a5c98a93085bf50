"""Started as a program of its own: becomes the wanted user, ties its life to its parent's, then turns
into the given command.

`python -I -S launch.py PARENT TIE SIGNAL MODE UID GID PROBE COMMAND...`

PARENT is the pid whose end sends SIGNAL to the command. TIE is how: `kernel` (Linux does it at once) or
`watch` (a process of its own looks once a second, on systems whose kernel does not). MODE is one of `plain`,
`userns` (a user namespace in which we appear as UID), `drop` (become UID) and `drop-dac` (become UID, but
keep root's right to pass directories that are closed to others). PROBE is a directory that has to be
writable, or `-`.

It is a program because a function run between fork and exec would run in a process with many threads; it
imports nothing of ours so that it starts in some 20 ms.
"""

import ctypes
import errno
import os
import sys
import time

UNREACHABLE = 97
"""Exit code: the wanted user cannot be had, or cannot write to the PROBE directory."""
NOT_EXECUTABLE = 98
"""Exit code: the command cannot be run by that user."""

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(ctypes.c_int(option), *words), f"prctl {option}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _enter_user_namespace(uid: int, gid: int) -> None:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "this system has no user namespaces")
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(ctypes.c_int(_CLONE_NEWUSER)), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {outer_uid} 1")
    _write("/proc/self/gid_map", f"{gid} {outer_gid} 1")


def _keep_dac_override() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bit = 1 << _CAP_DAC_OVERRIDE
    data = (ctypes.c_uint32 * 6)(
        bit, bit, bit, 0, 0, 0
    )  # effective, permitted, inheritable; then the high words
    _checked(_libc.capset(header, data), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _become(mode: str, uid: int, gid: int) -> None:
    if mode == "userns":
        _enter_user_namespace(uid, gid)
    elif mode in ("drop", "drop-dac"):
        if mode == "drop-dac":
            _prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        if mode == "drop-dac":
            _keep_dac_override()


def _tie_to(parent: int, tie: str, signal_number: int) -> None:
    if tie == "watch":
        _watch(parent, signal_number)
    else:
        # After the change of user: the kernel forgets the wish when credentials change.
        _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        raise SystemExit(0)  # the parent ended before the tie was made


def _watch(parent: int, signal_number: int) -> None:
    """Leaves behind a process that does what the kernel does elsewhere; it ends with either of the two."""
    command = os.getpid()  # what we turn into keeps it
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)  # the watcher is nobody's child: the command must not find one it does not know
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    while _lives(command):
        if not _lives(parent):
            os.kill(command, signal_number)
            break
        time.sleep(1.0)
    os._exit(0)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_writable(directory: str) -> None:
    name = os.path.join(directory, f".probe-{os.getpid()}")
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(name)


def _check_findable(mode: str, program: str) -> None:
    """PostgreSQL's programs look for each other with access(), which asks the user and not the capability."""
    if mode == "drop-dac" and not os.access(program, os.R_OK | os.X_OK):
        print(f"{program}: only readable by root's right", file=sys.stderr)
        raise SystemExit(NOT_EXECUTABLE)


def main(arguments: list[str]) -> None:
    """Does what the module says; only returns by an exit code."""
    parent, tie, signal_number, mode, uid, gid, probe, *command = arguments
    try:
        _become(mode, int(uid), int(gid))
        _tie_to(int(parent), tie, int(signal_number))
        if probe != "-":
            _check_writable(probe)
    except OSError as error:
        print(f"{mode}: {error}", file=sys.stderr)
        raise SystemExit(UNREACHABLE) from None
    _check_findable(mode, command[0])
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        raise SystemExit(NOT_EXECUTABLE) from None


if __name__ == "__main__":
    main(sys.argv[1:])
