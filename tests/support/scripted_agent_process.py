"""An agent process whose worker is `scripted_worker`: ADDRESS SPOOL_BYTES. It needs no privileges."""

import asyncio
import sys
from pathlib import Path

from agent_stage import BOOT, NODE

from pathtap.agent.config import Settings
from pathtap.agent.daemon import Daemon
from pathtap.agent.launch import launch, worker_command

WORKER = (sys.executable, str(Path(__file__).with_name("scripted_worker.py")))

if __name__ == "__main__":
    settings = Settings(collector=sys.argv[1], node=NODE, health_port=0, spool_bytes=int(sys.argv[2]))
    command = worker_command(settings, BOOT, WORKER)
    asyncio.run(Daemon(settings, BOOT, lambda: launch(command)).run())
