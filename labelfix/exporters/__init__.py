"""A corrected dataset in the form that another tool reads: one file a target.

A module here that holds an ``EXPORTER`` is found by itself; nothing else has to name it.
"""
