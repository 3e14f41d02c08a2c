"""Reads kubeconfig files as kubectl does, up to the entries of one context. Reads no credential and asks nobody.

Files and precedence (client-go, clientcmd/loader.go): --kubeconfig, else the files of $KUBECONFIG joined, where the first
file that has an entry of a name wins with the whole entry, else ~/.kube/config. Files that only $KUBECONFIG names may be absent.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pathtap.cli.errors import CommandError

_LISTS = (("contexts", "context"), ("clusters", "cluster"), ("users", "user"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A named cluster, user or context. Relative paths in it start at the `directory` of its file."""

    name: str
    value: Mapping[str, Any] = field(repr=False)
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """Several files as one. `paths` are those that were read."""

    paths: tuple[Path, ...]
    current: str
    contexts: Mapping[str, Entry]
    clusters: Mapping[str, Entry]
    users: Mapping[str, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one context names. `namespace` is empty where it sets none; a `user` without a name has no credentials."""

    name: str
    namespace: str
    cluster: Entry
    user: Entry


def files(given: Path | None, environment: Mapping[str, str], home: Path) -> Sequence[Path]:
    """The files to read, in order; those that nobody named with --kubeconfig need not exist."""
    if given is not None:
        return [given]
    named = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [path for path in named or [home / ".kube" / "config"] if path.exists()]


def load(paths: Sequence[Path]) -> Kubeconfig:
    """The files joined. Raises CommandError for one that cannot be read or is no kubeconfig."""
    found: dict[str, dict[str, Entry]] = {plural: {} for plural, _ in _LISTS}
    current = ""
    for path in paths:
        document = _document(path)
        current = current or str(document.get("current-context") or "")
        for plural, singular in _LISTS:
            for entry in _entries(path, document, plural, singular):
                found[plural].setdefault(entry.name, entry)
    return Kubeconfig(
        paths=tuple(paths),
        current=current,
        contexts=found["contexts"],
        clusters=found["clusters"],
        users=found["users"],
    )


def context_entry(config: Kubeconfig, name: str) -> Entry | None:
    """The context `name`, else the current one; None where neither is set. CommandError for a name that it has not."""
    wanted = name or config.current
    if not wanted:
        return None
    if wanted in config.contexts:
        return config.contexts[wanted]
    if not name:
        return None
    raise CommandError(f"The kubeconfig has no context {wanted}; it has: {_known(config)}.")


def context_namespace(paths: Sequence[Path], context: str) -> str:
    """The namespace of `context`, else of the current one; empty where none is set. Raises CommandError."""
    entry = context_entry(load(paths), context)
    return str(entry.value.get("namespace") or "") if entry is not None else ""


def chosen_context(config: Kubeconfig, name: str) -> Context:
    """The context with its cluster and its user. Raises CommandError for what is missing."""
    entry = context_entry(config, name)
    if entry is None:
        which = f"has no context {config.current}, its current one" if config.current else "has no current context"
        raise CommandError(f"The kubeconfig {which}. Give --context; it has: {_known(config)}.")
    cluster, user = (str(entry.value.get(key) or "") for key in ("cluster", "user"))
    if cluster not in config.clusters:
        raise CommandError(
            f"The kubeconfig's context {entry.name} names cluster {cluster or '(none)'}, which it lacks."
        )
    if user and user not in config.users:
        raise CommandError(f"The kubeconfig's context {entry.name} names user {user}, whom it lacks.")
    nobody = Entry(name="", value={}, directory=entry.directory)
    return Context(
        name=entry.name,
        namespace=str(entry.value.get("namespace") or ""),
        cluster=config.clusters[cluster],
        user=config.users[user] if user else nobody,
    )


def _known(config: Kubeconfig) -> str:
    return ", ".join(config.contexts) or "none"


def _entries(path: Path, document: Mapping[str, Any], plural: str, singular: str) -> list[Entry]:
    directory = path.absolute().parent
    try:
        return [
            Entry(name=str(each["name"]), value=dict(each.get(singular) or {}), directory=directory)
            for each in document.get(plural) or []
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CommandError(
            f"The kubeconfig's `{plural}` is not a list of named {plural}: {path}. Give another --kubeconfig."
        ) from error


def _document(path: Path) -> dict[str, Any]:
    hint = "Give another --kubeconfig."
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise CommandError(f"The kubeconfig {path} cannot be read: {error.strerror}. {hint}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"The kubeconfig {path} is not YAML: {_where(error)}. {hint}") from error
    except (ValueError, RecursionError) as error:
        # A date that is none (YAML reads dates), or braces without end.
        raise CommandError(f"The kubeconfig {path} cannot be read as YAML. {hint}") from error
    if document is not None and not isinstance(document, dict):
        raise CommandError(f"The kubeconfig {path} is not a mapping. {hint}")
    return document or {}


def _where(error: yaml.YAMLError) -> str:
    """The problem and its line, without the line's text, which may be a token."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return "it cannot be parsed"
