"""Readers of the node: each fetches (I/O alone) and decodes (pure). None knows the wire, the collector or a clock."""
