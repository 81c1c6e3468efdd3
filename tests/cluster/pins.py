"""Every version that the cluster is made of; a change here, or in ``servers/``, makes a new cache folder."""

from __future__ import annotations

KUBERNETES = "1.37.1"
"""Said by the servers about themselves; ``servers/go.mod`` is what decides.  1.37 is the last that takes cgroup v1."""
GO = (1, 26)
CONTOUR = "github.com/projectcontour/contour", "v1.33.8"
GATEWAY_API = "sigs.k8s.io/gateway-api", "v1.6.3"
PODINFO = "github.com/stefanprodan/podinfo", "v1.8.1-0.20250910200901-e86405a8674e"
"""Its module path does not follow its versions; which one a binary says it is, we tell the linker."""
PODINFO_SAYS = ("6.9.0", "6.9.1")

NODE_PACKAGES = (
    "containerd", "runc", "libseccomp2", "containernetworking-plugins", "docker-registry", "prometheus",
    "nftables", "libnftables1", "libedit2", "libjansson4", "libmnl0", "libnftnl11", "libxtables12", "libgmp10",
    "libbsd0", "libmd0", "libtinfo6",
)  # fmt: skip
"""Debian's packages for the node and the libraries they need; unpacked, never installed."""
LIBC_PACKAGES = ("libc6",)
PYTHON_PACKAGES = (
    *LIBC_PACKAGES, "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "zlib1g", "libexpat1",
    "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libuuid1", "libcrypt1", "libgcc-s1",
)  # fmt: skip
"""What Debian 12 calls the parts of a Python with its whole standard library."""
DEMO_DISTRIBUTIONS = ("uvicorn", "h11", "click", "prometheus_client", "typing_extensions")
"""What the demo gateway imports; copied out of the environment that runs the tests, so all of it is pure Python."""
