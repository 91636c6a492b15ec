"""What gunicorn serves when a baseline is measured: the design that `BASELINE` names."""

import importlib
import os

app = importlib.import_module(f"benchmarks.baselines.{os.environ['BASELINE']}").app
