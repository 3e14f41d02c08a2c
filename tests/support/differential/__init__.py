"""The differential test: random nodes and packets, what the model says of them, and what a real kernel does.

`drawing` makes a configuration, `bed` gives it to a kernel and sends packets, `judge` compares, `campaign` runs many, and `cases`
keeps what was found.
"""
