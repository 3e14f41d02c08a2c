"""What a kernel once did against the model, asked again: every case that the differential test found."""

from pathlib import Path

import pytest
from differential import cases
from differential.exchange import settled
from differential.judge import contradiction

from pathtap.forwarding import NodeModel, predict

FOUND = sorted(each for each in cases.DIRECTORY.iterdir() if each.is_dir())


@pytest.mark.parametrize("directory", FOUND, ids=lambda each: each.name)
def test_the_model_no_longer_contradicts_what_the_kernel_did(directory: Path) -> None:
    case = cases.read(directory)
    model = NodeModel(case.snapshot)
    prediction = settled(model, case.packet, predict(model, case.packet), case.sight)
    # Not to know is no contradiction; to say otherwise is.
    assert prediction.unknown or not contradiction(prediction, case.sight), case.why


def test_cases_are_told_apart_by_what_the_kernel_did() -> None:
    """A judge that finds nothing wrong would pass every case: turned around, each must be contradicted."""
    fates = {case.sight.fate for case in map(cases.read, FOUND)}
    assert {"forwarded", "delivered", "stopped"} <= fates
    for directory in FOUND:
        case = cases.read(directory)
        prediction = predict(NodeModel(case.snapshot), case.packet)
        other = "stopped" if case.sight.fate != "stopped" else "delivered"
        opposite = type(case.sight)(fate=other, interface="lo")
        assert prediction.unknown or contradiction(prediction, opposite)
