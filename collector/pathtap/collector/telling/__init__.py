"""The answer put together: hops, steps, words, the sentence on top. Pure."""
