"""A process that computes in turns and does nothing else: what whoever shares its processor waits for, with no capture anywhere.

`python -m bench.computing TURN EVERY` says `ready`; for each line on its standard input, a number of seconds, it computes for
TURN seconds of each EVERY, and then says `done`.
"""

import sys
import time

import click

from pathtap.agent.prctl import set_timer_slack


@click.command()
@click.argument("turn", type=float)
@click.argument("every", type=float)
def main(turn: float, every: float) -> None:
    set_timer_slack(1e-9)
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.monotonic()
        for number in range(int(float(line) / every)):
            time.sleep(max(0.0, began + number * every - time.monotonic()))
            until = time.monotonic() + turn
            while time.monotonic() < until:
                pass
        print("done", flush=True)


if __name__ == "__main__":
    main()
