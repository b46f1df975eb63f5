"""Checks from what a Django project's settings say: its databases, caches and migrations, and its own system check.

Django is imported when a check is made, never before. A check asks over connections of its own; what belongs to a
thread of Django's (`connections`, `caches`) is never touched in a thread that serves requests.
"""
