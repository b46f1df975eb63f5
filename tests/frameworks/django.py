"""Django."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from frameworks.bare import with_mounted_asgi, with_mounted_wsgi, wrapped_asgi, wrapped_wsgi

settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True)


@csrf_exempt
def orders(request):
    """Answer for the application."""
    return JsonResponse({"method": request.method, "bytes": len(request.body)})


urlpatterns = [path("orders", orders)]


def asgi():
    """`health.asgi(get_asgi_application())`; Django mounts nothing."""
    return with_mounted_asgi(wrapped_asgi(get_asgi_application()))


def wsgi():
    """`health.wsgi(get_wsgi_application())`."""
    return with_mounted_wsgi(wrapped_wsgi(get_wsgi_application()))
