"""Real model servers: long to install and slow to start, so left out unless asked for by `-m heavy`."""
