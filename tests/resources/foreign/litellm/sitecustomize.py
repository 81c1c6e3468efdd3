"""Loaded by the interpreter of every proxy: without it one in some dozens ends with SIGSEGV.

Up to Python 3.11 the cyclic collector may run while a context variable is set, and a finalizer that sets one then
leaves the first without its table (python/cpython#148891).  Here it runs in a thread, where nothing is being set.
"""

import gc
import sys
import threading
import time

YOUNG = 1
"""The generations that are looked through: what a request leaves behind is young."""
EVERY_SECONDS = 2.0


def _collect() -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        gc.collect(YOUNG)


if sys.version_info < (3, 12):
    gc.disable()
    threading.Thread(target=_collect, name="collector", daemon=True).start()
