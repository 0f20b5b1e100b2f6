"""A real Prometheus scrapes a running sidecar by the shipped rules, and a real Alertmanager tells of what they say."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.monitoring.tools import RULES, tool
from tests.support.processes import Proxy
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

_PATIENCE = 60.0


class Webhook:
    """Takes what Alertmanager sends."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        alerts = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                alerts.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, name: str, status: str) -> list[dict[str, Any]]:
        return [alert for alert in self.alerts if alert["labels"]["alertname"] == name and alert["status"] == status]


@contextmanager
def running(*command: str | Path) -> Iterator[None]:
    """A program, until it is not needed any more."""
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def query(prometheus: str, expr: str) -> list[dict[str, Any]]:
    """What an expression gives now; nothing while nobody answers."""
    try:
        with urlopen(f"{prometheus}/api/v1/query?{urlencode({'query': expr})}", timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return result


@contextmanager
def monitoring(place: Path, proxy: Proxy, webhook: Webhook) -> Iterator[str]:
    """Prometheus and Alertmanager, all in a hurry; yields Prometheus's address."""
    assert not isinstance(proxy.admin, str)
    ports = free_port(), free_port()
    rules, config, routes = place / "rules.yaml", place / "prometheus.yaml", place / "alertmanager.yaml"
    rules.write_text(RULES.read_text().replace("for: 1m", "for: 0s"))
    scrape = {"job_name": "sidecar", "static_configs": [{"targets": [f"{proxy.admin[0]}:{proxy.admin[1]}"]}]}
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [scrape],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]}]},
            }
        )
    )
    receiver = {"name": "hook", "webhook_configs": [{"url": webhook.url, "send_resolved": True}]}
    quick = {"receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    routes.write_text(yaml.safe_dump({"route": quick, "receivers": [receiver]}))
    alertmanager = (
        tool("prometheus-alertmanager", "alertmanager"),
        f"--config.file={routes}",
        f"--storage.path={place / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{ports[1]}",
        "--cluster.listen-address=",
    )
    prometheus = (
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={place / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{ports[0]}",
    )
    with running(*alertmanager), running(*prometheus):
        yield f"http://127.0.0.1:{ports[0]}"


def test_an_alert_reaches_a_webhook_and_is_resolved(tmp_path: Path) -> None:
    """The service goes: somebody is told, with a summary and a runbook; it comes back: so are they."""
    webhook, upstream = Webhook(), Upstream()
    try:
        port = upstream.port
        with Proxy(upstream.url, SIDECAR_HEALTH__INTERVAL="200ms") as proxy:
            with proxy.client() as client:
                assert client.get("/orders/17").status == 200
            with monitoring(tmp_path, proxy, webhook) as prometheus:
                (total,) = eventually(
                    lambda: query(prometheus, 'http_requests_total{path="/orders/{id}"}'), "a scrape", _PATIENCE
                )
                assert total["value"][1] == "1"
                upstream.close()
                (alert, *_) = eventually(lambda: webhook.of("SidecarUpstreamDown", "firing"), "the alert", _PATIENCE)
                assert alert["labels"]["job"] == "sidecar"
                assert alert["labels"]["severity"] == "critical"
                assert alert["annotations"]["summary"].startswith("The service behind 127.0.0.1:")
                assert alert["annotations"]["runbook_url"].endswith("#sidecarupstreamdown")
                upstream = Upstream(sock=socket.create_server(("127.0.0.1", port)))
                eventually(lambda: webhook.of("SidecarUpstreamDown", "resolved"), "its end", _PATIENCE)
    finally:
        upstream.close()
        webhook.close()
