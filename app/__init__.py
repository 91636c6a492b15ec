"""The HTTP side: everything between a socket and the pipeline. The pipeline does not import it."""
