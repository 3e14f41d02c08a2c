"""Messages to lines, purely: no terminal, no clock, no environment. What comes in here has passed `escaped`."""
