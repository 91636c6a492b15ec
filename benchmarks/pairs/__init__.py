"""This revision against another one of this project, in interleaved runs."""
