"""The service's own gunicorn settings, without the hooks of its pipeline."""

import runpy
from pathlib import Path

_service = runpy.run_path(str(Path(__file__).parents[2] / "gunicorn.conf.py"))
# Only the service runs on Granian's engine.
worker_class = "app.servers.gthread.worker.DeadlineThreadWorker"
workers = _service["workers"]
threads = _service["threads"]
timeout = _service["timeout"]
graceful_timeout = _service["graceful_timeout"]
keepalive = _service["keepalive"]
control_socket_disable = _service["control_socket_disable"]
logconfig_dict = _service["logconfig_dict"]
