"""Health in Django: an app for `INSTALLED_APPS`, its `urls`, and checks from what the project's settings say.

`application = health.asgi(get_asgi_application())`, or `wsgi`, needs nothing of this but, perhaps, `django_checks`.
"""

from __future__ import annotations

from tasker_health.frameworks.django.checks import django_checks

__all__ = ["django_checks"]
