"""Whether sources are translated, by which rule, and whether the ports that they get are really fully random. Pure."""
