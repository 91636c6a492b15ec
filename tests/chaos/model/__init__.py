"""The model of crashes: the real intake, committer, adoption and uploader on a simulated disk, S3.

One thread plays all the parts, so that a process can end at any step of any of them, and thousands
of lives pass in seconds. Knows nothing of HTTP.
"""
