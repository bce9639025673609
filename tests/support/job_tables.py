"""Jobs that must be refused and jobs that must be taken, for every place that judges them: models and API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY = {"sql": "SELECT n_name FROM nation"}
INPUT = {"name": "nation", "uri": "s3://lake/tpch/nation/*.parquet"}


def job(name: str = "table-job", **spec: Any) -> dict[str, Any]:
    """Return a whole job; `spec` replaces fields of a small valid one."""
    small = {"query": QUERY, "inputs": [INPUT], "output": {"uri": "s3://lake/out/x"}}
    return {
        "apiVersion": "gpuquery.io/v1alpha1",
        "kind": "GpuQueryJob",
        "metadata": {"name": name},
        "spec": {**small, **spec},
    }


def at(uri: str, **more: Any) -> dict[str, Any]:
    """Return a job with one input."""
    return job(inputs=[{"name": "t", "uri": uri, **more}])


def several(*uris: str, **more: Any) -> dict[str, Any]:
    """A job with one input of several URIs."""
    return job(inputs=[{"name": "t", "uris": list(uris), **more}])


def to(uri: str, **more: Any) -> dict[str, Any]:
    """Return a job with an output."""
    return job(output={"uri": uri, **more})


TABLE = {"catalog": "lake", "name": "sales.orders"}


def into(table: Mapping[str, Any] | None = None, **output: Any) -> dict[str, Any]:
    """Return a job that writes an Iceberg table; `table` adds to or replaces fields of it."""
    return job(output={"table": {**TABLE, **(table or {})}, **output})


def making(**create: Any) -> dict[str, Any]:
    """Return a job that makes an Iceberg table."""
    return into({"create": create})


def into_delta(uri: str = "s3://lake/delta", **output: Any) -> dict[str, Any]:
    """Return a job that writes a Delta table."""
    return to(uri, delta={}, **output)


def rewriting(read: Mapping[str, Any], **output: Any) -> dict[str, Any]:
    """Return a job with one input and an output."""
    return job(inputs=[{"name": "t", **read}], output=output)


def expecting(*expect: Mapping[str, Any], **output: Any) -> dict[str, Any]:
    """Return a job whose result has to be so."""
    return to("s3://lake/x", expect=list(expect), **output)


def having(value: Mapping[str, Any], name: str = "p") -> dict[str, Any]:
    """Return a job with one parameter."""
    return job(parameters={name: value})


def sized(requests: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job whose pods have resources."""
    return job(workers={"resources": {"requests": requests, "limits": limits}})


def working(**spec: Any) -> dict[str, Any]:
    """Return a job with `replicas`, `gpus` and other fields."""
    workers = {name: spec.pop(name) for name in ("replicas", "gpus") if name in spec}
    return job(workers=workers, **spec)


def with_env(*names: str) -> dict[str, Any]:
    """Return a job whose pods get environment variables."""
    return job(template={"spec": {"env": [{"name": name, "value": "x"} for name in names]}})


def claiming(*claims: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a job whose pods claim devices, all under one name."""
    return job(template={"spec": {"resourceClaims": [{"name": "gpus", **claim} for claim in claims]}}, **spec)


def mounting(*volumes: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a job whose pods mount claims."""
    given = [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": "lake"}, **v} for i, v in enumerate(volumes)]
    return job(template={"spec": {"volumes": given}}, **spec)


def labelled(**metadata: Any) -> dict[str, Any]:
    """Return a job with metadata in its pod template."""
    return job(template={"metadata": metadata})


def on_dask(name: str = "table-job", spec: Mapping[str, Any] | None = None, **dask: Any) -> dict[str, Any]:
    """Return a job with a Dask section; `spec` holds its other fields."""
    return job(name, dask=dask, **(spec or {}))


def placed(**fields: Any) -> dict[str, Any]:
    """Return a job whose pod template says where pods run."""
    return job(template={"spec": fields})


REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
ON_H100 = {"key": "gpu", "operator": "In", "values": ["H100"]}
LAKE = {"matchLabels": {"app": "lake"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
NEAR = {
    "topologyKey": "kubernetes.io/hostname", "labelSelector": LAKE, "namespaces": ["lake"], "namespaceSelector": {},
    "matchLabelKeys": ["team"], "mismatchLabelKeys": ["tier"],
}  # fmt: skip
PODS = {REQUIRED: [NEAR], PREFERRED: [{"weight": 1, "podAffinityTerm": NEAR}]}
NODE_TERM = {
    "matchExpressions": [ON_H100],
    "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["a"]}],
}
AFFINITY = {
    "nodeAffinity": {
        REQUIRED: {"nodeSelectorTerms": [NODE_TERM]},
        PREFERRED: [
            {"weight": 100, "preference": {"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["3"]}]}}
        ],
    },
    "podAffinity": PODS,
    "podAntiAffinity": PODS,
}
SPREAD = {
    "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": LAKE,
    "matchLabelKeys": ["team"], "minDomains": 2, "nodeAffinityPolicy": "Honor", "nodeTaintsPolicy": "Ignore",
}  # fmt: skip
"""With every field that Kubernetes has."""
WARM = {"name": "warm"}
ADDRESS = "tcp://warm-scheduler.lake.svc:8786"
REFUSED: list[Any] = [
    pytest.param(job(query={}), "spec.query", "exactly one of sql, python", id="no query"),
    pytest.param(job(query={"sql": "SELECT 1", "python": "x"}), "spec.query", "exactly one of", id="two queries"),
    pytest.param(
        job(query={"python": "x", "dialect": "spark"}), "spec.query.dialect", "about SQL", id="a dialect of Python"
    ),
    pytest.param(job(query={"sql": "SELECT 1", "dialect": "oracle"}), "spec.query.dialect", "", id="another dialect"),
    pytest.param(job(parameters={"p": {"nullOf": "strings"}}), "nullOf", "", id="a NULL that is a list"),
    pytest.param(job(query={"sql": " \n"}), "spec.query.sql", "", id="a blank query"),
    pytest.param(job(query={"sql": "x" * 262_145}), "spec.query.sql", "262144", id="a query that is too long"),
    pytest.param(
        job(query={"configMapKeyRef": {"name": "q", "key": "query.txt"}}), "configMapKeyRef.key", "sql", id="a key .txt"
    ),
    pytest.param(
        job(query={"configMapKeyRef": {"name": "Q_1", "key": "q.sql"}}), "configMapKeyRef.name", "", id="no name"
    ),
    pytest.param(
        job(parameters={f"p{i}": {"string": "x" * 65_536} for i in range(7)}),
        "spec",
        "too large",
        id="seven long texts",
    ),
    pytest.param(
        job(parameters={f"p{i}": {"strings": ["x" * 1024] * 10} for i in range(64)}),
        "spec",
        "too large",
        id="many texts",
    ),
    pytest.param(
        job(
            query={"sql": "SELECT 1 -- " + "x" * 200_000},
            template={
                "metadata": {"annotations": {f"a{i}": "x" * 2000 for i in range(64)}},
                "spec": {"env": [{"name": f"V{i}", "value": "x" * 2000} for i in range(64)]},
            },
        ),
        "spec",
        "too large",
        id="a bit of everything",
    ),
    pytest.param(
        at("s3://lake/x.parquet", schema={"columns": {f"{i}" + "c" * 1000: {"type": "Int64"} for i in range(500)}}),
        "spec",
        "too large",
        id="half a megabyte of names",
    ),
    pytest.param(job(inputs=[INPUT, INPUT]), "spec.inputs", "", id="two inputs of one name"),
    pytest.param(job(inputs=[{**INPUT, "name": "1st"}]), "name", "", id="an input's name that is none"),
    pytest.param(job(inputs=[{**INPUT, "name": f"t{i}"} for i in range(65)]), "spec.inputs", "64", id="65 inputs"),
    pytest.param(at("hdfs://lake/x.parquet"), "uri", "s3", id="an unknown scheme"),
    pytest.param(at("https://user:secret@host/x.parquet"), "uri", "", id="credentials for a web server"),
    pytest.param(at("abfss://lake/x.parquet"), "uri", "", id="no storage account"),
    pytest.param(to("https://host/out"), "output.uri", "web servers are only read", id="an output on a web server"),
    pytest.param(
        job(storage={"az": {"endpoint": "http://user:pw@azurite:10000/a"}}),
        "az.endpoint",
        "neither user nor password",
        id="a password in Azure's endpoint",
    ),
    pytest.param(job(storage={"gs": {"endpoint": "gcs:4443"}}), "gs.endpoint", "begins with http", id="no URL for gs"),
    pytest.param(job(storage={"az": {"account": "My-Account"}}), "az.account", "", id="no account's name"),
    pytest.param(
        job(storage={"caConfigMapName": "My CA"}), "caConfigMapName", "", id="a ConfigMap's name that is none"
    ),
    pytest.param(
        on_dask(spec={"storage": {"caConfigMapName": "lake-ca"}}, schedulerAddress=ADDRESS),
        "spec.storage.caConfigMapName",
        "trust what their own image trusts",
        id="authorities for workers that run already",
    ),
    pytest.param(mounting({"mountPath": "/etc/lake"}), "mountPath", "/mnt", id="a mount beside /mnt"),
    pytest.param(mounting({"mountPath": "/mnt/../etc"}), "mountPath", "/mnt", id="a mount that leads out of /mnt"),
    pytest.param(mounting({"mountPath": "/mnt"}), "mountPath", "/mnt", id="a mount in place of /mnt"),
    pytest.param(
        mounting({"mountPath": "/mnt/lake"}, {"mountPath": "/mnt/lake"}),
        "volumes",
        "side by side",
        id="two in a folder",
    ),
    pytest.param(
        mounting({"mountPath": "/mnt/lake/a"}, {"mountPath": "/mnt/lake"}),
        "volumes",
        "side by side",
        id="one in another",
    ),
    pytest.param(
        mounting({"mountPath": "/mnt/lake", "subPath": "../other"}), "subPath", "", id="a folder that leads out"
    ),
    pytest.param(
        mounting({"mountPath": "/mnt/lake", "hostPath": {"path": "/"}}), "hostPath", "", id="a folder of the node"
    ),
    pytest.param(
        with_env("GOOGLE_APPLICATION_CREDENTIALS"), "env", "storage", id="credentials of Google by a variable"
    ),
    pytest.param(with_env("AZURE_CLIENT_SECRET"), "env", "storage", id="credentials of Azure by a variable"),
    pytest.param(with_env("HTTPS_AUTH_HOST"), "env", "storage", id="another host for the credentials of one"),
    pytest.param(with_env("GCE_METADATA_HOST"), "env", "storage", id="a metadata service of one's own"),
    pytest.param(at("s3://key:secret@lake/x.parquet"), "uri", "s3", id="credentials in a URI"),
    pytest.param(at("s3://lake/" + "x" * 1024 + ".parquet"), "uri", "1024", id="a URI that is too long"),
    pytest.param(at("s3://lake/x\n.parquet"), "uri", "", id="a line break in a URI"),
    pytest.param(at("s3://lake/x\x7f.parquet"), "uri", "", id="a control character in a URI"),
    pytest.param(
        several("s3://lake/a.parquet", "s3://lake/b.csv"), "format", "of one format", id="URIs of two formats"
    ),
    pytest.param(several("s3://lake/a/", "s3://lake/b"), "format", "set format", id="one of several says no format"),
    pytest.param(several(*(f"s3://lake/{i}/" for i in range(129))), "uris", "128", id="129 URIs"),
    pytest.param(at("s3://lake/x/*"), "format", "set format", id="an ending that says no format"),
    pytest.param(at("s3://lake/x.parquet", csv={"separator": ";"}), "csv", "CSV files only", id="csv for parquet"),
    pytest.param(at("s3://lake/x.csv", format="ndjson", csv={}), "csv", "CSV files only", id="csv for another format"),
    pytest.param(at("s3://lake/x.csv", csv={"separator": "||"}), "separator", "1", id="a separator of two characters"),
    pytest.param(having({}), "parameters", "exactly one of string", id="a parameter without a value"),
    pytest.param(
        having({"string": "a", "integer": 1}), "parameters", "exactly one of string", id="a parameter of two types"
    ),
    pytest.param(having({"integer": 1}, "my-name"), "parameters", "letters, digits", id="a parameter's name"),
    pytest.param(having({"integer": 1}, "false"), "parameters", "in quotes", id="a parameter n that YAML made false"),
    pytest.param(having({"decimal": "1e5"}), "decimal", "", id="a decimal with an exponent"),
    pytest.param(having({"date": "01.02.1994"}), "date", "", id="a date in another order"),
    pytest.param(having({"strings": []}), "strings", "1", id="an empty list"),
    pytest.param(to("s3://lake/out/*"), "output.uri", "", id="a glob as output"),
    pytest.param(to("s3://lake/a/../b"), "output.uri", "folder", id="an output with .. in it"),
    pytest.param(to("s3://lake//b"), "output.uri", "folder", id="an output with an empty folder"),
    pytest.param(to("gs://lake/a/./b"), "output.uri", "folder", id="an output of Google with . in it"),
    pytest.param(to("s3://lake/x", mode="overwriteee"), "output.mode", "errorIfExists", id="an unknown mode"),
    pytest.param(to("s3://lake/x", compression="brotli"), "output.compression", "zstd", id="an unknown compression"),
    pytest.param(to("s3://lake/x", partitionBy=["y", "y"]), "partitionBy", "twice", id="a partition column twice"),
    pytest.param(to("s3://lake/x", partitionBy=["a/b"]), "partitionBy", "", id="a partition column with a slash"),
    pytest.param(to("s3://lake/x", partitionBy=["_y"]), "partitionBy", "", id="a partition that pyarrow ignores"),
    pytest.param(to("s3://lake/x", partitionBy=[f"c{i}" for i in range(9)]), "partitionBy", "8", id="nine of them"),
    pytest.param(
        job(reuse={"maxAge": "1d"}, output={"uri": "s3://lake/x", "mode": "append"}),
        "reuse",
        "errorIfExists",
        id="reuse of a table that also holds other rows",
    ),
    pytest.param(job(reuse={"maxAge": "24"}), "reuse.maxAge", "", id="an age without a unit"),
    pytest.param(job(reuse={}), "reuse.maxAge", "equired", id="reuse without an age"),
    pytest.param(job(output={}), "spec.output", "exactly one of uri and table", id="an output without a place"),
    pytest.param(into(uri="s3://lake/x"), "spec.output", "exactly one of uri and table", id="a table and a folder"),
    pytest.param(into(delta={}), "spec.output.delta", "remove one of them", id="Delta and Iceberg"),
    pytest.param(to("s3://lake/x", delta={"version": 1}), "delta", "version", id="a version to write"),
    pytest.param(into({"catalog": "My Lake"}), "table.catalog", "", id="a catalog's name that is none"),
    pytest.param(into({"name": "orders"}), "table.name", "", id="a table without a namespace"),
    pytest.param(into({"name": "sales/orders.x"}), "table.name", "", id="a table with a slash"),
    pytest.param(into({"branch": "audit"}), "output.mode", "remove table.branch", id="a branch of what is new"),
    pytest.param(into({"branch": "-x"}), "table.branch", "", id="a branch that begins with a dash"),
    pytest.param(into({"branch": "x" * 256}), "table.branch", "255", id="a branch that is too long"),
    pytest.param(into({"snapshotId": "1"}), "snapshotId", "", id="a snapshot to write"),
    pytest.param(into(partitionBy=["year"]), "output.partitionBy", "table.create.partitionBy", id="folders of a table"),
    pytest.param(making(partitionBy=["day(ts"]), "create.partitionBy", "", id="a transform without an end"),
    pytest.param(making(partitionBy=["week(ts)"]), "create.partitionBy", "", id="a transform that there is not"),
    pytest.param(making(partitionBy=["bucket(id)"]), "create.partitionBy", "", id="no number of buckets"),
    pytest.param(making(partitionBy=["bucket(0, id)"]), "create.partitionBy", "", id="no buckets"),
    pytest.param(making(partitionBy=["truncate(-4, s)"]), "create.partitionBy", "", id="a width below nothing"),
    pytest.param(making(partitionBy=["day(ts)", "day(ts)"]), "create.partitionBy", "twice", id="a transform twice"),
    pytest.param(making(partitionBy=[f"c{i}" for i in range(9)]), "partitionBy", "8", id="nine transforms"),
    pytest.param(making(sortBy=["day(ts)"]), "create.sortBy", "", id="an order by a transform"),
    pytest.param(making(sortBy=["a", "a"]), "create.sortBy", "twice", id="an order by one column twice"),
    pytest.param(making(sortBy=["a asc desc"]), "create.sortBy", "two directions", id="an order up and down"),
    pytest.param(making(properties={"gpuquery.job": "x"}), "create.properties", "belong", id="the operator's property"),
    pytest.param(making(properties={"a": 1}), "create.properties", "", id="a property that is no text"),
    pytest.param(
        to("s3://lake/x", mode="overwritePartitions"), "output.mode", "set partitionBy", id="no partitions to replace"
    ),
    pytest.param(
        into_delta(mode="overwritePartitions"), "output.mode", "set partitionBy", id="no partitions of a Delta table"
    ),
    pytest.param(
        into(mode="append", overwriteWhere="a = 1"),
        "output.overwriteWhere",
        'mode is "append"',
        id="a condition for rows that stay",
    ),
    pytest.param(
        to("s3://lake/x", mode="overwrite", overwriteWhere="a = 1"),
        "output.overwriteWhere",
        "set delta or table",
        id="a condition for a folder",
    ),
    pytest.param(
        into_delta(mode="overwrite", overwriteWhere="a = 1"),
        "output.overwriteWhere",
        "set partitionBy",
        id="a condition for a Delta table without partitions",
    ),
    pytest.param(into(mode="overwrite", overwriteWhere=" "), "output.overwriteWhere", "", id="a blank condition"),
    pytest.param(
        into(mode="overwrite", overwriteWhere="x" * 4097), "overwriteWhere", "4096", id="a condition that is too long"
    ),
    pytest.param(into(schemaEvolution="any"), "output.schemaEvolution", "widen", id="an unknown evolution"),
    pytest.param(
        rewriting({"uri": "s3://lake/t/", "delta": {}}, uri="s3://lake/t"),
        "spec.output",
        "inside the output",
        id="a folder in place of the Delta table that is read",
    ),
    pytest.param(
        rewriting({"uri": "s3://lake/t/sub", "delta": {}}, uri="s3://lake/t", delta={}),
        "spec.output",
        "inside the output",
        id="a Delta table in another",
    ),
    pytest.param(
        to("s3://lake/x", files={"targetBytes": "10k"}), "targetBytes", "files.targetBytes", id="files of no size"
    ),
    pytest.param(
        to("s3://lake/x", files={"sortBy": ["t", "t"]}), "sortBy", "names a column twice", id="a sort column twice"
    ),
    pytest.param(
        to("s3://lake/x", compression="lz4", files={"compressionLevel": 3}),
        "compressionLevel",
        "from 1 to 9 for gzip",
        id="a level of lz4",
    ),
    pytest.param(
        to("s3://lake/x", compression="gzip", files={"compressionLevel": 10}),
        "compressionLevel",
        "from 1 to 9 for gzip",
        id="a level that gzip does not have",
    ),
    pytest.param(
        job(output={"table": {"catalog": "lake", "name": "a.b"}, "files": {"sortBy": ["t"]}}),
        "sortBy",
        "table.create.sortBy",
        id="an Iceberg table sorted by the job",
    ),
    pytest.param(expecting({"rows": "> -1"}), "rows", "can fail", id="rows that are never fewer than none"),
    pytest.param(expecting({"rows": ">= 0"}), "rows", "can fail", id="rows that are always enough"),
    pytest.param(expecting({"rows": "< 0"}), "rows", "can hold", id="rows that are never so few"),
    pytest.param(expecting({"rows": ">= 1.5"}), "rows", "whole number", id="one row and a half"),
    pytest.param(expecting({"rows": "many"}), "rows", "== 50", id="rows without a number"),
    pytest.param(expecting({}), "expect", "exactly one", id="an expectation of nothing"),
    pytest.param(expecting({"rows": ">= 1", "unique": ["k"]}), "expect", "exactly one", id="two expectations in one"),
    pytest.param(expecting({"unique": []}), "unique", "1", id="unique without columns"),
    pytest.param(expecting({"sql": " "}), "sql", "", id="an expectation with empty SQL"),
    pytest.param(to("s3://lake/x", keepFailed="7d"), "keepFailed", "set expect", id="rows kept for no expectation"),
    pytest.param(expecting(keepFailed="7d"), "keepFailed", "set expect", id="rows kept for an empty list"),
    pytest.param(expecting({"rows": "> 1"}, keepFailed="0d"), "keepFailed", "", id="rows kept for no time"),
    pytest.param(expecting({"rows": "> 1"}, keepFailed="1w"), "keepFailed", "", id="rows kept for a week in words"),
    pytest.param(to("s3://lake/tpch"), "spec.output", "inside the output", id="an input in the output"),
    pytest.param(to("s3://lake/tpch/"), "spec.output", "inside the output", id="an input in the output's folder"),
    pytest.param(
        {**at("s3://lake/tpch/"), "spec": {**at("s3://lake/tpch/")["spec"], "output": {"uri": "s3://lake/tpch/out"}}},
        "spec.output",
        "inside an input",
        id="the output in an input's folder",
    ),
    pytest.param(at("s3://lake/out/x/"), "spec.output", "inside the output", id="input and output are one folder"),
    pytest.param(at("s3://lake/**/*.parquet"), "spec.output", "**", id="the output below an input's **"),
    pytest.param(job(engine="warp"), "spec.engine", "cpu", id="an unknown engine"),
    pytest.param(job(cluster="huge"), "spec.cluster", "single", id="an unknown cluster shape"),
    pytest.param(job(runtime={"release": "27.02"}), "spec.runtime.release", "26.10", id="an unknown release"),
    pytest.param(job(runtime={"release": 26.1}), "spec.runtime.release", "", id="a release without quotes"),
    pytest.param(job(scheduler="serial"), "spec.scheduler", "synchronous", id="an unknown scheduler"),
    pytest.param(
        job(scheduler="synchronous", cluster="distributed"), "spec.scheduler", "remove scheduler", id="both names"
    ),
    pytest.param(job(scheduler="synchronous", cluster="single"), "spec.scheduler", '"single"', id="both, and agreed"),
    pytest.param(job(engine="cpu", cluster="distributed"), "spec.engine", 'cluster "single"', id="cpu on many"),
    pytest.param(job(engine="cpu", scheduler="distributed"), "spec.engine", "one process", id="cpu on many of old"),
    pytest.param(working(engine="cpu", gpus=1), "spec.workers.gpus", "uses no GPU", id="cpu with a GPU"),
    pytest.param(working(engine="cpu", replicas=2), "spec.workers.replicas", "replicas is 2", id="cpu in two pods"),
    pytest.param(
        job(engine="cpu", executorOptions={"fallback_mode": "raise"}),
        "spec.executorOptions",
        "remove",
        id="cpu options",
    ),
    pytest.param(working(cluster="single", gpus=8), "spec.workers.gpus", "workers.gpus is 8", id="one process, 8 GPUs"),
    pytest.param(working(scheduler="synchronous", gpus=2), "spec.workers.gpus", "one GPU", id="synchronous, 2 GPUs"),
    pytest.param(
        working(cluster="single", replicas="3"), "spec.workers.replicas", "replicas is 3", id="one process, 3 pods"
    ),
    pytest.param(working(engine="rapidsmpf", gpus=0), "spec.workers.gpus", "need GPUs", id="a GPU engine without"),
    pytest.param(working(cluster="distributed", gpus=0), "spec.workers.gpus", "need GPUs", id="distributed without"),
    pytest.param(working(replicas=2, gpus=0), "spec.workers.gpus", "need GPUs", id="several pods without GPUs"),
    pytest.param(working(gpus=17), "spec.workers.gpus", "16", id="more GPUs than a node has"),
    pytest.param(working(replicas="some"), "spec.workers.replicas", "", id="a number of pods that is none"),
    pytest.param(
        placed(tolerations=[{"key": "gpu", "operator": "Exist"}]), "tolerations[0].operator", "Exists", id="no operator"
    ),
    pytest.param(placed(tolerations=[{"effect": "NoRun"}]), "tolerations[0].effect", "NoSchedule", id="no effect"),
    pytest.param(
        placed(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}),
        f"nodeAffinity.{REQUIRED}.nodeSelectorTerms",
        "1",
        id="an affinity to nothing",
    ),
    pytest.param(
        placed(affinity={"podAffinity": {REQUIRED: [{"labelSelector": LAKE}]}}), "topologyKey", "required", id="nearby"
    ),
    pytest.param(
        placed(topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone"}]),
        "whenUnsatisfiable",
        "required",
        id="a spread that does not say what else",
    ),
    pytest.param(on_dask(backend="native", clusterRef=WARM), "spec.dask", "keep one", id="made and named"),
    pytest.param(on_dask(clusterRef=WARM, schedulerAddress=ADDRESS), "spec.dask", "keep one", id="named in two ways"),
    pytest.param(on_dask(backend="cloud"), "spec.dask.backend", "native", id="an unknown backend"),
    pytest.param(on_dask(clusterRef={}), "spec.dask.clusterRef", "name", id="a reference without a name"),
    pytest.param(on_dask(clusterRef={"name": "Warm_1"}), "clusterRef.name", "", id="a reference to no name"),
    pytest.param(
        on_dask(schedulerAddress="http://warm:8787"),
        "spec.dask.schedulerAddress",
        'schedulerAddress is "http://warm:8787", and an address of a Dask scheduler is tcp://',
        id="an address of another protocol",
    ),
    pytest.param(on_dask(schedulerAddress="tcp://warm"), "schedulerAddress", "host and port", id="no port"),
    pytest.param(on_dask(schedulerAddress="warm:8786"), "schedulerAddress", "host and port", id="no protocol"),
    pytest.param(on_dask(schedulerAddress="tcp://warm:8786/x"), "schedulerAddress", "host and port", id="a path"),
    pytest.param(on_dask(schedulerAddress="tcp://warm:87860"), "schedulerAddress", "up to 65535", id="no such port"),
    pytest.param(
        on_dask(clusterRef=WARM, dashboard=True), "spec.dask.dashboard", "remove dashboard", id="another's dashboard"
    ),
    pytest.param(
        on_dask(schedulerAddress=ADDRESS, workerOptions={"rmm-async": True}),
        "spec.dask.workerOptions",
        "remove workerOptions",
        id="flags of workers that run already",
    ),
    pytest.param(
        on_dask(tlsSecretName="client"), "spec.dask.tlsSecretName", 'tlsSecretName is "client"', id="TLS with its own"
    ),
    pytest.param(
        on_dask(backend="native", tlsSecretName="client"), "spec.dask.tlsSecretName", "remove tlsSecretName", id="or so"
    ),
    pytest.param(
        on_dask(schedulerAddress=ADDRESS, tlsSecretName="client"),
        "spec.dask.tlsSecretName",
        f'schedulerAddress is "{ADDRESS}", which is not a TLS address',
        id="certificates for tcp",
    ),
    pytest.param(on_dask(clusterRef=WARM, tlsSecretName="My_Secret"), "dask.tlsSecretName", "", id="no Secret's name"),
    pytest.param(on_dask(spec={"engine": "cpu"}), "spec.dask", "remove dask", id="Dask on the CPU"),
    pytest.param(on_dask(spec={"cluster": "single"}), "spec.dask", "remove dask", id="Dask in one process"),
    pytest.param(on_dask(spec={"scheduler": "synchronous"}), "spec.dask", "remove dask", id="Dask, synchronous"),
    pytest.param(on_dask(spec={"workers": {"gpus": 0}}), "spec.workers.gpus", "Dask cluster need", id="Dask, no GPU"),
    pytest.param(
        on_dask(backend="operator", spec={"workers": {"replicas": 2, "gpus": 8}}),
        "spec.workers.gpus",
        "workers.gpus is 8: use 1",
        id="a DaskCluster of many GPUs in each pod",
    ),
    pytest.param(
        on_dask(
            backend="operator",
            spec={"template": {"spec": {"resourceClaims": [{"name": "g", "resourceClaimTemplateName": "one"}]}}},
        ),
        "spec.template.spec.resourceClaims",
        "would silently drop",
        id="claims that a DaskCluster would drop",
    ),
    pytest.param(
        on_dask(clusterRef=WARM, spec={"network": "tcp"}), "spec.network", "remove network", id="another's network"
    ),
    pytest.param(on_dask("x" * 43, backend="operator"), "metadata.name", "42", id="too long for a DaskCluster"),
    pytest.param(with_env("DASK_SCHEDULER_ADDRESS"), "spec.template.spec.env", "DASK_CONFIG", id="Dask's own variable"),
    pytest.param(
        job(engine="tasks", runtime={"release": "26.10"}),
        "spec.runtime.release",
        'from 25.08 to 26.04, not 26.10: use engine "rapidsmpf"',
        id="tasks on a new release",
    ),
    pytest.param(
        job(engine="rapidsmpf", runtime={"release": "25.12"}),
        "spec.runtime.release",
        'from 26.04 to 26.10, not 25.12: use engine "tasks"',
        id="rapidsmpf on an old release",
    ),
    pytest.param(
        job(engine="cpu", network="tcp"), "spec.network", 'network is "tcp", and engine "cpu"', id="a network for cpu"
    ),
    pytest.param(
        working(cluster="single", network="rdma"), "spec.network", "remove network", id="a network for one process"
    ),
    pytest.param(job(network="udp"), "spec.network", "rdma", id="an unknown network"),
    pytest.param(claiming({}), "resourceClaims", "exactly one", id="a claim of nothing"),
    pytest.param(
        claiming({"resourceClaimName": "a", "resourceClaimTemplateName": "b"}),
        "resourceClaims",
        "exactly one",
        id="a claim of two kinds",
    ),
    pytest.param(
        claiming({"resourceClaimName": "a"}, {"resourceClaimName": "b"}), "template.spec", "", id="a claim twice"
    ),
    pytest.param(
        claiming({"resourceClaimName": "a"}, engine="cpu"), "resourceClaims", "uses no device", id="a claim for cpu"
    ),
    pytest.param(with_env("AWS_ACCESS_KEY_ID"), "template.spec.env", "storage", id="credentials as a variable"),
    pytest.param(with_env("NVIDIA_VISIBLE_DEVICES"), "template.spec.env", "workers.gpus", id="GPUs as a variable"),
    pytest.param(with_env("A", "HOME"), "template.spec.env", "belong to", id="a variable of the operator"),
    pytest.param(with_env("A", "A"), "template.spec", "", id="a variable twice"),
    pytest.param(with_env("1A"), "template.spec.env", "", id="a variable's name that is none"),
    pytest.param(job(backoffLimit=-1), "spec.backoffLimit", "0", id="a negative bound"),
    pytest.param(job(backoffLimit=101), "spec.backoffLimit", "100", id="a bound that is too high"),
    pytest.param(job(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds", "1", id="no time at all"),
    pytest.param(job(ttlSecondsAfterFinished="1h"), "spec.ttlSecondsAfterFinished", "integer", id="a text as number"),
    pytest.param(sized({"memory": "2Gi"}, {"memory": "1Gi"}), "resources", "higher", id="a request above its limit"),
    pytest.param(sized({"cpu": 2}, {"cpu": "1500m"}), "resources", "higher", id="a request above, in other units"),
    pytest.param(sized({"memory": "2 GB"}, {}), "memory", "", id="a quantity that is none"),
    pytest.param(job(runtime={"imagePullPolicy": "Sometimes"}), "imagePullPolicy", "Always", id="a pull policy"),
    pytest.param(
        job(storage={"endpoint": "lake:8333"}), "spec.storage.endpoint", "write it like", id="an endpoint, no scheme"
    ),
    pytest.param(
        job(storage={"endpoint": "http://me:pw@lake"}), "endpoint", "neither user", id="a password in the endpoint"
    ),
    pytest.param(job(storage={"secretName": "My Secret"}), "secretName", "", id="a Secret's name that is none"),
    pytest.param(labelled(labels={"gpuquery.io/job": "x"}), "labels", "belong", id="a label of the operator"),
    pytest.param(labelled(labels={"a": "b c"}), "labels", "", id="a label's value that is none"),
    pytest.param(labelled(annotations={"gpuquery.io/x": "y"}), "annotations", "belong", id="the operator's annotation"),
    pytest.param(job(name="x" * 45), "", "44", id="a long name"),
    pytest.param(job(name="1st-job"), "", "begin with a letter", id="a name that begins with a digit"),
    pytest.param(job(name="a.b"), "", "host name", id="a name with a dot"),
]
"""Object, the place that the message names, and a word of it; "" where the two differ in their words."""

TYPOS: list[Any] = [
    pytest.param(job(backofLimit=1), "backofLimit", "backoffLimit", id="in spec"),
    pytest.param(to("s3://lake/x", partitionedBy=["y"]), "partitionedBy", "partitionBy", id="in output"),
    pytest.param(
        at("s3://lake/x.parquet", hivePartitionned=True), "hivePartitionned", "hivePartitioned", id="in inputs"
    ),
    pytest.param(having({"strng": "x", "string": "y"}), "strng", "string", id="in a parameter"),
    pytest.param(
        job(template={"spec": {"nodeSelectors": {"a": "b"}}}), "nodeSelectors", "nodeSelector", id="in the template"
    ),
    pytest.param(
        placed(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerm": [], "nodeSelectorTerms": [NODE_TERM]}}}),
        "nodeSelectorTerm",
        "nodeSelectorTerms",
        id="in an affinity to nodes",
    ),
    pytest.param(
        placed(affinity={"podAntiAffinity": {REQUIRED: [{**NEAR, "labelSelectors": LAKE}]}}),
        "labelSelectors",
        "labelSelector",
        id="in an affinity to pods",
    ),
    pytest.param(
        placed(tolerations=[{"key": "gpu", "operato": "Exists"}]), "operato", "operator", id="in a toleration"
    ),
    pytest.param(
        placed(topologySpreadConstraints=[{**SPREAD, "minDomain": 2}]), "minDomain", "minDomains", id="in a spread"
    ),
]
"""Object, the unknown field, and what was meant."""

TAKEN: list[Any] = [
    pytest.param(at("s3://lake/a b/ü #1+%20'x'.parquet"), id="a URI with blanks and signs"),
    pytest.param(several("s3://lake/a/", "s3://lake/b.PARQUET", "s3://lake/c/*.parquet"), id="URIs of one format"),
    pytest.param(several("s3://lake/a.csv", "s3://lake/b.csv.gz", csv={"separator": ";"}), id="CSV files in a list"),
    pytest.param(several("s3://lake/a.dat", "s3://lake/b.csv", format="csv"), id="a format for all of them"),
    pytest.param(at("gs://lake/orders/*.parquet"), id="a bucket of Google"),
    pytest.param(at("abfss://lake@sales01.dfs.core.windows.net/orders/"), id="a data lake of Azure"),
    pytest.param(at("az://$web/a.parquet"), id="a container of Azure"),
    pytest.param(at("https://data.example.com:8443/a%20b/orders.parquet"), id="a file of a web server"),
    pytest.param(
        job(
            storage={
                "gs": {"anonymous": True},
                "az": {"account": "sales01", "endpoint": "http://azurite:10000/sales01"},
            }
        ),
        id="stores of their own",
    ),
    pytest.param(job(storage={"caConfigMapName": "lake-ca"}), id="an authority of one's own"),
    pytest.param(
        mounting({"mountPath": "/mnt/lake"}, {"mountPath": "/mnt/lake2", "subPath": "t/o"}),
        id="two claims side by side",
    ),
    pytest.param(on_dask(), id="a Dask cluster, all left open"),
    pytest.param(
        on_dask(
            backend="native",
            dashboard=True,
            workerOptions={"rmm-pool-size": "0.8", "enable-nvlink": True},
            spec={"engine": "tasks", "cluster": "distributed", "workers": {"replicas": 2, "gpus": 8}, "network": "tcp"},
        ),
        id="a Dask cluster of its own",
    ),
    pytest.param(on_dask("x" * 42, backend="operator", spec={"workers": {"replicas": 8, "gpus": 1}}), id="by another"),
    pytest.param(on_dask(clusterRef=WARM, spec={"scheduler": "distributed"}), id="a warm cluster"),
    pytest.param(on_dask(schedulerAddress="tls://10.0.0.7:8786"), id="a scheduler by its address"),
    pytest.param(on_dask(schedulerAddress="tls://10.0.0.7:8786", tlsSecretName="client"), id="with certificates"),
    pytest.param(on_dask(clusterRef=WARM, tlsSecretName="client"), id="and for one whose protocol its object says"),
    pytest.param(on_dask(schedulerAddress="ucx://[fd00::7]:8786"), id="and by one of IPv6"),
    pytest.param(on_dask(schedulerAddress="tcp://warm:65535"), id="the last port"),
    pytest.param(with_env("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"), id="a setting of Dask"),
    pytest.param(job(engine="tasks", runtime={"release": "26.04"}, cluster="distributed"), id="tasks on many"),
    pytest.param(job(engine="rapidsmpf", runtime={"release": "26.04"}, scheduler="distributed"), id="an old name"),
    pytest.param(job(engine="cpu", runtime={"release": "26.10"}, scheduler="synchronous"), id="cpu in a release"),
    pytest.param(working(engine="rapidsmpf", replicas=4, gpus=8), id="32 GPUs"),
    pytest.param(working(engine="cpu", replicas=1, gpus=0), id="cpu, one pod, no GPU"),
    pytest.param(working(cluster="single", replicas="auto", gpus=1), id="one GPU"),
    pytest.param(working(engine="rapidsmpf", cluster="distributed", network="tcp", replicas=2), id="a network"),
    pytest.param(working(cluster="single", network="auto"), id="no network in particular"),
    pytest.param(claiming({"resourceClaimTemplateName": "eight-gpus"}, engine="rapidsmpf"), id="GPUs by a claim"),
    pytest.param(claiming({"resourceClaimName": "channel", "gpus": False}), id="another device by a claim"),
    pytest.param(
        job(
            executorOptions={"target_partition_size": "1.5GB", "dynamic_planning": {"sample_chunk_count": 4}},
            template={"spec": {"env": [{"name": "CUDF_POLARS__EXECUTOR__FALLBACK_MODE", "value": "raise"}]}},
        ),
        id="options and variables",
    ),
    pytest.param(with_env("MY_HOME", "HOME_OF", "XAWS_REGION", "RAPIDSMPF_NUM_STREAMS"), id="other variables"),
    pytest.param(job(), id="the smallest"),
    pytest.param({**job(), "spec": {k: v for k, v in job()["spec"].items() if k != "inputs"}}, id="no inputs"),
    pytest.param(job(query={"python": "def query(inputs, params):\n    return inputs['nation']"}), id="Python"),
    pytest.param(job(query={"configMapKeyRef": {"name": "queries", "key": "q.sql"}}), id="a query in a ConfigMap"),
    pytest.param(job(query={"sql": "SELECT 1", "dialect": "snowflake"}), id="a dialect"),
    pytest.param(
        job(query={"configMapKeyRef": {"name": "queries", "key": "q.sql"}, "dialect": "trino"}),
        id="a dialect of a query in a ConfigMap",
    ),
    pytest.param(job(parameters={"p": {"nullOf": "date"}, "q": {"dates": ["1994-01-31"]}}), id="NULL, and a list"),
    pytest.param(job(query={"sql": "SELECT 'ü' -- " + "x" * 262_100}), id="a long query"),
    pytest.param(
        job(inputs=[{**INPUT, "name": f"t{i}", "uri": "s3://lake/" + "x" * 1000 + ".parquet"} for i in range(64)]),
        id="64 inputs of long names",
    ),
    pytest.param(job(parameters={f"p{i}": {"strings": ["x" * 500] * 10} for i in range(64)}), id="64 parameters"),
    pytest.param(having({"date": "1994-01-31"}), id="a date"),
    pytest.param(having({"decimal": "-12.50"}), id="a decimal"),
    pytest.param(having({"integer": -(2**63)}), id="the least integer"),
    pytest.param(having({"number": 1}), id="a whole number as number"),
    pytest.param(at("s3://lake/x.csv", csv={"separator": "\t", "header": False}), id="tabs"),
    pytest.param(at("s3://lake/X.CSV.GZ", csv={"nullValues": ["NA"]}), id="an ending in capitals"),
    pytest.param(at("s3://lake/log/*", format="ndjson"), id="a format that is said"),
    pytest.param(at("s3://lake/in/**/*.parquet"), id="any depth, elsewhere"),
    pytest.param(at("s3://lake/**/orders.parquet"), id="any depth, but no file of the output"),
    pytest.param(at("s3://lake/out/x1/*.parquet"), id="an input beside the output with a like name"),
    pytest.param(to("s3://lake/x", partitionBy=["year", "Größe in cm", "a-b", "2nd"]), id="partition columns"),
    pytest.param(to("s3://marts"), id="a whole bucket"),
    pytest.param(job(reuse={"maxAge": "90s"}, output={"uri": "s3://lake/x", "mode": "overwrite"}), id="reuse"),
    pytest.param(job(reuse={"maxAge": "7d"}), id="reuse of a table that is made once"),
    pytest.param(job(reuse={"maxAge": "1d", "deterministic": True}), id="SQL that declares to be repeatable"),
    pytest.param(job(reuse={"maxAge": "1d", "deterministic": False}), id="SQL that declares not to be"),
    pytest.param(
        job(reuse={"maxAge": "7d", "deterministic": True}, query={"python": "def query(inputs, params): ..."}),
        id="reuse of Python",
    ),
    pytest.param(to("gs://marts/x"), id="an output in a bucket of Google"),
    pytest.param(to("abfss://lake@sales01.dfs.core.windows.net/x"), id="an output in a data lake of Azure"),
    pytest.param(into(), id="an Iceberg table"),
    pytest.param(into({"branch": "main"}), id="the branch that readers see"),
    pytest.param(into({"branch": "audit/2026-01"}, mode="append", schemaEvolution="widen"), id="a branch"),
    pytest.param(
        making(
            partitionBy=[
                "year(a.b)",
                "month(ts)",
                "day(Größe in cm)",
                "hour(ts)",
                "bucket(16, id)",
                "truncate(4,s)",
                "z",
            ],
            sortBy=["id", "ts desc", "a b asc"],
            properties={"comment": "Orders", "write.target-file-size-bytes": "1"},
        ),
        id="a table that is made",
    ),
    pytest.param(making(), id="a table that is made without more"),
    pytest.param(into(mode="overwritePartitions"), id="partitions of a table"),
    pytest.param(into(mode="overwrite", overwriteWhere="day >= DATE '2026-01-01'"), id="rows of a table"),
    pytest.param(into_delta(), id="a Delta table"),
    pytest.param(
        into_delta(mode="overwrite", overwriteWhere="a = 1", partitionBy=["a"]), id="some partitions of a Delta table"
    ),
    pytest.param(into_delta(mode="overwritePartitions", partitionBy=["day"]), id="partitions of a Delta table"),
    pytest.param(to("s3://lake/x", mode="overwritePartitions", partitionBy=["day"]), id="partitions of a folder"),
    pytest.param(to("s3://lake/x", mode="append", schemaEvolution="strict"), id="columns of a folder"),
    pytest.param(
        rewriting({"uri": "s3://lake/t/", "delta": {"version": 3}}, uri="s3://lake/t", delta={}),
        id="a Delta table that is read and written",
    ),
    pytest.param(rewriting({"table": TABLE}, table=TABLE, mode="overwrite"), id="an Iceberg table as well"),
    pytest.param(
        expecting(
            {"rows": ">= 1"},
            {"rows": "<=1000"},
            {"rows": "== 0"},
            {"rows": "> 0"},
            {"unique": ["k", "d"]},
            {"notNull": ["k"]},
            {"sql": "SELECT count(*) = 0 FROM result WHERE n < 0"},
        ),
        id="expectations",
    ),
    pytest.param(expecting({"rows": ">= 1"}, keepFailed="7d"), id="rows that are kept for a week"),
    pytest.param(sized({"cpu": 2, "memory": "1Gi"}, {"cpu": "2000m", "memory": "1073741824"}), id="equal amounts"),
    pytest.param(sized({"cpu": "0.5"}, {}), id="half a core"),
    pytest.param(
        job(
            template={
                "metadata": {"labels": {"team": "lake", "example.com/cost-centre": "42"}, "annotations": {"a": "b c"}},
                "spec": {
                    "nodeSelector": {"kubernetes.io/arch": "amd64"},
                    "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
                    "affinity": AFFINITY,
                    "topologySpreadConstraints": [SPREAD],
                    "imagePullSecrets": [{"name": "my-registry"}],
                },
            }
        ),
        id="a template",
    ),
    pytest.param(
        job(
            storage={"endpoint": "http://lake.data.svc:8333/", "region": "eu-west-1", "pathStyle": True},
            runtime={"image": "registry.example.com:5000/a/b@sha256:" + "0" * 64, "imagePullPolicy": "Always"},
            engine="cpu",
            cluster="single",
            backoffLimit=0,
            activeDeadlineSeconds=1,
            startDeadlineSeconds=31_536_000,
            ttlSecondsAfterFinished=0,
        ),
        id="every scalar",
    ),
    pytest.param(job(name="a" * 44), id="the longest name"),
]
