# The releases whose runtime images the end-to-end tests run: the last of each of the two worlds of cudf-polars.
test e2e test-faults test-dask-faults bench: export RELEASES ?= 26.04 26.10
# The releases whose runtimes also get the engine for tests, which computes on the CPU; sets of ranks take the last.
test e2e test-faults bench: export TEST_ENGINES ?= 26.04 26.10
# And the operator of dask-kubernetes, which makes the DaskClusters of the tests.
test e2e test-faults bench: export TEST_DASK_KUBERNETES ?= 1

# Hundreds of tests start processes of Python: each would compile the same modules again.
unit processes here test e2e test-faults: export PYTHONDONTWRITEBYTECODE =

SLOWEST := --durations=25
# One more than there are cores, because many tests wait.
WORKERS ?= $(shell expr $$(nproc) + 1)
# Tests that start an S3 server, supervisors, sets of ranks or Dask clusters: they wait for most of their time. Each process
# begins with a part of them in this order, so that one alone starts the server; who is done takes half of what another has.
PROCESSES := tests/s3 tests/stores tests/cluster $(addprefix tests/unit/runner/, pod coordination engines/dask preflight \
  output/test_forgery.py query/test_fingerprint.py)
ON_THIS_MACHINE = $(PY) -m pytest -n $(WORKERS) --dist worksteal $(SLOWEST) -m "not e2e and not faults"

# An end-to-end test mostly waits, for pods and deadlines: several wait at once, a module in one process. Those that
# change what all share, or need the whole node, come after them.
E2E_WORKERS ?= 2
# What ARGS chooses may all be on one side (5: no test was collected), but must be on one.
MAY_LACK = $(if $(ARGS),5,0)
define E2E
beside=0; $(PY) -m pytest -n $(E2E_WORKERS) --dist loadfile --no-loadscope-reorder $(SLOWEST) \
  -m "e2e and not faults and not alone" tests/cluster tests/e2e $(ARGS) || beside=$$?; \
[ $$beside = 0 ] || [ $$beside = $(MAY_LACK) ] || exit $$beside; \
$(PY) -m pytest $(SLOWEST) -m "e2e and not faults and alone" tests/cluster tests/e2e $(ARGS) \
  || { left=$$?; [ $$beside = 0 ] && [ $$left = $(MAY_LACK) ] || exit $$left; }
endef

.PHONY: unit
unit: venv ## Tests that need nothing but Python; WORKERS=0 ARGS="-k sink" for a few in one process
	$(ON_THIS_MACHINE) $(PROCESSES:%=--ignore=%) tests/unit $(ARGS)

.PHONY: processes
processes: venv ## Tests that start servers, supervisors and sets of ranks on this machine
	$(ON_THIS_MACHINE) $(PROCESSES) $(ARGS)

# Azure's emulator is an npm package of 360 MB with its dependencies, and no package of Python has it: tests of az:// and
# abfss:// skip without it. Where Node.js and npm are, this puts it where they look.
.PHONY: azurite
azurite: ## Install azurite with npm, for the tests of az:// and abfss://, which are skipped without it
	npm install --no-audit --no-fund --prefix $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gpuquery/azurite \
	  $$(sed -n 's/^AZURITE = "\(.*\)"/\1/p' tests/support/store_servers.py)

# Both in one run, so that some compute while others wait.
.PHONY: here
here: venv ## All tests that need no cluster: those of make unit and make processes together
	$(ON_THIS_MACHINE) tests/s3 tests/stores tests/cluster tests/unit $(ARGS)

# What needs no cluster comes first and ends the run if it fails: it takes minutes, where cluster and pods take many more.
.PHONY: test
test: here cluster-for-use ## Every test: what needs no cluster, then the one-node cluster (or CONTEXT=... REGISTRY=...)
	$(E2E)

.PHONY: e2e
e2e: venv cluster-for-use ## The end-to-end tests only; ARGS="-k burst" goes to pytest
	$(E2E)

.PHONY: test-faults
test-faults: venv cluster-for-use ## The long schedule: all faults of ranks and of Dask clusters, a hundred jobs, ten thousand partitions
	$(PY) -m pytest $(SLOWEST) -m "faults and not releases" tests $(ARGS)

.PHONY: test-tenants
test-tenants: venv ## Attacks of one tenant on the others, on a control plane of its own: times, and the operator's memory
	$(PY) -m pytest -m tenants -s tests/tenants $(ARGS)

.PHONY: test-gpu
test-gpu: venv ## Tests that need an NVIDIA GPU, of the releases that are installed; report in dist/gpu-report.json
	$(PY) -m pytest -m gpu tests/gpu $(ARGS)

.PHONY: bench
bench: venv cluster-for-use ## Measure against bare Polars and bare Jobs; one JSON line each
	$(PY) -m tests.bench.sink
	$(PY) -m tests.bench.overhead
	$(PY) -m tests.bench.preflight
	$(PY) -m tests.bench.burst
	$(PY) -m tests.bench.resolve
	$(PY) -m tests.bench.footers
	$(PY) -m tests.bench.estimates
	$(PY) -m tests.bench.rendezvous
	$(PY) -m tests.bench.readiness
	$(PY) -m tests.bench.daskjob
	$(PY) -m tests.bench.steady --jobs 100
	$(PY) -m tests.bench.sql

.PHONY: bench-steady
bench-steady: venv cluster-for-use ## 100 and 3,000 jobs of one pod, beside bare Jobs and KubeRay, which is built in 5 to 15 minutes
	$(PY) -m tests.bench.steady --beside 100

ON_RELEASES = GPUQUERY_TEST_RELEASES="$(RELEASES)" GPUQUERY_TEST_CUDA=$(CUDA) $(PY) -m pytest

.PHONY: test-releases
test-releases: venv ## Compare the table of RAPIDS releases with their packages: RELEASES="26.04 26.10" CUDA=12
	$(PY) -m tests.releases.environments --cuda $(or $(CUDA),12) $(RELEASES)
	$(ON_RELEASES) -m "releases and not faults" tests/releases $(ARGS)

.PHONY: test-dask-faults
test-dask-faults: venv ## The long schedule of Dask clusters on this machine, with the packages of RELEASES
	$(PY) -m tests.releases.environments --cuda $(or $(CUDA),12) $(RELEASES)
	$(ON_RELEASES) -m "releases and faults" tests/releases $(ARGS)

.PHONY: test-tpc
test-tpc: venv ## TPC-H and TPC-DS at scale factor 1 against DuckDB, and which of RELEASES translates them; writes the page
	$(PY) -m tests.releases.environments --cuda 12 $(or $(RELEASES),26.02 26.04 26.06 26.08 26.10)
	$(PY) -m tests.sql.tpc --write $(if $(RELEASES),--releases $(RELEASES)) $(ARGS)

.PHONY: test-sql
test-sql: venv ## 2,000 generated statements against DuckDB; ARGS="--seed 7 --count 100"
	$(PY) -m tests.sql.differential $(ARGS)

.PHONY: test-sql-postgres
test-sql-postgres: venv ## 1,000 generated statements, and those of its dialect, against a PostgreSQL (apt-get install postgresql)
	$(PY) -m tests.sql.dialect_postgres
	$(PY) -m tests.sql.differential --postgres --count 1000 $(ARGS)
