"""A lab with a real Kubernetes, and pathtap installed in it with kubectl alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs import Answer, finish

from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.cluster import Cluster, Node, Pod
from pathtap.lab.kube.control_plane import assets
from pathtap.lab.kube.names import admin_kubeconfig
from pathtap.lab.kube.pool import occupied
from pathtap.lab.kube.up import load, start
from pathtap.lab.state import StateDirectory

TOP = Path(__file__).resolve().parents[2]
IMAGES = TOP / "build" / "images"
_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class KubeLab:
    """`home` is where kubectl keeps what it learns, and where people's kubeconfigs are."""

    cluster: Cluster
    programs: Path
    home: Path

    @property
    def directory(self) -> StateDirectory:
        return StateDirectory(self.cluster.options.prefix)

    @property
    def admin(self) -> Path:
        return admin_kubeconfig(self.directory.prefix)

    def nodes(self) -> tuple[Node, ...]:
        """With the pods that have addresses now."""
        return tuple(occupied(self.directory, node) for node in self.cluster.nodes)

    def pod(self, start: str) -> tuple[Node, Pod]:
        """The one pod whose NAMESPACE/NAME begins so, and its node."""
        found = [(node, pod) for node in self.nodes() for pod in node.pods if pod.key.startswith(start)]
        assert len(found) == 1, found
        return found[0]

    def kubectl(self, *words: str, stdin: str = "", kubeconfig: Path | None = None) -> str:
        argv = [str(self.programs / "kubectl"), f"--kubeconfig={kubeconfig or self.admin}", *words]
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(self.home)},
            check=False,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def person(self, name: str) -> Path:
        """A kubeconfig that shows a token of the service account people/NAME."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"/api/v1/namespaces/people/serviceaccounts/{name}/token"
        answer = self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(request))
        document = json.loads(self.admin.read_text())
        document["users"][0]["user"] = {"token": json.loads(answer)["status"]["token"]}
        made = self.home / f"{name}.kubeconfig"
        made.write_text(json.dumps(document))
        return made

    def run(self, kubeconfig: Path, *words: str) -> Answer:
        """The command line of a person."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PATHTAP_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "pathtap.cli", *words],
            env={**own, "KUBECONFIG": str(kubeconfig), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return finish(process, _SECONDS)

    def trace(self, kubeconfig: Path, *words: str) -> Any:
        answer = self.run(kubeconfig, "trace", *words, "-o", "json")
        assert answer.exit_code == 0, answer.output + answer.errors
        return answer.json


@contextmanager
def running_kube_lab(prefix: str, home: Path) -> Iterator[KubeLab]:
    programs = assets()
    assert programs is not None
    try:
        cluster = build(LabOptions(prefix=prefix, kube=True))
        start(cluster, programs, say=lambda _: None)
        yield KubeLab(cluster=cluster, programs=programs, home=home)
    finally:
        tear_down(prefix)


def install(lab: KubeLab) -> None:
    """pathtap of daemonset.yaml and the images of tools/build-images, with what the demo traces."""
    archives = [IMAGES / f"pathtap-{name}.tar" for name in ("agent", "collector")]
    if not all(archive.exists() for archive in archives):
        subprocess.run([str(TOP / "tools" / "build-images")], check=True, timeout=1800)
    for node in lab.cluster.nodes:
        load(lab.directory, node.name, archives)
    lab.kubectl("apply", "-f", str(TOP / "daemonset.yaml"))
    lab.kubectl("apply", "-f", str(TOP / "tools" / "demo-kube.yaml"))
    for namespace, each in (
        ("pathtap", "statefulset/pathtap-collector"),
        ("pathtap", "daemonset/pathtap-agent"),
        ("shop", "deployment/cart"),
        ("shop", "deployment/redis"),
    ):
        lab.kubectl("-n", namespace, "rollout", "status", each, f"--timeout={_SECONDS - 10}s")
