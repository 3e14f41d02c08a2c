"""Who asks, as reviews, certificates and pods say it; what is remembered of it; and in which words it is refused or logged."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pathtap.collector.access.audit import Asked, Seldom, line
from pathtap.collector.access.bundle import MOST_FORMER, merged
from pathtap.collector.access.cache import Cache
from pathtap.collector.access.gate import bearer_token, refusal
from pathtap.collector.access.identity import (
    NODE_NAME,
    POD_NAME,
    POD_UID,
    BoundPod,
    User,
    bound_pod,
    expiry,
    node_of,
    user_of_certificate,
    user_of_review,
)
from pathtap.collector.access.refusal import Refused
from pathtap.collector.access.tls import CertificateError, KeyPair
from pathtap.lab.kube.certificates import new_authority

UNKNOWN, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGENT = "system:serviceaccount:pathtap:pathtap-agent"
BOUND = BoundPod(namespace="pathtap", name="agent-1", uid="u1", node="")


def reviewed(**status: Any) -> dict[str, Any]:
    return {"status": {"authenticated": True, "user": {"username": "ann"}, **status}}


def agent(**changes: Any) -> User:
    extra = {POD_NAME: ("agent-1",), POD_UID: ("u1",)}
    return User(**{"name": AGENT, "extra": extra, **changes})


def pod(**changes: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u1"}, "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}, **changes}


def status_of(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.status


def test_a_review_says_who() -> None:
    user = {"username": "ann", "uid": "7", "groups": ["a", "b"], "extra": {"k": ["1", "2"]}}
    found = user_of_review(reviewed(user=user), "")
    assert found == User(name="ann", uid="7", groups=("a", "b"), extra={"k": ("1", "2")})
    assert user_of_review(reviewed(audiences=["pathtap-collector"]), "pathtap-collector").name == "ann"


@pytest.mark.parametrize(
    ("review", "audience"),
    [
        ({}, ""),
        ({"status": {"authenticated": False, "error": "expired"}}, ""),
        ({"status": {"user": {"username": "ann"}}}, ""),
        (reviewed(authenticated="yes"), ""),
        (reviewed(user={}), ""),
        # An API server that does not know audiences accepts the token all the same.
        (reviewed(), "pathtap-collector"),
        (reviewed(audiences=["another"]), "pathtap-collector"),
    ],
)
def test_anything_less_is_nobody(review: dict[str, Any], audience: str) -> None:
    assert status_of(lambda: user_of_review(review, audience)) is UNKNOWN


def test_an_agent_is_bound_to_a_pod() -> None:
    assert bound_pod(agent(), "pathtap/pathtap-agent") == BOUND
    named = agent(extra={POD_NAME: ("agent-1",), POD_UID: ("u1",), NODE_NAME: ("node-1",)})
    assert bound_pod(named, "pathtap/pathtap-agent").node == "node-1"


@pytest.mark.parametrize(
    "user",
    [
        agent(name="system:serviceaccount:other:pathtap-agent"),
        agent(name="ann"),
        agent(extra={}),
        agent(extra={POD_NAME: ("agent-1",)}),
        agent(extra={POD_NAME: ("agent-1", "agent-2"), POD_UID: ("u1",)}),
    ],
)
def test_anybody_else_is_no_agent(user: User) -> None:
    assert status_of(lambda: bound_pod(user, "pathtap/pathtap-agent")) is DENIED


def test_the_pod_says_the_node() -> None:
    assert node_of(pod(), BOUND) == "node-1"
    assert node_of(pod(), BoundPod(namespace="pathtap", name="agent-1", uid="u1", node="node-1")) == "node-1"


@pytest.mark.parametrize(
    "found",
    [
        {},
        pod(metadata={"uid": "u2"}),
        pod(status={"phase": "Failed"}),
        pod(spec={}),
        pod(spec={"nodeName": "node-2"}),
    ],
)
def test_another_pod_or_another_node_is_refused(found: dict[str, Any]) -> None:
    bound = BoundPod(namespace="pathtap", name="agent-1", uid="u1", node="node-1")
    assert status_of(lambda: node_of(found, bound)) is DENIED


def test_a_certificate_says_who_while_it_is_valid() -> None:
    authority = new_authority("clients", NOW)
    pem = authority.client("ann", ("dev", "ops", "dev")).certificate
    assert user_of_certificate(pem, NOW) == User(name="ann", groups=("dev", "ops", "system:authenticated"))
    for moment in (NOW - timedelta(days=1), NOW + timedelta(days=30)):
        with pytest.raises(Refused, match="was valid from") as refused:
            user_of_certificate(pem, moment)
        assert refused.value.status is UNKNOWN
    assert status_of(lambda: user_of_certificate(b"none", NOW)) is UNKNOWN


@pytest.mark.parametrize("names", [(), ("ann", "root")])
def test_a_certificate_of_nobody_or_of_two_is_nobodys(names: tuple[str, ...]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW, NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    assert status_of(lambda: user_of_certificate(signed, NOW)) is UNKNOWN


def token_of(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.c2ln"


def test_a_token_says_when_it_ends() -> None:
    assert expiry(token_of({"exp": 1_700_000_000})) == 1_700_000_000
    for other in ("opaque", "a.b.c", "a.é.c", token_of([]), token_of({"exp": "never"}), token_of({})):
        assert expiry(other) is None


def test_answers_are_remembered_for_a_while_and_not_without_bound() -> None:
    clock = [100.0]
    cache: Cache[int, str] = Cache(3, lambda: clock[0])
    for number in range(5):
        cache.put(number, str(number), 10)
    assert [cache.get(number) for number in range(5)] == [None, None, "2", "3", "4"]
    cache.put(2, "anew", 20)
    clock[0] += 10
    assert [cache.get(number) for number in (2, 3, 4)] == ["anew", None, None]
    cache.put(6, "late", -1)
    assert cache.get(6) is None


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer "),),
        (("authorization", "Basic YTpi"),),
        (("authorization", "token"),),
        (("authorization", "Bearer a"), ("authorization", "Bearer b")),
    ],
)
def test_one_bearer_token_or_nobody(metadata: tuple[tuple[str, str], ...]) -> None:
    assert status_of(lambda: bearer_token(metadata)) is UNKNOWN
    assert bearer_token((("x", "y"), ("authorization", "bearer  abc "))) == "abc"


def test_a_refusal_names_the_command_that_ends_it() -> None:
    said = refusal("o'neil; rm -rf /", "shop", "")
    assert "--user='o'\"'\"'neil; rm -rf /'" in said
    assert "rolebinding pathtap-o-neil--rm--rf " in said
    assert "--serviceaccount=ci:bot" in refusal("system:serviceaccount:ci:bot", "shop", "")
    assert "clusterrolebinding" in refusal("ann", "", "")
    assert "shop" not in refusal("ann", "shop", "192.0.2.7")


def test_the_audit_line_is_one_of_ascii_whatever_anybody_is_called() -> None:
    asked = Asked(id="1", what="trace", source="a\nb\u202e", destination="x" * 5000)
    said = line(asked, "ipv4:192.0.2.1:5", 'ann", "outcome": "allowed', "", "refused", "no\x1b[2J")
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 1000
    fields = json.loads(said.removeprefix("audit "))
    assert (fields["outcome"], fields["user"]) == ("refused", 'ann", "outcome": "allowed')
    assert fields["source"] == "a\nb\u202e"


def test_strangers_fill_no_log() -> None:
    clock = [5.0]
    seldom = Seldom(lambda: clock[0])
    assert [seldom.may_say() for _ in range(4)] == [0, None, None, None]
    clock[0] += 1
    assert seldom.may_say() == 3


def test_authorities_are_told_together_while_they_are_valid() -> None:
    first, second = (new_authority(name, NOW).pair.certificate for name in ("first", "second"))
    assert merged(first, b"", NOW) == first
    both = merged(second, first, NOW)
    assert both == second + first
    assert merged(second, both, NOW) == both
    assert merged(second, both, NOW + timedelta(days=30)) == second
    assert merged(second, b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n", NOW) == second
    many = b"".join(new_authority(str(number), NOW).pair.certificate for number in range(9))
    assert merged(first, many, NOW).count(b"BEGIN") == 1 + MOST_FORMER
    with pytest.raises(ValueError, match="PEM"):
        merged(b"", first, NOW)


def test_a_certificate_and_its_key_are_read_again_together(tmp_path: Path) -> None:
    authority = new_authority("k2", NOW)
    one, two = authority.server("one", ("one",)), authority.server("two", ("two",))
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    with pytest.raises(CertificateError, match=r"tls\.key: No such file"):
        KeyPair(certificate, key)
    certificate.write_bytes(b"none")
    key.write_bytes(one.key)
    with pytest.raises(CertificateError, match="no certificate and key"):
        KeyPair(certificate, key)
    certificate.write_bytes(one.certificate)
    pair = KeyPair(certificate, key)
    assert pair.current() == (one.key, one.certificate)
    key.write_bytes(two.key)
    assert pair.current() == (one.key, one.certificate)
    certificate.write_bytes(two.certificate)
    assert pair.current() == (two.key, two.certificate)
    key.unlink()
    assert pair.current() == (two.key, two.certificate)
