"""The bytes of an echo request, and which message answers it. Opens no socket."""

import struct

PAYLOAD = b"pathtap probe: please answer or ignore"
# RFC 792 and RFC 4443, by IP version.
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
_HEAD = struct.Struct("!BBHHH")


def payload(size: int) -> bytes:
    """So many bytes of it, over and over; for 0 all of it once."""
    return (PAYLOAD * (size // len(PAYLOAD) + 1))[:size] if size else PAYLOAD


def echo_request(version: int, identifier: int, sequence: int, size: int = 0) -> bytes:
    """The message with its checksum over IPv4; over IPv6 the kernel fills it in (RFC 3542, section 3.1)."""
    head = _HEAD.pack(ECHO_REQUEST[version], 0, 0, identifier, sequence & 0xFFFF)
    message = head + payload(size)
    checksum = internet_checksum(message) if version == 4 else 0
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(word for (word,) in struct.iter_unpack("!H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read_echo(message: bytes) -> tuple[int, int, int] | None:
    """Type, identifier and sequence of what begins as an echo message would; None for what is too short."""
    if len(message) < _HEAD.size:
        return None
    kind, _, _, identifier, sequence = _HEAD.unpack_from(message)
    return kind, identifier, sequence
