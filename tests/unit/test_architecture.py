"""The shape of the tree: one namespace of six roots, and modules that a reader can hold in mind."""

import ast
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

TOP = Path(__file__).parents[2]
ROOTS = ("agent", "cli", "collector", "lab", "model", "proto")
LONGEST_MODULE = 300
LONGEST_FUNCTION = 50


def modules() -> Iterator[Path]:
    for root in ROOTS:
        yield from (path for path in (TOP / root).rglob("*.py") if "v1" not in path.parts)


def test_nothing_hides_the_other_portions_of_the_namespace() -> None:
    assert not [path for root in ROOTS for path in (TOP / root).glob("pathtap/__init__.py")]


@pytest.mark.parametrize("root", ROOTS)
def test_every_package_is_typed(root: str) -> None:
    packages = [path for path in (TOP / root / "pathtap").iterdir() if path.is_dir()]
    assert packages
    assert not [path for path in packages if not (path / "py.typed").exists()]


def test_every_module_says_what_it_does() -> None:
    silent = [
        path for path in modules() if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_modules_and_functions_stay_small() -> None:
    long_modules = [path.name for path in modules() if path.read_text().count("\n") > LONGEST_MODULE]
    functions = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert (long_modules, functions) == ([], [])


def test_the_wheel_holds_all_roots(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(TOP)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
    packages = {"/".join(name.split("/")[:2]) for name in names if name.startswith("pathtap/")}
    expected = {"agent", "cli", "collector", "forwarding", "lab", "model", "v1", "wire"}
    assert packages == {f"pathtap/{name}" for name in expected}
    assert {"pathtap/v1/py.typed", "pathtap/v1/trace.proto"} <= set(names)
