"""Who may do what: a certificate authority of this cluster's own, tokens for its parts, and their kubeconfigs."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from tests.cluster.console import sh
from tests.cluster.places import API, CONTEXT, KUBERNETES_IP, NAME, NODE, PKI, STATE

USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
}
"""Part -> its user and groups, which RBAC and the node authorizer know by these names."""
_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-x509")


def write() -> None:
    """Make all of them anew."""
    PKI.mkdir(mode=0o700)
    sh("openssl", "req", *_NEW, "-keyout", PKI / "ca.key", "-out", PKI / "ca.crt", "-subj", "/CN=canary-ca",
       "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    addresses = ("127.0.0.1", KUBERNETES_IP, NODE)
    _certificate("apiserver", "/CN=kube-apiserver", [f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses])
    _certificate("to-kubelet", "/O=system:masters/CN=apiserver-to-kubelet", ["DNS:none"])
    sh("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", PKI / "accounts.key")
    sh("openssl", "pkey", "-in", PKI / "accounts.key", "-pubout", "-out", PKI / "accounts.pub")
    rows = []
    for part, (user, groups) in USERS.items():
        token = secrets.token_hex(16)
        rows.append(f'{token},{user},{part},"{groups}"\n')
        _secret(kubeconfig(part), json.dumps(_config(part, token), indent=1))
    _secret(PKI / "tokens.csv", "".join(rows))


def kubeconfig(part: str) -> Path:
    """Where the kubeconfig of ``part`` is."""
    return STATE / f"{part}.kubeconfig"


def _certificate(name: str, subject: str, alternatives: list[str]) -> None:
    sh("openssl", "req", *_NEW, "-CA", PKI / "ca.crt", "-CAkey", PKI / "ca.key", "-keyout", PKI / f"{name}.key",
       "-out", PKI / f"{name}.crt", "-subj", subject, "-addext", "subjectAltName=" + ",".join(alternatives),
       "-addext", "basicConstraints=critical,CA:FALSE",
       "-addext", "extendedKeyUsage=serverAuth,clientAuth")  # fmt: skip


def _config(part: str, token: str) -> dict[str, object]:
    """JSON is YAML too, and the standard library reads it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": {"server": API, "certificate-authority": str(PKI / "ca.crt")}}],
        "users": [{"name": part, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": part}}],
    }


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
