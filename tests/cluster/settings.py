"""The files by which the parts of the node are configured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster.credentials import kubeconfig
from tests.cluster.places import CGROUP, DNS_IP, LOG, NAME, NODE, PKI, PODS, REGISTRY, RUN, STATE, TARGETS, cache

CONTAINERD, REGISTRY_FILE = STATE / "containerd.toml", STATE / "registry.yml"
KUBELET, PROXY, AUDIT = STATE / "kubelet.json", STATE / "proxy.json", STATE / "audit.json"
PROMETHEUS_FILE = STATE / "prometheus.yml"
AUDIT_LOG = LOG / "audit.log"


def write() -> None:
    """Write all of them."""
    _text(STATE / "resolv.conf", f"nameserver {DNS_IP}\n")
    _json(STATE / "cni" / "10-ptp.conflist", _network())
    _text(STATE / "certs.d" / REGISTRY / "hosts.toml", f'server = "http://{REGISTRY}"\n[host."http://{REGISTRY}"]\n')
    _text(CONTAINERD, _containerd())
    _text(REGISTRY_FILE, _registry())
    _json(AUDIT, _audit())
    _json(KUBELET, _kubelet())
    _json(PROXY, _proxy())
    _text(PROMETHEUS_FILE, _prometheus())
    _json(TARGETS, [])


def _network() -> dict[str, Any]:
    """A point-to-point link for each pod: it needs no bridge, and the rules of kube-proxy see all that passes."""
    ipam = {
        "type": "host-local",
        "dataDir": str(RUN / "ipam"),
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _containerd() -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    others = ("snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "snapshotter.v1.devmapper")
    disabled = [f"io.containerd.{each}" for each in (*others, "internal.v1.opt", "tracing.processor.v1.otlp")]
    # restrict_oom_score_adj: root in a container may not lower scores, and without it runc would fail for every pod.
    return f"""version = 2
root = "{STATE}/containerd"
state = "{RUN}/containerd"
disabled_plugins = {json.dumps(disabled)}
[grpc]
address = "{RUN}/containerd.sock"
[{cri}]
sandbox_image = "{REGISTRY}/pause:1"
stream_server_address = "127.0.0.1"
restrict_oom_score_adj = true
[{cri}.containerd]
snapshotter = "overlayfs"
[{cri}.cni]
bin_dir = "{cache()}/node/usr/lib/cni"
conf_dir = "{STATE}/cni"
[{cri}.registry]
config_path = "{STATE}/certs.d"
"""


def _registry() -> str:
    return f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {STATE}/registry}}}}
http: {{addr: "{REGISTRY}"}}
"""


def _audit() -> dict[str, Any]:
    """Who changed what: every write of people and tests with its body, and not the chatter of the system's parts."""
    parts = ["system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "system:apiserver"]
    rules = [
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
        {"level": "None", "users": parts},
        {"level": "Request", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
    ]
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "readOnlyPort": 0,
        "failCgroupV1": False,
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "containerRuntimeEndpoint": f"unix://{RUN}/containerd.sock",
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_IP],
        "resolvConf": str(STATE / "resolv.conf"),
        "podLogsDir": str(STATE / "podlogs"),
        "volumePluginDir": str(STATE / "volumeplugins"),
        "serializeImagePulls": False,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "maxPods": 250,
        "shutdownGracePeriod": "0s",
        # The disk is the machine's, and how full it is is not the concern of a test.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _proxy() -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig("proxy"))},
        "hostnameOverride": NAME,
        "clusterCIDR": PODS,
        "nodePortAddresses": [],
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nftables": {"minSyncPeriod": "0.2s"},
        # Limits of the whole machine, which a network namespace cannot set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _prometheus() -> str:
    """Debian builds Prometheus without the discovery of pods; a watcher of ours writes ``targets.json``."""
    return f"""global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
scrape_configs:
- job_name: pods
  file_sd_configs: [{{files: ["{TARGETS}"]}}]
"""


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _json(path: Path, value: Any) -> None:
    _text(path, json.dumps(value, indent=1))
