"""What the service is for."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse


def orders(_request: HttpRequest) -> JsonResponse:
    """Return the orders of today."""
    return JsonResponse([{"number": 1, "item": "bread"}], safe=False)
