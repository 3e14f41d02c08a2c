"""The collector's certificate and the authority that signs it: whether what there is will do, and what takes its place.

Pure, but for chance: keys are drawn. Knows no Secret and no API server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=90)
AUTHORITY_LIFE = timedelta(days=3650)
# A clock that is a little behind must find it valid.
SLACK = timedelta(minutes=5)
# Of its life; with less left it is made anew.
LEAST_LEFT = 1 / 3


class ForeignError(Exception):
    """What is there was made by something else, which is to renew it too; a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """PEM, empty where there is none. Of the certificates in `authorities` the first signs, with `authority_key`."""

    certificate: bytes = b""
    key: bytes = b""
    authorities: bytes = b""
    authority_key: bytes = b""


def renewed(held: Held, names: Sequence[str], now: datetime) -> tuple[Held, str]:
    """What to hold from `now` (with time zone) on, which is `held` itself where that will do, and what was done, as the end of a
    sentence. The certificate is for the DNS `names`. Raises ForeignError.

    A new authority stands beside the former first, and signs when this is asked again: until then everybody has read it.
    """
    if held.certificate and not held.authority_key:
        return held, _left_alone(held.certificate, names, now)
    signer = _certificates(held.authorities)[:1]
    if not signer or not _fits(signer[0], held.authority_key) or signer[0].not_valid_after_utc <= now:
        made = _issued(_new_authority(now), names, now)
        return made, f"a new authority and a certificate, {_until(made.certificate)}"
    if _wears_out(signer[0], now):
        return _succeeded(held, names, now)
    why = _fault(held, signer[0], names, now)
    if not why:
        return held, f"nothing: the certificate is {_until(held.certificate)}"
    made = _issued(held, names, now)
    return made, f"a certificate of the same authority, as {why}; it is {_until(made.certificate)}"


def _left_alone(certificate: bytes, names: Sequence[str], now: datetime) -> str:
    found = _certificates(certificate)
    why = "it cannot be read" if not found else _unusable(found[0], names, now)
    if why:
        raise ForeignError(f"the certificate there was made by something else (it has no ca.key), and {why}")
    return f"nothing: the certificate was made by something else, and is {_until(certificate)}"


def _succeeded(held: Held, names: Sequence[str], now: datetime) -> tuple[Held, str]:
    """A new authority before those that are still valid; what the former has signed stays while it can."""
    former = [each for each in _certificates(held.authorities) if each.not_valid_after_utc > now]
    authority = _new_authority(now)
    bundle = authority.authorities + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in former)
    made = replace(held, authorities=bundle, authority_key=authority.authority_key)
    if _fault(held, former[0], names, now):
        made = _issued(made, names, now)
        return made, f"a new authority beside the former and a certificate, {_until(made.certificate)}"
    return made, "a new authority beside the former, which signs from the next time on"


def _fault(held: Held, signer: x509.Certificate, names: Sequence[str], now: datetime) -> str:
    """Why the certificate will not do; empty where it will."""
    found = _certificates(held.certificate)
    if not found:
        return "there was none that can be read"
    if not _fits(found[0], held.key):
        return "the key there was another's"
    try:
        found[0].verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return "the former was signed by another authority"
    if unusable := _unusable(found[0], names, now):
        return unusable
    return f"the former is {_until(held.certificate)}" if _wears_out(found[0], now) else ""


def _unusable(certificate: x509.Certificate, names: Sequence[str], now: datetime) -> str:
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        return "it is not valid now"
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        missing = set(names) - set(alternatives.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        missing = set(names)
    return f"it is not for {', '.join(sorted(missing))}" if missing else ""


def _wears_out(certificate: x509.Certificate, now: datetime) -> bool:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < life * LEAST_LEFT


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _fits(certificate: x509.Certificate, key: bytes) -> bool:
    try:
        public = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError):
        return False
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _new_authority(now: datetime) -> Held:
    """An authority that has signed nothing yet. Its name has the day, so that two beside each other are told apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named(f"pathtap {now.astimezone(UTC):%Y-%m-%d}")
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Held(authorities=certificate.public_bytes(serialization.Encoding.PEM), authority_key=_private(key))


def _issued(held: Held, names: Sequence[str], now: datetime) -> Held:
    authority = _certificates(held.authorities)[0]
    signer = serialization.load_pem_private_key(held.authority_key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - `_new_authority` made it
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_named(names[0]), authority.subject, key.public_key(), now, LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return replace(held, certificate=certificate.public_bytes(serialization.Encoding.PEM), key=_private(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form)


def _until(certificate: bytes) -> str:
    return f"valid until {_certificates(certificate)[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
