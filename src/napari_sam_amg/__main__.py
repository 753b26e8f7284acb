"""``python -m napari_sam_amg`` is the command ``napari-sam-amg``."""

import sys

from napari_sam_amg.cli.main import main

sys.exit(main())
