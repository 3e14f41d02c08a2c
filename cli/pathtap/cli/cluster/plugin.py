"""Runs an exec credential plugin (client.authentication.k8s.io/v1 and v1beta1) and decodes what it answers."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathtap.cli.cluster.kubeconfig import Entry
from pathtap.cli.cluster.tokens import checked
from pathtap.cli.cluster.values import Credential, Terminal
from pathtap.cli.errors import CommandError

GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
INFO = "KUBERNETES_EXEC_INFO"


def run(user: Entry, cluster: Mapping[str, Any], environment: Mapping[str, str], terminal: Terminal) -> Credential:
    """What the program that `user` names says. `cluster` is told to it where it asks. Raises CommandError."""
    spec = user.value["exec"]
    if not isinstance(spec, dict) or not spec.get("command"):
        raise CommandError(f"The kubeconfig's user {user.name} has an exec plugin without a command.")
    version = str(spec.get("apiVersion") or "")
    if version not in VERSIONS:
        raise CommandError(
            f"The kubeconfig's user {user.name} has an exec plugin of {version or 'no version'}; "
            f"it must be one of {', '.join(VERSIONS)}. A newer plugin or `aws eks update-kubeconfig` writes that."
        )
    interactive = _interactive(user.name, str(spec.get("interactiveMode") or "IfAvailable"), terminal)
    told: dict[str, Any] = {"interactive": interactive}
    if spec.get("provideClusterInfo"):
        told["cluster"] = dict(cluster)
    own = _environment(user.name, spec)
    info = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": told})
    answer = _output(user, spec, {**environment, **own, INFO: info}, interactive, terminal)
    return decode(answer, version, str(spec["command"]))


def decode(answer: bytes, version: str, command: str) -> Credential:
    """An ExecCredential of the version that was asked for. Raises CommandError, which never repeats the answer."""
    whose = f"The exec plugin {command}"
    try:
        document = json.loads(answer)
        status = document["status"] or {}
        kind, answered = document["kind"], document["apiVersion"]
        token, certificate, key = (str(status.get(name) or "") for name in _PARTS)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandError(f"{whose} answered with what is no ExecCredential.") from None
    if kind != "ExecCredential" or answered != version:
        raise CommandError(
            f"{whose} answered with {answered} {kind}; the kubeconfig asks for {version} ExecCredential."
        )
    if bool(certificate) != bool(key):
        raise CommandError(f"{whose} answered with a client certificate or a key, but not with both.")
    if not token and not certificate:
        raise CommandError(f"{whose} answered with neither a token nor a client certificate.")
    shown = checked(token, f"The answer of {command}") if token else ""
    return Credential(token=shown, certificate=certificate.encode(), key=key.encode())


_PARTS = ("token", "clientCertificateData", "clientKeyData")


def _interactive(user: str, mode: str, terminal: Terminal) -> bool:
    """Whether the plugin gets standard input (client-go, plugin/pkg/client/auth/exec `isInteractive`)."""
    if mode not in ("Never", "IfAvailable", "Always"):
        raise CommandError(f"The kubeconfig's user {user} has an exec plugin with the interactiveMode {mode}.")
    if mode == "Always" and not terminal.interactive:
        raise CommandError(f"The exec plugin of the kubeconfig's user {user} wants a terminal, and there is none.")
    return mode != "Never" and terminal.interactive


def _environment(user: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """A variable without a value is empty, as in client-go."""
    try:
        pairs = [(each["name"], each.get("value")) for each in spec.get("env") or []]
    except (TypeError, KeyError, AttributeError):
        raise CommandError(
            f"The kubeconfig's user {user} has an exec plugin whose env is no list of names and values."
        ) from None
    return {str(name): "" if value is None else str(value) for name, value in pairs}


def _output(
    user: Entry, spec: Mapping[str, Any], environment: Mapping[str, str], interactive: bool, terminal: Terminal
) -> bytes:
    """Standard output; standard error goes to the person, who may have to log in."""
    command, arguments = str(spec["command"]), spec.get("args") or []
    if not isinstance(arguments, list):
        raise CommandError(f"The kubeconfig's user {user.name} has an exec plugin whose args are no list.")
    try:
        done = subprocess.run(
            [_program(command, user.directory, environment), *(str(each) for each in arguments)],
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if terminal.quiet else None,
            env=dict(environment),
            timeout=terminal.patience,
            check=False,
        )
    except FileNotFoundError:
        hint = str(spec.get("installHint") or "").strip()
        raise CommandError(
            f"The exec plugin {command} of the kubeconfig's user {user.name} is not installed."
            + (f" {' '.join(hint.split())}" if hint else "")
        ) from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"The exec plugin {command} took too long.") from None
    except OSError as error:
        raise CommandError(f"The exec plugin {command} cannot be run: {error.strerror}.") from error
    except ValueError as error:
        raise CommandError(f"The exec plugin {command} cannot be run: {error}.") from error
    if done.returncode:
        raise CommandError(
            f"The exec plugin {command} of the kubeconfig's user {user.name} failed with exit code {done.returncode}."
        )
    return done.stdout


def _program(command: str, directory: Path, environment: Mapping[str, str]) -> str:
    """A bare name is looked for in PATH; a relative path starts at the kubeconfig's directory."""
    if os.sep in command:
        return str(directory / command)
    found = shutil.which(command, path=environment.get("PATH"))
    if found is None:
        raise FileNotFoundError(command)
    return found
