"""The composition root: builds the objects of a process, starts and stops them in order.

The only place that knows every room.
"""
