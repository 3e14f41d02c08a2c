"""scapy.sniff in a process of its own, as a peer: `python -m bench.scapys INTERFACE EXPRESSION`, spoken to like `bench.ours`."""

import json
import sys

import click

# Everything, as a person's script would: the layers too that dissect.
from scapy.all import AsyncSniffer


@click.command()
@click.argument("interface")
@click.argument("expression")
def main(interface: str, expression: str) -> None:
    kept = 0

    def count(_: object) -> None:
        nonlocal kept
        kept += 1

    def ready() -> None:
        print("ready", flush=True)

    sniffer = AsyncSniffer(iface=interface, filter=expression, store=False, prn=count, started_callback=ready)
    sniffer.start()
    for line in sys.stdin:
        if line.strip() == "end":
            break
        print(json.dumps({"kept": kept, "lost": {}}), flush=True)
    sniffer.stop()
    print(json.dumps({"kept": kept, "lost": {}}), flush=True)


if __name__ == "__main__":
    main()
