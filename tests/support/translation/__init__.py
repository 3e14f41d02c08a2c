"""The matrix of who translates a pod's sources, and how: its cells as values, their rules as text, and a lab to hold them."""
