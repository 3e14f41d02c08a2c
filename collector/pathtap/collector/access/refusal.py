"""A request that is turned away: the gRPC status and the sentence for whoever asked. Knows no cluster and no gRPC server."""

import grpc

# Of what others wrote, in a sentence or in the log.
LONGEST_QUOTE = 300


class Refused(Exception):  # noqa: N818 - it says what became of the request
    """UNAUTHENTICATED: nobody knows who asks. PERMISSION_DENIED: that one may not. UNAVAILABLE: the API server could not be
    asked, so nobody may.
    """

    def __init__(self, status: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def unknown(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.UNAUTHENTICATED, sentence)


def denied(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.PERMISSION_DENIED, sentence)


def undecided(sentence: str) -> Refused:
    return Refused(grpc.StatusCode.UNAVAILABLE, sentence)


def quoted(text: str) -> str:
    """Somebody else's words, no longer than a sentence bears."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
