"""What the configuration says of a packet that nobody saw: its way, what would stop it, how that is told. Pure."""
