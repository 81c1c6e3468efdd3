"""Envoy's configuration, made of a :class:`~pytest_canary.adapters.envoy.table.Table`: pure functions to JSON values.

Clusters and routes are files that Envoy watches; a file is written aside and renamed.  One worker thread, so that one
probe speaks for all requests.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_canary.adapters.envoy.options import EnvoyOptions
from pytest_canary.adapters.envoy.table import UNITS, Place, Table
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Role

Json = dict[str, Any]

API = "type.googleapis.com/envoy"
ADMIN_SOCKET = "admin.sock"
TABLE_SOCKET = "table.sock"
TABLE_HOST = "table.pytest-canary.invalid"
SERVED_BY = "x-served-by"
MADE_BY_ROUTER = "x-canary-router"
"""Stands, with Envoy's response flags and beside ``server: envoy``, in every error that Envoy made itself."""
FLUSH_SECONDS = 0.2
NO_LIMIT = 1_000_000_000


def bootstrap(options: EnvoyOptions, port: int, folder: Path, sockets: Path) -> Json:
    """What never changes while Envoy runs; ``port`` 0 lets the kernel choose."""
    users = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "node": {"id": "pytest-canary", "cluster": "pytest-canary"},
        "admin": {"address": _pipe(sockets / ADMIN_SOCKET)},
        "stats_flush_interval": _seconds(FLUSH_SECONDS),
        "dynamic_resources": {"cds_config": _watched(folder / "clusters.json")},
        "static_resources": {
            "listeners": [
                _listener("users", users, folder, options, access_log=_counting(), filters=_reading(options)),
                _listener("table", _pipe(sockets / TABLE_SOCKET), folder, options, access_log=[], filters=[]),
            ]
        },
    }


def clusters(places: list[Place], options: EnvoyOptions, version: str) -> Json:
    """The builds that requests can be sent to."""
    by_name = {place.cluster: place for place in places}
    return {"version_info": version, "resources": [_cluster(place, options) for place in by_name.values()]}


def routes(table: Table, options: EnvoyOptions) -> Json:
    """Who gets which share; the same answer tells anybody who asks on the table socket what is in force."""
    told = {"status": 200, "body": {"inline_string": table.to_json()}}
    hosts = [
        {"name": "table", "domains": [TABLE_HOST], "routes": [{"match": {"prefix": "/"}, "direct_response": told}]},
        {"name": "users", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **_action(table, options)}]},
    ]
    route = {"@type": f"{API}.config.route.v3.RouteConfiguration", "name": "split", "virtual_hosts": hosts}
    return {"version_info": str(table.version), "resources": [route]}


def _action(table: Table, options: EnvoyOptions) -> Json:
    if not table.units:
        return {"direct_response": {"status": 503, "body": {"inline_string": "no build holds any traffic\n"}}}
    weighted = [
        {
            "name": table.places[role].cluster,
            "weight": units,
            "response_headers_to_add": [_header(SERVED_BY, table.places[role].pin)],
        }
        for role, units in table.units.items()
    ]
    action: Json = {
        "weighted_clusters": {"clusters": weighted},
        "timeout": _seconds(options.request_timeout or 0),
        "retry_policy": {
            "retry_on": "connect-failure,reset-before-request",
            "num_retries": 1,
            "per_try_idle_timeout": _seconds(options.idle_timeout),
        },
    }
    if table.mirror:
        share = {"numerator": round(table.mirror * UNITS), "denominator": "MILLION"}
        action["request_mirror_policies"] = [
            {
                "cluster": table.places[Role.CANARY].cluster,
                "runtime_fraction": {"default_value": share},
                "disable_shadow_host_suffix_append": True,
            }
        ]
    return {"route": action}


def _cluster(place: Place, options: EnvoyOptions) -> Json:
    host, port = _reach(place.address)
    address = {"socket_address": {"address": host, "port_value": port}}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), NO_LIMIT)
    common: Json = {"idle_timeout": _seconds(options.upstream_idle)}
    if options.requests_per_connection is not None:
        common["max_requests_per_connection"] = options.requests_per_connection
    protocol = {
        "@type": f"{API}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": common,
        "explicit_http_config": {"http_protocol_options": {}},
    }
    return {
        "@type": f"{API}.config.cluster.v3.Cluster",
        "name": place.cluster,
        "type": "STATIC" if _is_ip(host) else "STRICT_DNS",
        "connect_timeout": _seconds(2.0),
        "load_assignment": {"cluster_name": place.cluster, "endpoints": [endpoint]},
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            f"{API.partition('/')[2]}.extensions.upstreams.http.v3.HttpProtocolOptions": protocol
        },
    }


def _reach(address: str) -> tuple[str, int]:
    try:
        url = urlsplit(address)
        host, port = url.hostname, 80 if url.port is None else url.port
    except ValueError:
        host, port = None, 0
    if not host or not port or url.scheme != "http":
        raise AdapterError(f"Envoy cannot reach {address!r}, expected http://host:port")
    return host, port


def _listener(
    name: str, address: Json, folder: Path, options: EnvoyOptions, *, access_log: list[Json], filters: list[Json]
) -> Json:
    router = {"@type": f"{API}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    manager = {
        "@type": f"{API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "rds": {"route_config_name": "split", "config_source": _watched(folder / "routes.json")},
        "access_log": access_log,
        # A silent build runs into the idle timeout of the route first, which blames it; this one blames nobody.
        "stream_idle_timeout": _seconds(2 * options.idle_timeout),
        "server_header_transformation": "PASS_THROUGH",
        # Old health checks and load testers; Envoy would answer them 426 by itself.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        "normalize_path": False,
        "merge_slashes": False,
        "local_reply_config": {"mappers": [_own_errors()]},
        "http_filters": [*filters, {"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    # With port reuse, a second Envoy would take half of the users without a word.
    return {"name": name, "address": address, "enable_reuse_port": False, "filter_chains": [chain]}


def _own_errors() -> Json:
    least = {"default_value": 400, "runtime_key": "pytest_canary.own_errors"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": "GE", "value": least}}},
        "headers_to_add": [_header("server", "envoy"), _header(MADE_BY_ROUTER, "%RESPONSE_FLAGS%")],
    }


def _reading(options: EnvoyOptions) -> list[Json]:
    """The filter that looks into requests to a model and into their answers, and tells the access log what is there."""
    if not options.read_answers:
        return []
    lua = {"@type": f"{API}.extensions.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": _program()}}
    return [{"name": "envoy.filters.http.lua", "typed_config": lua}]


@cache
def _program() -> str:
    return Path(__file__).with_name("answers.lua").read_text(encoding="utf-8")


def _counting() -> list[Json]:
    """One request, one line, at the end of its stream: see ``metrics`` for what is made of it."""
    cluster = {"name": "revision", "value_format": "%UPSTREAM_CLUSTER%"}
    code = {"name": "code", "value_format": "%RESPONSE_CODE%"}
    flags = {"name": "flags", "value_format": "%RESPONSE_FLAGS%"}
    kind = {"name": "type", "value_format": "%RESP(CONTENT-TYPE):17%"}
    said = {"name": "said", "value_format": _found("said")}
    begin = "%COMMON_DURATION(DS_RX_BEG:"

    def counter(name: str, value: Json, *more: Json) -> Json:
        return {"stat": {"name": name, "tags": [cluster, *more]}, **value}

    def histogram(name: str, unit: str, value: str, *more: Json) -> Json:
        return {"stat": {"name": name, "tags": [cluster, flags, *more]}, "unit": unit, "value_format": value}

    config = {
        "@type": f"{API}.extensions.access_loggers.stats.v3.Config",
        "stat_prefix": "seen",
        "counters": [
            counter("requests", {"value_fixed": 1}, code, flags, said),
            *(counter(f"{way}_tokens", {"value_format": _found(way)}, flags) for way in ("input", "output")),
        ],
        "histograms": [
            histogram("latency", "Microseconds", f"{begin}DS_TX_END:us)%"),
            histogram("ttft", "Microseconds", f"{begin}US_RX_BODY_BEG:us)%", kind),
            histogram("itl", "Microseconds", _found("gap")),
            *(histogram(f"{way}_tokens", "Unspecified", _found(way)) for way in ("input", "output")),
        ],
    }
    return [{"name": "envoy.access_loggers.stats", "typed_config": config}]


def _found(name: str) -> str:
    """What :mod:`answers.lua` says of this request."""
    return f"%DYNAMIC_METADATA(pytest_canary:{name})%"


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _watched(path: Path) -> Json:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _pipe(path: Path) -> Json:
    return {"pipe": {"path": str(path), "mode": 0o600}}


def _seconds(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
