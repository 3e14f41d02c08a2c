"""The worker: `python -m pathtap.agent.worker_process`, started by the agent (`launch`) and by nobody else.

All that is heavy lives here (readers, capture, probe and their libraries), and ends with the process. It outlives neither
the agent nor its own use.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from pathtap.agent.config import Limits
from pathtap.agent.kernel import KernelNode
from pathtap.agent.performer import Node
from pathtap.agent.prctl import die_with_parent, set_timer_slack
from pathtap.agent.spool import Spool
from pathtap.agent.workbench import Workbench
from pathtap.model.printable import log_to

# In seconds, in place of 5 ms: a capture waits for the interpreter with each column that it decodes, while readers compute.
SWITCH_INTERVAL = 0.0005
# In seconds, the kernel's default: the agent's own, which a worker inherits, is for waiting (`program`).
TIMER_SLACK = 0.00005


def main() -> None:
    options = read_options()
    set_timer_slack(TIMER_SLACK)
    threading.Thread(target=KernelNode.prepare, name="prepare", daemon=True).start()
    run(options, KernelNode(options.node, options.boot_id, options.cni_config))


def run(options: argparse.Namespace, node: Node) -> None:
    """Does what the agent asks, on `node`; ends the process when the agent has no more use for it."""
    log_to(sys.stderr, options.log_level.upper(), options.log_format)
    _end_with(options.agent)
    sys.setswitchinterval(SWITCH_INTERVAL)
    # Whoever ends a service tells its whole process group. The agent ends its worker in order, with what is left to send;
    # and a handler, unlike SIG_IGN, is not handed on to the programs that are run from here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    connection = socket.socket(fileno=options.connection)
    connection.set_inheritable(False)
    limits = Limits(
        packets=options.max_packets,
        bytes=options.max_bytes,
        seconds=options.max_seconds,
        captures=options.max_captures,
    )
    spool = Spool(options.node, options.spool_bytes)
    Workbench(connection, node, options.node, spool, options.idle, limits).run()
    logging.shutdown()
    # Commands that nobody waits for any more have threads that are still at work.
    os._exit(0)


def read_options() -> argparse.Namespace:
    """What `launch.launch` and `launch.worker_command` give."""
    parser = argparse.ArgumentParser(prog="pathtap-agent's worker", description=__doc__)
    parser.add_argument("--connection", type=int, required=True, metavar="DESCRIPTOR")
    parser.add_argument("--agent", type=int, required=True, metavar="PID")
    parser.add_argument("--node", required=True)
    parser.add_argument("--boot-id", required=True)
    parser.add_argument("--cni-config", type=Path)
    parser.add_argument("--spool-bytes", type=int, required=True)
    parser.add_argument("--idle", type=float, required=True, metavar="SECONDS")
    parser.add_argument("--max-packets", type=int, required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--max-seconds", type=float, required=True)
    parser.add_argument("--max-captures", type=int, required=True)
    parser.add_argument("--log-level", required=True)
    parser.add_argument("--log-format", required=True)
    return parser.parse_args()


def _end_with(agent: int) -> None:
    """An agent that is killed closes the connection; this holds also while nobody reads from it (prctl(2))."""
    try:
        die_with_parent()
    except OSError as error:
        logging.getLogger(__name__).warning("%s", error.strerror)
    if os.getppid() != agent:
        os._exit(1)


if __name__ == "__main__":
    main()
