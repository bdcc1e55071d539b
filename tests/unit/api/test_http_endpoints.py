"""Where the methods are offered over HTTP, and by whose authority they are called."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remanager_api
from remanager_api.errors import RequestParameterError
from remanager_api.http import errors
from remanager_api.http.authorization import (
    Authorization,
    credentials,
    headers_for,
    make_authorization,
    provider_path,
)
from remanager_api.http.endpoints import ENDPOINTS, endpoint_of
from remanager_api.transport import AuthorizationMethods


@pytest.mark.parametrize(
    ("method", "endpoint"),
    [
        ("status", ("GET", "/api/status")),
        ("queue_item_add_batch", ("POST", "/api/queue/item/add/batch")),
        ("queue_item_get", ("GET", "/api/queue/item/get")),
        ("queue_stop_cancel", ("POST", "/api/queue/stop/cancel")),
        ("re_runs", ("POST", "/api/re/runs")),
        ("re_metadata", ("GET", "/api/re/metadata")),
        ("lock_info", ("GET", "/api/lock/info")),
        ("manager_kill", ("POST", "/api/test/manager/kill")),
        ("apikey_delete", ("DELETE", "/api/auth/apikey")),
        (("GET", "/api/mine"), ("GET", "/api/mine")),
        (["POST", "/api/mine"], ("POST", "/api/mine")),
    ],
)
def test_endpoint_of_a_method(method: str, endpoint: tuple[str, str]) -> None:
    assert endpoint_of(method) == endpoint


def test_endpoints_of_the_stock_client_are_here() -> None:
    stock = pytest.importorskip("bluesky_queueserver_api.comm_base")
    assert stock.rest_api_method_map.items() <= ENDPOINTS.items()


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("task_submit", "Unknown method 'task_submit': bluesky-httpserver has no endpoint"),
        (10, "Method must be a string or an iterable"),
        (("GET",), "must consist of 2 string elements"),
        (("GET", "/api/status", "more"), "must consist of 2 string elements"),
        (("GET", {}), "must consist of 2 string elements"),
    ],
)
def test_what_is_no_endpoint(method: object, text: str) -> None:
    with pytest.raises(RequestParameterError, match=text):
        endpoint_of(method)  # type: ignore[arg-type]


KEYS = st.none() | st.text(min_size=1, max_size=5)


@given(api_key=KEYS, token=KEYS, refresh_token=KEYS)
def test_method_key_and_headers_follow_from_the_keys(
    api_key: str | None, token: str | None, refresh_token: str | None
) -> None:
    if api_key and (token or refresh_token):
        with pytest.raises(RequestParameterError, match="mutually exclusive"):
            make_authorization(api_key, token, refresh_token)
        return
    made = make_authorization(api_key, token, refresh_token)
    if api_key:
        assert (made.method, made.key) == (AuthorizationMethods.API_KEY, api_key)
        assert made.headers == {"Authorization": f"ApiKey {api_key}"}
    elif token or refresh_token:
        assert (made.method, made.key) == (AuthorizationMethods.TOKEN, (token, refresh_token))
        assert made.headers == ({"Authorization": f"Bearer {token}"} if token else {})
    else:
        assert (made.method, made.key, made.headers) == (AuthorizationMethods.NONE, None, {})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"api_key": 10}, "API key must be a string or None"),
        ({"token": 10}, "Token must be a string or None"),
        ({"refresh_token": 10}, "Refresh token must be a string or None"),
    ],
)
def test_keys_are_strings(keys: dict[str, object], text: str) -> None:
    with pytest.raises(RequestParameterError, match=text):
        make_authorization(**keys)


def test_one_request_with_another_key() -> None:
    assert headers_for(None, None) is None
    assert headers_for(None, "abc") == Authorization(api_key="abc").headers
    assert headers_for("abc", None) == Authorization(token="abc").headers
    with pytest.raises(RequestParameterError, match="both token and API key"):
        headers_for("a", "b")


@pytest.mark.parametrize(
    ("given_path", "path"), [(None, None), ("/toy/token", "/toy/token"), (" toy/token ", "/toy/token")]
)
def test_path_of_a_provider(given_path: str | None, path: str | None) -> None:
    assert provider_path(given_path) == path


@pytest.mark.parametrize(
    ("given_path", "text"), [(10, "must be a string or None"), (" ", "is an empty string")]
)
def test_what_is_no_provider(given_path: object, text: str) -> None:
    with pytest.raises(RequestParameterError, match=f"Authentication provider path {text}"):
        provider_path(given_path)


@pytest.mark.parametrize(
    ("username", "password", "text"),
    [
        (10, "p", "'username' is not string"),
        (" ", "p", "'username' is an empty string"),
        ("bob", 10, "'password' is not string"),
        ("bob", "", "'password' is an empty string"),
    ],
)
def test_credentials_are_checked(username: object, password: object, text: str) -> None:
    with pytest.raises(RequestParameterError, match=text):
        credentials(username, password)


def test_credentials() -> None:
    assert credentials(" bob ", " with spaces ") == {"username": "bob", "password": " with spaces "}


def test_errors_are_those_of_the_client_and_of_httpx() -> None:
    for name in ("HTTPRequestError", "HTTPClientError", "HTTPServerError"):
        assert issubclass(getattr(errors, name), getattr(remanager_api.errors, name))
        assert issubclass(getattr(errors, name), remanager_api.errors.HTTPError)
        assert issubclass(getattr(errors, name), httpx.HTTPError)


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (httpx.Response(401, json={"detail": "Invalid API key"}), "401: Invalid API key http://host/api/x"),
        (httpx.Response(400, json={}), "400: Bad Request http://host/api/x"),
        (httpx.Response(404, text="<html>"), "404: Not Found http://host/api/x"),
        (httpx.Response(422, json=["a"]), "422: ['a'] http://host/api/x"),
    ],
)
def test_text_of_a_refusal(response: httpx.Response, text: str) -> None:
    response.request = httpx.Request("GET", "http://host/api/x")
    error = errors.status_error(httpx.HTTPStatusError("", request=response.request, response=response))
    assert isinstance(error, errors.HTTPClientError)
    assert str(error) == text
    assert error.response is response
