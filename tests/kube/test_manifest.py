"""daemonset.yaml: what it is made of, that the programs know every word of it, and that a real API server takes it."""

import json
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kube import running_control_plane

from pathtap.agent.program import main as agent
from pathtap.collector import certify
from pathtap.collector.program import command as collector
from pathtap.lab.kube.control_plane import ControlPlane

TOP = Path(__file__).resolve().parents[2]
MANIFEST = TOP / "daemonset.yaml"
OVERLAYS = ("own-image", "resources", "nodes", "without-sys-admin", "cert-manager")
ACCOUNT = "system:serviceaccount:pathtap:pathtap-"


def objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


def named(text: str, kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in objects(text) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def kind_and_name(each: Mapping[str, Any]) -> tuple[str, str]:
    return each["kind"], each["metadata"]["name"]


def container(text: str, kind: str, name: str) -> dict[str, Any]:
    (only,) = named(text, kind, name)["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of its own: what is deleted in one without controllers stays as good as deleted for ever."""
    with running_control_plane(tmp_path_factory.mktemp("manifest")) as running:
        running.kubectl("apply", "-f", str(MANIFEST))
        yield running


def test_it_is_what_the_tool_makes_of_the_base(tmp_path: Path) -> None:
    subprocess.run([TOP / "tools" / "manifest", tmp_path / "made.yaml"], check=True)
    assert (tmp_path / "made.yaml").read_text() == MANIFEST.read_text()


@pytest.mark.parametrize(
    ("kind", "name", "program"),
    [
        ("DaemonSet", "pathtap-agent", agent),
        ("StatefulSet", "pathtap-collector", collector),
        ("Deployment", "pathtap-certificate", certify.command),
    ],
)
def test_the_programs_know_every_flag(kind: str, name: str, program: click.Command) -> None:
    spec = container(MANIFEST.read_text(), kind, name)
    arguments = [each for each in spec["args"] if each != "certificate"]
    context = click.Context(program)
    given, left, _ = program.make_parser(context).parse_args(list(arguments))
    assert not left
    environment = {each["name"] for each in spec.get("env", ())}
    for option in (each for each in program.params if each.required):
        assert option.name in given or environment & set(option.envvar or ()), option.name


def test_all_images_are_of_this_version() -> None:
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    pods = [
        each["spec"]["template"]["spec"] for each in objects(MANIFEST.read_text()) if "template" in each.get("spec", {})
    ]
    images = {each["image"] for pod in pods for each in pod["containers"]}
    assert images == {f"pathtap-agent:{version}", f"pathtap-collector:{version}"}


def test_nothing_is_granted_that_has_no_reason() -> None:
    text = MANIFEST.read_text()
    pod = named(text, "DaemonSet", "pathtap-agent")["spec"]["template"]["spec"]
    granted = pod["containers"][0]["securityContext"]
    assert granted["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW", "NET_ADMIN", "SYS_ADMIN"]}
    assert granted["readOnlyRootFilesystem"] is True
    assert granted["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert "hostPID" not in pod
    assert "hostIPC" not in pod
    assert all(mount["readOnly"] is True for mount in pod["containers"][0]["volumeMounts"])
    bound = {subject["name"] for each in objects(text) for subject in each.get("subjects", ())}
    assert bound == {"pathtap-collector", "pathtap-certificate"}
    for kind, name in (("StatefulSet", "pathtap-collector"), ("Deployment", "pathtap-certificate")):
        assert restricted(named(text, kind, name)["spec"]["template"]["spec"])


def restricted(pod: Mapping[str, Any]) -> bool:
    """Whether the pod security standard `restricted` admits it."""
    contexts = [each["securityContext"] for each in pod["containers"]]
    inside = all(
        each["capabilities"] == {"drop": ["ALL"]}
        and each["allowPrivilegeEscalation"] is False
        and each["readOnlyRootFilesystem"] is True
        for each in contexts
    )
    whole = pod["securityContext"]
    return bool(
        inside and whole["runAsNonRoot"] and whole["runAsUser"] and whole["seccompProfile"]["type"] == "RuntimeDefault"
    )


@pytest.mark.kube
def test_the_api_server_takes_it_twice(cluster: ControlPlane) -> None:
    again = cluster.kubectl("apply", "-f", str(MANIFEST)).strip().splitlines()
    assert len(again) == len(objects(MANIFEST.read_text()))
    assert all(line.endswith(" unchanged") for line in again)


@pytest.mark.kube
def test_applying_again_keeps_the_certificate(cluster: ControlPlane) -> None:
    cluster.kubectl(
        "-n", "pathtap", "patch", "secret", "pathtap-collector-tls", "-p", '{"data": {"tls.crt": "a2VwdA=="}}'
    )
    cluster.kubectl("apply", "-f", str(MANIFEST))
    kept = cluster.kubectl("-n", "pathtap", "get", "secret", "pathtap-collector-tls", "-o", "jsonpath={.data}")
    assert kept == '{"tls.crt":"a2VwdA=="}'


@pytest.mark.kube
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_overlay_builds_and_is_taken(cluster: ControlPlane, overlay: str) -> None:
    built = cluster.kubectl("kustomize", str(TOP / "deploy" / "overlays" / overlay))
    # Its own kinds are cert-manager's, which this cluster does not have.
    known = [each for each in objects(built) if not each["apiVersion"].startswith("cert-manager.io/")]
    taken = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known))
    assert len(taken.splitlines()) == len(known)


@pytest.mark.kube
def test_overlays_change_what_they_say_and_nothing_else(cluster: ControlPlane) -> None:
    def of(overlay: str) -> str:
        return cluster.kubectl("kustomize", str(TOP / "deploy" / "overlays" / overlay))

    image = container(of("own-image"), "DaemonSet", "pathtap-agent")["image"]
    assert image == "registry.example/tools/pathtap-agent:0.1.0"
    without = container(of("without-sys-admin"), "DaemonSet", "pathtap-agent")
    assert without["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW", "NET_ADMIN"]}
    assert without["args"] == container(MANIFEST.read_text(), "DaemonSet", "pathtap-agent")["args"]
    assert container(of("resources"), "DaemonSet", "pathtap-agent")["resources"]["limits"] == {"memory": "640Mi"}
    nodes = named(of("nodes"), "DaemonSet", "pathtap-agent")["spec"]["template"]["spec"]
    assert nodes["nodeSelector"] == {"example.com/traced": "true"}
    assert nodes["affinity"]
    whole = cluster.kubectl("kustomize", str(TOP / "deploy" / "overlays" / "nodes"))
    assert {kind_and_name(each) for each in objects(whole)} == {
        kind_and_name(each) for each in objects(MANIFEST.read_text())
    }
    kinds = [each["kind"] for each in objects(of("cert-manager"))]
    assert "Secret" not in kinds
    assert "Deployment" not in kinds


def may(cluster: ControlPlane, user: str, words: str) -> bool:
    """What the authorizer says of "VERB GROUP/RESOURCE[/SUBRESOURCE][=NAME] [NAMESPACE]"; the core group is empty."""
    verb, what, *namespace = words.split()
    resource, _, name = what.partition("=")
    group, kind, *subresource = resource.split("/")
    attributes = {"verb": verb, "group": group, "resource": kind, "name": name, "namespace": "".join(namespace)}
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {**attributes, "subresource": "".join(subresource)}},
    }
    answer = cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(asked))
    return json.loads(answer)["status"]["allowed"] is True


@pytest.mark.kube
@pytest.mark.parametrize(
    ("account", "allowed", "words"),
    [
        ("agent", False, "list /pods"),
        ("agent", False, "get /secrets pathtap"),
        ("agent", False, "get /configmaps=pathtap-ca pathtap"),
        ("collector", True, "watch /pods"),
        ("collector", True, "list discovery.k8s.io/endpointslices"),
        ("collector", True, "create authentication.k8s.io/tokenreviews"),
        ("collector", True, "create authorization.k8s.io/subjectaccessreviews"),
        ("collector", True, "get /configmaps=extension-apiserver-authentication kube-system"),
        ("collector", True, "update /configmaps=pathtap-ca pathtap"),
        ("collector", False, "update /configmaps=other pathtap"),
        ("collector", False, "get /secrets=pathtap-collector-tls pathtap"),
        ("collector", False, "create /pods/exec pathtap"),
        ("collector", False, "create pathtap.dev/traces"),
        ("certificate", True, "update /secrets=pathtap-collector-tls pathtap"),
        ("certificate", False, "get /secrets=other pathtap"),
        ("certificate", False, "create /secrets pathtap"),
        ("certificate", False, "list /pods pathtap"),
    ],
)
def test_who_may_what(cluster: ControlPlane, account: str, allowed: bool, words: str) -> None:
    assert may(cluster, f"{ACCOUNT}{account}", words) is allowed


@pytest.mark.kube
def test_a_user_needs_both_roles_and_gets_no_more(cluster: ControlPlane) -> None:
    reach = (
        "get /configmaps=pathtap-ca pathtap",
        "list discovery.k8s.io/endpointslices pathtap",
        "get /pods/portforward=pathtap-collector-0 pathtap",
        "create /pods/portforward=pathtap-collector-0 pathtap",
    )
    assert not any(may(cluster, "kim", each) for each in (*reach, "create pathtap.dev/traces default"))
    cluster.kubectl("-n", "pathtap", "create", "rolebinding", "kim", "--role=pathtap-user", "--user=kim")
    cluster.kubectl("-n", "default", "create", "rolebinding", "kim", "--clusterrole=pathtap-user", "--user=kim")
    # The authorizer follows what was written a moment later.
    deadline = time.monotonic() + 20
    while not all(may(cluster, "kim", each) for each in (*reach, "create pathtap.dev/traces default")):
        assert time.monotonic() < deadline
    for more in (
        "create pathtap.dev/traces",
        "create pathtap.dev/traces pathtap",
        "get /secrets pathtap",
        "list /pods pathtap",
        # It is in its node's network: what listens on the node's loopback would answer.
        "create /pods/portforward=pathtap-agent-x7k2p pathtap",
        "get /pods/portforward=pathtap-agent-x7k2p pathtap",
    ):
        assert not may(cluster, "kim", more), more


@pytest.mark.kube
def test_all_of_it_can_be_deleted(tmp_path: Path) -> None:
    with running_control_plane(tmp_path) as cluster:
        cluster.kubectl("apply", "-f", str(MANIFEST))
        gone = cluster.kubectl("delete", "--wait=false", "-f", str(MANIFEST)).strip().splitlines()
        assert len(gone) == len(objects(MANIFEST.read_text()))
        left = cluster.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert "pathtap" not in left
