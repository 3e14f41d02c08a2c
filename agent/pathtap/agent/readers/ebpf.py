"""Asks the kernel about eBPF programs by bpf(2): what is attached by tcx, and what a program is called. Loads none.

linux/bpf.h and kernel/bpf/syscall.c. The system call has no wrapper in the C library.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping

_BPF_PROG_GET_FD_BY_ID = 13
_BPF_OBJ_GET_INFO_BY_FD = 15
_BPF_PROG_QUERY = 16
# enum bpf_attach_type, by the hook's name.
_TCX = {"ingress": 46, "egress": 47}
# By machine: asm/unistd.h.
_NUMBERS = {"x86_64": 321, "aarch64": 280}
# What a kernel before 6.6, which has no tcx, or one without eBPF answers.
_ABSENT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_MOST_PROGRAMS = 64

# The beginnings of union bpf_attr for each command, and where struct bpf_prog_info has the name.
_QUERY = struct.Struct("=IIIIQI")
_INFORMATION = struct.Struct("=IIQ")
_INFORMATION_BYTES = 128
_ATTRIBUTE_BYTES = 128
_NAME = slice(64, 80)


def tcx_programs(interfaces: Mapping[int, str]) -> tuple[tuple[str, str, int], ...]:
    """Interface, hook and program id, for each of `interfaces` (names by index). Raises OSError where it may not be asked.

    Needs CAP_NET_ADMIN. Empty for a kernel or a machine that has no tcx, or none that is known here.
    """
    if platform.machine() not in _NUMBERS:
        return ()
    found = []
    for index, name in interfaces.items():
        for hook, attached in _TCX.items():
            try:
                found += [(name, hook, program) for program in _query(index, attached)]
            except OSError as error:
                if error.errno in _ABSENT:
                    return ()
                if error.errno != errno.ENODEV:
                    raise OSError(f"bpf(2) does not tell which tcx programs are attached: {error.strerror}") from error
    return tuple(found)


def program_names(programs: frozenset[int]) -> dict[int, str]:
    """By id, of those that the kernel tells; it needs CAP_SYS_ADMIN, and a program may be gone."""
    names = {}
    for program in programs if platform.machine() in _NUMBERS else ():
        try:
            names[program] = _name(program)
        except OSError:
            continue
    return names


def _query(index: int, attached: int) -> tuple[int, ...]:
    programs = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    asked = _QUERY.pack(index, attached, 0, 0, ctypes.addressof(programs), _MOST_PROGRAMS)
    _, answer = _bpf(_BPF_PROG_QUERY, asked)
    *_, count = _QUERY.unpack_from(answer)
    return tuple(programs[: min(count, _MOST_PROGRAMS)])


def _name(program: int) -> str:
    descriptor, _ = _bpf(_BPF_PROG_GET_FD_BY_ID, struct.pack("=I", program))
    try:
        information = ctypes.create_string_buffer(_INFORMATION_BYTES)
        asked = _INFORMATION.pack(descriptor, _INFORMATION_BYTES, ctypes.addressof(information))
        _bpf(_BPF_OBJ_GET_INFO_BY_FD, asked)
        return information.raw[_NAME].partition(b"\0")[0].decode(errors="backslashreplace")
    finally:
        os.close(descriptor)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """The call's result, and the attributes as the kernel left them. Raises OSError."""
    # The kernel writes to fields behind those that were asked with (query.revision).
    shared = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    result = ctypes.CDLL(None, use_errno=True).syscall(_NUMBERS[platform.machine()], command, shared, _ATTRIBUTE_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, shared.raw
