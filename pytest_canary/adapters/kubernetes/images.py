"""What an image name means right now: its digest and architectures, as its registry tells them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from pytest_canary.adapters.kube import Cluster, Json, Refused
from pytest_canary.errors import AdapterError, ImageNotFound

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
HUB = "registry-1.docker.io"
HUB_NAMES = frozenset({"", "docker.io", "index.docker.io", HUB})
HUB_LOGIN = "https://index.docker.io/v1/"
TIMEOUT_SECONDS = 15.0
DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Name:
    """An image name in its parts; ``registry`` is empty where the name has none, which means Docker Hub."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @classmethod
    def read(cls, image: str) -> Name:
        """Take a name apart; raises ImageNotFound when it is none."""
        rest, _, digest = image.partition("@")
        if digest and not DIGEST.match(digest):
            raise ImageNotFound(f"{image}: found digest {digest!r}, expected sha256: and 64 hex digits")
        first, slash, more = rest.partition("/")
        registry = first if slash and (set(".:") & set(first) or first == "localhost") else ""
        path = more if registry else rest
        repository, _, tag = path.partition(":")
        if not repository or repository != repository.lower():
            raise ImageNotFound(f"{image}: not the name of an image, expected REGISTRY/NAME:TAG")
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    @property
    def whole(self) -> str:
        """Without the digest, as it was written."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.repository}{tag}" if self.registry else f"{self.repository}{tag}"

    def pinned(self, digest: str) -> str:
        """With ``digest``; the tag stays for people to read."""
        return f"{self.whole}@{digest}"

    @property
    def full(self) -> str:
        """As a kubelet calls it."""
        return f"{self.bare.rstrip('@')}:{self.tag}"

    @property
    def bare(self) -> str:
        """What stands before the digest where a kubelet has pinned it, the ``@`` included."""
        if self.registry not in HUB_NAMES:
            return f"{self.place}@"
        return f"docker.io/{self.repository if '/' in self.repository else f'library/{self.repository}'}@"

    @property
    def last(self) -> str:
        """The last part of the repository, which is what people say."""
        return self.repository.rpartition("/")[2]

    @property
    def place(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def beside(self, stable: Name) -> Name:
        """The same name in the repository of ``stable``, where only its last part was given."""
        if self.registry or "/" in self.repository or stable.last != self.repository:
            return self
        return Name(stable.registry, stable.repository, self.tag, self.digest)


class Absent(ImageNotFound):
    """The registry has no such image, or none for us: the name may be another than was meant."""


class Unknown(AdapterError):
    """The registry cannot be asked from here; the kubelet may know.  ``plain``: it has no TLS that we trust."""

    def __init__(self, said: str, *, plain: bool = False) -> None:
        super().__init__(said)
        self.plain = plain


class Registry:
    """Asks the registry of an image, with the pull secrets that the stable pods have."""

    def __init__(self, cluster: Cluster, *, insecure: bool) -> None:
        self._cluster, self._insecure = cluster, insecure

    def digest(self, name: Name, secrets: Sequence[str], architectures: frozenset[str]) -> str:
        """The digest of ``name`` now.

        Raises:
            ImageNotFound: there is no such image, or none for any of ``architectures`` (empty: not looked at).
            Unknown: the registry does not answer from here.

        """
        scheme = "http" if self._insecure else "https"
        host, repository = name.registry, name.repository
        if host in HUB_NAMES:
            host, repository = HUB, repository if "/" in repository else f"library/{repository}"
        base = f"{scheme}://{host}/v2/{repository}"
        try:
            with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True) as http:
                answer = self._get(http, f"{base}/manifests/{name.digest or name.tag}", name, secrets)
                digest = answer.headers.get("docker-content-digest") or _sha256(answer.content)
                if architectures:
                    found = self._architectures(http, base, answer.json(), name, secrets)
                    _suits(name, found, architectures)
                return str(digest)
        except (httpx.HTTPError, ValueError) as error:
            said = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
            raise Unknown(
                f"the registry {host} cannot be asked from here: {said}", plain=_is_about_tls(error)
            ) from error

    def _get(self, http: httpx.Client, url: str, name: Name, secrets: Sequence[str]) -> httpx.Response:
        headers = {"Accept": ACCEPT}
        answer = http.get(url, headers=headers)
        if answer.status_code == 401:
            login = self._login(HUB_LOGIN if name.registry in HUB_NAMES else name.registry, secrets)
            headers |= _authorization(http, answer.headers.get("www-authenticate", ""), login)
            answer = http.get(url, headers=headers)
        if answer.status_code in (401, 403):
            raise Absent(
                f"{name.whole}: the registry refuses us ({answer.status_code}); "
                "the imagePullSecrets of the stable pods must allow it"
            )
        if answer.status_code == 404:
            raise Absent(f"{name.whole}: the registry has no such image; push it, or mend the tag")
        if answer.status_code == 400 and self._insecure and "HTTPS" in answer.text:
            raise Unknown(f"the registry {name.registry} has TLS; take `insecure_registry: true` out")
        answer.raise_for_status()
        return answer

    def _login(self, registry: str, secrets: Sequence[str]) -> str:
        """``user:password`` in base64 from the first pull secret that knows the registry; empty when none does."""
        for secret in secrets:
            try:
                told = self._cluster.get("secrets", secret)
            except Refused:  # we may not read it, so only what everybody may pull can be asked for
                continue
            data = ((told or {}).get("data") or {}).get(".dockerconfigjson")
            auths = json.loads(base64.b64decode(data)).get("auths", {}) if data else {}
            for host, login in auths.items():
                if _host(host) == _host(registry):
                    plain = f"{login.get('username', '')}:{login.get('password', '')}"
                    return str(login.get("auth") or base64.b64encode(plain.encode()).decode())
        return ""

    def _architectures(
        self, http: httpx.Client, base: str, manifest: Json, name: Name, secrets: Sequence[str]
    ) -> frozenset[str]:
        if manifest.get("manifests"):
            platforms = [one.get("platform") or {} for one in manifest["manifests"]]
            return frozenset(str(one.get("architecture")) for one in platforms if one.get("os") != "unknown")
        config = self._get(http, f"{base}/blobs/{manifest['config']['digest']}", name, secrets).json()
        return frozenset({str(config.get("architecture"))})


def seen(cluster: Cluster, name: Name) -> str:
    """The digest that the kubelets have pulled under ``name``; empty where none has, or where they differ."""
    try:
        nodes = cluster.find("nodes")
    except Refused:  # we may not look
        return ""
    held = [image.get("names") or [] for node in nodes for image in node["status"].get("images") or []]
    digests = {
        one.rpartition("@")[2] for names in held if name.full in names for one in names if one.startswith(name.bare)
    }
    return digests.pop() if len(digests) == 1 else ""


def pull_secrets(cluster: Cluster, pod: Json) -> list[str]:
    """With which secrets the kubelet pulls for such a pod: its own, or else those of its ServiceAccount."""
    named = pod.get("imagePullSecrets")
    if not named:
        try:
            named = (cluster.get("serviceaccounts", pod.get("serviceAccountName") or "default") or {}).get(
                "imagePullSecrets"
            )
        except Refused:  # we may not read it
            named = None
    return [str(one["name"]) for one in named or [] if one.get("name")]


def _host(registry: str) -> str:
    return registry.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _authorization(http: httpx.Client, challenge: str, login: str) -> dict[str, str]:
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return {"Authorization": f"Basic {login}"} if login else {}
    asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = asked.pop("realm", "")
    if not realm:
        return {}
    answer = http.get(realm, params=asked, headers={"Authorization": f"Basic {login}"} if login else {})
    told: Any = answer.json() if answer.is_success else {}
    token = told.get("token") or told.get("access_token")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _suits(name: Name, found: frozenset[str], wanted: frozenset[str]) -> None:
    if not found & wanted:
        has, needs = ", ".join(sorted(found)), ", ".join(sorted(wanted))
        raise ImageNotFound(f"{name.whole} is built for {has}, and the nodes are {needs}; build it for linux/{needs}")


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _is_about_tls(error: BaseException | None) -> bool:
    """Whether TLS is what went wrong: no certificate that we trust, or no TLS at all."""
    while error is not None:
        if isinstance(error, ssl.SSLError) or "[SSL" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def unresolved(name: Name, stable: Name, workload: str, error: Absent | Unknown) -> ImageNotFound:
    """One line for a name that cannot be pinned, and what to type: ``workload`` runs ``stable`` now."""
    ways = [str(error) if isinstance(error, Absent) else f"{name.whole} cannot be pinned: {error}"]
    if name.place != stable.place:
        meant = f"{stable.last}:{name.tag}" if name.tag else f"{stable.last}@{name.digest}"
        ways.append(f"Deployment {workload} runs {stable.place} now: for another build of it type --image={meant}")
    if isinstance(error, Unknown):
        ways.append(f"what cannot be looked up from here needs its digest (--image={name.whole}@sha256:...)")
        ways += ["where the registry has no TLS, write `insecure_registry: true`"] * error.plain
    return ImageNotFound("; ".join(ways))
