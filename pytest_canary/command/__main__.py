"""``python -m pytest_canary.command``, where the console command is not on PATH."""

import sys

from pytest_canary.command import main

sys.exit(main())
