import io
import json
import tarfile
from pathlib import Path

import pytest

from pathtap.lab.cluster import Pod
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS
from pathtap.lab.kube import egress_cni
from pathtap.lab.kube.cgroups import Hierarchy, hierarchies, own_path
from pathtap.lab.kube.cni import answer, claim_of, result
from pathtap.lab.kube.images import LAB_IMAGE, write_image
from pathtap.lab.kube.node_config import Programs, kubelet_command, kubelet_config
from pathtap.lab.kube.pool import Claim, Pool
from pathtap.lab.kube.programs import find_programs
from pathtap.lab.options import LabOptions
from pathtap.lab.rules import node_rules
from pathtap.lab.topology import make_cluster

CLUSTER = make_cluster(LabOptions(prefix="mine", kube=True))
NODE = CLUSTER.nodes[0]


def test_the_lab_brings_the_cnis_rules_and_no_others() -> None:
    rules = node_rules(CLUSTER, NODE)
    assert "AWS-SNAT-CHAIN-0" in rules
    assert "KUBE" not in rules
    assert (CLUSTER.pods, CLUSTER.services) == ((), ())
    assert CLUSTER.network_namespaces[3] == "mine-control"


@pytest.mark.parametrize("options", [{"family": "ipv6"}, {"kube_proxy": "nftables", "chains": "native"}])
def test_what_this_kubernetes_cannot_have_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(LabError, match="in labs of IPv4 alone"):
        LabOptions(kube=True, **options)  # type: ignore[arg-type]


def test_faults_of_the_labs_own_pods_are_refused() -> None:
    assert {fault.refusal(LabOptions(kube=True)).partition(" breaks ")[2] for fault in FAULTS} == {
        "pods that the lab has made itself: build one without --kube for it."
    }


def test_a_container_runtimes_words_are_understood() -> None:
    told = {
        "CNI_CONTAINERID": "4f",
        "CNI_NETNS": "/run/netns/cni-7",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-1;K8S_POD_INFRA_CONTAINER_ID=4f",
    }
    assert claim_of(told) == Claim(container="4f", namespace="shop", name="cart-1", network_namespace="cni-7")


def test_an_answer_has_the_form_of_the_specification() -> None:
    pod = Pod(
        namespace="shop",
        name="cart-1",
        address=NODE.primary.warm[0],
        device=0,
        tcp_ports=(),
        network_namespace="cni-7",
    )
    told = result("0.4.0", pod)
    assert told["ips"] == [{"version": "4", "address": "192.168.1.41/32", "interface": 1}]
    assert told["interfaces"][0]["name"] == pod.veth
    assert told["interfaces"][1]["sandbox"] == "/run/netns/cni-7"


def test_a_deletion_of_what_never_was_succeeds_and_other_words_do_not(tmp_path: Path) -> None:
    pool = Pool(node=NODE, file=tmp_path / "ipam.json")
    gone = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "4f"}
    assert answer(pool, gone, {}, 1.0) is None
    with pytest.raises(LabError, match="CNI_COMMAND is 'GC'"):
        answer(pool, {"CNI_COMMAND": "GC"}, {}, 1.0)


def test_the_second_plugin_hands_on_what_the_first_answered() -> None:
    config: dict[str, object] = {"prevResult": {"ips": []}}
    assert egress_cni.answer("ADD", config) == {"ips": []}
    assert egress_cni.answer("DEL", config) is None


@pytest.mark.parametrize(("version", "told"), [((1, 20), True), ((1, 26), True), ((1, 27), False)])
def test_a_kubelet_is_told_its_runtime_as_its_version_asks(version: tuple[int, int], told: bool) -> None:
    programs = Programs(assets=Path("/assets"), version=version, files=Path("/files"))
    command = kubelet_command(programs, NODE)
    assert ("--container-runtime=remote" in command) == told
    assert "--node-ip=192.168.1.29" in command


def test_a_kubelet_takes_as_many_pods_as_there_are_addresses() -> None:
    assert kubelet_config(NODE, Path("/ca.crt"))["maxPods"] == 20


def test_an_image_is_one_program(tmp_path: Path) -> None:
    program = tmp_path / "pod"
    # An ELF header's beginning: e_machine, in the bytes 18 and 19, is x86-64.
    program.write_bytes(b"\x7fELF".ljust(18, b"\0") + b"\x3e\0")
    archive = tmp_path / "image.tar"
    write_image(archive, LAB_IMAGE, program)
    first = archive.read_bytes()
    with tarfile.open(archive) as opened:
        content = {name: read(opened, name) for name in opened.getnames()}
    (manifest,) = json.loads(content["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/pathtap-lab:1"]
    config = json.loads(content[manifest["Config"]])
    assert (config["architecture"], config["config"]) == ("amd64", {"Entrypoint": ["/pod"]})
    with tarfile.open(fileobj=io.BytesIO(content[manifest["Layers"][0]])) as layer:
        assert [(entry.name, entry.mode) for entry in layer] == [("pod", 0o755)]
    write_image(archive, LAB_IMAGE, program)
    assert archive.read_bytes() == first


def read(opened: tarfile.TarFile, name: str) -> bytes:
    found = opened.extractfile(name)
    assert found is not None
    return found.read()


def test_hierarchies_of_either_version_are_read() -> None:
    mounts = """\
31 24 0:27 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
33 31 0:29 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
35 31 0:31 /docker/4f /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
36 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
40 24 0:40 / /elsewhere rw - cgroup cgroup rw,cpu
"""
    root = Path("/sys/fs/cgroup")
    processor = Hierarchy(mount=root / "cpu,cpuacct", root="/docker/4f", version=1, options=("cpu", "cpuacct"))
    unified = Hierarchy(mount=root / "unified", root="/", version=2, options=())
    assert hierarchies(mounts) == (
        Hierarchy(mount=root / "systemd", root="/", version=1, options=("name=systemd",)),
        processor,
        unified,
    )
    own = "4:cpu,cpuacct:/docker/4f/deep\n0::/session\n"
    assert own_path(processor, own) == root / "cpu,cpuacct/deep"
    assert own_path(unified, own) == root / "unified/session"


def test_missing_programs_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="KUBEBUILDER_ASSETS does not say"):
        find_programs("")
    (tmp_path / "kubelet").touch()
    with pytest.raises(LabError, match=r"has no etcd, kube-apiserver, .* kube-proxy, kubectl\."):
        find_programs(str(tmp_path))
