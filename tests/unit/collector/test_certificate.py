"""When the collector's certificate is made anew, by whom, and when it is left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from pathtap.collector.certificate import ForeignError, Held, renewed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ("pathtap-collector.pathtap.svc", "pathtap-collector.pathtap", "pathtap-collector")


@pytest.fixture(scope="module")
def first() -> Held:
    made, what = renewed(Held(), NAMES, NOW)
    assert what.startswith("a new authority and a certificate, valid until 2026-05-30")
    return made


def leaf(held: Held) -> x509.Certificate:
    return x509.load_pem_x509_certificate(held.certificate)


def authorities(held: Held) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(held.authorities)


def test_a_first_certificate_is_for_the_service_and_of_its_authority(first: Held) -> None:
    certificate, (authority,) = leaf(first), authorities(first)
    certificate.verify_directly_issued_by(authority)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == list(NAMES)
    assert certificate.not_valid_before_utc < NOW
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_sound_one_is_kept(first: Held) -> None:
    assert renewed(first, NAMES, NOW + 59 * DAY) == (
        first,
        "nothing: the certificate is valid until 2026-05-30 12:00 UTC",
    )


def test_with_less_than_a_third_left_the_same_authority_signs_another(first: Held) -> None:
    made, what = renewed(first, NAMES, NOW + 61 * DAY)
    assert made.authorities == first.authorities
    assert made.key != first.key
    leaf(made).verify_directly_issued_by(authorities(first)[0])
    assert leaf(made).not_valid_after_utc == NOW + 151 * DAY
    assert "of the same authority" in what


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"certificate": b"no PEM"}, "none that can be read"),
        ({"certificate": b""}, "none that can be read"),
        ({"key": b""}, "another's"),
    ],
)
def test_what_is_broken_is_made_anew_by_the_same_authority(first: Held, broken: dict[str, bytes], why: str) -> None:
    made, what = renewed(replace(first, **broken), NAMES, NOW)
    assert why in what
    assert made.authorities == first.authorities
    assert renewed(made, NAMES, NOW)[0] == made


def test_a_certificate_for_other_names_is_made_anew(first: Held) -> None:
    made, what = renewed(first, ("pathtap-collector.tools.svc",), NOW)
    assert "it is not for pathtap-collector.tools.svc" in what
    assert leaf(made) != leaf(first)


def test_without_a_sound_authority_all_is_made_anew(first: Held) -> None:
    other, _ = renewed(Held(), NAMES, NOW)
    for held in (replace(first, authorities=b""), replace(first, authority_key=other.authority_key)):
        made, what = renewed(held, NAMES, NOW)
        assert what.startswith("a new authority and a certificate")
        leaf(made).verify_directly_issued_by(authorities(made)[0])
        assert authorities(made) != authorities(first)


def test_a_new_authority_is_known_before_it_signs(first: Held) -> None:
    late = NOW + 2440 * DAY
    recent, _ = renewed(first, NAMES, NOW + 2430 * DAY)
    known, what = renewed(recent, NAMES, late)
    assert "beside the former" in what
    assert authorities(known)[1:] == authorities(first)
    assert leaf(known) == leaf(recent)
    signed, _ = renewed(known, NAMES, late + timedelta(hours=12))
    leaf(signed).verify_directly_issued_by(authorities(known)[0])
    assert signed.authorities == known.authorities


def test_what_something_else_made_is_left_alone_while_it_is_sound(first: Held) -> None:
    foreign = replace(first, authority_key=b"")
    assert renewed(foreign, NAMES, NOW)[0] == foreign
    for names, now in ((NAMES, NOW + 91 * DAY), (("other.svc",), NOW)):
        with pytest.raises(ForeignError, match=r"made by something else.* it is not"):
            renewed(foreign, names, now)
    with pytest.raises(ForeignError, match="it cannot be read"):
        renewed(replace(foreign, certificate=b"x"), NAMES, NOW)
