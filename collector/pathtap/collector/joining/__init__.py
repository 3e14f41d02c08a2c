"""Packets, conntrack entries and snapshots joined into one way there and one way back. Pure; judges nothing."""
