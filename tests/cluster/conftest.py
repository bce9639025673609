"""The cluster's tool is a script beside its modules; its tests import them as it does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
