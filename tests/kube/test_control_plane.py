"""The control plane that the other tests stand on."""

import json

import pytest

from pathtap.lab.errors import LabError
from pathtap.lab.kube.control_plane import ControlPlane

pytestmark = pytest.mark.kube


def test_it_serves_the_administrator_and_no_invented_token(control_plane: ControlPlane) -> None:
    names = {
        each["metadata"]["name"]
        for each in json.loads(control_plane.kubectl("get", "namespaces", "-o", "json"))["items"]
    }
    assert {"default", "kube-system"} <= names
    stranger = control_plane.kubeconfig("stranger", token="invented")  # noqa: S106
    with pytest.raises(LabError, match="Unauthorized"):
        control_plane.kubectl("get", "namespaces", kubeconfig=stranger)


def test_a_person_is_known_by_a_certificate(control_plane: ControlPlane) -> None:
    person = control_plane.kubeconfig("ann", pair=control_plane.authority.client("ann", ("developers",)))
    with pytest.raises(LabError, match='User "ann" cannot'):
        control_plane.kubectl("get", "pods", kubeconfig=person)
    control_plane.kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    control_plane.kubectl("create", "rolebinding", "ann", "--role=reader", "--group=developers")
    assert json.loads(control_plane.kubectl("get", "pods", "-o", "json", kubeconfig=person))["items"] == []
