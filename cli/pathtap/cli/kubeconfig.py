"""Reads the namespace of a kubeconfig's context, and nothing else of it: no cluster, no user, no credential.

Files and precedence are kubectl's: --kubeconfig, else the files of $KUBECONFIG joined (the first to set a value wins),
else ~/.kube/config, which may be absent.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pathtap.cli.errors import CommandError


def files(given: Path | None, environment: Mapping[str, str], home: Path) -> Sequence[Path]:
    """The files to read, in order; those that nobody named need not exist."""
    if given is not None:
        return [given]
    named = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [path for path in named or [home / ".kube" / "config"] if path.exists()]


def context_namespace(paths: Sequence[Path], context: str) -> str:
    """The namespace of `context`, else of the current one; empty where none is set. Raises CommandError."""
    documents = [_load(path) for path in paths]
    name = context or next((d["current-context"] for d in documents if d.get("current-context")), "")
    contexts = [entry for document in documents for entry in document.get("contexts") or []]
    try:
        for entry in contexts:
            if entry["name"] == name:
                return str((entry.get("context") or {}).get("namespace") or "")
        known = ", ".join(str(entry["name"]) for entry in contexts)
    except (KeyError, TypeError, AttributeError) as error:
        raise CommandError("The kubeconfig's `contexts` is not a list of named contexts. Give -n NAMESPACE.") from error
    if context:
        raise CommandError(f"The kubeconfig has no context {context}; it has: {known or 'none'}.")
    return ""


def _load(path: Path) -> dict[str, Any]:
    hint = "Give -n NAMESPACE, or another --kubeconfig."
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise CommandError(f"The kubeconfig {path} cannot be read: {error.strerror}. {hint}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"The kubeconfig {path} is not YAML: {error}. {hint}") from error
    if document is not None and not isinstance(document, dict):
        raise CommandError(f"The kubeconfig {path} is not a mapping. {hint}")
    return document or {}
