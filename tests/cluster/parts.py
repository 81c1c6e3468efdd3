"""The processes of the node: how each is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.cluster import settings
from tests.cluster.credentials import kubeconfig
from tests.cluster.places import ADMIN, NAME, NODE, PKI, PROMETHEUS, SERVICES, STATE, TARGETS, binaries

ETCD = "http://127.0.0.1:2379"
_FAST = ("--kube-api-qps=200", "--kube-api-burst=400")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Name and words of each, in the order in which they need each other."""
    yield "etcd", _server("etcd", *_etcd())
    yield "containerd", ["containerd", "-c", str(settings.CONTAINERD)]
    yield "registry", ["docker-registry", "serve", str(settings.REGISTRY_FILE)]
    yield "prometheus", ["prometheus", *_prometheus()]
    yield "apiserver", _server("kube-apiserver", *_apiserver())
    yield "controller-manager", _server("kube-controller-manager", *_controller_manager())
    yield "scheduler", _server("kube-scheduler", *_alone("scheduler"), *_FAST)
    yield "kubelet", _server("kubelet", *_kubelet())
    yield "proxy", _server("kube-proxy", f"--config={settings.PROXY}")
    yield "targets", [sys.executable, "-m", "tests.cluster.targets", str(ADMIN), str(TARGETS)]


def _server(name: str, *flags: str) -> list[str]:
    return [str(binaries() / "servers"), name, *flags]


def _etcd() -> Iterator[str]:
    yield from (f"--data-dir={STATE}/etcd", "--log-level=warn")
    # The cluster never outlives its machine, so nothing has to be on the disk.
    yield "--unsafe-no-fsync"
    yield from (f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}")
    yield "--listen-peer-urls=http://127.0.0.1:2380"


def _apiserver() -> Iterator[str]:
    yield from (f"--etcd-servers={ETCD}", f"--bind-address={NODE}", f"--advertise-address={NODE}")
    yield f"--service-cluster-ip-range={SERVICES}"
    yield from ("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction")
    yield from (f"--token-auth-file={PKI}/tokens.csv", f"--client-ca-file={PKI}/ca.crt")
    yield from (f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key")
    yield from (f"--kubelet-client-certificate={PKI}/to-kubelet.crt", f"--kubelet-client-key={PKI}/to-kubelet.key")
    yield from (f"--service-account-key-file={PKI}/accounts.pub",
                f"--service-account-signing-key-file={PKI}/accounts.key",
                "--service-account-issuer=https://kubernetes.default.svc")  # fmt: skip
    yield from (f"--audit-policy-file={settings.AUDIT}", f"--audit-log-path={settings.AUDIT_LOG}")
    yield from (f"--cert-dir={STATE}/apiserver-certs", "--allow-privileged=true")
    yield "--kubelet-preferred-address-types=InternalIP"


def _controller_manager() -> Iterator[str]:
    yield from _alone("controller-manager")
    yield from (f"--service-account-private-key-file={PKI}/accounts.key", f"--root-ca-file={PKI}/ca.crt")
    yield from ("--use-service-account-credentials=true", *_FAST)


def _kubelet() -> Iterator[str]:
    yield from (f"--config={settings.KUBELET}", f"--kubeconfig={kubeconfig('kubelet')}")
    yield from (f"--root-dir={STATE}/kubelet", f"--cert-dir={STATE}/kubelet-pki")
    yield from (f"--hostname-override={NAME}", f"--node-ip={NODE}", "--v=2")


def _alone(part: str) -> Iterator[str]:
    """There is one of each, so nobody is to be elected."""
    yield from (f"--kubeconfig={kubeconfig(part)}", "--leader-elect=false", "--bind-address=127.0.0.1")


def _prometheus() -> Iterator[str]:
    yield from (f"--config.file={settings.PROMETHEUS_FILE}", f"--storage.tsdb.path={STATE}/prometheus")
    yield f"--web.listen-address={PROMETHEUS.removeprefix('http://')}"
    yield from ("--storage.tsdb.retention.time=6h", "--log.level=warn")
