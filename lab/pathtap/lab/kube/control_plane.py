"""A real Kubernetes control plane: etcd and kube-apiserver, and on request the controllers and the scheduler.

The programs are those of `assets`, in the layout of envtest's KUBEBUILDER_ASSETS. Knows no nodes and no lab.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pathtap.lab.errors import LabError
from pathtap.lab.kube.certificates import Authority, KeyPair, new_authority, new_key
from pathtap.lab.kube.kubeconfig import kubeconfig
from pathtap.lab.kube.programs import ASSETS as ASSETS
from pathtap.lab.procfs import ROLE

ISSUER = "https://kubernetes.default.svc"
SERVICES = "10.100.0.0/16"
# The first address of SERVICES is the API server's own.
SERVICE_ADDRESS = "10.100.0.1"
READY_SECONDS, END_SECONDS, POLL_SECONDS = 60.0, 10.0, 0.1
_TAIL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """`assets` holds the programs, `directory` (made by the caller) gets files and logs. They listen on `address` (etcd on
    loopback), in the network namespace that `enter` leads into: the words before a command, such as nsenter's; none for the
    caller's own. `port` 0 is any that is free; `names` are further ones in the server's certificate. `reached_at` is the URL
    where the caller finds the API server, if that is not where it listens."""

    assets: Path
    directory: Path
    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()
    port: int = 0
    names: tuple[str, ...] = ()
    reached_at: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class ControlPlane:
    """Running programs. `stop` and `start` them by their names ("kube-apiserver"); all end with `close`."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.port = where.port or free_port()
        self.server = f"https://{where.address}:{self.port}"
        self.reached_at = where.reached_at or self.server
        self.authority: Authority = new_authority("kubernetes", datetime.now(UTC))
        self._etcd = f"http://127.0.0.1:{free_port()}"
        self._etcd_peer = f"http://127.0.0.1:{free_port()}"
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._write_files()
        self._etcd_command()
        self._server_command()

    @property
    def ca(self) -> bytes:
        """PEM, of what signs the API server's certificate and those of clients."""
        return self.authority.pair.certificate

    @property
    def admin(self) -> Path:
        """The kubeconfig of a person in system:masters."""
        return self.where.directory / "admin.kubeconfig"

    @property
    def _manager(self) -> Path:
        """The same person's, where the programs themselves are."""
        return self.where.directory / "manager.kubeconfig"

    def kubeconfig(
        self, name: str, *, token: str = "", pair: KeyPair | None = None, namespace: str = "", inside: bool = False
    ) -> Path:
        """Writes one more, NAME.kubeconfig: for the caller, or for who is `inside`, where the API server listens."""
        server = self.server if inside else self.reached_at
        return self._write(
            f"{name}.kubeconfig", kubeconfig(server, self.ca, token=token, pair=pair, namespace=namespace)
        )

    def kubectl(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> str:
        """What kubectl prints, as the administrator unless said otherwise. LabError with its complaint."""
        argv = [str(self.where.assets / "kubectl"), f"--kubeconfig={kubeconfig or self.admin}", *arguments]
        # No cache of discovery outside of the directory.
        environment = {**os.environ, "HOME": str(self.where.directory)}
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, check=False, env=environment, timeout=120
        )
        if done.returncode:
            raise LabError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def start(self, *names: str) -> None:
        """Starts those of the programs, or all; returns when they answer. LabError with the end of the log where one does not."""
        for name in names or tuple(self._commands):
            log = (self.where.directory / f"{name}.log").open("ab")
            with log:
                self._running[name] = subprocess.Popen(
                    [*self.where.enter, *self._commands[name]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.where.environment, ROLE: name},
                    start_new_session=True,
                )
            if name == "kube-apiserver":
                self._wait_until_ready()

    def stop(self, name: str) -> None:
        """By SIGTERM, and SIGKILL where that takes too long."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_SECONDS)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def close(self) -> None:
        for name in reversed(tuple(self._running)):
            self.stop(name)

    def leave(self) -> None:
        """Lets the programs run on, to be ended by somebody else."""
        for process in self._running.values():
            # A process that is not waited for is nothing to be warned of.
            process.returncode = 0
        self._running.clear()

    def with_controllers(self) -> None:
        """Adds the controllers and the scheduler to what `start` starts, and service accounts to what pods have."""
        secrets = self.where.directory
        server = self._commands["kube-apiserver"]
        server.remove("--disable-admission-plugins=ServiceAccount")
        # Kubelets ask who wants logs and forwarded ports.
        server += [
            f"--kubelet-client-certificate={secrets / 'kubelet-client.crt'}",
            f"--kubelet-client-key={secrets / 'kubelet-client.key'}",
        ]
        manager = [
            f"--service-account-private-key-file={secrets / 'sa.key'}",
            f"--root-ca-file={secrets / 'ca.crt'}",
            f"--cluster-signing-cert-file={secrets / 'ca.crt'}",
            f"--cluster-signing-key-file={secrets / 'ca.key'}",
            "--use-service-account-credentials",
        ]
        for name, options in (("kube-controller-manager", manager), ("kube-scheduler", [])):
            program = str(self.where.assets / name)
            self._commands[name] = [
                program,
                f"--kubeconfig={self._manager}",
                "--leader-elect=false",
                "--port=0",
                *options,
            ]

    def _write_files(self) -> None:
        names = (
            *self.where.names,
            self.where.address,
            "127.0.0.1",
            "localhost",
            SERVICE_ADDRESS,
            "kubernetes",
            "kubernetes.default.svc",
        )
        server = self.authority.server("kube-apiserver", tuple(dict.fromkeys(names)))
        kubelets = self.authority.client("kube-apiserver-kubelet-client", ("system:masters",))
        signing = new_key()
        files = {
            "ca.crt": self.ca,
            "ca.key": self.authority.pair.key,
            "server.crt": server.certificate,
            "server.key": server.key,
            "kubelet-client.crt": kubelets.certificate,
            "kubelet-client.key": kubelets.key,
            "sa.pub": signing.certificate,
            "sa.key": signing.key,
        }
        for name, content in files.items():
            self._write(name, content.decode())
        administrator = self.authority.client("admin", ("system:masters",))
        self.kubeconfig("admin", pair=administrator)
        self.kubeconfig("manager", pair=administrator, inside=True)

    def _write(self, name: str, content: str) -> Path:
        path = self.where.directory / name
        path.write_text(content)
        path.chmod(0o600)
        return path

    def _etcd_command(self) -> None:
        self._commands["etcd"] = [
            str(self.where.assets / "etcd"),
            f"--data-dir={self.where.directory / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={self._etcd_peer}",
            "--unsafe-no-fsync",
        ]

    def _server_command(self) -> None:
        at = self.where.directory
        self._commands["kube-apiserver"] = [
            str(self.where.assets / "kube-apiserver"),
            f"--etcd-servers={self._etcd}",
            f"--bind-address={self.where.address}",
            f"--advertise-address={self.where.address}",
            f"--secure-port={self.port}",
            f"--tls-cert-file={at / 'server.crt'}",
            f"--tls-private-key-file={at / 'server.key'}",
            f"--client-ca-file={at / 'ca.crt'}",
            f"--service-account-key-file={at / 'sa.pub'}",
            f"--service-account-signing-key-file={at / 'sa.key'}",
            f"--service-account-issuer={ISSUER}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--cert-dir={at / 'certificates'}",
            "--authorization-mode=Node,RBAC",
            "--kubelet-preferred-address-types=InternalIP",
            # Without controllers nobody makes the service accounts that this asks every pod to have.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged",
        ]

    def _wait_until_ready(self) -> None:
        """The API server's /readyz, asked as the administrator."""
        argv = [
            *self.where.enter,
            str(self.where.assets / "kubectl"),
            f"--kubeconfig={self._manager}",
            "get",
            "--raw=/readyz",
        ]
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise LabError(f"{name} ended. Its log says:{self._tail(name)}")
            if subprocess.run(argv, capture_output=True, check=False, timeout=20).returncode == 0:
                return
            time.sleep(POLL_SECONDS)
        raise LabError(
            f"kube-apiserver was not ready within {READY_SECONDS:g} s. Its log says:{self._tail('kube-apiserver')}"
        )

    def _tail(self, name: str) -> str:
        lines = (self.where.directory / f"{name}.log").read_text(errors="replace").splitlines()[-_TAIL:]
        return "".join(f"\n  {line}" for line in lines) or " nothing"


def free_port() -> int:
    """One of loopback on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def assets() -> Path | None:
    """Where the environment says that the programs are."""
    found = os.environ.get(ASSETS, "")
    return Path(found) if found else None
