"""The files of a study in the browser fit each other: nobody comes in but through the login."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
FOLDER = Path(__file__).parents[2] / "docs" / "browser"


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def nginx() -> str:
    return re.sub(r"#.*", "", (FOLDER / "nginx.conf").read_text())


def test_only_the_proxy_is_reached_from_outside(compose: Any) -> None:
    services = compose["services"]
    assert [name for name, each in services.items() if "ports" in each] == ["proxy"]
    assert services["study"]["network_mode"] == "none"
    for name, each in services.items():
        if name.startswith("page-"):
            assert each["networks"] == [name]  # so that no page reaches another
            assert compose["networks"][name] == {"internal": True}
            assert name in services["proxy"]["networks"]
            assert each["secrets"] == [{"source": name.replace("page", "token"), "target": "token"}]
            assert "store:/study" not in each["volumes"]


def test_what_is_named_is_there(compose: Any) -> None:
    for each in compose["services"].values():
        named = [volume.split(":")[0] for volume in each.get("volumes", [])]
        assert all(name in compose["volumes"] or name.startswith("./") for name in named)
        assert all(one["source"] in compose["secrets"] for one in each.get("secrets", []))
        assert set(each.get("networks", [])) <= set(compose["networks"])
        assert set(each.get("depends_on", [])) <= set(compose["services"])
    build = compose["services"]["study"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).is_file()
    copied = re.findall(r"^COPY (\S+)", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert all((FOLDER / build["context"] / source).exists() for source in copied)


def test_every_page_has_its_person_and_the_address_is_one(compose: Any, nginx: str) -> None:
    mapped = dict(re.findall(r"(\w+)\s+page-(\w+):8000;", nginx))
    pages = {name.removeprefix("page-") for name in compose["services"] if name.startswith("page-")}
    assert mapped == {name: name for name in pages}
    (host,) = set(re.findall(r"server_name (\S+);", nginx))
    assert f'if ($http_origin != "https://{host}")' in nginx
    for name in pages:
        assert compose["services"][f"page-{name}"]["command"][-1] == f"https://{host}"


def test_the_login_stands_before_everything(nginx: str) -> None:
    outer, inner = re.findall(r"server \{(.*?)\n    \}", nginx, re.DOTALL)
    assert 'auth_basic "Study";' in outer
    assert "auth_basic off" not in nginx
    assert "listen 127.0.0.1:8999;" in inner
    for location in re.findall(r"location [^{]*\{(.*?)\n        \}", outer, re.DOTALL):
        headers = "proxy_set_header" in location  # which replace those of the server
        assert not headers or 'proxy_set_header Authorization ""' in location


def test_the_commands_are_ours(compose: Any) -> None:
    from workbench.cli import app

    assert compose["services"]["study"]["command"][:1] == ["workbench"]
    (command,) = re.findall(r'COMMAND = "(.*)"', (FOLDER / "page.py").read_text())
    names = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    assert shlex.split(command)[1] in names
    assert "serve" in names & set(compose["services"]["study"]["command"])


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_reads_its_configuration(nginx: str, tmp_path: Path) -> None:
    """But for the certificate, which everybody has their own of."""
    text = re.sub(r"ssl_certificate\S* +\S+;", "", nginx).replace("443 ssl", "8443")
    text = text.replace("/etc/nginx/annotators", str(tmp_path / "annotators"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f" {kind}_temp_path {tmp_path};" for kind in kinds)
    (tmp_path / "nginx.conf").write_text(text.replace("http {", f"http {{{folders} access_log off;", 1))
    (tmp_path / "annotators").touch()
    command = ["nginx", "-t", "-q", "-p", str(tmp_path), "-g", "error_log stderr; pid nginx.pid;"]
    done = subprocess.run([*command, "-c", "nginx.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
