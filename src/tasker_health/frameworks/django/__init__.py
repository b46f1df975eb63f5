"""Health in Django: an app for `INSTALLED_APPS`, its `urls`, and checks from what the project's settings say.

`application = health.asgi(get_asgi_application())`, or `wsgi`, needs nothing of this but, perhaps, `django_checks`.
"""

from __future__ import annotations

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks.django.checks import django_checks

try:
    from tasker_health.frameworks.django.pattern import probe_urls
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install 'tasker-health[django]'") from None

__all__ = ["django_checks", "probe_urls"]
