"""The lab's own image, made of one static program in C: what holds a pod's namespaces, and what serves in one.

An image is a file as `docker save` writes it, which containerd imports; no registry is asked for anything.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from pathtap.lab.kernel import command

# Of the domain localhost: no runtime looks for it elsewhere.
LAB_IMAGE = "localhost/pathtap-lab:1"
_SOURCE = Path(__file__).with_name("pod.c")
_PROGRAM = "pod"


def build_lab_image(directory: Path) -> Path:
    """Compiles `pod.c` and packs it. LabError where there is no C compiler, or no static C library."""
    program = directory / _PROGRAM
    command(["cc", "-O2", "-static", "-o", str(program), str(_SOURCE)])
    archive = directory / "lab-image.tar"
    write_image(archive, LAB_IMAGE, program)
    program.unlink()
    return archive


def write_image(archive: Path, name: str, program: Path) -> None:
    """An image of one layer of one file, which is its entry point. The same program gives the same image."""
    layer = _tar({program.name: (program.read_bytes(), 0o755)})
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": _architecture(program),
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    file = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": file, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]).encode()
    parts = {f"{digest}.tar": layer, file: config, "manifest.json": manifest}
    archive.write_bytes(_tar({path: (content, 0o644) for path, content in parts.items()}))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as packed:
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            packed.addfile(entry, io.BytesIO(content))
    return written.getvalue()


# elf(5): e_machine, as the images' GOARCH names it.
_MACHINES = {62: "amd64", 183: "arm64"}


def _architecture(program: Path) -> str:
    machine = int.from_bytes(program.read_bytes()[18:20], "little")
    return _MACHINES.get(machine, "")
