"""How long an agent's stream may stay: who opened it is asked again while it lasts, for it outlives the token that it came with.

A token of a pod that was deleted, or of an account that was, is refused by the API server; so is one that has expired. Whether
a stream is in use is asked, not known, here.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from pathtap.collector.access.gate import AgentIdentity, Context, Gate
from pathtap.collector.access.refusal import Refused, denied, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """In seconds. `between` two questions; until the next where the API server did not answer, or where the stream is to end
    and may be in use (`soon`). `early` before the token expires a stream that nobody uses is ended, and its agent comes back
    with the next token: a kubelet has renewed one of an hour twelve minutes before that, and a trace takes ten at most.
    """

    between: float = 300.0
    soon: float = 15.0
    early: float = 600.0


async def outstayed(
    gate: Gate, context: Context, identity: AgentIdentity, used: Callable[[], bool], pauses: Pauses
) -> Refused:
    """Returns once the stream has to end, with why. While the API server does not answer it may stay until its token expires.

    `used` says whether anybody has used it since it was asked last.
    """
    clock = asyncio.get_running_loop().time
    expires = early = float("inf")
    # What has expired by this clock, and not by the API server's, is left to that.
    if identity.left is not None and identity.left > 0:
        expires = clock() + identity.left
        # Half of what is left where the next token is not there yet, and the agent comes back with this one.
        early = expires - min(pauses.early, identity.left / 2)
    asked_again = clock() + pauses.between
    while True:
        used()
        await asyncio.sleep(min(asked_again, expires, max(early, clock() + pauses.soon)) - clock())
        if clock() >= expires:
            return unknown("the token that the stream was opened with has expired")
        if clock() >= early and not used():
            return unknown("the token that the stream was opened with expires soon: open it again with the next")
        if clock() < asked_again:
            continue
        asked_again = clock() + pauses.between
        try:
            again = await gate.agent(context)
        except Refused as error:
            if error.status is not grpc.StatusCode.UNAVAILABLE:
                return error
            asked_again = clock() + pauses.soon
        else:
            if again is not None and again.node != identity.node:
                return denied(f"{identity.pod} runs on {again.node} now and may not speak for {identity.node}")
