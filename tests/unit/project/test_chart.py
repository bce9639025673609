"""The Helm chart: what it renders for which values, and which values it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gpuquery.api import crd
from gpuquery.api.choices import ClusterChoice, EngineChoice, ReleaseChoice
from gpuquery.api.labels import DEFAULTS_CONFIG_MAP, PUBLIC_NAMESPACE
from gpuquery.app.settings import PREFIX, Settings
from gpuquery.plan.maxima import Maxima
from gpuquery.plan.policy import PATTERN, Policy, annotation
from gpuquery.render.network import OPERATOR
from tools.kubectl import ROOT

CHART = ROOT / "charts" / "gpuquery"
HELM = Path(sys.executable).parent / "helm"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, timeout=60)


def objects(text: str) -> list[dict[str, Any]]:
    """Read YAML in C: the definition of the jobs has thousands of lines, and dozens of releases are rendered."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


ADMISSION = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"


@cache
def rendered(*settings: str, api: str = ADMISSION) -> tuple[dict[str, Any], ...]:
    """The objects of a release `gpuquery` in `system`, for values in the form of `--set-json`."""
    flags = [word for setting in settings for word in ("--set-json", setting)]
    done = helm("template", "gpuquery", str(CHART), "-n", "system", "--api-versions", api, *flags)
    assert done.returncode == 0, done.stderr
    return tuple(objects(done.stdout))


def of_kind(kind: str, *settings: str) -> list[dict[str, Any]]:
    return [d for d in rendered(*settings) if d["kind"] == kind]


def of_the_operator(kind: str, *settings: str) -> list[dict[str, Any]]:
    """Roles and their bindings, without those by which authors of jobs read the operator's settings."""
    return [d for d in of_kind(kind, *settings) if d["metadata"]["name"] != DEFAULTS_CONFIG_MAP]


def deployment(*settings: str) -> dict[str, Any]:
    (found,) = of_kind("Deployment", *settings)
    return found


def pod(*settings: str) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(*settings)["spec"]["template"]["spec"]
    return spec


def environment(*settings: str) -> dict[str, str]:
    """The variables that the operator's container gets; those from the pod's own fields are their paths."""
    entries = pod(*settings)["containers"][0]["env"]
    return {e["name"]: e["value"] if "value" in e else e["valueFrom"]["fieldRef"]["fieldPath"] for e in entries}


def test_helm_lint_has_nothing_to_say() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("settings", [(), ('watchNamespaces=["a","b"]',)], ids=["cluster-wide", "namespaced"])
def test_no_rule_reads_secrets_or_allows_everything(settings: tuple[str, ...]) -> None:
    found = [r for role in operators_roles(*settings) for r in role["rules"]]
    assert found
    for rule in found:
        if "secrets" in rule["resources"]:
            assert rule["resources"] == ["secrets"] and rule["verbs"] == ["create"], "it reads, changes, deletes none"
        assert "*" not in [*rule["resources"], *rule["verbs"], *rule["apiGroups"]]
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert "pods/exec" not in rule["resources"]


def test_the_rules_are_those_that_the_client_documents() -> None:
    from gpuquery.kube import client

    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (client.__doc__ or "").splitlines()
        if line.startswith("| ") and "API group" not in line
    ]
    documented = {
        (row[0].strip('"'), row[1]): {verb.strip() for verb in row[2].split(",")} for row in rows if len(row) == 4
    }
    granted: dict[tuple[str, str], set[str]] = {}
    for role in operators_roles():
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    granted.setdefault((group, resource), set()).update(rule["verbs"])
    assert granted == documented


def operators_roles(*settings: str) -> list[dict[str, Any]]:
    """The roles that are bound to the operator's account."""
    bindings = of_kind("ClusterRoleBinding", *settings) + of_the_operator("RoleBinding", *settings)
    bound = {(b["roleRef"]["kind"], b["roleRef"]["name"]) for b in bindings}
    roles = of_kind("ClusterRole", *settings) + of_kind("Role", *settings)
    return [role for role in roles if (role["kind"], role["metadata"]["name"]) in bound]


def rules(*settings: str) -> dict[tuple[str, str], set[str]]:
    """What the operator may do, by group and resource."""
    granted: dict[tuple[str, str], set[str]] = {}
    for rule in (r for role in operators_roles(*settings) for r in role["rules"]):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                granted.setdefault((group, resource), set()).update(rule["verbs"])
    return granted


@pytest.mark.parametrize("namespaced", [(), ('watchNamespaces=["a"]',)], ids=["cluster-wide", "namespaced"])
@pytest.mark.parametrize("value", ["operator", "attach"])
def test_rights_on_daskclusters_come_with_their_value_and_are_those_that_the_client_documents(
    value: str, namespaced: tuple[str, ...]
) -> None:
    from gpuquery.kube import client

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (client.__doc__ or "").splitlines()]
    documented = {(r[0], r[1]): set(r[2].split(", ")) for r in rows if len(r) == 5 and r[4] == value}
    before, after = rules(*namespaced), rules(f'dask={{"{value}":{{"enabled":true}}}}', *namespaced)
    assert {key: verbs for key, verbs in after.items() if key not in before} == documented != {}
    assert {key: after[key] for key in before} == before


def test_rights_to_make_daskclusters_take_in_those_to_read_them() -> None:
    both = 'dask={"operator":{"enabled":true},"attach":{"enabled":true}}'
    assert rules(both) == rules('dask={"operator":{"enabled":true}}')


def test_dask_kubernetes_is_off_until_it_is_switched_on() -> None:
    for settings, want in (
        ((), (False, False)),
        (('dask={"operator":{"enabled":true}}',), (True, False)),
        (('dask={"attach":{"enabled":true}}',), (False, True)),
    ):
        found = Settings.from_environment(environment(*settings)).defaults
        assert (found.dask_operator, found.dask_attach) == want


def test_namespaced_mode_has_a_role_in_each_namespace_and_no_cluster_role() -> None:
    settings = ('watchNamespaces=["analytics","finance"]',)
    assert not [role for role in operators_roles(*settings) if role["kind"] == "ClusterRole"]
    assert of_kind("ClusterRole", *settings, 'crds={"install":false}') == [], "those of users go with the CRD"
    assert of_kind("ClusterRoleBinding", *settings) == []
    assert {r["metadata"]["namespace"] for r in of_the_operator("Role", *settings)} == {
        "analytics",
        "finance",
        "system",
    }
    bindings = of_the_operator("RoleBinding", *settings)
    assert {b["metadata"]["namespace"] for b in bindings} == {"analytics", "finance", "system"}
    assert {s["namespace"] for b in bindings for s in b["subjects"]} == {"system"}
    assert environment(*settings)["GPUQUERY_NAMESPACES"] == "analytics,finance"


def test_the_releases_that_the_values_take_are_those_that_are_known() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["definitions"]["release"]["enum"] == list(ReleaseChoice)
    values = schema["properties"]["defaults"]["properties"]
    assert values["engine"]["enum"] == list(EngineChoice) and values["cluster"]["enum"] == list(ClusterChoice)


def test_the_lease_is_the_only_one_that_can_be_taken() -> None:
    (role,) = of_the_operator("Role")
    named = [r for r in role["rules"] if r["verbs"] != ["create"]]
    assert [r["resourceNames"] for r in named] == [[environment()["GPUQUERY_LEASE_NAME"]]]
    assert environment()["GPUQUERY_LEASE_NAMESPACE"] == "metadata.namespace"
    assert environment()["GPUQUERY_IDENTITY"] == "metadata.name"


def test_the_pod_meets_the_restricted_standard_and_writes_nowhere_but_tmp() -> None:
    spec = pod()
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [m["mountPath"] for m in container["volumeMounts"]] == ["/tmp"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def test_the_probes_ask_the_ports_that_the_operator_serves() -> None:
    (container,) = pod()["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"probes": Settings().probe_port, "metrics": Settings().metrics_port}
    assert {container[p]["httpGet"]["port"] for p in ("startupProbe", "livenessProbe", "readinessProbe")} == {"probes"}


def test_every_variable_is_a_setting_of_the_operator_and_is_understood() -> None:
    found = environment()
    assert {name.removeprefix(PREFIX).lower() for name in found} <= set(Settings.model_fields)
    settings = Settings.from_environment(found)
    assert settings.namespaces == ()
    assert settings.default_resources == Settings().default_resources, "values.yaml and the code agree"
    assert settings.preflight_resources == Settings().preflight_resources
    assert settings.scratch_size == Settings().scratch_size
    assert settings.workers == Settings().workers
    own = {"runtime_image": "", "operator_namespace": ""}
    assert settings.defaults.model_copy(update=own) == Settings().defaults.model_copy(update=own), (
        "without any value a job gets what it gets without a chart"
    )


def test_what_a_job_may_have_at_most_comes_from_the_values() -> None:
    values = 'limits={"podsPerJob":8,"gpusPerJob":0,"liveJobsPerNamespace":1000000,"extendedResources":["a.io/b"]}'
    found = Settings.from_environment(environment(values)).defaults.maxima
    assert found == Maxima(
        pods_per_job=8, gpus_per_job=0, live_jobs_per_namespace=1_000_000, extended_resources=("a.io/b",)
    )
    assert Settings.from_environment(environment("limits=null")).defaults.maxima == Maxima(), "values of an older chart"


@pytest.mark.parametrize("field", ["default_resources", "preflight_resources"])
def test_no_pod_gets_a_device_by_default(field: str) -> None:
    with pytest.raises(
        ValidationError, match=r"nvidia[.]com/gpu would go to every pod, those on the CPU too: remove it"
    ):
        Settings.model_validate({field: {"limits": {"nvidia.com/gpu": "1", "memory": "1Gi"}}})


def test_the_network_policy_of_an_attempt_lets_the_pods_of_this_chart_in() -> None:
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert OPERATOR.items() <= labels.items()
    assert environment()["GPUQUERY_LEASE_NAMESPACE"] == "metadata.namespace", "which is the operator's namespace"


BOUNDS = (
    'policy={"images":["r.example.com/*"],"serviceAccounts":[],"secrets":["lake*"],"priorityClasses":["batch"],'
    '"runtimeClasses":["nvidia"],"tolerations":["gpu"],"tolerateEverything":true,"labels":["team"],'
    '"annotations":["note"],"endpoints":["http://lake:*"],"claims":["data-*"],"schedulers":[],"python":false}'
)


def test_bounds_of_jobs_are_the_same_with_and_without_a_chart_and_reach_operator_and_api_server() -> None:
    assert Settings.from_environment(environment()).policy == Policy(), "by default"
    told = Settings.from_environment(environment(BOUNDS)).policy
    assert told.model_dump(by_alias=True, mode="json") == json.loads(BOUNDS.partition("=")[2])
    for settings, want in (((), Policy()), ((BOUNDS,), told)):
        (policy,) = (
            p for p in of_kind("ValidatingAdmissionPolicy", *settings) if p["metadata"]["name"].endswith("jobs")
        )
        variables = {v["name"]: v["expression"] for v in policy["spec"]["variables"]}
        for name, value in want.model_dump(by_alias=True, mode="json").items():
            said = (
                variables[name].rpartition(" : ")[2] if isinstance(value, bool) else variables[name].rpartition(": ")[2]
            )
            assert json.loads(said.replace("'", "")) == value, name


def test_every_bound_is_a_value_and_an_annotation_that_the_page_on_security_lists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["policy"]["properties"]
    aliases = {str(field.alias): annotation(name) for name, field in Policy.model_fields.items()}
    assert set(schema) == {*aliases, "admission"}
    for alias, note in aliases.items():
        assert f"| `policy.{alias}` | `{note}` |" in page
    assert (
        json.loads((CHART / "values.schema.json").read_text())["definitions"]["patterns"]["items"]["pattern"] == PATTERN
    )


def test_the_values_that_the_page_on_security_shows_are_values_of_the_chart(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    shown = [text for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S) if "kind:" not in text]
    assert len(shown) == 2
    for text in shown:
        (tmp_path / "values.yaml").write_text(text)
        done = helm("template", "gpuquery", str(CHART), "-f", str(tmp_path / "values.yaml"))
        assert done.returncode == 0, done.stderr


def test_admission_policies_come_where_the_api_server_has_them_and_nobody_switches_them_off() -> None:
    names = [p["metadata"]["name"] for p in of_kind("ValidatingAdmissionPolicy")]
    assert names == ["gpuquery-system-jobs", "gpuquery-system-operator"]
    assert [b["spec"]["policyName"] for b in of_kind("ValidatingAdmissionPolicyBinding")] == names
    assert of_kind("ValidatingAdmissionPolicy", 'policy={"admission":false}') == []
    assert not [d for d in rendered(api="v1") if "Admission" in d["kind"]], "Kubernetes 1.29"


def test_they_concern_the_jobs_of_the_namespaces_that_are_served_and_the_operators_own_account() -> None:
    jobs, operator = of_kind("ValidatingAdmissionPolicyBinding", 'watchNamespaces=["a","b"]')
    (chosen,) = jobs["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert chosen == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
    assert "matchResources" not in operator["spec"], "wherever it may act"
    _, guard = of_kind("ValidatingAdmissionPolicy", 'serviceAccount={"name":"other"}')
    (condition,) = guard["spec"]["matchConditions"]
    assert condition["expression"] == "request.userInfo.username == 'system:serviceaccount:system:other'"


def test_users_of_the_clusters_roles_get_jobs_but_not_their_status() -> None:
    roles = [role for role in of_kind("ClusterRole") if role["metadata"]["name"].startswith("gpuquery-jobs-")]
    view, edit = roles
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {k for k in view["metadata"]["labels"] if prefix in k} == {prefix + "view"}
    assert {k for k in edit["metadata"]["labels"] if prefix in k} == {prefix + "edit", prefix + "admin"}
    assert [set(rule["verbs"]) for rule in view["rules"]] == [{"get", "list", "watch"}]
    assert [rule["resources"] for rule in edit["rules"]] == [["gpuqueryjobs"]]
    for setting in ('rbac={"aggregate":false}', 'crds={"install":false}'):
        assert [r["metadata"]["name"] for r in of_kind("ClusterRole", setting)] == ["gpuquery"]


def test_several_operators_go_onto_different_nodes_and_are_taken_away_one_at_a_time() -> None:
    assert of_kind("PodDisruptionBudget") == [] and "topologySpreadConstraints" not in pod()
    (budget,) = of_kind("PodDisruptionBudget", "replicas=2")
    (spread,) = pod("replicas=2")["topologySpreadConstraints"]
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["maxUnavailable"] == 1
    for chosen in (budget["spec"]["selector"], spread["labelSelector"]):
        assert chosen["matchLabels"].items() <= labels.items()
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    own = 'topologySpreadConstraints=[{"maxSkew":2}]'
    assert pod("replicas=2", own)["topologySpreadConstraints"] == [{"maxSkew": 2}]
    assert of_kind("PodDisruptionBudget", "replicas=2", 'podDisruptionBudget={"enabled":false}') == []


def test_of_the_operator_only_metrics_are_reached() -> None:
    (policy,) = of_kind("NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= (
        deployment()["spec"]["template"]["metadata"]["labels"].items()
    )
    (rule,) = policy["spec"]["ingress"]
    assert rule == {"ports": [{"port": "metrics", "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}
    (closed,) = of_kind("NetworkPolicy", 'networkPolicy={"attempts":{"scrapeNamespaces":["monitoring"]}}')
    (reader,) = closed["spec"]["ingress"][0]["from"]
    assert reader == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert of_kind("NetworkPolicy", 'networkPolicy={"operator":{"enabled":false}}') == []


def test_values_reach_the_operator() -> None:
    settings = Settings.from_environment(
        environment(
            'runtime={"image":"r.example.com/rt:1","pullPolicy":"Always","imagePullSecrets":["a","b"],'
            '"priorityClassName":"low","resources":{"requests":{"cpu":2}},"scratchSize":"1Ti","nodeMetadata":true,'
            '"preflightResources":{"requests":null,"limits":{"memory":"3Gi"}}}',
            'log={"format":"plain","level":"debug"}',
            "workers=4",
            'runtime.images={"26.04":"rt:old"}',
            'runtime.imagePattern="rt:{release}"',
            'defaults={"engine":"tasks","cluster":"single","release":"26.04","rapidsmpfPercentage":25}',
            'gpu={"resource":"amd.com/gpu","memory":"40Gi","perPod":8,"maxReplicas":2,"sharedMemory":"2Gi","heartbeatSeconds":9,"stallSeconds":60}',
            'rdma={"resource":"rdma/hca_a","count":2}',
            'networkPolicy={"attempts":{"enabled":false,"storagePorts":[9000,9001],"scrapeNamespaces":["monitoring"],'
            '"closedAddresses":["10.0.0.0/24","fd00::/64"]}}',
        )
    )
    defaults = settings.defaults
    assert (defaults.image_of("26.04"), defaults.image_of("26.10")) == ("rt:old", "rt:26.10")
    assert (defaults.default_engine, defaults.default_cluster, defaults.default_release) == ("tasks", "single", "26.04")
    assert (defaults.rapidsmpf_percentage, defaults.gpu_resource, defaults.gpu_memory) == (
        25,
        "amd.com/gpu",
        40 * 2**30,
    )
    assert (defaults.gpus, defaults.max_replicas) == (8, 2)
    assert (defaults.heartbeat_seconds, defaults.stall_seconds) == (9, 60)
    assert (defaults.shared_memory, defaults.rdma_resource, defaults.rdma_count) == ("2Gi", "rdma/hca_a", 2)
    assert (defaults.network_policies, defaults.storage_ports) == (False, (9000, 9001))
    assert defaults.scrape_namespaces == ("monitoring",)
    assert defaults.closed_addresses == ("10.0.0.0/24", "fd00::/64") and defaults.node_metadata
    assert settings.runtime_image == "r.example.com/rt:1"
    assert settings.runtime_image_pull_policy == "Always"
    assert settings.runtime_image_pull_secrets == ("a", "b")
    assert settings.runtime_priority_class == "low"
    assert settings.defaults.resources.requests["cpu"] == "2", "a number without quotes is a quantity too"
    assert settings.defaults.preflight_resources.limits == {"memory": "3Gi"}
    assert (settings.scratch_size, settings.workers) == ("1Ti", 4)
    assert (settings.log_format, settings.log_level) == ("plain", "debug")


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    image = pod(f'image={{"repository":"r/op","tag":"1","digest":"{digest}"}}')["containers"][0]["image"]
    assert image == f"r/op@{digest}"
    assert pod('image={"repository":"r/op","tag":"1"}')["containers"][0]["image"] == "r/op:1"


def test_where_the_operator_runs_can_be_chosen() -> None:
    toleration = {"key": "system", "operator": "Exists"}
    spec = pod(
        f"tolerations=[{json.dumps(toleration)}]",
        'nodeSelector={"pool":"system"}',
        'affinity={"nodeAffinity":{}}',
        'priorityClassName="system-cluster-critical"',
        'imagePullSecrets=[{"name":"registry"}]',
    )
    assert spec["tolerations"] == [toleration]
    assert spec["nodeSelector"] == {"pool": "system"}
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_the_crd_comes_with_the_release_number_for_number_and_is_kept() -> None:
    (found,) = of_kind("CustomResourceDefinition")
    assert json.dumps(found["spec"]) == json.dumps(crd.definition()["spec"]), "1.0e+7 is not 10000000"
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_the_crd_can_go_with_the_release_or_be_left_to_others() -> None:
    (found,) = of_kind("CustomResourceDefinition", 'crds={"keep":false}')
    assert "annotations" not in found["metadata"]
    assert of_kind("CustomResourceDefinition", 'crds={"install":false}') == []


def test_metrics_have_a_service_and_on_demand_a_monitor_that_selects_it() -> None:
    (service,) = of_kind("Service")
    assert service["spec"]["selector"].items() <= deployment()["spec"]["template"]["metadata"]["labels"].items()
    assert of_kind("Service", 'metrics={"service":false}') == []
    assert of_kind("ServiceMonitor") == []
    (monitor,) = of_kind("ServiceMonitor", 'metrics={"serviceMonitor":true}')
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_two_releases_of_one_namespace_do_not_share_names() -> None:
    done = helm("template", "other", str(CHART), "-n", "system", "--set", "crds.install=false")
    names = {(d["kind"], d["metadata"]["name"]) for d in objects(done.stdout)}
    shared = names & {(d["kind"], d["metadata"]["name"]) for d in rendered()}
    assert {name for _, name in shared} == {DEFAULTS_CONFIG_MAP}, "so that Helm refuses two that serve all namespaces"


PUBLISHED = ('runtime.imagePattern="rt:{release}"', 'gpu={"maxReplicas":3}', 'defaults={"engine":"tasks"}')


@pytest.mark.parametrize(
    ("settings", "namespaces"),
    [(PUBLISHED, [PUBLIC_NAMESPACE]), ((*PUBLISHED, 'watchNamespaces=["a","b"]'), ["a", "b"])],
    ids=["cluster-wide", "namespaced"],
)
def test_the_defaults_that_authors_of_jobs_can_read_are_those_of_the_operator(
    settings: tuple[str, ...], namespaces: list[str]
) -> None:
    published = of_kind("ConfigMap", *settings)
    assert [(m["metadata"]["namespace"], m["metadata"]["name"]) for m in published] == [
        (namespace, DEFAULTS_CONFIG_MAP) for namespace in namespaces
    ]
    own = Settings.from_environment({**environment(*settings), "GPUQUERY_LEASE_NAMESPACE": "system"}).defaults
    for one in published:
        assert Settings.from_environment(one["data"]).defaults == own
        assert "GPUQUERY_NAMESPACES" not in one["data"], "nobody is told of others' namespaces"
    roles = [r for r in of_kind("Role", *settings) if r["metadata"]["name"] == DEFAULTS_CONFIG_MAP]
    assert [r["metadata"]["namespace"] for r in roles] == namespaces
    for role in roles:
        (rule,) = role["rules"]
        assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
            ["configmaps"], [DEFAULTS_CONFIG_MAP], ["get"],
        )  # fmt: skip


def test_the_defaults_can_be_kept_from_authors_of_jobs() -> None:
    assert of_kind("ConfigMap") and of_kind("ConfigMap", "publishDefaults=false") == []
    assert len(of_kind("Role", "publishDefaults=false")) == len(of_the_operator("Role"))


REFUSED: list[Any] = [
    pytest.param('defaults={"engine":"fast"}', id="an unknown engine"),
    pytest.param('defaults={"cluster":"big"}', id="an unknown cluster"),
    pytest.param('defaults={"release":"27.02"}', id="an unknown release"),
    pytest.param('defaults={"release":26.1}', id="a release without quotes"),
    pytest.param('defaults={"rapidsmpfPercentage":101}', id="more than all"),
    pytest.param('runtime={"images":{"26.1":"x"}}', id="an image of a release without quotes"),
    pytest.param('runtime={"imagePattern":"x:1"}', id="one image for all releases"),
    pytest.param('gpu={"resource":"gpu"}', id="a resource without a domain"),
    pytest.param('gpu={"memory":"much"}', id="memory that is none"),
    pytest.param('gpu={"perPod":0}', id="no GPU in a pod"),
    pytest.param('gpu={"sharedMemory":"much"}', id="shared memory that is none"),
    pytest.param('rdma={"resource":"hca"}', id="an RDMA resource without a domain"),
    pytest.param('rdma={"count":0}', id="no RDMA device"),
    pytest.param('limits={"podsPerJob":0}', id="no pod for any job"),
    pytest.param('limits={"podPerJob":5}', id="a limit that is none"),
    pytest.param('limits={"liveJobsPerNamespace":"many"}', id="a text in place of a limit"),
    pytest.param('limits={"extendedResources":["fuse"]}', id="an extended resource without a domain"),
    pytest.param('networkPolicy={"enabled":false}', id="a policy switch at the wrong place"),
    pytest.param('networkPolicy={"attempts":{"storagePorts":[70000]}}', id="a port that is none"),
    pytest.param('networkPolicy={"attempts":{"closedAddresses":["10.0.0.1"]}}', id="an address that is no block"),
    pytest.param('networkPolicy={"attempts":{"closedAddresses":["0.0.0.0/0"]}}', id="all addresses there are"),
    pytest.param('policy={"images":"r/*"}', id="a text in place of patterns"),
    pytest.param('policy={"images":["r(e)*"]}', id="a pattern that would mean more than it says"),
    pytest.param('policy={"image":[]}', id="a bound of nothing"),
    pytest.param('policy={"python":"no"}', id="a text in place of a bound"),
    pytest.param('rbac={"aggregate":"yes"}', id="a text in place of roles"),
    pytest.param('dask={"enabled":true}', id="dask-kubernetes without a word what for"),
    pytest.param('dask={"operator":{"enabled":"yes"}}', id="a text in place of a switch of Dask"),
    pytest.param("watchNamespace=[]", id="a typo"),
    pytest.param('image={"repo":"x"}', id="a typo inside"),
    pytest.param('image={"pullPolicy":"Sometimes"}', id="an unknown policy"),
    pytest.param('image={"digest":"sha256:abc"}', id="a digest that is none"),
    pytest.param('watchNamespaces="a"', id="a text in place of a list"),
    pytest.param('watchNamespaces=["a","a"]', id="a namespace twice"),
    pytest.param('watchNamespaces=["A"]', id="a namespace that is none"),
    pytest.param("workers=0", id="no workers"),
    pytest.param('gpu={"stallSeconds":5}', id="a limit within which nobody hears of progress"),
    pytest.param('log={"level":"loud"}', id="an unknown level"),
    pytest.param('runtime={"resources":{"request":{}}}', id="a typo in resources"),
    pytest.param('runtime={"scratchSize":"much"}', id="a size that is none"),
    pytest.param('podLabels={"app.kubernetes.io/name":"x"}', id="a label by which the pods are selected"),
    pytest.param('publishDefaults="no"', id="a text in place of the switch of the defaults"),
    pytest.param('crds={"install":"yes"}', id="a text in place of a switch"),
]


@pytest.mark.parametrize("setting", REFUSED)
def test_a_wrong_value_is_refused(setting: str) -> None:
    done = helm("template", "gpuquery", str(CHART), "--set-json", setting)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_the_notes_say_what_to_do_next() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    for words in (
        "create secret generic",
        "kubectl explain gqj.spec",
        "apply --validate=strict",
        "wait --for=condition",
    ):
        assert words in notes


def test_the_chart_and_the_project_have_one_version() -> None:
    import tomllib

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["appVersion"] == chart["version"] == project


def test_declared_catalogs_reach_the_operator_and_are_no_secrets_to_the_api_server() -> None:
    lake = 'catalogs={"lake":{"uri":"https://a","warehouse":"w","secretName":"s"}}'
    told = Settings.from_environment(environment(lake))
    assert told.catalogs == {"lake": {"uri": "https://a", "warehouse": "w", "secretName": "s"}}
    assert Settings.from_environment(environment()).catalogs == {}
    (jobs,) = (p for p in of_kind("ValidatingAdmissionPolicy", lake) if p["metadata"]["name"].endswith("-jobs"))
    (refused,) = (v for v in jobs["spec"]["variables"] if v["name"] == "secretsRefused")
    assert "!(i.table.catalog in ['lake'])" in refused["expression"]
    assert "!(object.spec.output.table.catalog in ['lake'])" in refused["expression"]


@pytest.mark.parametrize("option", ["token", "credential", "wharehouse"])
def test_a_catalog_with_a_secret_or_an_unknown_option_among_the_values_is_refused(option: str) -> None:
    values = json.dumps({"lake": {"uri": "https://a", option: "x"}})
    done = helm("template", "gpuquery", str(CHART), "--set-json", f"catalogs={values}")
    assert done.returncode != 0
    assert option in done.stderr
