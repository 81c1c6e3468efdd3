"""What an image name means: its parts, its digest now, and for which machines it is built."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pytest_canary.adapters.kubernetes.images import Absent, Name, Registry, Unknown, unresolved
from pytest_canary.errors import AdapterError, ImageNotFound
from pytest_canary.ports import Change
from tests.kubernetes.place import OTHER, STABLE, one_line, until

DIGEST = f"sha256:{'0' * 64}"
EVERY = frozenset[str]()


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("shop", ("", "shop", "latest", "")),
        ("shop:v1", ("", "shop", "v1", "")),
        ("team/shop:v1", ("", "team/shop", "v1", "")),
        ("ghcr.io/team/shop:v1", ("ghcr.io", "team/shop", "v1", "")),
        ("localhost/shop", ("localhost", "shop", "latest", "")),
        ("10.0.0.1:5000/shop", ("10.0.0.1:5000", "shop", "latest", "")),
        (f"10.0.0.1:5000/shop@{DIGEST}", ("10.0.0.1:5000", "shop", "", DIGEST)),
        (f"r.example:5000/a/b/shop:v1@{DIGEST}", ("r.example:5000", "a/b/shop", "v1", DIGEST)),
    ],
)
def test_a_name_is_taken_apart_as_the_kubelet_does(image, parts):
    """A first part with a dot or a port is a registry."""
    name = Name.read(image)

    assert (name.registry, name.repository, name.tag, name.digest) == parts
    assert name.pinned(DIGEST).endswith(f"@{DIGEST}")
    assert name.pinned(DIGEST).count("@") == 1


@pytest.mark.parametrize("image", ["", "Shop:v1", "r.example/", "shop@sha256:12", ":v1"])
def test_what_is_no_name_is_refused_in_one_line(image):
    """Before any registry is asked."""
    with pytest.raises(ImageNotFound) as error:
        Name.read(image)

    assert one_line(error.value, image, "expected")


def test_a_last_part_alone_is_looked_for_beside_the_stable_image():
    """`--image=shop:v2`; another name is another image."""
    stable = Name.read("r.example:5000/team/shop:v1")

    assert Name.read("shop:v2").beside(stable).whole == "r.example:5000/team/shop:v2"
    assert Name.read("cart:v2").beside(stable).whole == "cart:v2"
    assert Name.read("ghcr.io/shop:v2").beside(stable).whole == "ghcr.io/shop:v2"


RUNS = Name.read("r.example:5000/inference-gateway:v1")


def test_a_misspelt_name_is_told_what_runs_and_what_to_type():
    """Nobody who has mistyped a name wants to hear of TLS."""
    error = unresolved(
        Name.read("inference-gatway:v2").beside(RUNS), RUNS, "gateway", Unknown("the registry does not answer")
    )

    assert one_line(error, "inference-gatway:v2 cannot be pinned: the registry does not answer")
    assert one_line(error, "Deployment gateway runs r.example:5000/inference-gateway now")
    assert one_line(error, "type --image=inference-gateway:v2;")
    assert "insecure_registry" not in str(error)


def test_a_name_that_the_registry_does_not_know_is_told_the_same():
    """In the same registry, with one letter less."""
    name = Name.read("r.example:5000/inference-gatway:v2")
    error = unresolved(name, RUNS, "gateway", Absent(f"{name.whole}: the registry has no such image"))

    assert one_line(error, "no such image; Deployment gateway runs r.example:5000/inference-gateway now")
    assert "digest" not in str(error)


def test_a_wrong_tag_of_the_right_name_hears_of_no_other_image():
    """The tag is what is to be mended."""
    name = Name.read("inference-gateway:v9").beside(RUNS)
    error = unresolved(name, RUNS, "gateway", Absent("the registry has no such image; push it, or mend the tag"))

    assert str(error) == "the registry has no such image; push it, or mend the tag"


def test_tls_is_spoken_of_where_it_is_what_went_wrong():
    """A registry without it answers in plain HTTP; one that is not there at all does not answer."""
    name = Name.read("inference-gateway:v2").beside(RUNS)
    plain = unresolved(name, RUNS, "gateway", Unknown("wrong version number", plain=True))
    gone = unresolved(name, RUNS, "gateway", Unknown("connection refused"))

    assert one_line(plain, "--image=r.example:5000/inference-gateway:v2@sha256:...", "`insecure_registry: true`")
    assert "insecure_registry" not in str(gone)


def test_a_registry_in_plain_http_is_told_from_one_that_is_not_there(private):
    """Asked with TLS, as it is by default."""
    registry = Registry(None, insecure=False)  # type: ignore[arg-type]
    for where, plain in ((private, True), ("127.0.0.1:9", False)):
        with pytest.raises(Unknown) as error:
            registry.digest(Name.read(f"{where}/shop:v1"), [], EVERY)
        assert one_line(error.value, f"the registry {where} cannot be asked from here")
        assert error.value.plain is plain


@pytest.fixture
def platform(place, tmp_path):
    """Connected."""
    platform = place.platform(place.shared(tmp_path))
    yield platform
    place.clear()
    platform.stop()


def test_a_tag_is_pinned_to_what_the_registry_says_now(place, platform):
    """And a short name is the stable image's neighbour."""
    digest = place.cluster.image(OTHER).rpartition("@")[2]

    assert platform.resolve(place.image(OTHER), Change()).digest == digest
    assert platform.resolve(OTHER, Change()).image == place.image(OTHER)
    assert platform.resolve(f"{place.image(OTHER)}@{digest}", Change()).digest == digest


def test_an_image_that_nobody_has_pushed_is_named(place, platform):
    """By tag, and by digest."""
    for image in (place.image("podinfo:none"), f"{place.image('podinfo')}@{DIGEST}", place.image("nothing:1")):
        with pytest.raises(ImageNotFound, match="the registry has no such image; push it, or mend the tag"):
            platform.resolve(image, Change())


def test_an_image_for_other_machines_is_refused_before_it_is_deployed(place, platform):
    """A pod would say `exec format error`, later."""
    tag = f"arm-{secrets.token_hex(3)}"
    place.cluster.push_again(OTHER, tag, architecture="arm64")
    with pytest.raises(ImageNotFound) as error:
        platform.resolve(place.image(f"podinfo:{tag}"), Change())

    assert one_line(error.value, "is built for arm64", "nodes are amd64", "build it for linux/amd64")


def test_a_registry_that_cannot_be_asked_needs_a_digest(place, platform, tmp_path):
    """The kubelet may reach it where we do not."""
    image = f"127.0.0.1:9/shop@{DIGEST}"
    with pytest.raises(ImageNotFound) as error:
        platform.resolve("127.0.0.1:9/shop:v1", Change())
    strict = place.platform(place.shared(tmp_path), insecure_registry=False)
    with pytest.raises(ImageNotFound) as spoken:
        strict.resolve(place.image("podinfo:nobody-has-pulled-it"), Change())
    strict.stop()

    assert one_line(error.value, "127.0.0.1:9/shop:v1 cannot be pinned", "--image=127.0.0.1:9/shop:v1@sha256:")
    assert one_line(error.value, f"Deployment {place.name} runs {place.image('podinfo')} now", "--image=podinfo:v1;")
    assert "insecure_registry" not in str(error.value)
    assert one_line(spoken.value, "cannot be pinned", "`insecure_registry: true`")
    assert platform.resolve(image, Change()).digest == DIGEST


def test_what_a_kubelet_has_pulled_can_be_pinned_without_its_registry(place, platform, tmp_path):
    """The nodes tell its digest."""
    known = platform.resolve(place.image(OTHER), Change())
    place.kubectl("run", "pulls", f"--image={known.image}", "--restart=Never")
    strict = place.platform(place.shared(tmp_path), insecure_registry=False)

    def pinned():
        try:
            return strict.resolve(known.image, Change()).digest
        except ImageNotFound:
            return ""

    until(lambda: pinned() == known.digest)
    strict.stop()
    place.kubectl("delete", "pod", "pulls", "--wait=false")


@pytest.mark.parametrize(
    ("image", "full"),
    [("nginx", "docker.io/library/nginx:latest"), ("a/b:1", "docker.io/a/b:1"), ("r.io:5/b:1", "r.io:5/b:1")],
)
def test_a_name_as_a_kubelet_calls_it(image, full):
    """Docker Hub is written out."""
    assert Name.read(image).full == full


def test_pods_of_a_tag_that_has_moved_have_no_one_build(place, platform):
    """Nobody can say what is normal then; one command makes them alike."""
    tag = f"moved-{secrets.token_hex(3)}"
    image = place.image(f"podinfo:{tag}")
    container = {"name": place.name, "image": image, "imagePullPolicy": "Always"}
    with place.as_it_was("deployment"):
        place.cluster.push_again(STABLE, tag, env={"A": "1"})
        place.patch("deployment", {"spec": {"template": {"spec": {"containers": [container]}}}}, by="strategic")
        place.kubectl("rollout", "status", f"deployment/{place.name}", "--timeout=30s")
        first = until(lambda: not platform._workload.rolling() and platform._workload.revision())
        place.cluster.push_again(STABLE, tag, env={"A": "2"})
        place.kubectl("scale", f"deployment/{place.name}", "--replicas=3")
        place.kubectl("rollout", "status", f"deployment/{place.name}", "--timeout=30s")
        with pytest.raises(AdapterError) as error:
            platform.start()

        assert one_line(error.value, "2 builds", "whose tag has moved", "kubectl -n", "rollout restart")
        assert platform.resolve(image, Change()).digest != first.digest


def test_a_digest_in_the_template_needs_no_pod_to_tell_it(place, platform):
    """What a promotion wrote is the next rollout's stable build."""
    pinned = place.cluster.image(STABLE)
    with place.as_it_was("deployment"):
        place.kubectl("set", "image", f"deployment/{place.name}", f"{place.name}={pinned}")

        assert platform.stable().digest == pinned.rpartition("@")[2]


class _Private(BaseHTTPRequestHandler):
    """A registry that lets in whoever has a token, and gives one to whoever has the password."""

    manifest = json.dumps({"config": {"digest": DIGEST}}).encode()

    def do_GET(self) -> None:
        """Challenge, token, manifest, config."""
        login = f"Basic {base64.b64encode(b'robot:s3cret').decode()}"
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            self._say(200 if given == login else 401, json.dumps({"token": "let-me-in"}).encode())
        elif given != "Bearer let-me-in":
            self._say(401, b"{}")
        elif "/blobs/" in self.path:
            self._say(200, json.dumps({"architecture": "amd64"}).encode())
        else:
            self._say(200, self.manifest)

    def _say(self, status: int, body: bytes) -> None:
        host = f"http://{self.headers['Host']}"
        self.send_response(status)
        self.send_header("WWW-Authenticate", f'Bearer realm="{host}/token",service="r",scope="repository:shop:pull"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def private():
    """Host and port of a registry with a password."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Private) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("whose", ["pod", "account"])
def test_a_private_registry_is_asked_with_the_secrets_of_the_stable_pods(place, platform, private, whose):
    """Their own, or those of their ServiceAccount."""
    name = f"pull-{secrets.token_hex(3)}"
    login = (f"--docker-server={private}", "--docker-username=robot", "--docker-password=s3cret")
    place.kubectl("create", "secret", "docker-registry", name, *login)
    with pytest.raises(ImageNotFound, match="the registry refuses us"):
        platform.resolve(f"{private}/shop:v1", Change())
    with place.as_it_was("deployment"):
        named = {"imagePullSecrets": [{"name": name}]}
        if whose == "pod":
            place.patch("deployment", {"spec": {"template": {"spec": named}}})
        else:
            place.patch("serviceaccount", named, "default")
        found = platform.resolve(f"{private}/shop:v1", Change())
        place.patch("serviceaccount", {"imagePullSecrets": None}, "default")

    assert found.digest == f"sha256:{hashlib.sha256(_Private.manifest).hexdigest()}"


def test_docker_hub_has_several_names_and_one_address(place, platform, monkeypatch):
    """Also for its logins; nobody reaches it from here."""
    monkeypatch.setattr("pytest_canary.adapters.kubernetes.images.HUB", "127.0.0.1:9")
    registry = Registry(place.api(platform), insecure=True)
    for image in ("shop", "team/shop"):
        with pytest.raises(Unknown, match=r"the registry 127\.0\.0\.1:9 cannot be asked"):
            registry.digest(Name.read(image), [], EVERY)
    with pytest.raises(Unknown, match=r"the registry 127\.0\.0\.1:9 cannot be asked"):
        registry.digest(Name.read("docker.io/shop"), [], EVERY)
