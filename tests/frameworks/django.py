"""Django."""

from __future__ import annotations

from django import setup
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.middleware.security import SecurityMiddleware
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from frameworks import hostile
from frameworks.bare import with_mounted_asgi, with_mounted_wsgi, wrapped_asgi, wrapped_wsgi
from frameworks.healths import MOUNTED, healths, mounted_health

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


def urls_asgi():
    """`include("tasker_health.frameworks.django.urls")` under ASGI."""
    _include()
    return get_asgi_application()


def urls_wsgi():
    """The same under WSGI."""
    _include()
    return get_wsgi_application()


_chosen = []


def of_the_project():
    """Return what the setting names."""
    return _chosen[0]


def _install(health):
    settings.INSTALLED_APPS = ["tasker_health.frameworks.django"]
    settings.TASKER_HEALTH = f"{__name__}.of_the_project"
    _chosen.append(health)
    setup()


def _include():
    """A project has one Health by its settings; the others stand beside it as that one does."""
    first, *others = healths()
    _install(first)
    from tasker_health.frameworks.django.pattern import ProbePattern, Probes

    below = path(f"{MOUNTED[1:]}/", include([ProbePattern(Probes(mounted_health()))]))
    urlpatterns[:0] = [
        path("", include("tasker_health.frameworks.django.urls")),
        *(ProbePattern(Probes(health)) for health in others),
        below,
    ]


def _hostile(get_response):
    """Sleep, raise, ask, and set a cookie."""

    def middleware(request):
        kind = request.headers.get(hostile.HEADER)
        hostile.sleep_or_raise(kind)
        if kind == hostile.ASK:
            return HttpResponse(status=401)
        response = get_response(request)
        response.set_cookie("session", "x")
        return response

    return middleware


def _redirecting(get_response):
    """Django's own `SECURE_SSL_REDIRECT`, when it is asked for."""
    secure = SecurityMiddleware(get_response)

    def middleware(request):
        return (secure if request.headers.get(hostile.HEADER) == hostile.REDIRECT else get_response)(request)

    return middleware


def _hostile_project():
    settings.ALLOWED_HOSTS = [hostile.HOST]
    settings.SECURE_SSL_REDIRECT = True
    settings.MIDDLEWARE = [
        f"{__name__}._hostile",
        f"{__name__}._redirecting",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.gzip.GZipMiddleware",
    ]
    _install(hostile.inner())
    urlpatterns.insert(0, path("", include("tasker_health.frameworks.django.urls")))


def hostile_asgi():
    """Both forms behind and before what Django offers."""
    _hostile_project()
    return hostile.outer().asgi(get_asgi_application())


def hostile_wsgi():
    """The same under WSGI."""
    _hostile_project()
    return hostile.outer().wsgi(get_wsgi_application())
