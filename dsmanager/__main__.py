"""``python -m dsmanager``."""

import sys

from dsmanager.cli.start import main

sys.exit(main())
