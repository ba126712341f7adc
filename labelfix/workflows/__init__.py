"""One file a command, without a terminal: the only readers of inputs and contract."""
