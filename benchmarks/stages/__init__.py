"""The CPU of a request, step by step, each step called alone in one thread.

It calls the service's own parts. A step whose parts have moved is reported, and the others go on.
"""
