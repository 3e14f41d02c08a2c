"""What became of a packet, why, and what stands in the way of saying so. Pure."""
