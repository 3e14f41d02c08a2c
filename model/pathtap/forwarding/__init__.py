"""What a node's configuration says must happen to a packet: the EXPECTED witness, evaluated by our own pure model.

Knows no sockets, no clock, no Kubernetes; a node snapshot and a packet go in, a `Prediction` comes out. What it cannot
evaluate is unknown and named, never guessed.
"""

from pathtap.forwarding.answer import Answer
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet, State
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import DnatPrediction, MarkChange, Outcome, Prediction, Shown, SnatPrediction
from pathtap.forwarding.routing import RoutingDecision

__all__ = [
    "Answer",
    "DnatPrediction",
    "MarkChange",
    "NodeModel",
    "Outcome",
    "Packet",
    "Prediction",
    "RoutingDecision",
    "Shown",
    "SnatPrediction",
    "State",
    "predict",
]
