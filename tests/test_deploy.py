"""The files of deploy/: what each tool says about them, and that each tool finds a planted fault."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.nightly import rows, sample
from tests.rendering import Project, Template, outside
from tests.variants import ALL, SMALLEST

DEPLOYED: dict[str, dict[str, Any]] = {
    "all": ALL,
    "logins alone": SMALLEST["logins alone"] | {"deploy": True},
    "keys alone": SMALLEST["keys alone"] | {"deploy": True},
}
EXPOSURE = 2.0  # of `systemd-analyze security`: 0 is locked up, 10 is an ordinary service
BY_MANAGE_WAF = {"./waf/app.conf", "./waf/server.conf"}  # see test_waf.py
OF_AN_ENTRYPOINT = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}  # that of PostgreSQL's image
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "pids_limit": 256}


def _said(*command: str, cwd: Path, **variables: str) -> str:
    """What a checker says where it finds something."""
    done = subprocess.run(command, cwd=cwd, env=outside() | variables, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def image(deploy: Path) -> str:
    return _said(_program("hadolint"), "Dockerfile", cwd=deploy)


def compose(deploy: Path) -> str:
    schema = ("--builtin-schema", "vendor.compose-spec")
    said = _said(_program("check-jsonschema"), *schema, "compose.yaml", cwd=deploy)
    return said or "\n".join(_weak_services(deploy, yaml.safe_load((deploy / "compose.yaml").read_text())))


def _weak_services(deploy: Path, file: dict[str, Any]) -> Iterator[str]:
    for name, service in file["services"].items():
        yield from (f"{name}: {key} is not {value}" for key, value in HARDENED.items() if service.get(key) != value)
        if service.get("privileged") or set(service.get("cap_add", ())) - OF_AN_ENTRYPOINT:
            yield f"{name}: has privileges"
        if "ports" in service and name != "edge":
            yield f"{name}: publishes a port"
        if missing := set(service.get("secrets", ())) - file["secrets"].keys():
            yield f"{name}: {missing} are declared nowhere"
        mounted = {volume.partition(":")[0] for volume in service.get("volumes", ())} - BY_MANAGE_WAF
        yield from (
            f"{path} is not there" for path in sorted(mounted) if path.startswith(".") and not (deploy / path).exists()
        )
    networks = {name: network or {} for name, network in file["networks"].items() if name != "public"}
    yield from (f"{name}: leads outside" for name, network in networks.items() if not network.get("internal"))


def manifests(deploy: Path) -> str:
    """The schemas know no custom resources: Gateway and HTTPRoute are only parsed."""
    found = []
    for path in sorted((deploy / "kubernetes").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["apiVersion"].startswith(("gateway.", "kustomize.")):
                continue
            try:
                kubernetes_validate.validate(document, "1.34", strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{path.name}: {error.message}")
            found += [f"{path.name}: {reason}" for reason in _weak_pods(document)]
    return "\n".join(found)


def _weak_pods(document: dict[str, Any]) -> Iterator[str]:
    """What the restricted pod security standard refuses, and a few that it allows."""
    if document["kind"] not in ("Deployment", "Job", "CronJob"):
        return
    spec = document["spec"].get("jobTemplate", document)["spec"]
    pod = spec["template"]["spec"]
    context = pod["securityContext"]
    if not context.get("runAsNonRoot") or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "is not restricted"
    if pod.get("automountServiceAccountToken") is not False:
        yield "has a token of the cluster"
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container["securityContext"]
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} is not restricted"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} can write its image"
        if "memory" not in container["resources"]["limits"]:
            yield f"{container['name']} may take all memory"


def kustomization(deploy: Path) -> str:
    folders = [path.parent for path in sorted((deploy / "kubernetes").rglob("kustomization.yaml"))]
    return "".join(_said(needed("kubectl"), "kustomize", str(folder), cwd=deploy) for folder in folders)


def units(deploy: Path) -> str:
    """Run where the program of the units is: systemd looks for it."""
    analyze, folder = needed("systemd-analyze"), deploy / "systemd"
    program = shutil.which("true")
    for path in [*folder.rglob("*.service"), *folder.rglob("*.conf")]:
        text = re.sub(r"(?<=ExecStart=)/srv/\S+", str(program), path.read_text())
        path.write_text(re.sub(r"(?<=WorkingDirectory=).*", "/", text))
    places = {"SYSTEMD_UNIT_PATH": f"{folder}:{folder / 'audit'}:/usr/lib/systemd/system"}
    said = []
    for path in sorted([*folder.rglob("*.service"), *folder.rglob("*.timer")]):
        name = path.rename(path.with_name(path.name.replace("@", "@8001")))
        said.append(_said(analyze, "verify", "--man=no", "--recursive-errors=no", str(name), cwd=folder, **places))
        if path.suffix == ".service":
            limit = f"--threshold={EXPOSURE * 10:.0f}"
            said.append(
                _said(analyze, "security", "--offline=true", "--no-pager", limit, str(name), cwd=folder, **places)
            )
    return "".join(said)


def proxy(deploy: Path) -> str:
    folder = deploy.parent / "nginx"
    lay_out_nginx(deploy, folder)
    return _said(
        needed("nginx"),
        "-t",
        "-q",
        "-e",
        "stderr",
        "-c",
        str(folder / "nginx.conf"),
        "-g",
        f"pid {folder}/pid;",
        cwd=folder,
    )


def lay_out_nginx(deploy: Path, folder: Path, site: str = "compose.conf") -> None:
    """The files as the container has them, with a certificate, below a folder of a test."""
    (folder / "waf").mkdir(parents=True, exist_ok=True)
    (folder / "waf/server.conf").write_text("# The web application firewall has tests of its own.\n")
    for path in (deploy / "nginx").glob("*.conf"):
        shutil.copy(path, folder)
    shutil.copy("/etc/nginx/mime.types", folder)
    text = (folder / site).read_text()
    for old in ("/run/secrets", "/etc/demo-service/tls", "/var/log/nginx"):
        text = text.replace(old, str(folder))
    (folder / "site.conf").write_text(text.replace("/dev/stdout", f"{folder}/access.log"))
    make = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    )
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    subprocess.run(
        [*make, *names, "-keyout", "tls.key", "-out", "tls.crt"], cwd=folder, check=True, stderr=subprocess.DEVNULL
    )


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        if program == "nginx" and os.environ.get("CI") == "true":
            pytest.fail("nginx is not installed")
        pytest.skip(f"{program} is not installed")
    return found


Check = Callable[[Path], str]
CHECKS: list[Check] = [image, compose, manifests, kustomization, units, proxy]
FAULTS: list[tuple[Check, str, str, str]] = [
    (image, "Dockerfile", "FROM python:3.13-slim-trixie\n", "FROM python:latest\n"),
    (image, "Dockerfile", 'CMD ["manage", "serve"', "CMD manage serve #"),
    (compose, "compose.yaml", "  read_only: true", "  readonly: true"),
    (compose, "compose.yaml", "  cap_drop: [ALL]", "  cap_drop: []"),
    (compose, "compose.yaml", "  redis:\n    <<: *hardened", '  redis:\n    <<: *hardened\n    ports: ["6379:6379"]'),
    (compose, "compose.yaml", "  data:\n    internal: true", "  data:"),
    (compose, "compose.yaml", "./nginx/api.conf", "./nginx/app.conf"),
    (manifests, "kubernetes/base/deployment.yaml", "readinessProbe:", "readynessProbe:"),
    (manifests, "kubernetes/base/deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false"),
    (manifests, "kubernetes/migrate/job.yaml", "capabilities: {drop: [ALL]}", "capabilities: {drop: []}"),
    (manifests, "kubernetes/base/audit.yaml", "runAsNonRoot: true", "runAsNonRoot: false"),
    (manifests, "kubernetes/base/autoscaling.yaml", "minReplicas: 2", "minReplicas: two"),
    (kustomization, "kubernetes/base/kustomization.yaml", "service.yaml", "services.yaml"),
    (units, "systemd/demo-service-api@.service", "KillMode=mixed", "KillMode=mild"),
    (units, "systemd/demo-service-.service.d/hardening.conf", "CapabilityBoundingSet=\n", "User=root\n"),
    (proxy, "nginx/nginx.conf", "client_header_timeout 10s;", "client_header_time 10s;"),
    (proxy, "nginx/api.conf", "proxy_pass http://api;", "proxy_pass http://upstream;"),
]


def _faults() -> list[object]:
    """A third of them for a commit."""
    now = sample(FAULTS, one_in=3)
    marks = {fault: () if fault in now else (pytest.mark.nightly,) for fault in FAULTS}
    return [pytest.param(*fault, marks=marks[fault], id=f"{fault[0].__name__}: {fault[3]!r}") for fault in FAULTS]


@pytest.fixture
def deploy(template: Template, tmp_path: Path) -> Callable[[str], Path]:
    """The folder of one kind of project, to be changed."""

    def copied(variant: str = "all") -> Path:
        project = template.copy_of(template.render(**DEPLOYED[variant]), tmp_path / "project")
        return project.file("deploy")

    return copied


@pytest.mark.parametrize("variant", rows(DEPLOYED, now=["all"]))
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_tools_find_nothing(check: Check, variant: str, deploy: Callable[[str], Path]) -> None:
    assert check(deploy(variant)) == ""


@pytest.mark.parametrize(("check", "name", "old", "new"), _faults())
def test_each_tool_finds_a_planted_fault(
    check: Check, name: str, old: str, new: str, deploy: Callable[..., Path]
) -> None:
    folder = deploy()
    Project(folder).replace(name, old, new)

    assert check(folder) != ""


@pytest.mark.parametrize("variant", rows(DEPLOYED, now=["all"]))
def test_one_command_makes_every_secret_and_only_once(variant: str, deploy: Callable[[str], Path]) -> None:
    folder = deploy(variant)
    for _ in range(2):
        subprocess.run(["sh", "secrets.sh"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        made = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    subprocess.run(["sh", "secrets.sh"], cwd=folder, check=True)

    declared = yaml.safe_load((folder / "compose.yaml").read_text())["secrets"]
    assert {f"secrets/{name}" for name in made} >= {secret["file"] for secret in declared.values()}
    assert {path.name: path.read_text() for path in (folder / "secrets").iterdir()} == made
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (folder / "secrets").iterdir()} == {0o444}
    if "users.acl" in made:
        assert "PASSWORD_HASH" not in made["users.acl"]
        assert made["redis_password"].strip() not in made["users.acl"]


def test_git_ignores_the_secrets(deploy: Callable[..., Path]) -> None:
    folder = deploy()
    subprocess.run(["sh", "secrets.sh"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    project = Project(folder.parent)
    project.commit()

    assert project.must("git", "ls-files", "deploy/secrets") == ""


def test_a_project_without_the_files_has_nothing_of_them(template: Template) -> None:
    everything, without = template.render(**ALL), template.render(**ALL | {"deploy": False})

    differing = everything.files().items() ^ without.files().items()
    names = {name for name, _ in differing if not name.startswith("deploy/")}
    # The notice names the features that are on, README.md the steps of deploy/.
    firewall = {f"{name}.py" for name in ("app/security/cli", "app/security/operations/waf")}
    firewall |= {"tests/security/operations/test_waf.py"}
    firewall |= {f"docs/security/{name}.md" for name in ("waf", "controls", "not-provided", "operations")}
    assert names <= {".env", ".copier-answers.yml", ".github/security/update_notice.py", "README.md"} | firewall


def test_the_error_documents_of_the_edge_have_the_headers_of_the_service(template: Template) -> None:
    project = template.render(**ALL)
    text = project.read("app/security/http/headers.py").split("# For documents alone")[0]
    ours = dict(re.findall(r'"([\w-]+)": "([^"]+)"', text.replace('"\n    "', "")))

    edge = dict(
        re.findall(r'add_header ([\w-]+) "?([^";]+(?:; [^";]+)*)"? always;', project.read("deploy/nginx/api.conf"))
    )

    assert len(ours) == 7
    assert ours.items() <= edge.items()


def test_the_manifests_name_each_other(template: Template) -> None:
    """No schema knows this, nor what Gateway and HTTPRoute refer to."""
    folder = template.render(**ALL).file("deploy/kubernetes")
    read = [one for path in folder.rglob("*.yaml") for one in yaml.safe_load_all(path.read_text())]
    found = {one["kind"]: one for one in read}
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    (served,) = found["Service"]["spec"]["ports"]
    route, gateway = found["HTTPRoute"]["spec"], found["Gateway"]
    (rule,) = route["rules"]

    labels = pod["metadata"]["labels"]
    for selector in (found["Deployment"]["spec"]["selector"], found["PodDisruptionBudget"]["spec"]["selector"]):
        assert selector["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert served["targetPort"] == port["name"]
    assert str(port["containerPort"]) in container["args"]
    assert rule["backendRefs"] == [{"name": found["Service"]["metadata"]["name"], "port": served["port"]}]
    assert route["parentRefs"] == [{"name": gateway["metadata"]["name"]}]
    assert route["hostnames"] == [listener["hostname"] for listener in gateway["spec"]["listeners"]]
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    most = found["HorizontalPodAutoscaler"]["spec"]["maxReplicas"]
    assert f"INSTANCES={most}\n" in (folder / "base/settings.env").read_text()
    mounted = {volume["name"] for volume in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
