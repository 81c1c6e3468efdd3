"""What stands behind the ports: one package or module for each way of running, routing, counting and asking."""
