"""Every setting that bears on SNAT, as whoever holds it told: shown beside the one that decides. Pure."""

from collections.abc import Iterator

from pathtap.collector.inspections.intent import RANDOMIZED
from pathtap.model.node import CniSettings, EgressPlugin, NodeSnapshot
from pathtap.model.snat import Setting


def settings_of(snapshot: NodeSnapshot) -> tuple[Setting, ...]:
    """Those of ipamd by the names of their environment variables, then the egress-cni plugin's; nothing of who did not tell."""
    found = list(_of_cni(snapshot.settings, f"{snapshot.node} ipamd")) if snapshot.settings else []
    if snapshot.egress_plugin:
        found += _of_plugin(snapshot.egress_plugin, f"{snapshot.node} {snapshot.egress_plugin.path}")
    return tuple(found)


def _of_cni(settings: CniSettings, source: str) -> Iterator[Setting]:
    values = {
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT": _randomized(settings.randomize),
        "AWS_VPC_K8S_CNI_EXTERNALSNAT": _switch(settings.external_snat),
        "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": ",".join(map(str, settings.excluded_networks)) or "none",
        "AWS_VPC_K8S_CNI_CONNMARK": f"{settings.connmark:#x}",
    }
    return (Setting(name=name, value=value, source=source) for name, value in values.items())


def _of_plugin(plugin: EgressPlugin, source: str) -> Iterator[Setting]:
    values = {"egress-cni enabled": _switch(plugin.enabled), "egress-cni randomizeSNAT": _randomized(plugin.randomize)}
    return (Setting(name=name, value=value, source=source) for name, value in values.items())


def _randomized(setting: int) -> str:
    """The CNI takes whatever it does not know for prng."""
    return RANDOMIZED.get(setting, RANDOMIZED[2])[0]


def _switch(on: bool) -> str:
    return "true" if on else "false"
