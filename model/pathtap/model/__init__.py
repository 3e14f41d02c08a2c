"""The vocabulary: frozen values that every other part speaks of.

Knows no sockets, no wire, no clock; imports the standard library alone. Addresses are `ipaddress` values, times are
nanoseconds since the Unix epoch, collections are tuples, and what could not be read is an `Unread`, never an empty tuple.
"""
