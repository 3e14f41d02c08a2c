"""`pathtap-collector certificate` against a real API server, with the rights that the manifest gives it."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pathtap.lab.kube.control_plane import ControlPlane

pytestmark = pytest.mark.kube

KEYS = ("ca.crt", "ca.key", "tls.crt", "tls.key")


def certificate(kubeconfig: Path, namespace: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pathtap.collector", "certificate", "--kubeconfig", str(kubeconfig)]
    return subprocess.run([*argv, "--namespace", namespace], capture_output=True, text=True, check=False, timeout=60)


def secret(control_plane: ControlPlane, namespace: str) -> dict[str, str]:
    found = control_plane.kubectl("-n", namespace, "get", "secret", "pathtap-collector-tls", "-o", "json")
    return dict(json.loads(found).get("data") or {})


def test_it_makes_the_secret_once_and_leaves_a_sound_one(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "namespace", "certified")
    made = certificate(control_plane.admin, "certified")
    assert made.returncode == 0, made.stderr
    assert len(made.stderr.splitlines()) == 1
    assert "a new authority and a certificate, valid until" in made.stderr
    data = secret(control_plane, "certified")
    assert sorted(data) == sorted(KEYS)
    assert "nothing: the certificate is valid until" in certificate(control_plane.admin, "certified").stderr
    assert secret(control_plane, "certified") == data


def test_it_fills_an_empty_secret_and_keeps_the_authority_of_a_broken_one(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "namespace", "refilled")
    control_plane.kubectl("-n", "refilled", "create", "secret", "generic", "pathtap-collector-tls")
    assert certificate(control_plane.admin, "refilled").returncode == 0
    before = secret(control_plane, "refilled")
    broken = json.dumps({"data": {"tls.crt": base64.b64encode(b"broken").decode()}})
    control_plane.kubectl("-n", "refilled", "patch", "secret", "pathtap-collector-tls", "-p", broken)
    assert "of the same authority" in certificate(control_plane.admin, "refilled").stderr
    after = secret(control_plane, "refilled")
    assert after["ca.crt"] == before["ca.crt"]
    assert after["tls.crt"] not in (before["tls.crt"], base64.b64encode(b"broken").decode())


def test_it_overwrites_nothing_that_something_else_made(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "namespace", "foreign")
    theirs = ("--from-literal=tls.crt=theirs", "--from-literal=tls.key=theirs")
    control_plane.kubectl("-n", "foreign", "create", "secret", "generic", "pathtap-collector-tls", *theirs)
    refused = certificate(control_plane.admin, "foreign")
    assert refused.returncode == 1
    assert "made by something else" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert base64.b64decode(secret(control_plane, "foreign")["tls.crt"]) == b"theirs"


def test_without_the_right_to_it_the_sentence_says_so(control_plane: ControlPlane) -> None:
    nobody = control_plane.kubeconfig("no-secrets", pair=control_plane.authority.client("nobody"))
    refused = certificate(nobody, "default")
    assert refused.returncode == 1
    assert 'User "nobody" cannot get resource "secrets"' in refused.stderr
    assert "Traceback" not in refused.stderr
