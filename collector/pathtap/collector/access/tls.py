"""The collector's certificate and the client authority, from files that change beneath it: a mounted Secret that is renewed.

gRPC asks before each handshake; connections that are there keep what they were made with. A pair that does not fit together
is not taken: the former stays in use, and the log says so.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


class CertificateError(Exception):
    """A certificate or key that cannot be used, as a sentence."""


class KeyPair:
    """The files of one certificate, chain included, and its key. Raises CertificateError where they cannot be used at first."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (key, certificate)
        self._stamps = tuple(map(_stamp, self._files))
        self._pair = _read(self._files)

    def current(self) -> tuple[bytes, bytes]:
        """Key and chain, PEM, as gRPC takes them."""
        try:
            stamps = tuple(map(_stamp, self._files))
            if stamps != self._stamps:
                pair = _read(self._files)
                self._stamps = stamps
                if pair != self._pair:
                    self._pair = pair
                    log.info("the certificate was read again: %s", said(pair[1]))
        except CertificateError as error:
            log.warning("%s; the former certificate stays in use", error)
        return self._pair


def credentials(pair: KeyPair, clients: Callable[[], bytes] | None) -> grpc.ServerCredentials:
    """`clients` gives the certificates, PEM, that sign those of clients, which must then show one."""
    used = _configuration(pair, clients)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        now = _configuration(pair, clients)
        if now[0] == used[0]:
            return None
        used = now
        return now[1]

    # None is for no change, which types-grpcio does not know.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], changed)
    return grpc.dynamic_ssl_server_credentials(used[1], fetch, require_client_authentication=clients is not None)


def said(chain: bytes) -> str:
    """A certificate in a few words."""
    first = x509.load_pem_x509_certificates(chain)[0]
    return (
        f"{first.subject.rfc4514_string() or 'no subject'}, valid until {first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    )


Configuration = tuple[tuple[tuple[bytes, bytes], bytes | None], grpc.ServerCertificateConfiguration]


def _configuration(pair: KeyPair, clients: Callable[[], bytes] | None) -> Configuration:
    current, roots = pair.current(), clients() if clients is not None else None
    return (current, roots), grpc.ssl_server_certificate_configuration([current], root_certificates=roots)


def _stamp(path: Path) -> Stamp:
    """Tells a file from what it was: by its time, and by its inode where a link leads elsewhere now."""
    try:
        seen = path.stat()
    except OSError as error:
        raise CertificateError(_unreadable(path, error)) from error
    return seen.st_mtime_ns, seen.st_ino, seen.st_size


def _read(files: tuple[Path, Path]) -> tuple[bytes, bytes]:
    read = []
    for path in files:
        try:
            read.append(path.read_bytes())
        except OSError as error:
            raise CertificateError(_unreadable(path, error)) from error
    key, chain = read
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        public = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError, IndexError) as error:
        raise CertificateError(f"{files[1]} and {files[0]} are no certificate and key in PEM: {error}") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CertificateError(f"the key {files[0]} is not that of the certificate {files[1]}")
    return key, chain


def _unreadable(path: Path, error: OSError) -> str:
    return (
        f"cannot read {path}: {error.strerror}. In a cluster it is of the Secret pathtap-collector-tls: is that there?"
    )
