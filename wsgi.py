"""Composition root: settings, the bucket, the pipeline, the application."""

import logging.config
import os
import sys
import threading
from functools import partial

from app.factory import create_app
from app.log_writer import writer as log_writer
from app.logs import logging_config
from workers.errors import SettingsError
from workers.pipeline import Pipeline
from workers.settings.settings import process_settings
from workers.spool.counters import Field
from workers.upload.s3 import Bucket


class PerProcess:
    """This process's pipeline, made and started when it is first asked for.

    Threads and sockets do not survive a fork: a child never gets its parent's.
    """

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def get(self) -> Pipeline:
        """Return the started pipeline; the first call in a process blocks on the disk."""
        if self._pipeline is not None:
            return self._pipeline
        with self._lock:
            if self._pipeline is None:
                pipeline = Pipeline(settings, bucket=Bucket.connect(settings))
                pipeline.start()
                log_writer.on_drop = partial(pipeline.counters.add, Field.LOG_LINES_DROPPED)
                self._pipeline = pipeline
            return self._pipeline

    def stop(self) -> None:
        """Stop this process's pipeline if it has one; blocks for `DRAIN_SECONDS` at most."""
        if self._pipeline is not None:
            self._pipeline.stop()

    def _forget(self) -> None:
        self._pipeline = None
        self._lock = threading.Lock()


pipelines = PerProcess()
try:
    settings = process_settings()
    logging.config.dictConfig(logging_config(settings.log_level))
    app = create_app(settings, pipeline=pipelines.get)
except SettingsError as error:
    sys.exit(f"bucket-brigade: {error}")
