"""``python -m dsmanager``."""

import sys

from dsmanager.cli.main import main

sys.exit(main())
