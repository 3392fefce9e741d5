"""What fails the start-up in an app that is mounted below."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient

from app.security.access.policy import InsecureApp
from app.security.compose import fastapi_options
from tests.security.build_app import assemble, forgotten, plain
from tests.security.fixtures import PRODUCTION_ENVIRONMENT


def test_no_app_below_has_a_cors_layer(environment: Callable[..., None]) -> None:
    environment()
    below = FastAPI(**fastapi_options())
    below.add_middleware(CORSMiddleware, allow_origins=["*"])

    with (
        pytest.raises(InsecureApp, match="a CORSMiddleware of your own: remove it"),
        TestClient(assemble(lambda app: app.mount("/below", below))),
    ):
        pass


def test_production_replaces_no_dependency_of_a_mounted_app(environment: Callable[..., None]) -> None:
    environment(**PRODUCTION_ENVIRONMENT)
    below = FastAPI(**fastapi_options())
    below.dependency_overrides[forgotten] = plain

    with (
        pytest.raises(InsecureApp, match="dependency_overrides"),
        TestClient(assemble(lambda app: app.mount("/below", below))),
    ):
        pass
