# SPDX-License-Identifier: Apache-2.0
"""`python3 -m overlaywatch`: the same program as the command `overlaywatch`."""

import sys

from overlaywatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
