"""Containers of a manifest's own words, run by containerd without a kubelet: capabilities, seccomp, read-only root, mounts."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]
IMAGES = TOP / "build" / "images"
# What runc and Docker give to who does not say otherwise; dropped one by one, for lack of a word for all.
USUAL = (
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
_SECONDS = 240


def agent_pod() -> dict[str, Any]:
    """The pod's spec in daemonset.yaml."""
    documents = yaml.safe_load_all((TOP / "daemonset.yaml").read_text())
    (daemon_set,) = [each for each in documents if each and each["kind"] == "DaemonSet"]
    return dict(daemon_set["spec"]["template"]["spec"])


def port_variables() -> list[str]:
    """What a kubelet calls the ports of the collector's Service."""
    documents = yaml.safe_load_all((TOP / "daemonset.yaml").read_text())
    (service,) = [each for each in documents if each and each["kind"] == "Service"]
    return [
        f"PATHTAP_COLLECTOR_SERVICE_PORT_{each['name'].upper().replace('-', '_')}" for each in service["spec"]["ports"]
    ]


def without_sys_admin() -> list[str]:
    """The capabilities of that overlay."""
    patch = yaml.safe_load((TOP / "deploy/overlays/without-sys-admin/capabilities.yaml").read_text())
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    return list(container["securityContext"]["capabilities"]["add"])


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a kubelet would fill in: the network namespace, each volume's directory, environment of Services and of the node;
    `capabilities` in place of the manifest's where they are given."""

    network: Path
    volumes: Mapping[str, Path]
    services: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    capabilities: Sequence[str] | None = None


def options_of(pod: Mapping[str, Any], place: Place) -> list[str]:
    """For `ctr run`, of the pod's one container. AssertionError for what this does not know how to ask for."""
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert pod["hostNetwork"]
    assert not pod.get("hostPID")
    assert context["capabilities"]["drop"] == ["ALL"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    added = context["capabilities"]["add"] if place.capabilities is None else place.capabilities
    options = ["--read-only", "--seccomp", "--with-ns", f"network:{place.network}"]
    options += [f"--cap-drop=CAP_{each}" for each in USUAL if each not in added]
    options += [f"--cap-add=CAP_{each}" for each in added if each not in USUAL]
    for mount in container["volumeMounts"]:
        assert mount["readOnly"]
        spread = {"HostToContainer": "rslave", "None": "rprivate"}[mount.get("mountPropagation", "None")]
        source = place.volumes[mount["name"]]
        options.append(f"--mount=type=bind,src={source},dst={mount['mountPath']},options=rbind:ro:{spread}")
    for name, value in {**place.services, **place.environment}.items():
        options.append(f"--env={name}={value}")
    return options


def arguments_of(pod: Mapping[str, Any], services: Mapping[str, str]) -> list[str]:
    """The container's arguments as a kubelet expands them."""
    arguments = list(pod["containers"][0]["args"])
    for name, value in services.items():
        arguments = [each.replace(f"$({name})", value) for each in arguments]
    return arguments


@dataclass(frozen=True)
class Runtime:
    """A containerd of this test's own."""

    directory: Path

    def ctr(self, *words: str) -> list[str]:
        return ["ctr", "--address", str(self.directory / "socket"), "--namespace", "pathtap", *words]

    def load(self, archive: Path) -> str:
        """The name of the one image in it."""
        before = self._images()
        subprocess.run(self.ctr("images", "import", str(archive)), check=True, capture_output=True, timeout=_SECONDS)
        (name,) = self._images() - before
        return name

    def _images(self) -> set[str]:
        listed = subprocess.run(
            self.ctr("images", "ls", "-q"), check=True, capture_output=True, text=True, timeout=_SECONDS
        )
        return set(listed.stdout.split())

    @contextmanager
    def running(self, name: str, image: str, options: Sequence[str], command: Sequence[str]) -> "Iterator[Running]":
        """Ended by SIGTERM, as a kubelet ends it, and by SIGKILL where that takes longer than the manifest gives it."""
        log = self.directory / f"{name}.log"
        with log.open("wb") as output:
            argv = self.ctr("run", "--rm", *options, image, name, *command)
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield Running(process, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                subprocess.run(self.ctr("task", "kill", "--signal", "SIGKILL", name), check=False, capture_output=True)
                process.kill()
                process.wait(20)


@dataclass(frozen=True)
class Running:
    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def containerd(directory: Path) -> Iterator[Runtime]:
    """Without its CRI plugin: no CNI is asked, networks are given."""
    config = directory / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{directory}/socket"\n'
    )
    with (directory / "containerd.log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(config)], stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while not (directory / "socket").exists():
            assert process.poll() is None, (directory / "containerd.log").read_text()
            assert time.monotonic() < deadline, "containerd does not listen"
            time.sleep(0.05)
        yield Runtime(directory)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
