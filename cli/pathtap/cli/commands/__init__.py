"""One module a command: reads the command line, asks the collector, prints. No command knows another."""
