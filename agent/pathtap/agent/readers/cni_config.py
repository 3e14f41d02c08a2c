"""Reads what the node's CNI configuration tells the egress-cni plugin of the VPC CNI: the intent for what that plugin translates.

aws-node writes `10-aws.conflist`; another CNI may chain the same plugins in a file of its own. The container runtime takes the
first file, in the order of names, that is a valid configuration (ConfFiles and LoadConfList of containernetworking/cni); Multus
hands on to what it names, or to the next. Nothing else of the configuration is read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathtap.agent.readers.enis import UnexpectedAnswerError
from pathtap.agent.readers.netlink import readable
from pathtap.model.node import EgressPlugin

DIRECTORY = Path("/etc/cni/net.d")
_LIST, _SUFFIXES = ".conflist", (".conf", ".conflist", ".json")
_LARGEST = 1024 * 1024
_MOST_FILES = 100
# v1.11 and v1.12 of the VPC CNI knew IPv4 alone.
_EGRESS = ("egress-cni", "egress-v4-cni")
_MULTUS = "multus"
# How cmd/egress-cni-plugin/snat takes randomizeSNAT: any other word, and none at all, is `prng`.
_WAYS = {"none": 0, "hashrandom": 1}
_PRNG = 2

_Plugin = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One file of the directory, as it is."""

    path: str
    text: str


def fetch(directory: Path | None = None) -> tuple[ConfigFile, ...]:
    """The directory's configurations in the order of their names, which is the runtime's.

    Without `directory` the usual one is read where there is one: a node of another CNI, or a container without it, has none.
    Raises OSError, with a sentence, where a directory that was named, or a file, cannot be read.
    """
    if directory is None and not DIRECTORY.is_dir():
        return ()
    where = directory or DIRECTORY
    try:
        found = sorted(path for path in where.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        raise OSError(
            f"{readable(str(where))} cannot be read ({error.strerror}): give the agent the runtime's with --cni-config DIRECTORY"
        ) from error
    if len(found) > _MOST_FILES:
        raise OSError(f"{readable(str(where))} has more than {_MOST_FILES} configurations")
    return tuple(file for path in found if (file := _read(path)) is not None)


def decode(files: Iterable[ConfigFile]) -> EgressPlugin | None:
    """None where the network that the runtime takes has no such plugin.

    Raises UnexpectedAnswerError where the plugin's own part is malformed, or where none was found and a file is no configuration:
    what its writer meant is unknown.
    """
    broken = ""
    for file in files:
        try:
            plugins = _plugins(file)
            egress = next((each for each in _within(plugins) if each.get("type") in _EGRESS), None)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # The runtime warns, and goes on to the next.
            broken = broken or file.path
            continue
        if egress is not None:
            return _egress(egress, file.path)
        if not any(map(_is_multus, plugins)):
            break
    if broken:
        raise UnexpectedAnswerError(f"{broken} is no CNI configuration")
    return None


def _read(path: Path) -> ConfigFile | None:
    """None where it went while the directory was listed."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(f"{readable(str(path))} cannot be read ({error.strerror})") from error
    if len(content) > _LARGEST:
        raise OSError(f"{readable(str(path))} is larger than {_LARGEST >> 20} MiB")
    return ConfigFile(path=readable(str(path)), text=content.decode("utf-8", errors="replace"))


def _plugins(file: ConfigFile) -> list[_Plugin]:
    """Those of a list, or the one that another suffix stands for. Raises ValueError, KeyError, TypeError where it is neither."""
    told = json.loads(file.text)
    if file.path.endswith(_LIST):
        return _listed(told)
    if not isinstance(told["type"], str) or not told["type"]:
        raise ValueError("a plugin has a type")
    return [told]


def _listed(told: _Plugin) -> list[_Plugin]:
    plugins = told["plugins"]
    if not isinstance(told["name"], str) or not isinstance(plugins, list) or not plugins:
        raise ValueError("a list has a name and plugins")
    if not all(isinstance(each["type"], str) for each in plugins):
        raise ValueError("a plugin has a type")
    return plugins


def _within(plugins: Iterable[_Plugin]) -> Iterator[_Plugin]:
    """The plugins, and those of the networks that Multus has the text of."""
    for plugin in plugins:
        yield plugin
        for delegate in (plugin.get("delegates") or ()) if _is_multus(plugin) else ():
            yield from _listed(delegate) if "plugins" in delegate else [delegate]


def _is_multus(plugin: _Plugin) -> bool:
    """`multus`, or `multus-shim` of the thick one."""
    return str(plugin["type"]).startswith(_MULTUS)


def _egress(plugin: _Plugin, path: str) -> EgressPlugin:
    """`enabled` is a text, and the plugin does its work unless that is `false` (cmdAdd of cmd/egress-cni-plugin)."""
    enabled, randomize = plugin.get("enabled", ""), plugin.get("randomizeSNAT", "")
    if not isinstance(enabled, str) or not isinstance(randomize, str):
        raise UnexpectedAnswerError(f"{path} does not tell egress-cni by texts what to do, as the VPC CNI does")
    return EgressPlugin(enabled=enabled != "false", randomize=_WAYS.get(randomize, _PRNG), path=path)
