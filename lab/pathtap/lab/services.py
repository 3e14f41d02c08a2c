"""What a node's metadata service and ipamd answer to an HTTP request. Pure: the clock and the tokens are handed in.

Source: EC2's Instance Metadata Service version 2 (a session token first, then GETs that carry it).
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from pathtap.lab.http1 import Answer, Request, Response
from pathtap.lab.metadata import look_up

_TTL = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "x-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_MOST_SECONDS = 21_600
_ROOT = "/latest/meta-data"


def metadata_service(paths: Mapping[str, str], clock: Callable[[], float], new_token: Callable[[], str]) -> Answer:
    """`clock` in seconds, of any origin. `paths` as `pathtap.lab.metadata.instance_metadata` gives them."""
    expiry: dict[str, float] = {}

    def answer(request: Request) -> Response:
        if request.method == "PUT" and request.path == "/latest/api/token":
            return grant(request.headers.get(_TTL, ""))
        if request.method != "GET":
            return Response(status=HTTPStatus.METHOD_NOT_ALLOWED)
        if expiry.get(request.headers.get(_TOKEN, ""), 0.0) <= clock():
            return Response(status=HTTPStatus.UNAUTHORIZED)
        return _found(paths, request.path)

    def grant(seconds: str) -> Response:
        if not seconds.isdecimal() or not 1 <= int(seconds) <= _MOST_SECONDS:
            return Response(status=HTTPStatus.BAD_REQUEST)
        token = new_token()
        expiry[token] = clock() + int(seconds)
        return Response(status=HTTPStatus.OK, body=token)

    return answer


def _found(paths: Mapping[str, str], path: str) -> Response:
    inside = path == _ROOT or path.startswith(f"{_ROOT}/")
    body = look_up(paths, path.removeprefix(_ROOT).lstrip("/")) if inside else None
    return Response(status=HTTPStatus.NOT_FOUND) if body is None else Response(status=HTTPStatus.OK, body=body)


def introspection_service(documents: Mapping[str, Any]) -> Answer:
    def answer(request: Request) -> Response:
        if request.path not in documents:
            return Response(status=HTTPStatus.NOT_FOUND, body="404 page not found\n")
        body = json.dumps(documents[request.path])
        return Response(status=HTTPStatus.OK, body=body, content_type="application/json")

    return answer
