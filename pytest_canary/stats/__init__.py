"""Pure mathematics of evidence: numpy with a leading batch axis (a live run is batch 1), no I/O, no clock."""
